#include "api/range_answer.h"

#include <algorithm>

#include "base/varint.h"

namespace keelson::api {
namespace {

constexpr std::size_t kKeysPerSlice = 5000;  // some 100 us
constexpr std::size_t kRowsPerRun = 256;
constexpr std::size_t kMemoryBudget = std::size_t{256} << 20;
// Up to here an answer is made in one piece.
constexpr std::uint64_t kWholeBytesMax = 64 << 10;
// A gzip answer is compressed as a whole, so it must be gathered.
constexpr std::uint64_t kGzipBytesMax = std::uint64_t{64} << 20;

// The rows of one run as field `kvs`, or what kept it from being made.
struct Run {
  std::string bytes;
  std::vector<mvcc::RangeRow> rows;
  std::vector<base::Revision> revisions;
  std::vector<base::ReadResult> read;

  void take(std::vector<mvcc::RangeRow> next) {
    rows = std::move(next);
    revisions.clear();
    for (const mvcc::RangeRow& row : rows) revisions.push_back(row.version.mod);
    read.assign(rows.size(), {});
  }
  // True if everything is here or failed for good.
  bool complete() const {
    return std::none_of(read.begin(), read.end(), [](const base::ReadResult& one) {
      return one.state == base::ReadResult::State::kCold;
    });
  }
  bool failed() const {
    return std::any_of(read.begin(), read.end(), [](const base::ReadResult& one) {
      return one.state == base::ReadResult::State::kError;
    });
  }
  void encode(bool rows_are_complete, bool keys_only) {
    for (std::size_t i = 0; i < rows.size(); i++) {
      if (!rows_are_complete) {
        put_kv_prefix(bytes, read[i].bytes.size());
        bytes += read[i].bytes.view();
      } else if (!rows[i].encoded.empty() || !keys_only) {
        put_kv_prefix(bytes, rows[i].encoded.size());
        bytes += rows[i].encoded.view();
      } else {
        const std::string kv = mvcc::encode_keys_only(rows[i].key, rows[i].version);
        put_kv_prefix(bytes, kv.size());
        bytes += kv;
      }
    }
    rows.clear();
  }
};

}  // namespace

// Header, then runs of rows, then the tail; runs are read when the wire asks for them.
class RangeAnswer::Body : public http::BodySource {
 public:
  Body(Context& context, http::Call& call, std::shared_ptr<const member::View> view,
       mvcc::RangePlan plan, bool keys_only, std::string head, std::string tail)
      : front_(context.front),
        call_(call),
        view_(std::move(view)),
        plan_(std::move(plan)),
        keys_only_(keys_only),
        tail_(std::move(tail)),
        hold_(front_.held_views().hold(*view_, [this] { call_.abandon(); })),
        waiting_(context.front) {
    run_->bytes = std::move(head);
  }

  Pulled pull(std::span<char> out) override {
    if (at_ == run_->bytes.size()) {
      if (reading_) return Wait{};
      if (failed_) return unreadable();
      if (!next_run()) return reading_ ? Pulled(Wait{}) : unreadable();
    }
    const std::size_t length = std::min(out.size(), run_->bytes.size() - at_);
    std::copy_n(run_->bytes.data() + at_, length, out.data());
    at_ += length;
    return length;
  }

 private:
  static Failed unreadable() { return {status_of(mvcc::Errc::kUnreadable)}; }

  // Fills run_->bytes; false if that must wait or failed.
  bool next_run() {
    run_->bytes.clear();
    at_ = 0;
    auto rows = plan_.next_rows(kRowsPerRun);
    if (rows.empty()) {
      CHECK(!tail_.empty());  // not asked beyond the announced length
      run_->bytes = std::exchange(tail_, {});
      return true;
    }
    run_->take(std::move(rows));
    if (!plan_.rows_are_complete()) {
      view_->reader->try_read(run_->revisions, run_->read);
      if (!run_->complete()) {
        read_on_worker();
        return false;
      }
      if (run_->failed()) {
        failed_ = true;
        return false;
      }
    }
    run_->encode(plan_.rows_are_complete(), keys_only_);
    return true;
  }

  void read_on_worker() {
    reading_ = true;
    // The run and the View go along, so a call that ends meanwhile takes nothing from under the
    // worker.
    waiting_ = front_.on_worker([this, run = run_, view = view_]() -> base::Job {
      view->reader->read(run->revisions, run->read);
      return [this] {
        waiting_ = 0;
        reading_ = false;
        failed_ = run_->failed();
        if (!failed_) run_->encode(plan_.rows_are_complete(), keys_only_);
        call_.resume();
      };
    });
  }

