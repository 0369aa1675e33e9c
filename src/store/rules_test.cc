// Rules D1, D2 and D4, each kept and each broken on purpose: kept, the story ends well; broken, it
// shows what would be lost. (Broken D3 and D5 need a crash: crash_test.cc. D6, D8, D10:
// fault_test.cc.)

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/store_testing.h"

namespace keelson::store {
namespace {

using ::testing::HasSubstr;
using testing::World;

constexpr int kKeys = 10;

// Sealed segments and a tail; every third key hangs on lease 7.
void fill(World& world, int rounds = 20) {
  for (int round = 0; round < rounds; round++) {
    for (int key = 0; key < kKeys; key++) {
      world.put(fmt::format("key{}", key), "value" + std::string(100, 'x'), key % 3 == 0 ? 7 : 0);
    }
    ASSERT_TRUE(world.commit() && world.checkpoint() && world.settle()) << world.error();
  }
  ASSERT_GT(world.store().stats().segments_sealed, 3u);
}

std::size_t lines_with_lease(const World& world) {
  return static_cast<std::size_t>(
      std::count_if(world.live().begin(), world.live().end(),
                    [](const std::string& line) { return line.ends_with(" lease=7"); }));
}

// ---- D1: each revision once, disjoint ascending ranges ----

TEST(Rules, ARevisionBelongsToOneSegment) {
  for (const bool broken : {false, true}) {
    World world;
    world.options().broken.overlapping_segments = broken;
    ASSERT_TRUE(world.open());
    fill(world);
    if (!broken) {
      EXPECT_EQ(world.check(), "");
    } else {
      EXPECT_THAT(world.check(), HasSubstr("error 0")) << "the last of a segment is not found";
      EXPECT_GT(world.store().stats().reads_missing, 0u);
    }
  }
}

// ---- D2: the small buckets have a log, rewritten while changes come in ----

TEST(Rules, AChangeDuringARewriteIsInBothLogs) {
  for (const bool broken : {false, true}) {
    World world;
    world.options().broken.rewrite_misses_changes = broken;
    ASSERT_TRUE(world.open());
    for (int i = 0; i < 100; i++) {
      world.change(base::Bucket::kLease, "a", std::string(50, 'a'));
      ASSERT_TRUE(world.commit());
    }
    ASSERT_TRUE(world.checkpoint());
    ASSERT_TRUE(world.step());  // begins a new log
    ASSERT_TRUE(world.step());  // and copies all there is
    world.change(base::Bucket::kLease, "b", "granted meanwhile");
    ASSERT_TRUE(world.commit() && world.checkpoint() && world.settle());
    ASSERT_EQ(world.store().stats().bucket_log_rewrites, 1u);
    EXPECT_EQ(world.check(), "") << "while it runs, memory is right";
    ASSERT_TRUE(world.reopen()) << world.error();
    EXPECT_EQ(world.check(), broken ? "buckets differ" : "");
    EXPECT_EQ(world.store().buckets().find(base::Bucket::kLease, "b") == nullptr, broken);
  }
}

// ---- D4: a start needs the footers' keys, all of them, in order, and nothing else ----

TEST(Rules, AStartFindsTheLeasesInTheFooters) {
  for (const bool broken : {false, true}) {
    World world;
    world.options().broken.footers_without_leases = broken;
    ASSERT_TRUE(world.open());
    fill(world);
    ASSERT_TRUE(world.reopen()) << world.error();
    EXPECT_EQ(world.check_loaded(), "");
    const std::size_t hanging = world.live().size() * 4 / kKeys;
    if (broken) {
      EXPECT_LT(lines_with_lease(world), hanging) << "what outlives its lease";
    } else {
      EXPECT_EQ(lines_with_lease(world), hanging);
    }
  }
}

TEST(Rules, AStartMergesTheKeysOfAllSegments) {
  for (const bool broken : {false, true}) {
    World world;
    world.options().collection_gain_bytes = std::uint64_t{1} << 30;  // the dead stay in the files
    ASSERT_TRUE(world.open());
    fill(world);
    world.erase("key1");
    world.put("last", "x");
    world.compact(world.truth().revision);
    ASSERT_TRUE(world.commit() && world.checkpoint());
    world.options().broken.load_unmerged = broken;
    ASSERT_TRUE(world.reopen()) << world.error();
    if (!broken) {
      EXPECT_EQ(world.check_loaded(), "");
    } else {
      EXPECT_THAT(world.check_loaded(), HasSubstr("loaded differs"))
          << "what was compacted is back";
      EXPECT_TRUE(world.loaded().contains("key1")) << "and so is what was deleted";
    }
  }
}

// Every value that a footer covers is damaged: a start does not notice, for it reads none.
TEST(Rules, AStartReadsNoValueThatAFooterCovers) {
  World original;
  ASSERT_TRUE(original.open());
  fill(original);
  original.close();
  for (const bool broken : {false, true}) {
    const auto world = original.fork();
    for (const auto& [path, content] : world->disk().contents()) {
      const bool sealed = content.rfind("KFTR") != std::string::npos;
      for (auto at = content.find("value"); sealed && at != std::string::npos;
           at = content.find("value", at + 1)) {
        world->disk().flip_bit(path, at);
      }
    }
    world->options().broken.start_reads_records = broken;
    EXPECT_EQ(world->open(), !broken) << world->error();
    if (!broken) EXPECT_EQ(world->loaded(), world->truth().live());
  }
}

}  // namespace
}  // namespace keelson::store
