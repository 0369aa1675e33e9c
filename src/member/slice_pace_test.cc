#include "member/slice_pace.h"

#include <gtest/gtest.h>

namespace keelson::member {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct Walk {
  base::Duration took;
  base::Duration longest_rest{0};
};
// Work of so many slices on a clock that nothing else moves. `within`: who asked waits so long.
Walk walk(std::size_t slices, base::Duration each, std::optional<base::Duration> within,
          std::size_t expected_slices = 0) {
  base::TimePoint now{};
  std::optional<SlicePace::Limit> limit;
  if (within) {
    limit = {.slices = expected_slices != 0 ? expected_slices : slices, .by = now + *within};
  }
  SlicePace pace(limit);
  Walk walk;
  for (std::size_t i = 0; i < slices; i++) {
    now += each;
    pace.worked(each);
    if (i + 1 == slices) break;
    const auto rest = pace.rest(now);
    walk.longest_rest = std::max(walk.longest_rest, rest);
    now += rest;
  }
  walk.took = now - base::TimePoint{};
  return walk;
}

constexpr auto kEach = microseconds(300);

TEST(SlicePace, WithoutALimitItRestsTwiceAsLongAsItWorks) {
  EXPECT_EQ(walk(1000, kEach, std::nullopt).took, 1000 * kEach + 999 * kSliceRest);
}

TEST(SlicePace, NobodyGainsByHurry) {
  EXPECT_EQ(walk(1000, kEach, seconds(6)).took, 1000 * kEach + 999 * kSliceRest);
}

TEST(SlicePace, WhatWouldBeLateRestsAsMuchAsItCan) {
  const Walk ten_million = walk(10'000, kEach, seconds(6));
  EXPECT_LE(ten_million.took, seconds(6));
  EXPECT_GT(ten_million.took, milliseconds(5900));
  EXPECT_LE(ten_million.longest_rest, microseconds(301)) << "evenly";
}

TEST(SlicePace, WhatIsHardlyDoneInTimeDoesNotRest) {
  EXPECT_EQ(walk(10'000, kEach, seconds(3)).took, 10'000 * kEach);
  base::TimePoint now{};
  SlicePace pace(SlicePace::Limit{.slices = 10'000, .by = now + seconds(2)});
  pace.worked(kEach);
  EXPECT_EQ(pace.rest(now + kEach), base::Duration(0)) << "it may go faster";
}

TEST(SlicePace, WhatIsTooLateAnywayDisturbsNobody) {
  EXPECT_EQ(walk(100'000, kEach, seconds(6)).took, 100'000 * kEach + 99'999 * kSliceRest);
}

TEST(SlicePace, MoreSlicesThanExpectedAreRestedFromToo) {
  const Walk twice = walk(2000, kEach, seconds(1), 1000);
  EXPECT_GT(twice.took, 2000 * kEach);
  EXPECT_LE(twice.longest_rest, kSliceRest);
}

TEST(SlicePace, ASlowStartIsMadeUpFor) {
  base::TimePoint now{};
  SlicePace pace(SlicePace::Limit{.slices = 1000, .by = now + seconds(1)});
  const auto work = [&](base::Duration took) {
    now += took;
    pace.worked(took);
  };
  for (int i = 0; i < 1000; i++) {
    if (i > 0) now += pace.rest(now);
    work(microseconds(i < 10 ? 1500 : 500));
  }
  EXPECT_LE(now - base::TimePoint{}, seconds(1));
}

}  // namespace
}  // namespace keelson::member