  member::Front& front_;
  http::Call& call_;
  std::shared_ptr<const member::View> view_;
  mvcc::RangePlan plan_;
  const bool keys_only_;
  std::string tail_;
  std::unique_ptr<member::HeldViews::Hold> hold_;  // told to end, it abandons the call
  std::shared_ptr<Run> run_ = std::make_shared<Run>();
  std::size_t at_ = 0;
  bool reading_ = false;
  bool failed_ = false;
  Waiting waiting_;
};

RangeAnswer::RangeAnswer(Context& context, http::Call& call,
                         const etcdserverpb::RangeRequest& request,
                         std::shared_ptr<const member::View> view)
    : context_(context),
      call_(call),
      request_(request),
      view_(std::move(view)),
      plan_(view_->keys, request, kMemoryBudget),
      waiting_(context.front),
      alive_(std::make_shared<bool>(true)) {}

RangeAnswer::~RangeAnswer() { *alive_ = false; }

void RangeAnswer::start() {
  context_.front.shared().metrics.ranges_read.fetch_add(1, std::memory_order_relaxed);
  plan();
}

void RangeAnswer::plan() {
  switch (plan_.step(kKeysPerSlice)) {
    case mvcc::RangePlan::Status::kMore:
      hold_view();
      context_.front.lane().post([this, alive = alive_] {
        if (*alive) plan();
      });
      return;
    case mvcc::RangePlan::Status::kNeed:
      return read_for_plan();
    case mvcc::RangePlan::Status::kFailed:
      return call_.finish(status_of(plan_.error()));
    case mvcc::RangePlan::Status::kDone:
      return planned();
  }
}

void RangeAnswer::hold_view() {
  if (hold_) return;
  hold_ = context_.front.held_views().hold(
      *view_, [this] { call_.finish(status_of(RequestErrc::kHeldTooLong)); });
}

void RangeAnswer::read_for_plan() {
  hold_view();
  const auto needed = plan_.needed();
  std::vector<base::ReadResult> read(needed.size());
  view_->reader->try_read(needed, read);
  const bool cold = std::any_of(read.begin(), read.end(), [](const base::ReadResult& one) {
    return one.state == base::ReadResult::State::kCold;
  });
  if (!cold) {
    plan_.feed(read);
    return plan();
  }
  std::vector<base::Revision> revisions(needed.begin(), needed.end());
  waiting_ = context_.front.on_worker(
      [this, view = view_, revisions = std::move(revisions)]() -> base::Job {
        std::vector<base::ReadResult> read(revisions.size());
        view->reader->read(revisions, read);
        return [this, read = std::move(read)]() mutable {
          plan_.feed(read);
          plan();
        };
      });
}

void RangeAnswer::planned() {
  std::string head;
  base::put_message_field(head, 1, encode(context_.header(*view_)));
  std::string tail = range_tail(plan_.more(), plan_.count());
  const std::uint64_t length = head.size() + plan_.encoded_bytes() + tail.size();
  const bool whole = length <= kWholeBytesMax || call_.gzip();
  if (call_.gzip() && length > kGzipBytesMax) {
    return call_.finish(status_of(mvcc::Errc::kTooMuchMemory));
  }
  if (whole && gather(head, tail, length)) return;
  call_.send_streamed(
      length, std::make_unique<Body>(context_, call_, view_, std::move(plan_), request_.keys_only(),
                                     std::move(head), std::move(tail)));
  call_.finish({});
}

// The whole answer at once if everything is in memory; false (and nothing sent) if it is to be
// streamed.
bool RangeAnswer::gather(const std::string& head, const std::string& tail, std::uint64_t length) {
  if (plan_.rows() > kRowsPerRun && !call_.gzip()) return false;
  auto run = std::make_shared<Run>();
  run->take(plan_.next_rows(plan_.rows()));
  run->bytes.reserve(length);
  run->bytes = head;
  const auto send = [this, run, tail] {
    if (run->failed()) return call_.finish(status_of(mvcc::Errc::kUnreadable));
    run->encode(plan_.rows_are_complete(), request_.keys_only());
    run->bytes += tail;
    call_.send(std::move(run->bytes));
    call_.finish({});
  };
  if (plan_.rows_are_complete()) {
    run->read.clear();
    send();
    return true;
  }
  view_->reader->try_read(run->revisions, run->read);
  if (run->complete()) {
    send();
    return true;
  }
  waiting_ = context_.front.on_worker([run, view = view_, send]() -> base::Job {
    view->reader->read(run->revisions, run->read);
    return send;
  });
  return true;
}

}  // namespace keelson::api
