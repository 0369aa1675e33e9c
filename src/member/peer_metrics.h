// PeerMetrics: what the transport counts and times, in etcd's names (etcd_network_*), for a scrape.
// operations.md 6.
//
// Counters are read from the transport when somebody scrapes; a label value is there once there is
// something to count, as in etcd. Durations are told by the transport, on its lane.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/registry.h>

#include <string>
#include <vector>

#include "membership/member.h"
#include "peer/transport.h"

namespace keelson::member {

class PeerMetrics final : public peer::Observer, public prometheus::Collectable {
 public:
  PeerMetrics(prometheus::Registry& registry, membership::MemberId self);

  // Before the lanes run; `transport` outlives the scrapes.
  void watch(const peer::Transport& transport) { transport_ = &transport; }

  // Any lane.
  std::vector<prometheus::MetricFamily> Collect() const override;

  void on_round_trip(raft::NodeId id, base::Duration smoothed) override;
  void on_snapshot_send(raft::NodeId to, base::Duration took) override;
  void on_snapshot_receive(raft::NodeId from, base::Duration took) override;

 private:
  const std::string self_;
  prometheus::Family<prometheus::Histogram>& round_trips_;
  prometheus::Family<prometheus::Histogram>& snapshot_sends_;
  prometheus::Family<prometheus::Histogram>& snapshot_receives_;
  const peer::Transport* transport_ = nullptr;
};

}  // namespace keelson::member
