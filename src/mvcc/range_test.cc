#include "mvcc/range.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "mvcc/history.h"
#include "mvcc/memory_store_test.h"
#include "mvcc/record.h"

namespace keelson::mvcc {
namespace {

using etcdserverpb::RangeRequest;

TEST(KeyRange, IsReadFromKeyAndRangeEnd) {
  using namespace std::string_view_literals;
  struct Row {
    std::string_view key, end, probe;
    bool contained;
    std::string_view why;
  };
  const Row rows[] = {
      {"b", "", "b", true, "no end: the key itself"},
      {"b", "", "ba", false, "... and no longer one"},
      {"b", "\0"sv, "b", true, "end \\0: from the key on"},
      {"b", "\0"sv, "zz", true, "... to the last"},
      {"b", "\0"sv, "a\xff", false, "... not before"},
      {"b", "\0\0"sv, "c", false, "two zero bytes are an end like others, below the key"},
      {"b", "d", "b", true, "half open: the key"},
      {"b", "d", "c\xff", true, "up to the end"},
      {"b", "d", "d", false, "without it"},
      {"\xf0", "\xff", "\xfe", true, "bytes are unsigned"},
      {"d", "b", "c", false, "inverted: nothing"},
      {"b", "b", "b", false, "empty: nothing"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(KeyRange::of(row.key, row.end).contains(row.probe), row.contained) << row.why;
  }
  EXPECT_TRUE(KeyRange::of("d", "b").empty());
  EXPECT_TRUE(KeyRange::of("b", "b").empty());
  EXPECT_FALSE(KeyRange::of("b", "").empty());
}

TEST(KeyRanges, ContainWhatOneOfThemContains) {
  base::Random random(3);
  const auto key = [&random] {
    std::string out = random.bytes(1 + random.below(2));
    for (char& c : out) c = static_cast<char>('a' + static_cast<unsigned char>(c) % 4);
    return out;
  };
  for (int round = 0; round < 3000; round++) {
    std::vector<std::string> bounds;
    for (auto n = random.below(5); n > 0; n--) {
      bounds.push_back(key());
      bounds.push_back(random.one_in(3) ? "" : random.one_in(5) ? std::string(1, '\0') : key());
    }
    std::vector<KeyRange> ranges;
    for (std::size_t i = 0; i < bounds.size(); i += 2) {
      ranges.push_back(KeyRange::of(bounds[i], bounds[i + 1]));
    }
    const KeyRanges together(ranges);
    for (int probe = 0; probe < 10; probe++) {
      const std::string k = key();
      const bool expected = std::any_of(ranges.begin(), ranges.end(), [&k](const KeyRange& range) {
        return !range.empty() && range.contains(k);
      });
      ASSERT_EQ(together.contains(k), expected) << k;
    }
  }
}

// Keys k00000, k00001 ... with values of `value_bytes`, every `live_every`-th alive, the others
// deleted.
class Rows {
 public:
  Rows(int keys, int live_every, std::size_t value_bytes) {
    base::Batch batch;
    for (int i = 0; i < keys; i++) {
      add(batch, i, std::string(value_bytes, static_cast<char>('a' + i % 7)));
    }
    for (int i = 0; i < keys; i++) {
      if (i % live_every != 0) erase(batch, i);
    }
    store.append(batch);
    view = {.index = index_.publish(), .revision = revision_};
  }

  static RangeRequest all() {
    RangeRequest request;
    request.set_key("k");
    request.set_range_end(std::string(1, '\0'));
    return request;
  }
  static std::string name(int i) { return fmt::format("k{:05}", i); }

  MemoryStore store;
  View view;

 private:
  void add(base::Batch& batch, int i, const std::string& value) {
    const Revision mod{++revision_, 0};
    auto encoded = encode({.key = name(i),
                           .create_revision = mod.main,
                           .mod_revision = mod.main,
                           .version = 1,
                           .value = value});
    index_.put(name(i), {.mod = mod,
                         .create_revision = mod.main,
                         .version = 1,
                         .bytes = static_cast<std::uint32_t>(encoded.size())});
    batch.add({.revision = mod, .create_revision = mod.main, .version = 1, .encoded = encoded});
  }
  void erase(base::Batch& batch, int i) {
    const Revision mod{++revision_, 0};
    index_.put(name(i), {.mod = mod, .tombstone = true});
    batch.add({.revision = mod, .tombstone = true, .encoded = encode({.key = name(i)})});
  }

  KeyIndex index_;
  std::int64_t revision_ = 1;
};

RangePlan::Status run(RangePlan& plan, const MemoryStore& store, std::size_t budget) {
  for (;;) {
    const auto status = plan.step(budget);
    if (status == RangePlan::Status::kMore) continue;
    if (status != RangePlan::Status::kNeed) return status;
    std::vector<base::ReadResult> read(plan.needed().size());
    store.read(plan.needed(), read);
    plan.feed(read);
  }
}

// A call for rows looks at a bounded number of keys, however many dead ones lie between the living.
TEST(RangePlan, PassesDesertsOnce) {
  const Rows rows(9000, 3000, 1);
  for (const bool keys_only : {false, true}) {
    auto request = Rows::all();
    request.set_keys_only(keys_only);
    RangePlan plan(rows.view, request, 1 << 20);
    ASSERT_EQ(run(plan, rows.store, 100), RangePlan::Status::kDone);
    EXPECT_EQ(plan.count(), 3);
    EXPECT_EQ(plan.rows(), 3u);
    std::vector<Revision> seen;
    std::size_t calls = 0;
    for (auto next = plan.next_rows(100); !next.empty(); next = plan.next_rows(100)) {
      calls++;
      for (const auto& row : next) {
        seen.push_back(row.version.mod);
        EXPECT_EQ(row.key, keys_only ? Rows::name((seen.size() - 1) * 3000) : "");
      }
    }
    EXPECT_EQ(seen, (std::vector<Revision>{{2, 0}, {3002, 0}, {6002, 0}}));
    EXPECT_LE(calls, 3u);
  }
}

// What a filter leaves out is a desert, too.
TEST(RangePlan, PassesWhatFiltersLeaveOut) {
  const Rows rows(9000, 1, 1);
  auto request = Rows::all();
  request.set_min_mod_revision(8000);
  request.set_limit(500);
  RangePlan plan(rows.view, request, 1 << 20);
  ASSERT_EQ(run(plan, rows.store, 1000), RangePlan::Status::kDone);
  EXPECT_EQ(plan.count(), 9000);
  EXPECT_TRUE(plan.more());
  std::size_t seen = 0;
  for (auto next = plan.next_rows(7); !next.empty(); next = plan.next_rows(7)) {
    EXPECT_LE(next.size(), 7u);
    for (const auto& row : next) EXPECT_EQ(row.version.mod.main, 8000 + std::int64_t(seen++));
  }
  EXPECT_EQ(seen, 500u);
}

// A run ends with the row that fills it, so one of large values holds no more memory than one of
// small.
TEST(RangePlan, BoundsARunInBytes) {
  const Rows rows(100, 1, 1000);
  for (const auto order : {RangeRequest::NONE, RangeRequest::DESCEND}) {
    auto request = Rows::all();
    request.set_sort_order(order);
    RangePlan plan(rows.view, request, 1 << 20);
    ASSERT_EQ(run(plan, rows.store, 1000), RangePlan::Status::kDone);
    EXPECT_EQ(plan.next_rows(100, 1).size(), 1u);
    EXPECT_EQ(plan.next_rows(100, 3500).size(), 4u);
    EXPECT_EQ(plan.next_rows(2, 3500).size(), 2u);
    EXPECT_EQ(plan.next_rows(1000).size(), 93u);
    EXPECT_TRUE(plan.next_rows(1000, 1).empty());
  }
}

TEST(RangePlan, AsksForValuesInRunsAndKeepsTheLimitOnly) {
  const Rows rows(2000, 1, 3000);  // six megabytes
  auto request = Rows::all();
  request.set_sort_target(RangeRequest::VALUE);
  request.set_sort_order(RangeRequest::DESCEND);
  request.set_limit(10);
  // Ten rows and one run fit; all rows would not.
  RangePlan plan(rows.view, request, std::size_t{1300} << 10);
  std::size_t asked = 0;
  for (auto status = plan.step(64); status != RangePlan::Status::kDone; status = plan.step(64)) {
    ASSERT_NE(status, RangePlan::Status::kFailed);
    if (status == RangePlan::Status::kMore) continue;
    EXPECT_LE(plan.needed().size(), 256u);
    asked += plan.needed().size();
    std::vector<base::ReadResult> read(plan.needed().size());
    rows.store.read(plan.needed(), read);
    plan.feed(read);
  }
  EXPECT_EQ(asked, 2000u);
  EXPECT_TRUE(plan.rows_are_complete());
  const auto answer = plan.next_rows(100);
  ASSERT_EQ(answer.size(), 10u);
  for (std::size_t i = 0; i < answer.size(); i++) {  // of those with the greatest letter, the first
    EXPECT_EQ(decode(answer[i].encoded)->key, Rows::name(6 + 7 * static_cast<int>(i)));
  }

  request.clear_limit();
  RangePlan unlimited(rows.view, request, std::size_t{1300} << 10);
  ASSERT_EQ(run(unlimited, rows.store, 64), RangePlan::Status::kFailed);
  EXPECT_EQ(unlimited.error(), Errc::kTooMuchMemory);
}

TEST(RangePlan, OrdersManyRowsInSlices) {
  const Rows rows(3000, 1, 1);
  auto request = Rows::all();
  request.set_sort_target(RangeRequest::MOD);
  request.set_sort_order(RangeRequest::DESCEND);
  RangePlan first(rows.view, request, 4 << 20);
  RangePlan plan = std::move(first);  // a plan may move while it runs
  ASSERT_EQ(run(plan, rows.store, 50), RangePlan::Status::kDone);
  std::int64_t expected = 3001;
  for (auto next = plan.next_rows(999); !next.empty(); next = plan.next_rows(999)) {
    for (const auto& row : next) EXPECT_EQ(row.version.mod.main, expected--);
  }
  EXPECT_EQ(expected, 1);
}

}  // namespace
}  // namespace keelson::mvcc
