#include "peer/prober.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "env/log.h"
#include "peer/protocol.h"

namespace keelson::peer {
namespace {

constexpr base::Duration kInterval = base::Seconds(4);
constexpr base::Duration kReportWell = base::Seconds(30);
constexpr base::Duration kReportIll = base::Seconds(5);
constexpr base::Duration kDriftMax = base::Seconds(1);
constexpr std::size_t kAnswerBytesMax = 4096;
constexpr std::string_view kName = "ROUND_TRIPPER_RAFT_MESSAGE";

}  // namespace

Prober::Prober(Link& link) : link_(link) {
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
  if (under_way_ || link_.picker.empty()) return;
  asked_at_ = link_.context.now();
  under_way_ = true;
  if (client_ && client_->idle() && url_ == link_.picker.pick()) return ask();
  url_ = link_.picker.pick();
  client_.reset();
  link_.dial(url_, alive_, [this](Dialled dialled) {
    if (!dialled) return fail(dialled.error().message());
    client_ = *std::move(dialled);
    ask();
  });
}

void Prober::ask() {
  status_ = 0;
  answer_.clear();
  client_->start({.target = std::string(kProbingPath), .host = url_.host}, *this);
}

void Prober::on_head(const http::ResponseHead& head) { status_ = head.status; }
void Prober::on_body(std::string_view bytes) {
  answer_ += bytes.substr(0, kAnswerBytesMax - std::min(answer_.size(), kAnswerBytesMax));
}
void Prober::on_failed(const http::RequestFailure& failure) { fail(failure.error.message()); }

void Prober::on_end() {
  if (status_ != 200) {
    return fail(fmt::format("got unexpected HTTP status code {} from {}", status_, url_.text()));
  }
  const auto remote = parse_probing(answer_);
  if (!remote) return fail("got an unexpected answer");
  record(*remote);
}

// As etcd's prober smooths: seven parts of what was, one of what is.
void Prober::record(base::WallTime remote) {
  const base::Duration took = link_.context.now() - asked_at_;
  const base::Duration before = smoothed_ == base::Duration::zero() ? took : smoothed_;
  smoothed_ = (7 * before + took) / 8;
  clock_ahead_ = link_.context.lane.clock().wall_now() - remote - smoothed_ / 2;
  under_way_ = false;
  healthy_ = true;
  error_.clear();
}

void Prober::fail(std::string reason) {
  link_.picker.unreachable(url_);
  client_.reset();
  under_way_ = false;
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
