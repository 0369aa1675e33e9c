#include "member/peer_metrics.h"

#include <gtest/gtest.h>

#include <map>

#include "peer/world_test.h"

namespace keelson::member {
namespace {

// "name label=value ...": value, of what is counted and not timed.
std::map<std::string, double> flat(const std::vector<prometheus::MetricFamily>& families) {
  std::map<std::string, double> all;
  for (const auto& family : families) {
    for (const auto& metric : family.metric) {
      std::string name = family.name;
      for (const auto& label : metric.label) name += fmt::format(" {}={}", label.name, label.value);
      all[name] = metric.gauge.value + metric.counter.value +
                  static_cast<double>(metric.histogram.sample_count);
    }
  }
  return all;
}

TEST(PeerMetrics, InEtcdsNames) {
  using peer::testing::Member;
  env::simulated::World world(1);
  Member one(world, 1), two(world, 2);
  prometheus::Registry registry;
  PeerMetrics metrics(registry, 1);
  EXPECT_TRUE(metrics.Collect().empty());
  metrics.watch(*one.transport);
  one.know(2);
  two.know(1);
  world.run_for(base::Seconds(1));
  auto state = std::make_shared<peer::testing::TestSource::State>();
  one.transport->send_snapshot(peer::testing::snapshot_message(1, 2, 7),
                               std::make_unique<peer::testing::TestSource>(one.lane, state));
  one.transport->send_snapshot(peer::testing::snapshot_message(1, 5, 7),
                               std::make_unique<peer::testing::TestSource>(one.lane, state));
  two.send(peer::testing::heartbeat(2, 1));
  world.run_for(base::Seconds(1));
  auto now = flat(metrics.Collect());
  EXPECT_EQ(now["etcd_network_active_peers Local=1 Remote=2"], 1);
  EXPECT_EQ(now["etcd_network_snapshot_send_success To=2"], 1);
  EXPECT_EQ(now.at("etcd_network_snapshot_send_inflights_total To=2"), 0);
  EXPECT_GT(now["etcd_network_peer_sent_bytes_total To=2"], 0);
  EXPECT_GT(now["etcd_network_peer_received_bytes_total From=2"], 0);
  EXPECT_FALSE(now.contains("etcd_network_disconnected_peers_total Local=1 Remote=2"));
  one.transport->remove_peer(2);
  world.run_for(base::Seconds(1));
  now = flat(metrics.Collect());
  EXPECT_EQ(now.at("etcd_network_active_peers Local=1 Remote=2"), 0);
  EXPECT_EQ(now["etcd_network_disconnected_peers_total Local=1 Remote=2"], 1);
}

TEST(PeerMetrics, Times) {
  prometheus::Registry registry;
  PeerMetrics metrics(registry, 1);
  metrics.on_round_trip(0xab, base::Milliseconds(1));
  metrics.on_round_trip(0xab, base::Milliseconds(2));
  metrics.on_snapshot_send(2, base::Seconds(1));
  metrics.on_snapshot_receive(3, base::Seconds(1));
  const std::map<std::string, double> expected = {
      {"etcd_network_peer_round_trip_time_seconds To=ab", 2},
      {"etcd_network_snapshot_send_total_duration_seconds To=2", 1},
      {"etcd_network_snapshot_receive_total_duration_seconds From=3", 1}};
  EXPECT_EQ(flat(registry.Collect()), expected);
}

}  // namespace
}  // namespace keelson::member
