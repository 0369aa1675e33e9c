// The store against a plain map, on a disk that fails: crashes at each step of a random story, with
// unsynced writes lost, torn or kept. What must hold after each start:
//
//   nothing at or below the synced checkpoint is lost; nothing dead is alive; the state is that of
//   one index
//
// And each rule of the design broken on purpose, to show that these stories would notice.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/random.h"
#include "store/store_testing.h"

namespace keelson::store {
namespace {

using env::simulated::Disk;
using testing::World;

struct Story {
  std::uint64_t seed = 1;
  int operations = 120;
  BrokenRules broken;
};

// One random operation; false if the store failed (the disk is off).
bool act(World& world, base::Random& random) {
  const auto key = [&random] { return fmt::format("k{}", random.below(12)); };
  switch (random.below(14)) {
    case 0: {  // a transaction of several changes
      world.begin_transaction();
      for (std::uint64_t i = 0, n = 1 + random.below(5); i < n; i++) {
        world.put_in_transaction(fmt::format("t{}-{}", i, random.below(3)), random.bytes(40));
      }
      return world.commit();
    }
    case 1:
    case 2: {
      const auto doomed = key();
      if (world.exists(doomed)) world.erase(doomed);
      return world.commit();
    }
    case 3:
      world.change(base::Bucket::kLease, key(), random.bytes(60));
      return world.commit();
    case 4:
      world.change(base::Bucket::kLease, key(), std::nullopt);
      return world.commit();
    case 5:
      if (world.truth().revision <= world.truth().floor) return true;
      world.compact(world.truth().revision -
                    static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(
                        world.truth().revision - std::max<std::int64_t>(world.truth().floor, 0)))));
      return world.commit();
    case 6:
    case 7:
      return world.checkpoint();
    case 8:
    case 9:
    case 10:
      for (int i = 0; i < 12; i++) {
        if (!world.step()) return false;
      }
      return true;
    default:
      for (std::uint64_t i = 0, n = 1 + random.below(4); i < n; i++) {
        world.put(key(), random.bytes(random.below(300)), static_cast<std::int64_t>(i));
      }
      return world.commit();
  }
}

void set_up(World& world, const Story& story) {
  world.options().segment_bytes = 2048;
  world.options().collection_gain_bytes = 512;
  world.options().files_over_live = 1.2;
  world.options().bucket_log_dead_bytes = 512;
  world.options().cut_bytes = 1024;
  world.options().reserve = story.seed % 4 == 0;
  world.options().broken = story.broken;
}

// Runs the story up to a cut before changing operation `cut_at` (0: none), or, without a mode, up
// to an error at that operation, which ends the process and not the machine; then starts again and
// compares.
// "" if all is as it must be.
std::string run(const Story& story, std::uint64_t cut_at, std::optional<Disk::Crash> mode,
                std::uint64_t* changes = nullptr) {
  World world(story.seed);
  set_up(world, story);
  base::Random random(story.seed);
  if (cut_at != 0 && mode) world.disk().cut_at(cut_at, *mode);
  if (!mode) {
    world.disk().on_operation([cut_at](const Disk::Step& step) {
      return step.operation >= Disk::Operation::kCreate && step.number == cut_at ? EIO : 0;
    });
  }
  bool alive = world.open();
  std::uint64_t synced = 0;
  for (int i = 0; alive && i < story.operations; i++) {
    alive = act(world, random);
    synced = world.store().synced_applied_index();
  }
  if (changes != nullptr) *changes = world.disk().changes();
  if (!alive && mode && !world.disk().is_off()) return "failed without a crash: " + world.error();
  if (alive) {
    if (const auto wrong = world.check(); !wrong.empty()) return "alive: " + wrong;
  }
  world.close();
  if (alive && mode) world.disk().crash(*mode);
  world.disk().on_operation(nullptr);
  world.disk().power_on();
  // Twice: what the first start took and mended must be as good, though power fails right after it:
  // also what a process that was killed (kKeepAll) left unsynced.
  for (int start = 0; start < 2; start++) {
    if (start == 1) {
      synced = std::max(synced, world.store().synced_applied_index());
      world.close();
      world.disk().crash(Disk::Crash::kRandom);
    }
    if (!world.reopen()) return "cannot start: " + world.error();
    if (world.recovered().applied_index < synced) {
      return fmt::format("lost: index {} after {} was synced", world.recovered().applied_index,
                         synced);
    }
    if (const auto wrong = world.check_loaded(); !wrong.empty()) return wrong;
  }
  // And the story goes on.
  for (int i = 0; i < 20; i++) {
    if (!act(world, random)) return "cannot go on: " + world.error();
  }
  if (const auto wrong = world.check(); !wrong.empty()) return "later: " + wrong;
  if (!world.checkpoint() || !world.reopen()) return "cannot start later: " + world.error();
  return world.check_loaded();
}

// KEELSON_SEEDS=n runs n times as many stories.
std::uint64_t seeds(std::uint64_t n) {
  const char* times = std::getenv("KEELSON_SEEDS");
  return times == nullptr ? n : n * static_cast<std::uint64_t>(std::atoi(times));
}

