// The hash of the whole state is one state's: keys and buckets change together.
#include "api/hash.h"

#include <gtest/gtest.h>

#include "api/one_member_test.h"
#include "proto/rpc.pb.h"

namespace keelson::api {
namespace {

class HashTest : public ::testing::Test {
 protected:
  std::uint32_t hash() {
    std::optional<std::uint32_t> hash;
    std::optional<StateHasher> hasher;
    auto& front = one_.member().front(0);
    front.lane().post([&] { begin(hasher, hash); });
    EXPECT_TRUE(one_.run_until([&] { return hash.has_value(); }));
    end(hasher);
    return hash.value_or(0);
  }
  void begin(std::optional<StateHasher>& hasher, std::optional<std::uint32_t>& hash) {
    hasher.emplace(one_.member().front(0), [&hash](base::Result<StateHash, http::Status> got) {
      ASSERT_TRUE(got.ok());
      hash = got->hash;
    });
  }
  void end(std::optional<StateHasher>& hasher) {
    bool gone = false;
    one_.member().front(0).lane().post([&] {
      hasher.reset();
      gone = true;
    });
    EXPECT_TRUE(one_.run_until([&] { return gone; }));
  }
  // A put and a grant are committed, and not applied yet when `job` runs on the io lane.
  void before_changes_are_applied(base::Job job) {
    auto& front = one_.member().front(0);
    auto& host = one_.world().host("m1");
    const raft::Index before = front.progress().committed;
    host.lane("apply").post([&] {
      const auto file = one_.disk().open("/held-up", env::OpenMode::kCreate).value();
      const auto end = host.clock().now() + base::Seconds(1);
      for (int i = 0; host.clock().now() < end; i++) {
        ASSERT_TRUE(file->write_at(static_cast<std::uint64_t>(i % 100), "x").ok());
        ASSERT_TRUE(file->sync().ok());
      }
    });
    front.lane().post([&] {
      etcdserverpb::PutRequest put;
      put.set_key("k");
      front.propose(4, put.SerializeAsString(), [](auto) {});
      etcdserverpb::LeaseGrantRequest grant;
      grant.set_id(7);
      grant.set_ttl(1000);
      front.propose(8, grant.SerializeAsString(), [](auto) {});
    });
    ASSERT_TRUE(one_.run_until([&] { return front.progress().committed >= before + 2; }));
    ASSERT_LT(front.progress().applied, before + 2);
    front.lane().post(std::move(job));
  }

  OneMember one_;
};

TEST_F(HashTest, IsOfOneStateWhateverIsAppliedMeanwhile) {
  const std::uint32_t before = hash();
  std::optional<StateHasher> hasher;
  std::optional<std::uint32_t> between;
  before_changes_are_applied([&] { begin(hasher, between); });
  ASSERT_TRUE(one_.run_until([&] { return between.has_value(); }));
  end(hasher);
  const std::uint32_t after = hash();
  EXPECT_NE(before, after);
  EXPECT_TRUE(*between == before || *between == after) << "of a state that never was";
}

}  // namespace
}  // namespace keelson::api
