// Reading: runs, cold parts, scans, hashes; tail, sealed segments and pending batches as one.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/crc32c.h"
#include "base/random.h"
#include "store/selection.h"
#include "store/store_testing.h"

namespace keelson::store {
namespace {

using base::ReadResult;
using base::Revision;
using testing::Truth;
using testing::World;

// A store with sealed segments and a tail, small and large records, transactions, tombstones.
void make_history(World& world, std::uint64_t seed, int batches = 60) {
  base::Random random(seed);
  for (int i = 0; i < batches; i++) {
    world.begin_transaction();
    for (std::uint64_t n = 1 + random.below(20); n > 0; n--) {
      const auto key = fmt::format("{}{}", std::string(random.below(40), 'p'), random.below(200));
      if (random.one_in(6) && world.exists(key)) {
        world.erase_in_transaction(key);
      } else {
        world.put_in_transaction(key, random.bytes(random.below(random.one_in(30) ? 9000 : 90)),
                                 static_cast<std::int64_t>(random.below(3)));
      }
    }
    ASSERT_TRUE(world.commit());
    if (random.one_in(3)) ASSERT_TRUE(world.checkpoint());
    if (random.one_in(8)) ASSERT_TRUE(world.settle());
  }
}

std::vector<Revision> all_revisions(const Truth& truth) {
  std::vector<Revision> revisions;
  for (const auto& [at, change] : truth.changes) revisions.push_back(at);
  return revisions;
}

TEST(Read, ManyAtOnceInAnyOrder) {
  World world;
  world.options().segment_bytes = 16384;
  ASSERT_TRUE(world.open());
  make_history(world, 1);
  ASSERT_GT(world.store().stats().segments_sealed, 2u);
  const auto reader = make_reader(world.store().snapshot(), {});
  auto revisions = all_revisions(world.truth());
  base::Random random(2);
  std::shuffle(revisions.begin(), revisions.end(), random);
  std::vector<ReadResult> results(revisions.size());
  reader->read(revisions, results);
  for (std::size_t i = 0; i < revisions.size(); i++) {
    ASSERT_EQ(results[i].state, ReadResult::State::kBytes);
    ASSERT_EQ(results[i].bytes.view(), world.truth().changes.at(revisions[i]).encoded);
  }
}

TEST(Read, ColdPartsAreSaidToBeCold) {
  World world;
  ASSERT_TRUE(world.open());
  make_history(world, 3);
  world.put("last", "pending");
  const auto pending = world.commit_pending();
  const auto reader = make_reader(world.store().snapshot(), {pending});
  const auto revisions = all_revisions(world.truth());
  world.disk().set_cold_one_in(1);
  std::vector<ReadResult> results(revisions.size());
  reader->try_read(revisions, results);
  for (std::size_t i = 0; i + 1 < revisions.size(); i++) {
    ASSERT_EQ(results[i].state, ReadResult::State::kCold);
  }
  EXPECT_EQ(World::text(results.back()), "pending");
  world.disk().set_cold_one_in(3);
  reader->try_read(revisions, results);
  for (std::size_t i = 0; i < revisions.size(); i++) {
    if (results[i].state == ReadResult::State::kCold) continue;
    ASSERT_EQ(results[i].bytes.view(), world.truth().changes.at(revisions[i]).encoded);
  }
  world.disk().set_cold_one_in(0);
  reader->try_read(revisions, results);
  for (const ReadResult& result : results) ASSERT_EQ(result.state, ReadResult::State::kBytes);
}

TEST(Read, ScanGivesAllChangesBetweenTwoRevisions) {
  World world;
  ASSERT_TRUE(world.open());
  make_history(world, 4);
  std::vector<std::shared_ptr<const base::Batch>> pending;
  const auto snapshot = world.store().snapshot();
  for (int i = 0; i < 3; i++) {
    world.put("a", "x");
    world.erase("a");
    pending.push_back(world.commit_pending());
    if (i == 0) ASSERT_TRUE(world.append(pending[0]));  // some are in both
  }
  const auto reader = make_reader(world.store().snapshot(), pending);
  base::Random random(9);
  const std::int64_t newest = world.truth().revision;
  for (int round = 0; round < 40; round++) {
    const Revision first{
        static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(newest))),
        static_cast<std::int64_t>(random.below(3))};
    const Revision last{first.main + static_cast<std::int64_t>(random.below(40)), 5};
    const auto scan = reader->scan(first, last);
    auto expected = world.truth().changes.lower_bound(first);
    while (true) {
      const auto records = scan->next(1 + random.below(30));
      ASSERT_TRUE(records);
      if (records->empty()) break;
      for (const base::Record& record : *records) {
        ASSERT_EQ(record.revision, expected->first);
        ASSERT_EQ(record.encoded.view(), expected->second.encoded);
        ASSERT_EQ(record.tombstone, expected->second.tombstone);
        ASSERT_EQ(record.create_revision, expected->second.create);
        ASSERT_EQ(record.version, expected->second.version);
        ASSERT_EQ(record.lease, expected->second.lease);
        ++expected;
      }
    }
    ASSERT_EQ(expected, world.truth().changes.upper_bound(last));
  }
}