std::uint64_t count_changes(const Story& story) {
  std::uint64_t changes = 0;
  run(story, 0, Disk::Crash::kKeepAll, &changes);
  return changes;
}

TEST(Crash, AtEachStepOfAStory) {
  for (std::uint64_t seed = 1; seed <= seeds(8); seed++) {
    const Story story{.seed = seed};
    const std::uint64_t changes = count_changes(story);
    ASSERT_GT(changes, 100u);
    for (std::uint64_t at = 1; at <= changes; at += 1 + seed % 3) {
      constexpr Disk::Crash kModes[] = {Disk::Crash::kRandom, Disk::Crash::kLoseUnsynced,
                                        Disk::Crash::kKeepAll};
      const auto mode = kModes[at / 2 % 3];
      ASSERT_EQ(run(story, at, mode), "") << "seed " << seed << " cut at " << at;
    }
  }
}

// After a failed sync the cache shows what the disk does not have: a start must not build on it.
TEST(Crash, ErrorsAtEachStepOfAStory) {
  for (std::uint64_t seed = 1; seed <= seeds(4); seed++) {
    const Story story{.seed = seed};
    const std::uint64_t changes = count_changes(story);
    for (std::uint64_t at = 1; at <= changes; at += 1 + seed % 3) {
      ASSERT_EQ(run(story, at, std::nullopt), "") << "seed " << seed << " error at " << at;
    }
  }
}

TEST(Crash, LongStoriesAtTheirEnd) {
  for (std::uint64_t seed = 100; seed < 100 + seeds(60); seed++) {
    for (const auto mode :
         {Disk::Crash::kKeepAll, Disk::Crash::kLoseUnsynced, Disk::Crash::kRandom}) {
      ASSERT_EQ(run({.seed = seed, .operations = 300}, 0, mode), "") << "seed " << seed;
    }
  }
}

// A crash, and then a bit turns over as well. With a log that reaches back to the synced checkpoint
// the store refuses to start, or has all of it, or says which record is damaged.
TEST(Crash, AndABitTurnsOver) {
  for (std::uint64_t seed = 1; seed <= seeds(150); seed++) {
    World world(seed);
    const Story story{.seed = seed};
    set_up(world, story);
    base::Random random(seed);
    ASSERT_TRUE(world.open());
    for (int i = 0; i < story.operations; i++) ASSERT_TRUE(act(world, random));
    world.options().replay_from = world.store().synced_applied_index();
    world.close();
    world.disk().crash(Disk::Crash::kRandom);
    const auto files = world.disk().contents();
    auto it = files.begin();
    std::advance(it, static_cast<std::ptrdiff_t>(random.below(files.size())));
    if (it->second.empty()) continue;
    world.disk().flip_bit(it->first, random.below(it->second.size()));
    if (!world.open()) continue;
    ASSERT_GE(world.recovered().applied_index, world.options().replay_from) << "seed " << seed;
    ASSERT_EQ(world.loaded(), world.truth().live()) << "seed " << seed << " " << it->first;
    const std::string wrong = world.check();
    if (!wrong.empty()) ASSERT_TRUE(wrong.ends_with("error 1")) << wrong << " seed " << seed;
    ASSERT_TRUE(world.settle()) << world.error();
  }
}

// Each rule, broken: some crash of some story must show it.
TEST(Crash, BrokenRulesAreNoticed) {
  struct Case {
    const char* rule;
    bool BrokenRules::* broken;
  };
  const Case cases[] = {
      {"D1: a revision belongs to one segment", &BrokenRules::overlapping_segments},
      {"D2: a rewrite of the bucket log has what changes meanwhile",
       &BrokenRules::rewrite_misses_changes},
      {"D4: a start merges the keys of all segments", &BrokenRules::load_unmerged},
      {"D3: a checkpoint is synced", &BrokenRules::checkpoint_without_sync},
      {"D3: the bucket log is synced before the checkpoint",
       &BrokenRules::checkpoint_before_buckets},
      {"D3: a checkpoint counts only if all before it is whole",
       &BrokenRules::take_unclean_checkpoint},
      {"D3: a segment ends right after a checkpoint", &BrokenRules::seal_without_checkpoint},
      {"D5: collection uses floors of synced checkpoints",
       &BrokenRules::collect_ahead_of_checkpoint},
      {"D5: .dead files before tombstones go", &BrokenRules::drop_tombstones_unguarded},
  };
  for (const Case& c : cases) {
    std::string noticed;
    for (std::uint64_t seed = 1; seed <= 20 && noticed.empty(); seed++) {
      Story story{.seed = seed};
      story.broken.*c.broken = true;
      const std::uint64_t changes = count_changes(story);
      for (std::uint64_t at = 1; at <= changes && noticed.empty(); at++) {
        noticed = run(story, at, Disk::Crash::kRandom);
      }
    }
    EXPECT_NE(noticed, "") << c.rule;
  }
}

}  // namespace
}  // namespace keelson::store
