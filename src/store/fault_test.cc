// What the disk does to a store short of a crash: bits that turn over, space that runs out, syncs
// that fail. D8, D10.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "store/store_testing.h"

namespace keelson::store {
namespace {

using base::Revision;
using env::simulated::Disk;
using testing::World;

// Sealed segments, a .dead file, a tail, a rewritten bucket log.
void make_history(World& world) {
  base::Random random(11);
  for (int i = 0; i < 60; i++) {
    for (int n = 0; n < 4; n++) {
      world.put(fmt::format("k{}", random.below(30)), random.bytes(100), 1);
    }
    const auto doomed = fmt::format("k{}", random.below(30));
    if (world.exists(doomed)) world.erase(doomed);
    world.change(base::Bucket::kLease, fmt::format("l{}", i % 5), random.bytes(80));
    if (i % 20 == 10) world.compact(world.truth().revision);
    ASSERT_TRUE(world.commit());
    if (i % 5 == 3) ASSERT_TRUE(world.checkpoint());
    ASSERT_TRUE(world.settle());
  }
  ASSERT_TRUE(world.checkpoint());
  ASSERT_TRUE(world.settle());
}

// Any bit of any file: the start fails with a clear error, or what is there is right, or reading
// the record says that it is damaged. Never a wrong byte, never less than there was.
TEST(Fault, ABitThatTurnsOverIsNeverServed) {
  World original;
  ASSERT_TRUE(original.open());
  make_history(original);
  original.close();
  original.options().replay_from = original.truth().applied;  // the log has nothing older
  base::Random random(12);
  int refused = 0, unharmed = 0, said = 0, rebuilt = 0;
  for (const auto& [path, content] : original.disk().contents()) {
    for (int n = 0; n < 40 && !content.empty(); n++) {
      const auto forked = original.fork();
      World& world = *forked;
      world.disk().flip_bit(path, random.below(content.size()),
                            static_cast<unsigned>(random.below(8)));
      if (!world.reopen()) {
        EXPECT_NE(world.error().find("store/"), std::string::npos) << world.error();
        refused++;
        continue;
      }
      rebuilt += static_cast<int>(world.store().stats().footers_rebuilt);
      ASSERT_EQ(world.recovered().applied_index, world.truth().applied);
      ASSERT_EQ(world.loaded(), world.truth().live()) << path;
      const std::string wrong = world.check();
      if (wrong.empty()) {
        unharmed++;
      } else {
        ASSERT_THAT(wrong, ::testing::EndsWith("error 1")) << path;  // kCorrupt
        ASSERT_GT(world.store().stats().reads_corrupt, 0u);
        said++;
      }
      // Nor does background work spread it.
      ASSERT_TRUE(world.settle()) << world.error();
    }
  }
  EXPECT_GT(refused, 0);
  EXPECT_GT(unharmed, 0);
  EXPECT_GT(said, 0);
  EXPECT_GT(rebuilt, 0);
}

TEST(Fault, WithoutTheChecksADamagedRecordWouldBeServed) {
  for (const bool broken : {false, true}) {
    World world;
    world.options().broken.serve_unchecked = broken;
    ASSERT_TRUE(world.open());
    world.put("a", "value");
    ASSERT_TRUE(world.commit());
    const std::string path = "/data/store/0000000000000001.seg";
    const auto at = world.disk().contents().at(path).find("value");
    ASSERT_NE(at, std::string::npos);
    world.disk().flip_bit(path, at, 1);
    EXPECT_EQ(World::value(*make_reader(world.store().snapshot(), {}), {2, 0}),
              broken ? "talue" : "error 1");
  }
}

TEST(Fault, AFailingDiskIsSaidToFail) {
  World world;
  ASSERT_TRUE(world.open());
  world.put("a", "value");
  ASSERT_TRUE(world.commit());
  world.disk().fail({.operation = Disk::Operation::kRead, .error_number = EIO});
  EXPECT_EQ(World::value(*make_reader(world.store().snapshot(), {}), {2, 0}), "error 2");
  EXPECT_EQ(world.store().stats().reads_failed, 1u);
  EXPECT_EQ(World::value(*make_reader(world.store().snapshot(), {}), {2, 0}), "value");
}

TEST(Fault, AFailedSyncFailsTheCheckpoint) {
  for (const char* file : {".seg", ".log"}) {
    World world;
    ASSERT_TRUE(world.open());
    world.put("a", "value");
    world.change(base::Bucket::kLease, "l", "1");
    ASSERT_TRUE(world.commit());
    world.disk().fail(
        {.operation = Disk::Operation::kSync, .error_number = EIO, .path_part = file});
    EXPECT_FALSE(world.checkpoint()) << file;
    EXPECT_EQ(world.store().synced_applied_index(), 0u);
  }
}

// Collection meets a damaged record: it gives the window up, and all else goes on.
TEST(Fault, CollectionLeavesADamagedSegmentAlone) {
  World world;
  ASSERT_TRUE(world.open());
  for (int i = 0; i < 20; i++) {
    world.put("stays", i == 0 ? "the one" : "other");
    if (i == 0) world.begin_transaction(), world.put_in_transaction("kept", "precious");
    for (int n = 0; n < 10; n++) world.put("k", std::string(80, 'x'));
    ASSERT_TRUE(world.commit() && world.checkpoint() && world.settle());
  }
  const std::string path = "/data/store/0000000000000001.seg";
  const auto at = world.disk().contents().at(path).find("precious");
  ASSERT_NE(at, std::string::npos);
  world.disk().flip_bit(path, at);
  world.compact(world.truth().revision);
  ASSERT_TRUE(world.commit() && world.checkpoint() && world.settle()) << world.error();
  for (int i = 0; i < 5; i++) ASSERT_TRUE(world.settle());
  EXPECT_GT(world.store().stats().collections_given_up, 0u);
  EXPECT_GT(world.store().stats().collections, 0u) << "the other segments are collected";
  EXPECT_THAT(world.check(), ::testing::HasSubstr("kept at"));
}

// A footer, or its .dead file, made unreadable.
TEST(Fault, AFooterIsMadeAgainFromItsRecords) {
  World world;
  ASSERT_TRUE(world.open());
  make_history(world);
  world.close();
  for (const auto& [path, content] : world.disk().contents()) {
    const auto trailer = content.rfind("KFTR");
    if (trailer == std::string::npos) continue;
    world.disk().flip_bit(path, trailer + 20);
  }
  const auto before = world.disk().contents();
  ASSERT_TRUE(world.open()) << world.error();
  EXPECT_GT(world.store().stats().footers_rebuilt, 1u);
  EXPECT_EQ(world.check_loaded(), "");
  ASSERT_TRUE(world.reopen());
  EXPECT_EQ(world.store().stats().footers_rebuilt, 0u) << "for good";
}

TEST(Fault, ALostSegmentIsAClearError) {
  World world;
  ASSERT_TRUE(world.open());
  make_history(world);
  std::vector<std::string> segments;
  for (const auto& [path, content] : world.disk().contents()) {
    if (path.ends_with(".seg")) segments.push_back(path);
  }
  world.close();
  for (const std::string& path : segments) {
    ASSERT_TRUE(world.disk().rename(path, "/elsewhere"));
    EXPECT_FALSE(world.open());
    EXPECT_THAT(world.error(), ::testing::HasSubstr(path.substr(path.size() - 20)));
    ASSERT_TRUE(world.disk().rename("/elsewhere", path));
  }
  ASSERT_TRUE(world.disk().remove("/data/store/manifest"));
  EXPECT_FALSE(world.open()) << "a store without its manifest is no new store";
  EXPECT_THAT(world.error(), ::testing::HasSubstr("manifest"));
}

TEST(Fault, ALogThatCannotReplayIsNotReplayedSilently) {
  World world;
  ASSERT_TRUE(world.open());
  for (int i = 0; i < 3; i++) {
    world.put("a", "value");
    ASSERT_TRUE(world.commit() && world.checkpoint());
  }
  world.close();
  const std::string path = "/data/store/0000000000000001.seg";
  const auto at = world.disk().contents().at(path).rfind("value");
  world.disk().flip_bit(path, at);
  world.options().replay_from = 3;
  EXPECT_FALSE(world.open());
  EXPECT_THAT(world.error(), ::testing::HasSubstr("at index 3 or later"));
  world.options().replay_from = 2;
  ASSERT_TRUE(world.open()) << world.error();
  EXPECT_EQ(world.recovered().applied_index, 2u);
  EXPECT_TRUE(world.recovered().fell_back);
  EXPECT_EQ(world.check_loaded(), "");
}

// ---- D6: files under readers ----

TEST(Fault, AFileReusedTooEarlyWouldBreakItsReaders) {
  for (const bool broken : {false, true}) {
    World world;
    world.options().broken.reuse_files_at_once = broken;
    ASSERT_TRUE(world.open());
    for (int i = 0; i < 200; i++) {
      world.put("k", "value");
      ASSERT_TRUE(world.commit() && world.checkpoint() && world.settle());
    }
    const auto reader = make_reader(world.store().snapshot(), {});
    world.compact(world.truth().revision);
    ASSERT_TRUE(world.commit() && world.checkpoint() && world.settle());
    ASSERT_GT(world.store().stats().collections, 0u);
    EXPECT_EQ(World::value(*reader, {2, 0}), broken ? "error 1" : "value");
  }
}

// ---- D8: space ----

struct SpaceStory {
  bool went_on = true;     // compaction, deletes and checkpoints worked on the full volume
  bool was_told = false;   // reserve_available went false before anything failed
  bool was_freed = false;  // collection made room, and the reserve is whole again
};

SpaceStory fill_volume(bool keep_shut) {
  World world;
  world.options().reserve = true;
  world.options().segment_bytes = std::uint64_t{768} << 10;
  world.options().collection_gain_bytes = 64 * 1024;
  world.options().collection_slice_bytes = 64 * 1024;
  world.options().broken.keep_reserve_shut = keep_shut;
  world.disk().set_capacity(std::uint64_t{16} << 20);
  SpaceStory story;
  if (!world.open()) return {.went_on = false};
  // Writes until the owner would raise NOSPACE, or something fails.
  for (int i = 0; i < 4000 && story.went_on; i++) {
    world.put(fmt::format("k{}", i), std::string(8000, 'v'));
    story.went_on = world.commit() && (i % 8 != 0 || world.checkpoint()) && world.step();
    story.was_told = !world.store().space().reserve_available;
    if (story.was_told) break;
  }
  // Then only deletes and a compaction.
  for (int i = 0; i < 4000 && story.went_on; i++) {
    if (world.exists(fmt::format("k{}", i))) world.erase(fmt::format("k{}", i));
    if (i % 100 == 99) story.went_on = world.commit();
  }
  world.compact(world.truth().revision);
  story.went_on = story.went_on && world.commit() && world.checkpoint();
  for (int i = 0; i < 40 && story.went_on; i++) story.went_on = world.settle();
  story.was_freed = story.went_on && world.store().space().reserve_available &&
                    world.store().space().file_bytes < (std::uint64_t{4} << 20);
  if (story.went_on) EXPECT_EQ(world.check(), "");
  return story;
}

TEST(Fault, TheReserveCarriesWhatMakesRoom) {
  const SpaceStory kept = fill_volume(false);
  EXPECT_TRUE(kept.went_on);
  EXPECT_TRUE(kept.was_told);
  EXPECT_TRUE(kept.was_freed);
}

TEST(Fault, WithoutTheReserveAFullVolumeStopsEverything) {
  const SpaceStory shut = fill_volume(true);
  EXPECT_FALSE(shut.went_on);
}

TEST(Fault, ASmallVolumeHasASmallReserve) {
  World world;
  world.options().reserve = true;
  world.options().segment_bytes = std::uint64_t{48} << 20;
  world.disk().set_capacity(std::uint64_t{64} << 20);
  ASSERT_TRUE(world.open()) << world.error();
  EXPECT_TRUE(world.store().space().reserve_available);
  const auto files = world.disk().contents();
  EXPECT_EQ(files.at("/data/store/reserve-0").size(), std::size_t{4} << 20);
  EXPECT_EQ(files.at("/data/store/reserve-1").size(), std::size_t{4} << 20);
  EXPECT_EQ(files.at("/data/store/0000000000000001.seg").size(), std::size_t{4} << 20);
}

}  // namespace
}  // namespace keelson::store