std::uint32_t slow_hash(std::uint32_t crc, const Truth& truth,
                        const std::vector<Revision>& chosen) {
  for (const Revision at : chosen) {
    const Truth::Change& change = truth.changes.at(at);
    crc = base::crc32c(crc, base::revision_key(at, change.tombstone));
    crc = base::crc32c(crc, change.encoded);
  }
  return crc;
}

TEST(Hash, IsThatOfTheRecordsThemselves) {
  World world;
  ASSERT_TRUE(world.open());
  make_history(world, 5);
  world.put("a", "x");
  world.erase("a");
  const auto pending = world.commit_pending();
  const auto reader = make_reader(world.store().snapshot(), {pending});
  base::Random random(7);
  const std::uint32_t start = base::crc32c(0, "key");
  for (int round = 0; round < 10; round++) {
    std::vector<Revision> chosen;
    for (const Revision at : all_revisions(world.truth())) {
      if (round == 0 || !random.one_in(3)) chosen.push_back(at);
    }
    const std::uint32_t expected = slow_hash(start, world.truth(), chosen);
    auto shuffled = chosen;
    std::shuffle(shuffled.begin(), shuffled.end(), random);
    for (int again = 0; again < 2; again++) {  // the second time from kept sums
      const auto hasher = reader->hasher();
      for (const Revision at : shuffled) hasher->add(at);
      hasher->add(shuffled.front());  // counts once
      const auto hash = hasher->finish(start);
      ASSERT_TRUE(hash);
      ASSERT_EQ(*hash, expected);
    }
  }
  const auto hasher = reader->hasher();
  hasher->add({1000000, 0});
  EXPECT_EQ(hasher->finish(start).error(), base::StorageErrc::kMissing);
}

TEST(Selection, IsWalkedByRevisionWithoutReadingRecords) {
  World world;
  world.options().segment_bytes = 16384;
  ASSERT_TRUE(world.open());
  make_history(world, 8);
  ASSERT_GT(world.store().stats().segments_sealed, 2u);
  base::Random random(9);
  std::vector<Revision> chosen;
  for (const Revision at : all_revisions(world.truth())) {
    if (!random.one_in(4)) chosen.push_back(at);
  }
  Selection selection(world.store().snapshot());
  auto shuffled = chosen;
  std::shuffle(shuffled.begin(), shuffled.end(), random);
  const auto half = shuffled.begin() + static_cast<std::ptrdiff_t>(shuffled.size() / 2);
  for (const Revision at : std::span(shuffled.begin(), half)) ASSERT_TRUE(selection.add(at));
  EXPECT_EQ(selection.add_all(std::span(half, shuffled.end())), std::nullopt);
  EXPECT_EQ(selection.add_all({}), std::nullopt);
  EXPECT_EQ(selection.add_all(std::vector<Revision>{chosen[0], {1000001, 0}, {1000002, 0}}),
            (Revision{1000001, 0}));
  world.put("later", "is in no snapshot");
  ASSERT_TRUE(world.commit());
  EXPECT_EQ(selection.add({1000000, 0}).error(), base::StorageErrc::kMissing);
  for (int round = 0; round < 2; round++) {
    Selection::Walk walk = selection.walk();
    std::size_t place = 0;
    for (std::vector<SelectedRecord> run;; run.clear()) {
      ASSERT_TRUE(walk.next(1 + random.below(40), 2000, run));
      if (run.empty()) break;
      for (const SelectedRecord& record : run) {
        ASSERT_EQ(record.revision, chosen[place++]);
        const auto& change = world.truth().changes.at(record.revision);
        ASSERT_EQ(record.tombstone, change.tombstone);
        ASSERT_EQ(record.bytes, change.encoded.size());
      }
    }
    EXPECT_EQ(place, chosen.size());
  }
}

