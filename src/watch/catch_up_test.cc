// catch_up against the model: both ways to history give the same events, whatever the slices.
#include "watch/catch_up.h"

#include <gtest/gtest.h>

#include "watch/world_test.h"

namespace keelson::watch {
namespace {

OwnedRange range(std::string_view key, std::string_view end) {
  return OwnedRange(mvcc::KeyRange::of(key, end));
}

// All of it, slice by slice.
std::vector<std::string> walk(World& world, Wanted wanted, const SliceLimits& limits) {
  std::vector<std::string> told;
  const std::int64_t last = wanted.last;
  while (wanted.first <= last) {
    const auto slice = catch_up(world.published, world.reader, wanted, limits);
    CHECK(slice.ok());
    CHECK_GE(slice->through, wanted.first);
    CHECK_LE(slice->through, last);
    for (std::size_t i = 0; i < slice->events.size(); i++) {
      const auto& event = slice->events[i];
      CHECK_LE(event.record.revision.main, slice->through);
      CHECK_GE(event.record.revision.main, wanted.first);
      told.push_back(std::string(encode_event(event, slice->previous[i])));
    }
    wanted.first = slice->through + 1;
  }
  return told;
}

std::vector<std::string> expected(const World& world, const Wanted& wanted) {
  std::vector<std::string> told;
  for (const Change& change : world.model.changes) {
    if (change.revision < wanted.first || change.revision > wanted.last) continue;
    const auto holds = [&](const OwnedRange& one) {
      return one.borrow().contains(change.kv.key());
    };
    if (std::none_of(wanted.ranges.begin(), wanted.ranges.end(), holds)) continue;
    etcdserverpb::WatchResponse response;
    auto& event = *response.add_events();
    if (change.deleted) event.set_type(mvccpb::Event::DELETE);
    *event.mutable_kv() = change.kv;
    const bool readable = change.revision - 1 >= world.model.compact_revision;
    if (!change.previous.key().empty() && readable) *event.mutable_prev_kv() = change.previous;
    told.push_back(response.SerializeAsString());
  }
  return told;
}

TEST(CatchUp, BothWaysTellTheSame) {
  base::Random random(3);
  World world{Hub::Options{}};
  const auto key = [&] { return std::string(1, static_cast<char>('a' + random.below(9))); };
  for (int i = 0; i < 400; i++) {
    if (random.one_in(4)) {
      world.erase(key(), random.one_in(3) ? key() : "");
    } else {
      world.txn({{key(), "1"}, {key(), std::string(1 + random.below(90), 'v')}});
    }
    if (i == 200) world.compact(world.model.revision - 80);
  }
  for (int i = 0; i < 300; i++) {
    Wanted wanted{.last = world.published.revision, .previous = true};
    for (std::uint64_t n = 1 + random.below(3); n > 0; n--) {
      wanted.ranges.push_back(range(key(), random.one_in(2) ? key() : ""));
    }
    const auto floor = static_cast<std::uint64_t>(world.model.compact_revision);
    const auto readable = static_cast<std::uint64_t>(wanted.last) - floor;
    wanted.first = static_cast<std::int64_t>(floor + random.below(readable));
    const SliceLimits limits{.revisions = 1 + random.below(100),
                             .bytes = 1 + random.below(3000),
                             .records = 1 + random.below(100),
                             .keys = random.below(12)};
    ASSERT_EQ(walk(world, wanted, limits), expected(world, wanted)) << "case " << i;
  }
}

TEST(CatchUp, OfFewKeysLeavesTheOthersUnread) {
  World world{Hub::Options{}};
  for (int i = 0; i < 500; i++) world.put(i % 100 == 0 ? "rare" : "common", "v");
  Wanted wanted{.ranges = {range("rare", "")}, .first = 2, .last = world.published.revision};
  const std::size_t before = world.store.reads();
  const auto slice = catch_up(world.published, world.reader, wanted, {});
  ASSERT_TRUE(slice.ok());
  EXPECT_EQ(slice->events.size(), 5u);
  EXPECT_EQ(slice->through, world.published.revision);
  EXPECT_EQ(world.store.reads() - before, 5u);
}

TEST(CatchUp, StopsAtItsLimitsBetweenRevisions) {
  World world{Hub::Options{}};
  for (int i = 0; i < 300; i++) world.txn({{"a", "1"}, {"b", "1"}, {"c", std::string(500, 'v')}});
  struct Row {
    const char* why;
    std::size_t keys;
    SliceLimits limits;
    std::size_t events;
  };
  const std::vector<Row> rows = {
      {"of the index, by revisions", 9, {.revisions = 5}, 15},
      {"of the index, by bytes", 9, {.revisions = 100, .bytes = 600}, 6},
      {"of the index, one revision at least", 9, {.revisions = 100, .bytes = 1}, 3},
      {"of a scan, by revisions", 0, {.revisions = 5}, 15},
      {"of a scan, one revision at least", 0, {.revisions = 1, .bytes = 1}, 3},
  };
  for (Row row : rows) {
    row.limits.keys = row.keys;
    Wanted wanted{.ranges = {range("a", "z")}, .first = 2, .last = world.published.revision};
    const auto slice = catch_up(world.published, world.reader, wanted, row.limits);
    ASSERT_TRUE(slice.ok());
    EXPECT_EQ(slice->events.size(), row.events) << row.why;
    EXPECT_EQ(slice->through, 1 + static_cast<std::int64_t>(row.events) / 3) << row.why;
  }
}

TEST(CatchUp, SaysWhatItCannotRead) {
  World world{Hub::Options{}};
  for (int i = 0; i < 100; i++) world.put("a", "v");
  world.store.damage({50, 0});
  for (const std::size_t keys : {std::size_t{0}, std::size_t{9}}) {
    Wanted wanted{.ranges = {range("a", "")}, .first = 2, .last = world.published.revision};
    const auto slice = catch_up(world.published, world.reader, wanted, {.keys = keys});
    ASSERT_FALSE(slice.ok());
    EXPECT_EQ(slice.error(), mvcc::Errc::kUnreadable);
  }
}

}  // namespace
}  // namespace keelson::watch
