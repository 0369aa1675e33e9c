#include "cmd/server/descriptors.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

namespace keelson::cmd {
namespace {

constexpr std::int64_t kGiB = std::int64_t{1} << 30;
constexpr std::uint64_t kSegment = std::uint64_t{48} << 20;

TEST(Descriptors, ClientsNeverGetTheLast) {
  struct Row {
    const char* why;
    DescriptorNeeds needs;
    std::optional<std::size_t> connections;
  };
  const Row rows[] = {
      {"150 are kept for files and peers, as etcd does",
       {150, 2 * kGiB, kSegment, 1},
       std::nullopt},
      {"and one more serves one client", {151, 2 * kGiB, kSegment, 1}, 1},
      {"a quota of 2 GiB may be 67 files", {10'000, 2 * kGiB, kSegment, 1}, 9783},
      {"a low limit is shared with them", {200, 2 * kGiB, kSegment, 1}, 25},
      {"a large quota", {10'000, 100 * kGiB, kSegment, 1}, 6438},
      {"without a quota a quarter", {10'150, -1, kSegment, 1}, 7500},
      {"listeners share", {10'150, -1, kSegment, 3}, 2500},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(connections_per_listener(row.needs), row.connections) << row.why;
  }
}

TEST(Descriptors, TheSoftLimitIsNone) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  rlimit low = before;
  low.rlim_cur = std::min<rlim_t>(before.rlim_cur, 200);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  EXPECT_EQ(raise_descriptor_limit(), before.rlim_max);
  rlimit after{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &after), 0);
  EXPECT_EQ(after.rlim_cur, before.rlim_max);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
}

}  // namespace
}  // namespace keelson::cmd
