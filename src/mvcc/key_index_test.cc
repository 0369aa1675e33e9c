#include "mvcc/key_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"

namespace keelson::mvcc {
namespace {

constexpr std::int64_t kMaxRevision = std::numeric_limits<std::int64_t>::max();

Version put_at(std::int64_t main, std::int64_t create, std::int64_t version) {
  return {.mod = {main, 0}, .create_revision = create, .version = version, .bytes = 100};
}

Version tombstone_at(std::int64_t main) {
  return {.mod = {main, 0}, .bytes = 10, .tombstone = true};
}

// "put 2 | delete 7" for messages.
std::string describe(const std::vector<Version>& history) {
  std::string out;
  for (const Version& v : history) {
    out +=
        fmt::format("{}{} {} create={} version={} bytes={}", out.empty() ? "" : ", ",
                    v.tombstone ? "delete" : "put", v.mod, v.create_revision, v.version, v.bytes);
  }
  return out;
}

std::string describe(const std::optional<Version>& version) {
  return version ? describe(std::vector{*version}) : "none";
}

std::vector<Version> history_of(const KeyIndexView& view, std::string_view key) {
  std::vector<Version> history;
  const auto cursor = view.seek(key);
  if (cursor.valid() && cursor.key() == key) cursor.history(history);
  return history;
}

// The header's example: two generations with a tombstone between.
std::vector<Version> example_history() {
  return {put_at(2, 2, 1), put_at(5, 2, 2), tombstone_at(7), put_at(9, 9, 1), put_at(12, 9, 2)};
}

std::vector<std::int64_t> mains(const std::vector<Version>& history) {
  std::vector<std::int64_t> out;
  for (const Version& v : history) out.push_back(v.mod.main);
  return out;
}

std::vector<std::int64_t> mains(const std::vector<Revision>& revisions) {
  std::vector<std::int64_t> out;
  for (const Revision& r : revisions) out.push_back(r.main);
  return out;
}

std::vector<Revision> compact_all(KeyIndex& index, std::int64_t floor, std::size_t budget = 1000) {
  std::vector<Revision> dropped;
  KeyIndex::CompactSlice slice;
  do {
    slice = index.compact(floor, slice.next, budget);
    dropped.insert(dropped.end(), slice.dropped.begin(), slice.dropped.end());
  } while (!slice.done);
  return dropped;
}

TEST(KeyIndex, AnEmptyIndexHasNoKeys) {
  KeyIndex index;
  EXPECT_FALSE(index.current().get("a", kMaxRevision));
  EXPECT_FALSE(index.current().seek("").valid());
  EXPECT_FALSE(KeyIndexView().seek("").valid());
  EXPECT_FALSE(KeyIndexView().get("a", 1));
  EXPECT_TRUE(index.compact(5, "", 10).done);
}

TEST(KeyIndex, AKeyIsReadAtAnyRevision) {
  KeyIndex index;
  for (const Version& v : example_history()) index.put("a", v);
  const KeyIndexView view = index.current();
  struct Row {
    std::int64_t revision, newest;  // newest: 0 = none
    bool deleted;
  };
  for (const Row& row : std::vector<Row>{{-1, 0, false},
                                         {1, 0, false},
                                         {2, 2, false},
                                         {4, 2, false},
                                         {5, 5, false},
                                         {6, 5, false},
                                         {7, 7, true},
                                         {8, 7, true},
                                         {9, 9, false},
                                         {11, 9, false},
                                         {12, 12, false},
                                         {kMaxRevision, 12, false}}) {
    SCOPED_TRACE(row.revision);
    const auto newest = view.newest("a", row.revision), got = view.get("a", row.revision);
    ASSERT_EQ(newest.has_value(), row.newest != 0);
    EXPECT_EQ(got.has_value(), row.newest != 0 && !row.deleted);
    if (newest) EXPECT_EQ(newest->mod.main, row.newest);
    if (got) EXPECT_EQ(describe(got), describe(newest));
  }
  EXPECT_FALSE(view.get("", kMaxRevision));
  EXPECT_FALSE(view.get("aa", kMaxRevision));
  EXPECT_EQ(describe(history_of(view, "a")), describe(example_history()));
}

TEST(KeyIndex, ChangesOfOneTransactionAreToldApart) {
  KeyIndex index;
  index.put("a", {.mod = {3, 0}, .create_revision = 3, .version = 1, .bytes = 7});
  index.put("a", {.mod = {3, 4}, .create_revision = 3, .version = 2, .bytes = 8});
  EXPECT_EQ(index.current().get("a", 3)->mod, (Revision{3, 4}));
  EXPECT_EQ(compact_all(index, 3), (std::vector<Revision>{{3, 0}}));
  EXPECT_EQ(history_of(index.current(), "a").size(), 1u);
}

// api.md 2.8 and formats.md 5.7: each row compacts the example afresh.
TEST(KeyIndex, CompactionKeepsTheNewestChangeAtTheFloor) {
  struct Row {
    std::int64_t floor;
    std::vector<std::int64_t> left, dropped;
    const char* why;
  };
  const std::vector<Row> rows = {
      {0, {2, 5, 7, 9, 12}, {}, "nothing is that old"},
      {2, {2, 5, 7, 9, 12}, {}, "the newest change at the floor stays"},
      {4, {2, 5, 7, 9, 12}, {}, "2 is what a read at 4 sees"},
      {5, {5, 7, 9, 12}, {2}, "2 is superseded"},
      {6, {5, 7, 9, 12}, {2}, "5 is what a read at 6 sees"},
      {7, {7, 9, 12}, {2, 5}, "a tombstone exactly at the floor stays"},
      {8, {9, 12}, {2, 5, 7}, "an older tombstone goes with its generation"},
      {9, {9, 12}, {2, 5, 7}, "the second generation begins"},
      {12, {12}, {2, 5, 7, 9}, "only the newest is left"},
      {100, {12}, {2, 5, 7, 9}, "a live key never disappears"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.why);
    KeyIndex index;
    for (const Version& v : example_history()) index.put("a", v);
    EXPECT_EQ(mains(compact_all(index, row.floor)), row.dropped);
    EXPECT_EQ(mains(history_of(index.current(), "a")), row.left);
    EXPECT_EQ(compact_all(index, row.floor), std::vector<Revision>{}) << "once is enough";
  }
}

TEST(KeyIndex, ATombstoneAtTheFloorGoesWithTheNextCompaction) {
  KeyIndex index;
  index.put("a", put_at(2, 2, 1));
  index.put("a", tombstone_at(5));
  index.put("b", put_at(6, 6, 1));
  EXPECT_EQ(mains(compact_all(index, 5)), (std::vector<std::int64_t>{2}));
  EXPECT_FALSE(index.current().get("a", 5));
  EXPECT_TRUE(index.current().newest("a", 5));
  EXPECT_EQ(index.stats().keys, 2u);
  EXPECT_EQ(index.stats().live_keys, 1u);
  EXPECT_EQ(mains(compact_all(index, 6)), (std::vector<std::int64_t>{5}));
  EXPECT_FALSE(index.current().newest("a", 6));
  EXPECT_EQ(index.current().seek("").key(), "b");
  EXPECT_EQ(index.stats().keys, 1u);
}

TEST(KeyIndex, APublishedRootNeverChanges) {
  KeyIndex index;
  index.put("a", put_at(2, 2, 1));
  const KeyIndexView before = index.publish();
  index.put("a", put_at(3, 2, 2));
  index.put("b", put_at(4, 4, 1));
  const KeyIndexView after = index.publish();
  EXPECT_NE(before.batch(), after.batch());
  EXPECT_EQ(before.get("a", kMaxRevision)->mod.main, 2);
  EXPECT_FALSE(before.get("b", kMaxRevision));
  EXPECT_EQ(after.get("a", kMaxRevision)->mod.main, 3);
  EXPECT_TRUE(after.get("b", kMaxRevision));
  index.release(after.batch());
  EXPECT_EQ(before.get("a", kMaxRevision)->mod.main, 2);
  index.release(before.batch());
}

// One operation may delete more keys than 16 bits can number; each stays as small as the first.
TEST(KeyIndex, ALargeDeletionNeedsAsLittleForItsLastKeysAsForItsFirst) {
  constexpr std::int64_t kKeys = 1000, kMain = 5'000;
  for (const bool fresh : {true, false}) {
    std::vector<std::uint64_t> bytes;
    for (const std::int64_t first : {0, 100'000, 100'000'000}) {
      KeyIndex index;
      std::vector<std::string> keys;
      std::vector<KeyChange> deletions;
      for (std::int64_t i = 0; i < kKeys; i++) keys.push_back(fmt::format("key-{:06}", i));
      for (std::int64_t i = 0; i < kKeys; i++) {
        index.put(keys[static_cast<std::size_t>(i)], put_at(i + 2, i + 2, fresh ? 1 : 3));
        Version deletion = tombstone_at(kMain);
        deletion.mod.sub = first + i;
        deletions.push_back({.key = keys[static_cast<std::size_t>(i)], .version = deletion});
      }
      index.put_all(deletions);
      EXPECT_EQ(index.current().newest("key-000999", kMain)->mod, (Revision{kMain, first + 999}));
      EXPECT_EQ(index.current().get("key-000999", kMain - 1)->mod, (Revision{1001, 0}));
      bytes.push_back(index.stats().bytes);
    }
    EXPECT_EQ(bytes, std::vector(3, bytes[0]));
    EXPECT_LT(bytes[0], kKeys * (fresh ? 44u : 52u));
  }
}

// A slow reader may have held much; no call frees it all at once, and none needs a new batch to.
TEST(KeyIndex, WhatAReleasedRootHeldIsFreedInSlicesWithoutFurtherBatches) {
  KeyIndex index;
  constexpr std::int64_t kKeys = 20'000;
  for (std::int64_t i = 0; i < kKeys; i++) {
    index.put(fmt::format("key-{:06}", i), put_at(i + 2, i + 2, 1));
  }
  const KeyIndexView before = index.publish();
  for (std::int64_t i = 0; i < kKeys; i++) {
    index.put(fmt::format("key-{:06}", i), put_at(kKeys + i + 2, i + 2, 2));
  }
  const KeyIndexView after = index.publish();
  const std::uint64_t held = index.stats().retired_bytes;
  EXPECT_GT(held, index.stats().bytes / 4);
  index.release(before.batch());
  EXPECT_GT(index.stats().retired_bytes, held / 2);
  int slices = 1;
  while (index.free_due()) slices++;
  EXPECT_GT(slices, 1);
  EXPECT_EQ(index.stats().retired_bytes, 0u);
  index.release(after.batch());
}

TEST(KeyIndex, ACursorWalksKeysInOrder) {
  KeyIndex index;
  const std::vector<std::string> keys = {"",
                                         std::string(1, '\0'),
                                         std::string("\0\0", 2),
                                         "a",
                                         std::string("a\0", 2),
                                         "ab",
                                         "b",
                                         "\x7f",
                                         "\x80",
                                         "\xff",
                                         "\xff\xff"};
  std::int64_t revision = 2;
  for (const std::string& key : keys) index.put(key, put_at(revision, revision, 1)), revision++;
  auto cursor = index.current().seek("");
  for (const std::string& key : keys) {
    ASSERT_TRUE(cursor.valid());
    EXPECT_EQ(cursor.key(), key);
    cursor.next();
  }
  EXPECT_FALSE(cursor.valid());
  cursor.seek("aa");
  EXPECT_EQ(cursor.key(), "ab");
  cursor.seek("\xff\xff\xff");
  EXPECT_FALSE(cursor.valid());
}

TEST(KeyIndex, LoadingEqualsPutting) {
  KeyIndex put, loaded;
  std::int64_t revision = 2;
  for (int i = 1000; i < 3000; i++) {
    std::vector<Version> history;
    const std::int64_t create = revision;
    for (int change = 0; change <= i % 7; change++) {
      history.push_back(put_at(revision++, create, change + 1));
    }
    for (const Version& v : history) put.put(fmt::format("key/{}", i), v);
    loaded.load(fmt::format("key/{}", i), history);
  }
  loaded.finish_load();
  EXPECT_EQ(loaded.stats().keys, 2000u);
  auto a = put.current().seek(""), b = loaded.current().seek("");
  for (; a.valid(); a.next(), b.next()) {
    ASSERT_TRUE(b.valid());
    ASSERT_EQ(a.key(), b.key());
    EXPECT_EQ(describe(history_of(put.current(), a.key())),
              describe(history_of(loaded.current(), b.key())));
  }
  EXPECT_FALSE(b.valid());
}

}  // namespace
}  // namespace keelson::mvcc
