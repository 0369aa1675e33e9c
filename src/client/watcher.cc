#include "client/watcher.h"

#include <algorithm>

#include "base/check.h"

namespace keelson::client {

using etcdserverpb::WatchCreateRequest;
using etcdserverpb::WatchRequest;
using etcdserverpb::WatchResponse;
using http::Status;
using http::StatusCode;

namespace {

// etcd's client goes on after these: the member will be back, or another one is there.
bool is_passing(const Status& status) {
  return status.code == StatusCode::kUnavailable || status.code == StatusCode::kInternal;
}

// Why the server ended a watch.
Status reason(const WatchResponse& response) {
  if (response.compact_revision() != 0) {
    return {StatusCode::kOutOfRange, "etcdserver: mvcc: required revision has been compacted"};
  }
  if (!response.cancel_reason().empty()) {
    return {StatusCode::kFailedPrecondition, response.cancel_reason()};
  }
  return {StatusCode::kOutOfRange, "etcdserver: mvcc: required revision is a future revision"};
}

}  // namespace

class Watcher::One final : public Watch {
 public:
  One(Watcher& watcher, WatchCreateRequest the_request, WatchHandler& the_handler)
      : request(std::move(the_request)), handler(&the_handler), watcher_(watcher) {
    next = request.start_revision();
  }
  ~One() override {
    if (handler != nullptr) watcher_.remove(*this);
  }
  std::int64_t next_revision() const override { return next; }

  // The last thing it hears; may destroy this.
  void end(WatchEnd end) { std::exchange(handler, nullptr)->on_end(std::move(end)); }

  const WatchCreateRequest request;
  WatchHandler* handler;  // nullptr once it has heard the end
  std::uint64_t serial = 0;
  std::int64_t next = 0;
  std::int64_t watch_id = -1;  // of this stream, once created
  bool told_created = false;
  WatchResponse fragments;  // what came of a response of which more is to come

 private:
  Watcher& watcher_;
};

class Watcher::StreamHandler final : public http::ClientCallHandler {
 public:
  explicit StreamHandler(Watcher& watcher) : watcher_(watcher) {}
  void on_message(http::Message message) override { watcher_.on_message(message.view()); }
  void on_end(http::CallEnd end) override { watcher_.on_end(std::move(end.status)); }

 private:
  Watcher& watcher_;
};

Watcher::Watcher(Client& client, WatcherOptions options)
    : client_(client),
      options_(options),
      stream_handler_(std::make_unique<StreamHandler>(*this)),
      pause_(options.pause_min) {}

Watcher::~Watcher() {
  CHECK(watches_.empty());
  if (timer_ != 0) client_.lane().cancel(timer_);
}

std::unique_ptr<Watch> Watcher::watch(WatchCreateRequest request, WatchHandler& handler) {
  auto one = std::make_unique<One>(*this, std::move(request), handler);
  one->serial = ++last_serial_;
  watches_.emplace(one->serial, one.get());
  if (stream_ != nullptr) {
    create(*one);
  } else if (timer_ == 0) {
    open();
  }
  return one;
}

void Watcher::request_progress() {
  if (stream_ == nullptr) return;  // the watches it would be about are being created again
  WatchRequest request;
  request.mutable_progress_request();
  send(request);
}

void Watcher::open() {
  http::CallHead head{.path = std::string(kWatchPath)};
  if (options_.require_leader) head.metadata.emplace_back("hasleader", "true");
  stream_ = client_.start(std::move(head), *stream_handler_);
  for (const auto& [serial, one] : watches_) create(*one);
}

void Watcher::create(One& one) {
  WatchRequest request;
  WatchCreateRequest& create = *request.mutable_create_request();
  create = one.request;
  create.set_watch_id(0);
  create.set_start_revision(one.next);
  one.watch_id = -1;
  one.fragments.Clear();
  creating_.push_back(one.serial);
  send(request);
}

void Watcher::send(const WatchRequest& request) { stream_->send(request.SerializeAsString()); }

void Watcher::on_message(std::string_view bytes) {
  WatchResponse response;
  if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    stream_.reset();
    return on_end({StatusCode::kInternal, "the server sent what is no WatchResponse"});
  }
  pause_ = options_.pause_min;
  if (response.created()) return on_created(std::move(response));
  if (response.watch_id() != -1) return deliver(std::move(response));
  // Progress that was asked for: about all.
  std::vector<std::int64_t> ids;
  for (const auto& [id, serial] : by_id_) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  for (const std::int64_t id : ids) {
    response.set_watch_id(id);
    deliver(response);
  }
}

void Watcher::on_created(WatchResponse response) {
  if (creating_.empty()) return;  // of nothing that was asked for
  const std::uint64_t serial = creating_.front();
  creating_.pop_front();
  const auto it = watches_.find(serial);
  if (it == watches_.end()) {  // not wanted any more
    if (response.canceled()) return;
    WatchRequest request;
    request.mutable_cancel_request()->set_watch_id(response.watch_id());
    return send(request);
  }
  One& one = *it->second;
  if (response.canceled()) {
    watches_.erase(it);
    Status status = reason(response);
    return one.end({std::move(status), std::move(response)});
  }
  one.watch_id = response.watch_id();
  by_id_[one.watch_id] = serial;
  if (one.next == 0) one.next = response.header().revision() + 1;
  if (!std::exchange(one.told_created, true)) one.handler->on_created(response);
}

void Watcher::deliver(WatchResponse response) {
  const auto it = by_id_.find(response.watch_id());
  if (it == by_id_.end()) return;  // its cancellation is under way
  One& one = *watches_.at(it->second);
  if (response.canceled()) {
    watches_.erase(one.serial);
    by_id_.erase(it);
    Status status = reason(response);
    return one.end({std::move(status), std::move(response)});
  }
  if (response.fragment() || one.fragments.events_size() > 0) {
    const bool more = response.fragment();
    WatchResponse whole = std::move(one.fragments);
    one.fragments.Clear();
    for (auto& event : *response.mutable_events()) *whole.add_events() = std::move(event);
    *whole.mutable_header() = response.header();
    whole.set_watch_id(response.watch_id());
    if (more) {
      one.fragments = std::move(whole);
      return;
    }
    response = std::move(whole);
  }
  const std::int64_t told = response.events_size() > 0
                                ? response.events().rbegin()->kv().mod_revision()
                                : response.header().revision();
  one.next = std::max(one.next, told + 1);
  one.handler->on_response(std::move(response));
}

void Watcher::on_end(Status status) {
  stream_.reset();
  creating_.clear();
  by_id_.clear();
  if (watches_.empty()) return;
  if (!is_passing(status)) return end_all(status);
  timer_ = client_.lane().after(pause_, [this] {
    timer_ = 0;
    if (!watches_.empty()) open();
  });
  pause_ = std::min(pause_ * 2, options_.pause_max);
}

// A handler may destroy others, and begin new ones, which are not meant.
void Watcher::end_all(const Status& status) {
  std::vector<std::uint64_t> serials;
  for (const auto& [serial, one] : watches_) serials.push_back(serial);
  for (const std::uint64_t serial : serials) {
    const auto it = watches_.find(serial);
    if (it == watches_.end()) continue;
    One& one = *it->second;
    watches_.erase(it);
    one.end({status, {}});
  }
}

void Watcher::remove(One& one) {
  watches_.erase(one.serial);
  if (one.watch_id == -1 || stream_ == nullptr) return;  // or on_created will see to it
  by_id_.erase(one.watch_id);
  WatchRequest request;
  request.mutable_cancel_request()->set_watch_id(one.watch_id);
  send(request);
}

}  // namespace keelson::client
