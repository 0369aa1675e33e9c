#include "client/lease_keeper.h"

#include <gtest/gtest.h>

#include "client/fake_cluster_test.h"

namespace keelson::client {
namespace {

using fake::Cluster;
using http::Status;

struct Heard final : LeaseHandler {
  void on_renewed(const pb::LeaseKeepAliveResponse&) override {
    EXPECT_FALSE(end.has_value());
    ++renewed;
  }
  void on_end(Status status) override {
    EXPECT_FALSE(end.has_value());
    end = std::move(status);
  }
  int renewed = 0;
  std::optional<Status> end;
};

class LeaseKeeperTest : public ::testing::Test {
 protected:
  LeaseKeeperTest() : cluster(1, 2) {
    cluster.start_all();
    cluster.connect();
    cluster.in_lane([&] { keeper.emplace(*cluster.client); });
    cluster.history.lease_ttls = {{7, 9}, {8, 30}};
  }
  ~LeaseKeeperTest() override {
    cluster.in_lane([&] { keeper.reset(); });
  }
  void keep(std::int64_t id, Heard& heard) {
    cluster.in_lane([&] { keeper->keep(id, heard); });
  }

  Cluster cluster;
  std::optional<LeaseKeeper> keeper;
};

TEST_F(LeaseKeeperTest, RenewsEveryThirdOfItsTtl) {
  Heard seven, eight;
  keep(7, seven);
  keep(8, eight);
  cluster.world.run_for(base::Milliseconds(30'500));
  EXPECT_EQ(seven.renewed, 11);  // at once and every three seconds
  EXPECT_EQ(eight.renewed, 4);
  cluster.in_lane([&] { keeper->drop(7); });
  cluster.world.run_for(base::Seconds(30));
  EXPECT_EQ(seven.renewed, 11);
  EXPECT_EQ(eight.renewed, 7);
  cluster.in_lane([&] { keeper->drop(8); });
}

TEST_F(LeaseKeeperTest, EndsWithTheLease) {
  Heard gone, unknown;
  keep(7, gone);
  keep(99, unknown);
  ASSERT_TRUE(cluster.until([&] { return gone.renewed > 0 && unknown.end.has_value(); }));
  EXPECT_EQ(unknown.end, Status{});
  cluster.history.lease_ttls.clear();
  ASSERT_TRUE(cluster.until([&] { return gone.end.has_value(); }, base::Seconds(4)));
  EXPECT_EQ(gone.end, Status{});
}

TEST_F(LeaseKeeperTest, GoesOnOverAnotherConnection) {
  Heard heard;
  keep(8, heard);
  ASSERT_TRUE(cluster.until([&] { return heard.renewed == 1; }));
  (cluster.members[0]->heard.empty() ? cluster.members[1] : cluster.members[0])->kill();
  cluster.world.run_for(base::Seconds(60));
  EXPECT_GE(heard.renewed, 6);
  EXPECT_FALSE(heard.end.has_value());
  cluster.in_lane([&] { keeper->drop(8); });
}

// Nobody says that the lease is gone; but by its TTL it may be.
TEST_F(LeaseKeeperTest, SilenceIsTheEndToo) {
  Heard heard, never;
  keep(7, heard);
  ASSERT_TRUE(cluster.until([&] { return heard.renewed == 1; }));
  for (auto& member : cluster.members) member->mute = true;
  keep(8, never);
  ASSERT_TRUE(cluster.until([&] { return heard.end.has_value(); }, base::Milliseconds(9'100)));
  EXPECT_TRUE(never.end.has_value());  // dial timeout and a second
}

TEST_F(LeaseKeeperTest, Once) {
  const auto once = [&](std::int64_t id) {
    std::optional<base::Result<pb::LeaseKeepAliveResponse, Status>> answer;
    std::unique_ptr<Call> handle;
    cluster.in_lane([&] {
      handle = keep_alive_once(*cluster.client, id, {},
                               [&](auto result) { answer = std::move(result); });
    });
    EXPECT_TRUE(cluster.until([&] { return answer.has_value(); }));
    cluster.in_lane([&] { handle.reset(); });
    return *answer;
  };
  EXPECT_EQ(once(7)->ttl(), 9);
  EXPECT_EQ(once(99).error().message, "etcdserver: requested lease not found");
  cluster.members[0]->kill();
  EXPECT_EQ(once(7)->ttl(), 9);
}

}  // namespace
}  // namespace keelson::client
