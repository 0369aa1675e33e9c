#include "member/peer_metrics.h"

#include "member/metrics.h"

namespace keelson::member {
namespace {

using peer::PeerStats;
using prometheus::MetricType;

enum class Label { kTo, kFrom, kLocalAndRemote };

struct Row {
  const char* name;
  const char* help;
  MetricType type;
  Label label;
  std::uint64_t (*value)(const PeerStats& stats);
  // Whether there has been anything; nullptr: if the value is not zero.
  std::uint64_t (*ever)(const PeerStats& stats) = nullptr;
};

constexpr Row kRows[] = {
    {"etcd_network_active_peers", "Peers that messages get through to, or from.", MetricType::Gauge,
     Label::kLocalAndRemote,
     [](const PeerStats& s) { return s.became_active.value() - s.disconnected.value(); },
     [](const PeerStats& s) { return s.became_active.value(); }},
    {"etcd_network_disconnected_peers_total", "Peers lost.", MetricType::Counter,
     Label::kLocalAndRemote, [](const PeerStats& s) { return s.disconnected.value(); }},
    {"etcd_network_peer_sent_bytes_total", "Bytes sent to peers.", MetricType::Counter, Label::kTo,
     [](const PeerStats& s) { return s.sent_bytes.value(); }},
    {"etcd_network_peer_sent_failures_total", "Messages to peers that were lost.",
     MetricType::Counter, Label::kTo, [](const PeerStats& s) { return s.sent_failures.value(); }},
    {"etcd_network_peer_received_bytes_total", "Bytes received from peers.", MetricType::Counter,
     Label::kFrom, [](const PeerStats& s) { return s.received_bytes.value(); }},
    {"etcd_network_peer_received_failures_total", "Messages of peers that were not taken.",
     MetricType::Counter, Label::kFrom,
     [](const PeerStats& s) { return s.received_failures.value(); }},
    {"etcd_network_snapshot_send_success", "Snapshots sent.", MetricType::Counter, Label::kTo,
     [](const PeerStats& s) { return s.snapshot_send_success.value(); }},
    {"etcd_network_snapshot_send_failures", "Snapshots whose sending failed.", MetricType::Counter,
     Label::kTo, [](const PeerStats& s) { return s.snapshot_send_failures.value(); }},
    {"etcd_network_snapshot_send_inflights_total", "Snapshots being sent.", MetricType::Gauge,
     Label::kTo,
     [](const PeerStats& s) {
       return s.snapshot_sends_started.value() - s.snapshot_sends_ended.value();
     },
     [](const PeerStats& s) { return s.snapshot_sends_started.value(); }},
    {"etcd_network_snapshot_receive_success", "Snapshots received.", MetricType::Counter,
     Label::kFrom, [](const PeerStats& s) { return s.snapshot_receive_success.value(); }},
    {"etcd_network_snapshot_receive_failures",
     "Snapshots that did not come whole, or were refused.", MetricType::Counter, Label::kFrom,
     [](const PeerStats& s) { return s.snapshot_receive_failures.value(); }},
    {"etcd_network_snapshot_receive_inflights_total", "Snapshots being received.",
     MetricType::Gauge, Label::kFrom,
     [](const PeerStats& s) {
       return s.snapshot_receives_started.value() - s.snapshot_receives_ended.value();
     },
     [](const PeerStats& s) { return s.snapshot_receives_started.value(); }},
};

std::vector<prometheus::ClientMetric::Label> labels_of(const Row& row, const std::string& self,
                                                       raft::NodeId id) {
  const std::string other = id == raft::kNone ? "UNKNOWN_SNAPSHOT_SENDER" : membership::id_text(id);
  switch (row.label) {
    case Label::kTo:
      return {{"To", other}};
    case Label::kFrom:
      return {{"From", other}};
    case Label::kLocalAndRemote:
      return {{"Local", self}, {"Remote", other}};
  }
  return {};
}

prometheus::Family<prometheus::Histogram>& histograms(prometheus::Registry& registry,
                                                      const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

double seconds(base::Duration duration) { return std::chrono::duration<double>(duration).count(); }

}  // namespace

PeerMetrics::PeerMetrics(prometheus::Registry& registry, membership::MemberId self)
    : self_(membership::id_text(self)),
      round_trips_(histograms(registry, "etcd_network_peer_round_trip_time_seconds",
                              "Time a question to a peer takes, and its answer.")),
      snapshot_sends_(histograms(registry, "etcd_network_snapshot_send_total_duration_seconds",
                                 "Time sending a snapshot took.")),
      snapshot_receives_(histograms(registry,
                                    "etcd_network_snapshot_receive_total_duration_seconds",
                                    "Time receiving a snapshot took.")) {}

std::vector<prometheus::MetricFamily> PeerMetrics::Collect() const {
  std::vector<prometheus::MetricFamily> families;
  if (transport_ == nullptr) return families;
  const peer::Stats stats = transport_->stats();
  for (const Row& row : kRows) {
    prometheus::MetricFamily family{.name = row.name, .help = row.help, .type = row.type};
    for (const auto& each : stats) {
      if ((row.ever != nullptr ? row.ever(*each) : row.value(*each)) == 0) continue;
      auto& metric = family.metric.emplace_back();
      metric.label = labels_of(row, self_, each->id);
      const auto value = static_cast<double>(row.value(*each));
      row.type == MetricType::Gauge ? metric.gauge.value = value : metric.counter.value = value;
    }
    if (!family.metric.empty()) families.push_back(std::move(family));
  }
  return families;
}

void PeerMetrics::on_round_trip(raft::NodeId id, base::Duration smoothed) {
  round_trips_.Add({{"To", membership::id_text(id)}}, exponential(0.0001, 2, 16))
      .Observe(seconds(smoothed));
}

void PeerMetrics::on_snapshot_send(raft::NodeId to, base::Duration took) {
  snapshot_sends_.Add({{"To", membership::id_text(to)}}, exponential(0.1, 2, 10))
      .Observe(seconds(took));
}

void PeerMetrics::on_snapshot_receive(raft::NodeId from, base::Duration took) {
  snapshot_receives_.Add({{"From", membership::id_text(from)}}, exponential(0.1, 2, 10))
      .Observe(seconds(took));
}

}  // namespace keelson::member
