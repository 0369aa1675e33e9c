// LeaseLeases: soonest end first, also where they are too many for one job.

#include <gtest/gtest.h>

#include "api/one_member_test.h"
#include "base/random.h"
#include "proto/rpc.pb.h"

namespace keelson::api {
namespace {

std::vector<std::int64_t> list(OneMember& member) {
  const auto answer = member.call("/etcdserverpb.Lease/LeaseLeases", "");
  EXPECT_TRUE(answer.status.ok()) << answer.status.message;
  etcdserverpb::LeaseLeasesResponse response;
  EXPECT_TRUE(response.ParseFromString(answer.message));
  std::vector<std::int64_t> ids;
  for (const auto& lease : response.leases()) ids.push_back(lease.id());
  return ids;
}

void grant(OneMember& member, std::int64_t id, std::int64_t ttl) {
  etcdserverpb::LeaseGrantRequest request;
  request.set_id(id);
  request.set_ttl(ttl);
  ASSERT_TRUE(
      member.call("/etcdserverpb.Lease/LeaseGrant", request.SerializeAsString()).status.ok());
}

TEST(LeaseList, IsInOrderOfTheEndsHoweverMany) {
  OneMember member;
  EXPECT_TRUE(list(member).empty());
  base::Random random(1);
  std::vector<std::int64_t> expected;  // id n ends n hours later
  std::vector<std::int64_t> order(4500);
  for (std::size_t i = 0; i < order.size(); i++) {
    order[i] = static_cast<std::int64_t>(i) + 1;
    std::swap(order[i], order[random.below(i + 1)]);
  }
  for (std::size_t i = 0; i < order.size(); i++) {
    grant(member, order[i], order[i] * 3600);
    if (i != 100 && i + 1 != order.size()) continue;
    expected.assign(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(i) + 1);
    std::sort(expected.begin(), expected.end());
    EXPECT_EQ(list(member), expected);
  }
}

}  // namespace
}  // namespace keelson::api
