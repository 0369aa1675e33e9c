#include "api/watch_lane.h"

#include <algorithm>

#include "api/encode.h"
#include "base/varint.h"

namespace keelson::api {
namespace {

// Deliveries of one job: some 200 us.
constexpr std::size_t kDeliveriesPerJob = 2000;
// Of one stream. Above it a slow reader costs reads of history instead of memory.
constexpr std::size_t kUnsentBytesMax = std::size_t{1} << 20;
// Beyond this on the whole lane each stream may have only so much.
constexpr std::size_t kLaneUnsentBytesMax = std::size_t{128} << 20;
constexpr std::size_t kUnsentBytesTight = std::size_t{64} << 10;
constexpr base::Duration kVictimsRetry = base::Milliseconds(10);  // api.md 3.7
constexpr base::Duration kProgressIntervalMin = base::Milliseconds(100);

}  // namespace

WatchLane::WatchLane(member::Front& front)
    : front_(front),
      metrics_(*front.shared().metrics.registry),
      random_(static_cast<std::uint64_t>(front.lane().clock().now().time_since_epoch().count()) +
              front.number()) {
  front_.set_listener(this);
}

WatchLane::~WatchLane() {
  *alive_ = false;
  front_.set_listener(nullptr);
  front_.forget(round_ticket_);
  front_.lane().cancel(victims_timer_);
}

watch::Hub& WatchLane::hub() {
  if (!hub_) {
    watch::Hub::Options options;
    options.fragment_bytes = front_.config().request_bytes_max + (std::size_t{512} << 10);
    hub_.emplace(options, published().revision);
  }
  return *hub_;
}

void WatchLane::asked() {
  if (std::exchange(work_scheduled_, true)) return;
  front_.lane().post([this, alive = alive_] {
    if (!*alive) return;
    work_scheduled_ = false;
    work();
  });
}

void WatchLane::on_batch(const std::shared_ptr<const mvcc::EventBatch>& events) {
  if (!hub_) return;
  hub_->push(events, published());
  if (!work_scheduled_) work();
}

void WatchLane::on_batches_lost() {
  if (!hub_) return;
  hub_->lose(published());
  asked();
}

void WatchLane::work() {
  const auto view = front_.view();
  const auto since = front_.lane().clock().now();
  const std::uint64_t told = hub_->stats().events;
  if (hub_->deliver(view->keys, *view->reader, kDeliveriesPerJob)) asked();
  if (const auto events = static_cast<std::int64_t>(hub_->stats().events - told); events > 0) {
    const base::Duration took = front_.lane().clock().now() - since;
    metrics_.send_seconds.observe(took);
    metrics_.send_seconds_per_event.observe(took / events);
  }
  begin_round();
  watch_victims();
  report();
}

void WatchLane::begin_round() {
  const auto view = front_.view();
  auto wanted = hub_->begin_round(view->keys);
  if (!wanted) return;
  round_ticket_ = front_.on_worker(
      [this, view, wanted = *std::move(wanted), limits = hub_->slice_limits()]() -> base::Job {
        auto slice = watch::catch_up(view->keys, *view->reader, wanted, limits);
        return [this, slice = std::move(slice)]() mutable {
          round_ticket_ = 0;
          const auto now = front_.view();
          hub_->end_round(std::move(slice), now->keys, *now->reader);
          asked();
        };
      });
}

// A stream tells when it has drained; the timer finds those that have room before that.
void WatchLane::watch_victims() {
  if (victims_timer_ != 0 || !hub_->has_victims()) return;
  victims_timer_ = front_.lane().after(kVictimsRetry, [this] {
    victims_timer_ = 0;
    hub_->resume_all();
    work();
  });
}

std::size_t WatchLane::unsent_bytes_max() const {
  const bool tight = server_stats_ != nullptr && server_stats_->answer_bytes > kLaneUnsentBytesMax;
  return tight ? kUnsentBytesTight : kUnsentBytesMax;
}

base::Duration WatchLane::progress_interval() {
  const base::Duration interval =
      std::max(front_.config().watch_progress_interval, kProgressIntervalMin);
  const auto tenth = static_cast<std::uint64_t>((interval / 10).count());
  return interval + base::Duration(static_cast<std::int64_t>(random_.below(tenth + 1)));
}

std::string_view WatchLane::header_field(std::int64_t revision) {
  const raft::Term term = front_.progress().term.load(std::memory_order_relaxed);
  if (revision != header_revision_ || term != header_term_) {
    header_revision_ = revision;
    header_term_ = term;
    header_field_.clear();
    const Header header{.cluster_id = front_.identity().cluster_id,
                        .member_id = front_.identity().member_id,
                        .revision = revision,
                        .raft_term = term};
    base::put_message_field(header_field_, 1, encode(header));
  }
  return header_field_;
}

void WatchLane::report() {
  const watch::Hub::Stats& now = hub_->stats();
  const auto tell = [&](auto& metric, std::uint64_t watch::Hub::Stats::* field) {
    const auto change = static_cast<std::int64_t>(now.*field - reported_.*field);
    if (change != 0) metric.add(static_cast<double>(change));
  };
  tell(metrics_.streams, &watch::Hub::Stats::streams);
  tell(metrics_.watchers, &watch::Hub::Stats::watchers);
  tell(metrics_.slow_watchers, &watch::Hub::Stats::slow);
  tell(metrics_.pending_events, &watch::Hub::Stats::pending);
  tell(metrics_.events, &watch::Hub::Stats::events);
  reported_ = now;
}

}  // namespace keelson::api