TEST(Hash, OfBucketsGoesInOrderOfNames) {
  World world;
  ASSERT_TRUE(world.open());
  using enum base::Bucket;
  world.change(kMeta, "consistent_index", "ignored");
  world.change(kMeta, "term", "ignored");
  world.change(kMeta, "storageVersion", "ignored");
  world.change(kMeta, "confState", "c");
  world.change(kMembers, "m", "1");
  world.change(kAlarm, "a", "");
  world.change(kAuthUsers, "u", "2");
  world.change(kLease, "l", "3");
  world.change(kCluster, "v", "4");
  ASSERT_TRUE(world.commit());
  const Sum before = world.store().buckets().hash_before_key();
  const Sum after = world.store().buckets().hash_after_key();
  const std::string before_bytes = "alarmaauthauthRolesauthUsersu2clusterv4";
  const std::string after_bytes = "leasel3membersm1members_removedmetaconfStatec";
  EXPECT_EQ(before.crc, base::crc32c(0, before_bytes));
  EXPECT_EQ(before.length, before_bytes.size());
  EXPECT_EQ(after.crc, base::crc32c(0, after_bytes));
  EXPECT_EQ(after.length, after_bytes.size());
}

TEST(Read, LongKeysLargeRecordsAndLargeTransactions) {
  World world;
  world.options().narrow_bytes_max = 4096;  // segments beyond that are wide, as are subs beyond 3
  world.options().narrow_sub_max = 3;
  ASSERT_TRUE(world.open());
  base::Random random(8);
  for (int round = 0; round < 6; round++) {
    world.begin_transaction();
    for (int i = 0; i < 700; i++) world.put_in_transaction(fmt::format("s{:04}", i), "v");
    world.put(std::string(100000, 'k') + "1", "long key, longer than a block");
    world.put(std::string(100000, 'k') + "2", random.bytes(400000));
    ASSERT_TRUE(world.commit());
    ASSERT_TRUE(world.checkpoint());
    ASSERT_TRUE(world.settle());
  }
  EXPECT_EQ(world.check(), "");
  ASSERT_TRUE(world.reopen()) << world.error();
  EXPECT_EQ(world.check_loaded(), "");
  world.compact(world.truth().revision);
  ASSERT_TRUE(world.commit() && world.checkpoint() && world.settle());
  EXPECT_GT(world.store().stats().collections, 0u);
  ASSERT_TRUE(world.reopen()) << world.error();
  EXPECT_EQ(world.check_loaded(), "");
}

// Snapshots are looked up on other lanes while the store appends; for the thread sanitizer. (A
// hasher over a tail reads no file: the simulated disk is of one thread.)
TEST(Read, WhileTheStoreAppends) {
  World world;
  world.options().segment_bytes = std::uint64_t{1} << 20;
  ASSERT_TRUE(world.open());
  for (int round = 0; round < 20; round++) {
    for (int i = 0; i < 100; i++) world.put("a", "0");
    ASSERT_TRUE(world.commit());
    const auto snapshot = world.store().snapshot();
    base::Result<std::uint32_t, base::StorageErrc> hash = 0u;
    std::thread other([&] {
      const auto hasher = make_reader(snapshot, {})->hasher();
      for (std::int64_t main = 2; main <= snapshot->newest().main; main++) hasher->add({main, 0});
      hash = hasher->finish(0);
    });
    for (int i = 0; i < 100; i++) {
      world.put("a", "1");
      ASSERT_TRUE(world.commit());
    }
    other.join();
    auto revisions = all_revisions(world.truth());
    std::erase_if(revisions, [&](Revision at) { return at > snapshot->newest(); });
    ASSERT_TRUE(hash);
    EXPECT_EQ(*hash, slow_hash(0, world.truth(), revisions));
  }
}

}  // namespace
}  // namespace keelson::store
