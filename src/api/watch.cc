#include "api/watch.h"

#include <optional>
#include <utility>

#include "api/rpc_status.h"
#include "base/varint.h"
#include "proto/rpc.pb.h"

namespace keelson::api {
namespace {

using watch::Response;

// One stream. The client's half-close does not end it (api.md 3.1).
class WatchCall : public http::CallHandler, public watch::Outlet {
 public:
  WatchCall(Context& context, WatchLane& lane, http::Call& call)
      : lane_(lane),
        call_(call),
        stream_(lane.hub().open(*this)),
        enrolment_(context.leader_monitor, call,
                   [this] { call_.finish(status_of(RequestErrc::kNoLeader)); }) {
    lane_.asked();
  }
  ~WatchCall() override {
    lane_.front().lane().cancel(tick_timer_);
    lane_.hub().close(stream_);
    lane_.asked();
  }

  void on_message(http::Message message) override;
  void on_drained() override;

  void deliver(const Response& response) override;
  bool is_full() const override { return call_.unsent_bytes() > lane_.unsent_bytes_max(); }
  bool has_room() const override { return call_.unsent_bytes() <= lane_.unsent_bytes_max() / 2; }
  std::size_t overhead_bytes(watch::WatchId id, std::int64_t revision) const override {
    return lane_.header_field(revision).size() +
           base::varint_field_size(kWatchId, static_cast<std::uint64_t>(id));
  }

 private:
  // Fields of a WatchResponse.
  static constexpr std::uint32_t kWatchId = 2, kCreated = 3, kCanceled = 4, kCompactRevision = 5,
                                 kCancelReason = 6, kFragment = 7;

  void create(const etcdserverpb::WatchCreateRequest& request);
  void schedule_tick();

  WatchLane& lane_;
  http::Call& call_;
  watch::Hub::Stream& stream_;
  LeaderMonitor::Enrolment enrolment_;
  env::TimerId tick_timer_ = 0;  // runs once a watcher has asked for progress
  bool paused_ = false;
  etcdserverpb::WatchRequest request_;
};

void WatchCall::on_message(http::Message message) {
  const std::string_view bytes = message.view();
  if (!request_.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    lane_.metrics().receive_failures.add();
    return call_.finish(http::unparsable_message(http::MethodKind::kBidiStream));
  }
  watch::Hub& hub = lane_.hub();
  const auto since = lane_.front().lane().clock().now();
  switch (request_.request_union_case()) {
    case etcdserverpb::WatchRequest::kCreateRequest:
      create(request_.create_request());
      break;
    case etcdserverpb::WatchRequest::kCancelRequest:
      hub.cancel(stream_, request_.cancel_request().watch_id(), lane_.published());
      break;
    case etcdserverpb::WatchRequest::kProgressRequest:
      hub.request_progress(stream_, lane_.published());
      break;
    case etcdserverpb::WatchRequest::REQUEST_UNION_NOT_SET:
      return;
  }
  lane_.metrics().control_seconds.observe(lane_.front().lane().clock().now() - since);
  lane_.asked();
  // Each request may cost an answer: who does not read them is not read either.
  if (!is_full() || std::exchange(paused_, true)) return;
  call_.pause_reading();
}

void WatchCall::create(const etcdserverpb::WatchCreateRequest& request) {
  watch::CreateRequest create{.key = request.key(),
                              .range_end = request.range_end(),
                              .start_revision = request.start_revision(),
                              .id = request.watch_id(),
                              .prev_kv = request.prev_kv(),
                              .progress_notify = request.progress_notify(),
                              .fragment = request.fragment()};
  for (const int filter : request.filters()) {
    create.no_put = create.no_put || filter == etcdserverpb::WatchCreateRequest::NOPUT;
    create.no_delete = create.no_delete || filter == etcdserverpb::WatchCreateRequest::NODELETE;
  }
  if (create.progress_notify && tick_timer_ == 0) schedule_tick();
  lane_.hub().create(stream_, create, lane_.published());
}

void WatchCall::schedule_tick() {
  tick_timer_ = lane_.front().lane().after(lane_.progress_interval(), [this] {
    const auto since = lane_.front().lane().clock().now();
    lane_.hub().tick(stream_);
    lane_.metrics().progress_seconds.observe(lane_.front().lane().clock().now() - since);
    schedule_tick();
  });
}

void WatchCall::on_drained() {
  if (std::exchange(paused_, false)) call_.resume_reading();
  lane_.hub().resume(stream_);
  lane_.asked();
}

std::string reason(watch::Refusal refusal) {
  switch (refusal) {
    case watch::Refusal::kCompacted:
      return status_of(mvcc::Errc::kCompacted).message;
    case watch::Refusal::kEmptyRange:
      return "mvcc: watcher range is empty";
    case watch::Refusal::kDuplicateId:
      return "mvcc: duplicate watch ID provided on the WatchStream";
    case watch::Refusal::kTooMany:
      return status_of(member::Errc::kTooManyRequests).message;
    case watch::Refusal::kUnreadable:
      return status_of(mvcc::Errc::kUnreadable).message;
  }
  CHECK(false);
}

void WatchCall::deliver(const Response& response) {
  using Kind = Response::Kind;
  std::string& head = lane_.begin_response(response.revision);
  base::put_varint_field(head, kWatchId, static_cast<std::uint64_t>(response.id));
  switch (response.kind) {
    case Kind::kEvents:
      base::put_varint_field(head, kFragment, response.fragment ? 1 : 0);
      head += response.events_head;
      return call_.send(head, {&response.events, 1});
    case Kind::kProgress:
      break;
    case Kind::kCreated:
      base::put_varint_field(head, kCreated, 1);
      break;
    case Kind::kRefused:
      base::put_varint_field(head, kCreated, 1);
      base::put_varint_field(head, kCanceled, 1);
      base::put_bytes_field(head, kCancelReason, reason(response.refusal));
      break;
    case Kind::kCanceled:
      base::put_varint_field(head, kCanceled, 1);
      break;
    case Kind::kCompacted:
      base::put_varint_field(head, kCanceled, 1);
      base::put_varint_field(head, kCompactRevision,
                             static_cast<std::uint64_t>(response.compact_revision));
      break;
    case Kind::kFailed:
      base::put_varint_field(head, kCanceled, 1);
      base::put_bytes_field(head, kCancelReason, reason(response.refusal));
      break;
  }
  call_.send(std::string(head));
}

}  // namespace

void add_watch(http::Router& router, Context& context, WatchLane& lane) {
  add_method(router, context, "etcdserverpb.Watch", "Watch", http::MethodKind::kBidiStream,
             [&context, &lane](http::Call& call) -> std::unique_ptr<http::CallHandler> {
               return std::make_unique<WatchCall>(context, lane, call);
             });
}

}  // namespace keelson::api
