#include "api/snapshot.h"

#include <openssl/evp.h>

#include <utility>

#include "base/varint.h"
#include "env/log.h"
#include "member/db_file.h"

namespace keelson::api {
namespace {

constexpr std::size_t kBlobBytes = 32 * 1024;
// Beyond it nothing more is sent until the client has taken what there is.
constexpr std::size_t kUnsentBytesMax = std::size_t{1} << 20;
// At most, but for a value that is longer: pieces made and not sent, and what a footer says of the
// records of one segment.
constexpr std::size_t kBytesHeld = std::size_t{16} << 20;
// Of a client that takes less over the whole stream, patience for held Views aside.
constexpr std::uint64_t kPaceMin = 64 * 1024;

class Sha256 {
 public:
  Sha256() { CHECK(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1); }
  void add(std::string_view bytes) {
    CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }
  std::string finish() {
    std::string digest(32, '\0');
    CHECK(EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(digest.data()),
                             nullptr) == 1);
    return digest;
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  const std::unique_ptr<EVP_MD_CTX, Free> context_{EVP_MD_CTX_new()};
};

}  // namespace

struct SnapshotCall::Work {
  explicit Work(member::DbState state) : file(std::move(state)) {}

  // Messages of the next bytes of the file; the last one has its sum.
  base::Result<std::vector<std::string>> next() {
    ASSIGN_OR_RETURN(const std::string bytes, file.next());
    sum.add(bytes);
    rest += bytes;
    std::vector<std::string> messages;
    const bool is_end = bytes.empty();
    std::size_t taken = 0;
    while (rest.size() - taken >= kBlobBytes || (is_end && taken < rest.size())) {
      const auto blob = std::string_view(rest).substr(taken, kBlobBytes);
      taken += blob.size();
      left -= blob.size();
      messages.push_back(message(blob));
    }
    rest.erase(0, taken);
    if (is_end) messages.push_back(message(sum.finish()));
    is_done = is_end;
    return messages;
  }
  std::string message(std::string_view blob) const {
    std::string out;
    out.reserve(blob.size() + 32);
    base::put_varint_field(out, 2, left);
    base::put_bytes_field(out, 3, blob);
    base::put_bytes_field(out, 4, file.storage_version());
    return out;
  }

  member::DbFile file;
  std::uint64_t left = 0;  // of the file, behind what is in messages
  std::string rest;        // made, and not in messages
  Sha256 sum;
  bool is_done = false;
  base::Result<bool> planned = false;
  base::Result<std::vector<std::string>> messages{std::vector<std::string>()};
};

SnapshotCall::SnapshotCall(Context& context, http::Call& call)
    : RequestHandler(context, call), share_(context.gathered) {}

SnapshotCall::~SnapshotCall() {
  context_.front.lane().cancel(timer_);
  context_.front.lane().cancel(rest_timer_);
}

void SnapshotCall::run(std::string_view) {
  if (!share_.set(kBytesHeld)) return refuse(mvcc::Errc::kTooMuchMemory);
  begun_ = context_.front.lane().clock().now();
  waiting_ = context_.front.on_state(
      [this](std::shared_ptr<const member::View> view, store::Store& store) -> base::Job {
        auto work = std::make_shared<Work>(member::DbState::of(view, store));
        return [this, work, view = std::move(view)] {
          work_ = work;
          hold_ = context_.front.held_views().hold(
              *view, [this] { finish(status_of(RequestErrc::kHeldTooLong)); });
          plan();
        };
      });
}

void SnapshotCall::plan() {
  waiting_ = context_.front.on_transfer([this, work = work_]() -> base::Job {
    work->planned = work->file.plan();
    return [this] {
      waiting_ = 0;
      if (!work_->planned) return fail(work_->planned.error());
      if (work_->file.is_marked()) hold_.reset();
      *work_->planned ? planned() : plan();
    };
  });
}

void SnapshotCall::planned() {
  work_->left = work_->file.bytes();
  env::log_info("sending database snapshot to client",
                {{"total-bytes", work_->left}, {"storage-version", work_->file.storage_version()}});
  look();
  make();
}

void SnapshotCall::make_after_rest() {
  rest_timer_ = context_.front.lane().after(member::kDbRest, [this] {
    rest_timer_ = 0;
    make();
  });
}

void SnapshotCall::make() {
  waiting_ = context_.front.on_transfer([this, work = work_]() -> base::Job {
    work->messages = work->next();
    return [this] {
      waiting_ = 0;
      made();
    };
  });
}

void SnapshotCall::made() {
  if (!work_->messages) return fail(work_->messages.error());
  ready_ = *std::exchange(work_->messages, std::vector<std::string>());
  if (call_.unsent_bytes() <= kUnsentBytesMax) send_ready();
}

void SnapshotCall::send_ready() {
  std::vector<std::string> messages = *std::exchange(ready_, std::nullopt);
  for (std::string& message : messages) {
    sent_bytes_ += message.size();
    call_.send(std::move(message));
  }
  if (!work_->is_done) return make_after_rest();
  const base::Duration took = context_.front.lane().clock().now() - begun_;
  context_.front.shared().metrics.db_stream_seconds.observe(took);
  env::log_info("successfully sent database snapshot to client",
                {{"total-bytes", work_->file.bytes()}, {"took", took}});
  finish({});
}

void SnapshotCall::on_drained() {
  if (ready_) send_ready();
}

// Whether the client still takes something, and has not had longer than the file is worth.
void SnapshotCall::look() {
  const base::Duration patience = context_.front.config().held_views_age_max;
  timer_ = context_.front.lane().after(patience, [this, patience] {
    timer_ = 0;
    const base::Duration took = context_.front.lane().clock().now() - begun_;
    const auto worth = base::Seconds(static_cast<std::int64_t>(work_->file.bytes() / kPaceMin));
    if (sent_bytes_ == std::exchange(sent_bytes_then_, sent_bytes_) || took > patience + worth) {
      return finish(status_of(RequestErrc::kHeldTooLong));
    }
    look();
  });
}

void SnapshotCall::fail(const base::Error& error) {
  env::log_warn("failed to send database snapshot to client", {{"error", error}});
  finish(status_of(mvcc::Errc::kUnreadable));
}

}  // namespace keelson::api
