// Footers, deaths, collection, the bucket log and the reserve, on a disk without surprises.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "store/collect.h"
#include "store/store_testing.h"

namespace keelson::store {
namespace {

using base::Revision;
using testing::World;

// Puts `n` keys over and over until `segments` have been sealed.
void fill(World& world, int rounds, int keys = 10, std::size_t value_bytes = 100) {
  for (int round = 0; round < rounds; round++) {
    for (int key = 0; key < keys; key++) {
      world.put(fmt::format("key{}", key), std::string(value_bytes, 'a'), key % 3);
    }
    ASSERT_TRUE(world.commit()) << world.error();
    ASSERT_TRUE(world.checkpoint()) << world.error();
  }
}

TEST(Background, SealsSegmentsAndLoadsFromFooters) {
  World world;
  ASSERT_TRUE(world.open());
  fill(world, 20);
  ASSERT_TRUE(world.settle()) << world.error();
  EXPECT_GT(world.store().stats().segments_sealed, 3u);
  EXPECT_EQ(world.check(), "");
  ASSERT_TRUE(world.reopen()) << world.error();
  EXPECT_EQ(world.check_loaded(), "");
  EXPECT_EQ(world.store().stats().footers_rebuilt, 0u);
}

// Files by name.
std::map<std::string, std::string> files_of(World& world) {
  std::map<std::string, std::string> files;
  for (const std::string& name : world.disk().list(world.directory()).value()) {
    files[name] = env::read_file(world.disk(), env::join_path(world.directory(), name)).value();
  }
  return files;
}

// Whether a footer is made from what was appended, from the file, or from the one and then the
// other.
TEST(Background, FootersAreTheSameHoweverTheyAreMade) {
  struct Way {
    const char* name;
    bool only_filled;
    std::uint64_t bytes_per_remembered;
    bool reads;
  };
  constexpr std::uint64_t kNever = std::uint64_t{1} << 30;
  std::vector<std::map<std::string, std::string>> files;
  std::vector<std::uint64_t> reads;
  for (const Way& way :
       {Way{"from the file", false, kNever, true}, Way{"large ones remembered", false, 15, true},
        Way{"all remembered", false, 0, false}, Way{"only filled", true, kNever, false}}) {
    SCOPED_TRACE(way.name);
    World world;
    world.options().segment_bytes = std::uint64_t{1} << 20;
    world.options().narrow_bytes_max = std::uint64_t{2} << 20;
    world.options().only_filled = way.only_filled;
    world.options().bytes_per_remembered = way.bytes_per_remembered;
    ASSERT_TRUE(world.open());
    for (int i = 0; i < 3; i++) {
      fill(world, 9, 10, 13'331);  // some pieces of 128 KB a segment, none of which ends with one
      ASSERT_TRUE(world.settle()) << world.error();
    }
    fill(world, 5, 10, 13'331);
    fill(world, 80, 100, 100);  // not much longer than what is kept of them
    ASSERT_TRUE(world.settle()) << world.error();
    EXPECT_GE(world.store().stats().segments_sealed, 3u);
    EXPECT_EQ(world.store().stats().reads_corrupt, 0u);
    EXPECT_EQ(world.store().stats().seal_reads > 0, way.reads);
    reads.push_back(world.store().stats().seal_reads);
    files.push_back(files_of(world));
    EXPECT_EQ(files.front(), files.back());
    world.options().only_filled = false;
    ASSERT_TRUE(world.reopen()) << world.error();
    EXPECT_EQ(world.check_loaded(), "");
    EXPECT_EQ(world.check(), "");
    EXPECT_EQ(world.store().stats().footers_rebuilt, 0u);
  }
  EXPECT_LT(reads[1], reads[0] - 100) << "of those that are read, the large ones";
}

// What a start found in the last segment is read when that is sealed, with all that follows it.
TEST(Background, WhatAStartFoundIsNotRemembered) {
  World world;
  world.options().bytes_per_remembered = 0;
  world.options().segment_bytes = std::uint64_t{1} << 20;
  ASSERT_TRUE(world.open());
  fill(world, 3, 10, 13'331);
  ASSERT_TRUE(world.reopen()) << world.error();
  EXPECT_EQ(world.check_loaded(), "");
  fill(world, 6, 10, 13'331);
  ASSERT_TRUE(world.settle()) << world.error();
  EXPECT_EQ(world.store().stats().segments_sealed, 1u);
  EXPECT_GE(world.store().stats().seal_reads, 70u);
  EXPECT_EQ(world.check(), "");
}

// However long the records are, if it is their keys that are long.
TEST(Background, LongKeysAreNotRemembered) {
  World world;
  world.options().segment_bytes = std::uint64_t{1} << 20;
  ASSERT_TRUE(world.open());
  for (int i = 0; i < 1000; i++) world.put(fmt::format("{:02000}", i), std::string(100, 'v'));
  ASSERT_TRUE(world.commit()) << world.error();
  ASSERT_TRUE(world.checkpoint()) << world.error();
  ASSERT_TRUE(world.settle()) << world.error();
  EXPECT_EQ(world.store().stats().segments_sealed, 1u);
  EXPECT_GE(world.store().stats().seal_reads, 990u);
  EXPECT_EQ(world.check(), "");
}

TEST(Background, ACheckpointOfAStoreThatIsOnlyFilledHasAllThatWasAppended) {
  World world;
  world.options().only_filled = true;
  world.options().segment_bytes = std::uint64_t{1} << 20;
  ASSERT_TRUE(world.open());
  fill(world, 3);
  world.close();
  world.disk().crash(env::simulated::Disk::Crash::kLoseUnsynced);
  ASSERT_TRUE(world.reopen()) << world.error();
  EXPECT_EQ(world.check_loaded(), "");
}

// Of a large one, a start would read as much in one piece, and others on its disk wait for it.
TEST(Background, ATailThatIsToEndIsSealedHoweverShort) {
  World world;
  world.options().segment_bytes = std::uint64_t{8} << 20;
  ASSERT_TRUE(world.open());
  fill(world, 40, 10, 13'331);  // some five megabytes
  ASSERT_TRUE(world.settle()) << world.error();
  ASSERT_EQ(world.store().stats().segments_sealed, 0u);
  const std::uint64_t bytes = world.store().space().live_bytes;
  const auto read_by_a_start = [&] {
    std::uint64_t read = 0;
    world.disk().on_operation([&](const env::simulated::Disk::Step& step) {
      if (step.operation == env::simulated::Disk::Operation::kRead) read += step.bytes;
      return 0;
    });
    EXPECT_TRUE(world.reopen()) << world.error();
    world.disk().on_operation(nullptr);
    EXPECT_EQ(world.check_loaded(), "");
    return read;
  };
  EXPECT_GE(read_by_a_start(), bytes);
  world.store().end_tail();
  ASSERT_TRUE(world.checkpoint()) << world.error();
  ASSERT_TRUE(world.checkpoint()) << world.error();
  ASSERT_TRUE(world.settle()) << world.error();
  EXPECT_EQ(world.store().stats().segments_sealed, 1u) << "one checkpoint ends it";
  EXPECT_LT(read_by_a_start(), bytes / 2);
  EXPECT_EQ(world.check(), "");
}

TEST(Background, SealingInterruptedIsDoneAgain) {
  World world;
  ASSERT_TRUE(world.open());
  fill(world, 20);  // three segments and more wait for their footers
  ASSERT_TRUE(world.step());
  ASSERT_TRUE(world.reopen()) << world.error();
  EXPECT_EQ(world.check_loaded(), "");
  ASSERT_TRUE(world.settle()) << world.error();
  EXPECT_GT(world.store().stats().segments_sealed, 3u);
  EXPECT_EQ(world.check(), "");
}

TEST(Background, CollectionFreesTheDeadAndKeepsTheLiving) {
  World world;
  ASSERT_TRUE(world.open());
  fill(world, 40);
  world.compact(world.truth().revision);
  ASSERT_TRUE(world.commit());
  ASSERT_TRUE(world.checkpoint());
  const auto before = world.store().space();
  ASSERT_TRUE(world.settle()) << world.error();
  const auto after = world.store().space();
  EXPECT_GT(world.store().stats().collections, 0u);
  EXPECT_LT(after.file_bytes, before.file_bytes / 3);
  EXPECT_EQ(world.check(), "");
  ASSERT_TRUE(world.reopen()) << world.error();
  EXPECT_EQ(world.check_loaded(), "");
  // Liveness was found again from the footers alone.
  EXPECT_EQ(world.store().space().live_bytes, after.live_bytes);
}

// Of a store however small: the manifest's two slots, headers, footers, the bucket log.
constexpr std::uint64_t kOverheadBytes = 8192;

// What dies here is too little for a collection to begin by itself.
void fill_below_thresholds(World& world) {
  world.options().collection_gain_bytes = std::uint64_t{1} << 20;
  world.options().reclaim_gain_bytes = 512;
  ASSERT_TRUE(world.open());
  fill(world, 40);
}

// As much as a collection would not begin for, in sealed segments and in the tail, is reclaimed
// when it is asked for.
TEST(Background, ReclaimTakesWhatIsBelowTheThresholds) {
  World world;
  fill_below_thresholds(world);
  for (int i = 0; i < 8; i++) world.put("tail", std::string(200, 't'));  // seven die in the tail
  world.compact(world.truth().revision);
  ASSERT_TRUE(world.commit() && world.checkpoint() && world.settle());
  const auto before = world.store().space();
  ASSERT_GT(before.file_bytes, 10 * before.live_bytes);
  ASSERT_EQ(world.store().stats().collections, 0u);

  world.store().reclaim();
  ASSERT_TRUE(world.settle()) << world.error();
  ASSERT_TRUE(world.store().checkpoint_due(world.now())) << "the tail is to be ended";
  ASSERT_TRUE(world.checkpoint() && world.settle()) << world.error();
  const auto after = world.store().space();
  EXPECT_LE(after.live_bytes, before.live_bytes)
      << "checkpoints count as live while they lie there";
  EXPECT_LT(after.file_bytes, 2 * after.live_bytes + kOverheadBytes);
  EXPECT_EQ(world.check(), "");
  // And then it is as ever: what dies now waits for its thresholds.
  const auto collections = world.store().stats().collections;
  fill(world, 10);
  world.compact(world.truth().revision);
  ASSERT_TRUE(world.commit() && world.checkpoint() && world.settle());
  EXPECT_FALSE(world.store().checkpoint_due(world.now()));
  EXPECT_EQ(world.store().stats().collections, collections);
  ASSERT_TRUE(world.reopen()) << world.error();
  EXPECT_EQ(world.check_loaded(), "");
}

// Asked for before the store knows who is dead: it waits for them.
TEST(Background, ReclaimWaitsForDeathsThatAreNotSettled) {
  World world;
  fill_below_thresholds(world);
  world.compact(world.truth().revision);
  ASSERT_TRUE(world.commit());
  world.store().reclaim();
  ASSERT_TRUE(world.settle());
  EXPECT_EQ(world.store().stats().collections, 0u);
  ASSERT_TRUE(world.checkpoint() && world.settle());
  if (world.store().checkpoint_due(world.now())) ASSERT_TRUE(world.checkpoint() && world.settle());
  EXPECT_GT(world.store().stats().collections, 0u);
  EXPECT_LT(world.store().space().file_bytes,
            2 * world.store().space().live_bytes + kOverheadBytes);
}

TEST(Background, ASnapshotKeepsItsFiles) {
  World world;
  ASSERT_TRUE(world.open());
  fill(world, 40);
  auto reader = make_reader(world.store().snapshot(), {});
  world.compact(world.truth().revision);
  ASSERT_TRUE(world.commit());
  ASSERT_TRUE(world.checkpoint());
  ASSERT_TRUE(world.settle()) << world.error();
  ASSERT_GT(world.store().stats().collections, 0u);
  EXPECT_EQ(world.store().stats().files_removed, 0u);
  EXPECT_EQ(world.value(*reader, {2, 0}), std::string(100, 'a'));
  reader.reset();
  ASSERT_TRUE(world.settle()) << world.error();
  EXPECT_GT(world.store().stats().files_removed, 0u);
}

TEST(Background, DeletedKeysLeaveNothing) {
  World world;
  ASSERT_TRUE(world.open());
  fill(world, 20);
  for (int key = 0; key < 10; key++) world.erase(fmt::format("key{}", key));
  world.put("other", "x");
  world.compact(world.truth().revision);
  ASSERT_TRUE(world.commit());
  ASSERT_TRUE(world.checkpoint());
  ASSERT_TRUE(world.settle()) << world.error();
  ASSERT_TRUE(world.reopen()) << world.error();
  EXPECT_EQ(world.check_loaded(), "");
  EXPECT_EQ(world.loaded().size(), 1u);
}

TEST(Background, TombstoneAtTheFloorStays) {
  World world;
  ASSERT_TRUE(world.open());
  world.put("a", "1");  // 2
  world.erase("a");     // 3
  world.put("b", "1");  // 4
  world.compact(3);
  ASSERT_TRUE(world.commit());
  ASSERT_TRUE(world.checkpoint());
  ASSERT_TRUE(world.reopen());
  EXPECT_THAT(world.live(), ::testing::ElementsAre("a 3/0 deleted", "b 4/0 create=4 version=1"));
  world.compact(4);
  ASSERT_TRUE(world.commit());
  ASSERT_TRUE(world.checkpoint());
  ASSERT_TRUE(world.reopen());
  EXPECT_THAT(world.live(), ::testing::ElementsAre("b 4/0 create=4 version=1"));
}

TEST(Background, BucketLogIsRewrittenWhileChangesComeIn) {
  World world;
  ASSERT_TRUE(world.open());
  base::Random random(5);
  for (int i = 0; i < 400; i++) {
    const auto key = fmt::format("l{}", random.below(20));
    if (random.one_in(5)) {
      world.change(base::Bucket::kLease, key, std::nullopt);
    } else {
      world.change(base::Bucket::kLease, key, random.bytes(50));
    }
    ASSERT_TRUE(world.commit());
    ASSERT_TRUE(world.step());
    if (i % 7 == 0) ASSERT_TRUE(world.checkpoint());
  }
  EXPECT_GT(world.store().stats().bucket_log_rewrites, 2u);
  ASSERT_TRUE(world.checkpoint());
  EXPECT_EQ(world.check(), "");
  ASSERT_TRUE(world.reopen()) << world.error();
  EXPECT_EQ(world.check(), "");
  const auto names = *world.disk().list(world.directory());
  EXPECT_EQ(std::count_if(names.begin(), names.end(),
                          [](const std::string& name) { return name.ends_with(".log"); }),
            1);
}

TEST(Window, TakesWhatFreesMostPerByteRewritten) {
  struct Case {
    const char* why;
    std::vector<WindowCandidate> rows;
    std::optional<Window> wanted;
  };
  const auto row = [](std::uint64_t live, bool collectable = true) {
    return WindowCandidate{collectable, 110, 100, live};
  };
  const Case cases[] = {
      {"nothing dead frees too little", {row(100), row(100)}, std::nullopt},
      {"the emptiest alone", {row(90), row(10), row(90)}, Window{1, 1}},
      {"neighbours together when each alone frees too little",
       {row(65), row(65), row(100)},
       Window{0, 2}},
      {"never across one that may not be touched", {row(50), row(0, false), row(50)}, Window{0, 1}},
      {"all dead is best", {row(10), row(0), row(10)}, Window{1, 1}},
      {"the live must fit one segment", {row(80), row(80), row(80), row(80)}, std::nullopt},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(choose_window(c.rows, 50, 150), c.wanted) << c.why;
  }
}

}  // namespace
}  // namespace keelson::store
