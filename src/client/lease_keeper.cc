#include "client/lease_keeper.h"

#include <algorithm>

#include "base/check.h"

namespace keelson::client {

using etcdserverpb::LeaseKeepAliveRequest;
using etcdserverpb::LeaseKeepAliveResponse;
using http::Status;
using http::StatusCode;

namespace {

std::string request_bytes(std::int64_t id) {
  LeaseKeepAliveRequest request;
  request.set_id(id);
  return request.SerializeAsString();
}

}  // namespace

class LeaseKeeper::StreamHandler final : public http::ClientCallHandler {
 public:
  explicit StreamHandler(LeaseKeeper& keeper) : keeper_(keeper) {}
  void on_message(http::Message message) override { keeper_.on_message(message.view()); }
  void on_end(http::CallEnd end) override { keeper_.on_stream_end(std::move(end.status)); }

 private:
  LeaseKeeper& keeper_;
};

LeaseKeeper::LeaseKeeper(Client& client)
    : client_(client),
      stream_handler_(std::make_unique<StreamHandler>(*this)),
      open_after_(client.now()) {}

LeaseKeeper::~LeaseKeeper() {
  if (timer_ != 0) client_.lane().cancel(timer_);
}

void LeaseKeeper::keep(std::int64_t id, LeaseHandler& handler) {
  const base::TimePoint now = client_.now();
  const bool is_new =
      leases_
          .emplace(id, Kept{&handler, now, now + client_.options().dial_timeout + kFirstAnswerMax})
          .second;
  CHECK(is_new);
  arm();
}

void LeaseKeeper::drop(std::int64_t id) { leases_.erase(id); }

void LeaseKeeper::open() {
  stream_ = client_.start({.path = std::string(kLeaseKeepAlivePath)}, *stream_handler_);
}

// Sends what is due and ends what is overdue.
void LeaseKeeper::turn() {
  const base::TimePoint now = client_.now();
  std::vector<std::int64_t> overdue;
  if (stream_ == nullptr && now >= open_after_ && !leases_.empty()) open();
  for (auto& [id, kept] : leases_) {
    if (kept.deadline <= now) {
      overdue.push_back(id);
    } else if (kept.due <= now && stream_ != nullptr) {
      stream_->send(request_bytes(id));
      kept.due = kept.deadline;  // until the answer says when
    }
  }
  for (const std::int64_t id : overdue) end(id, {});
  if (leases_.empty()) stream_.reset();
  arm();
}

// The timer stands at the next thing to do.
void LeaseKeeper::arm() {
  if (timer_ != 0) client_.lane().cancel(std::exchange(timer_, 0));
  if (leases_.empty()) return;
  base::TimePoint next = base::TimePoint::max();
  for (const auto& [id, kept] : leases_) {
    next = std::min(
        next,
        std::min(kept.deadline, stream_ != nullptr ? kept.due : std::max(kept.due, open_after_)));
  }
  timer_ = client_.lane().at(next, [this] {
    timer_ = 0;
    turn();
  });
}

void LeaseKeeper::on_message(std::string_view bytes) {
  LeaseKeepAliveResponse response;
  if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    stream_.reset();
    return on_stream_end({StatusCode::kUnavailable, "not a LeaseKeepAliveResponse"});
  }
  const auto it = leases_.find(response.id());
  if (it == leases_.end()) return;
  if (response.ttl() <= 0) {
    end(response.id(), {});
    return arm();
  }
  const base::Duration ttl = base::Seconds(response.ttl());
  it->second.due = client_.now() + ttl / 3;
  it->second.deadline = client_.now() + ttl;
  arm();
  it->second.handler->on_renewed(response);
}

void LeaseKeeper::on_stream_end(Status status) {
  stream_.reset();
  const base::TimePoint now = client_.now();
  if (status.code == StatusCode::kUnavailable || status.code == StatusCode::kInternal ||
      status.ok()) {
    open_after_ = now + kPause;
    for (auto& [id, kept] : leases_) kept.due = std::min(kept.due, open_after_);
    return arm();
  }
  std::vector<std::int64_t> ids;
  for (const auto& [id, kept] : leases_) ids.push_back(id);
  for (const std::int64_t id : ids) end(id, status);
  arm();
}

void LeaseKeeper::end(std::int64_t id, Status status) {
  const auto it = leases_.find(id);
  if (it == leases_.end()) return;
  LeaseHandler* handler = it->second.handler;
  leases_.erase(it);
  handler->on_end(std::move(status));
}

// keep_alive_once ------------------------------------------------------------------------------

namespace {

// A stream of one request and one answer; begun again as a read would be.
class Once final : public Call, private http::ClientCallHandler {
 public:
  using Done = base::Function<void(base::Result<LeaseKeepAliveResponse, Status>)>;

  Once(Client& client, std::int64_t id, CallOptions options, Done done)
      : client_(client), id_(id), options_(std::move(options)), done_(std::move(done)) {}
  ~Once() override {
    if (timer_ != 0) client_.lane().cancel(timer_);
  }

  void attempt() {
    stream_ = client_.start({.path = std::string(kLeaseKeepAlivePath),
                             .metadata = options_.metadata,
                             .deadline = options_.deadline},
                            *this);
    stream_->send(request_bytes(id_));
  }

 private:
  void on_message(http::Message message) override {
    LeaseKeepAliveResponse response;
    const std::string_view bytes = message.view();
    if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return finish(base::fail(Status{StatusCode::kInternal, "not a LeaseKeepAliveResponse"}));
    }
    if (response.ttl() <= 0) {
      return finish(
          base::fail(Status{StatusCode::kNotFound, "etcdserver: requested lease not found"}));
    }
    finish(std::move(response));
  }
  void on_end(http::CallEnd end) override {
    if (end.status.code != StatusCode::kUnavailable || ++attempts_ >= Client::kAttemptsMax) {
      if (end.status.ok()) end.status = {StatusCode::kUnavailable, "EOF"};
      return finish(base::fail(std::move(end.status)));
    }
    timer_ = client_.lane().after(Client::kRetryPause, [this] {
      timer_ = 0;
      attempt();
    });
  }
  // May destroy this.
  void finish(base::Result<LeaseKeepAliveResponse, Status> result) {
    auto done = std::move(done_);
    stream_.reset();
    done(std::move(result));
  }

  Client& client_;
  const std::int64_t id_;
  const CallOptions options_;
  Done done_;
  std::unique_ptr<http::ClientCall> stream_;
  unsigned attempts_ = 0;
  env::TimerId timer_ = 0;
};

}  // namespace

std::unique_ptr<Call> keep_alive_once(
    Client& client, std::int64_t id, CallOptions options,
    base::Function<void(base::Result<LeaseKeepAliveResponse, Status>)> done) {
  auto once = std::make_unique<Once>(client, id, std::move(options), std::move(done));
  once->attempt();
  return once;
}

}  // namespace keelson::client
