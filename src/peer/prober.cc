#include "peer/prober.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "env/log.h"
#include "peer/protocol.h"

namespace keelson::peer {
namespace {

constexpr base::Duration kInterval = base::Seconds(4);
constexpr base::Duration kKeepTime = base::Milliseconds(4900);
constexpr base::Duration kReportWell = base::Seconds(30);
constexpr base::Duration kReportIll = base::Seconds(5);
constexpr base::Duration kDriftMax = base::Seconds(1);
constexpr std::string_view kName = "ROUND_TRIPPER_RAFT_MESSAGE";

}  // namespace

Prober::Prober(Link& link)
    : link_(link), connection_(link.context.lane, link.context.connector, {.keep = kKeepTime}) {
  env::Lane& lane = link_.context.lane;
  tick_ = lane.after(kInterval, [this] { on_tick(); });
  report_ = lane.after(kReportIll, [this] { on_report(); });
}

Prober::~Prober() {
  link_.context.lane.cancel(tick_);
  link_.context.lane.cancel(report_);
}

void Prober::on_tick() {
  tick_ = link_.context.lane.after(kInterval, [this] { on_tick(); });
  if (connection_.busy() || link_.picker.empty()) return;
  asked_at_ = link_.context.now();
  url_ = link_.picker.pick();
  connection_.ask({.url = url_,
                   .request = {.target = std::string(kProbingPath)},
                   .dial_timeout = link_.context.options.dial_timeout},
                  [this](const base::Result<Answered, NoAnswer>& answered) {
                    answered ? on_answer(*answered) : fail(answered.error().error.message());
                  });
}

void Prober::on_answer(const Answered& answered) {
  if (answered.status != 200) {
    return fail(
        fmt::format("got unexpected HTTP status code {} from {}", answered.status, url_.text()));
  }
  const auto remote = parse_probing(answered.body);
  if (!remote) return fail("got an unexpected answer");
  record(*remote);
}

// As etcd's prober smooths: seven parts of what was, one of what is.
void Prober::record(base::WallTime remote) {
  const base::Duration took = link_.context.now() - asked_at_;
  const base::Duration before = smoothed_ == base::Duration::zero() ? took : smoothed_;
  smoothed_ = (7 * before + took) / 8;
  clock_ahead_ = link_.context.lane.clock().wall_now() - remote - smoothed_ / 2;
  healthy_ = true;
  error_.clear();
}

void Prober::fail(std::string reason) {
  link_.picker.unreachable(url_);
  connection_.drop();
  healthy_ = false;
  error_ = std::move(reason);
}

void Prober::on_report() {
  report_ = link_.context.lane.after(healthy_ ? kReportWell : kReportIll, [this] { on_report(); });
  if (!healthy_) {
    env::log_warn("prober detected unhealthy status", {{"round-tripper-name", kName},
                                                       {"remote-peer-id", link_.id_text},
                                                       {"rtt", smoothed_},
                                                       {"error", error_}});
  }
  if (clock_ahead_ > kDriftMax) {
    env::log_warn("prober found high clock drift", {{"round-tripper-name", kName},
                                                    {"remote-peer-id", link_.id_text},
                                                    {"clock-drift", clock_ahead_},
                                                    {"rtt", smoothed_}});
  }
  if (link_.context.observer != nullptr) {
    link_.context.observer->on_round_trip(link_.id, smoothed_);
  }
}

}  // namespace keelson::peer
