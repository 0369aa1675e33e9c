#include "base/record.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "base/varint.h"

namespace keelson::base {
namespace {

std::string encoded(std::string_view key) {
  std::string bytes;
  put_bytes_field(bytes, 1, key);
  return bytes;
}

TEST(Tombstones, EachIsTheRecordOfItsKey) {
  const std::vector<std::string> odd = {"", std::string(1, '\0'), "\n", "\xff"};
  for (const std::size_t count : {0u, 1u, 4u, 1023u, 1024u, 1025u, 5000u}) {
    Tombstones tombstones({7, 100});
    std::vector<std::string> keys;
    for (std::size_t i = 0; i < count; i++) {
      keys.push_back(i < odd.size() ? odd[i] : std::string(i % 300, 'x') + std::to_string(i));
      const auto n = static_cast<std::int64_t>(i);
      tombstones.add(keys.back(), {n * n * 100'000, n * 1000});
    }
    ASSERT_EQ(tombstones.size(), count);
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < count; i++) {
      const auto n = static_cast<std::int64_t>(i);
      ASSERT_EQ(tombstones.key(i), keys[i]);
      ASSERT_EQ(tombstones.superseded(i), (Revision{n * n * 100'000, n * 1000}));
      const Record record = tombstones.record(i);
      ASSERT_EQ(record.revision, (Revision{7, 100 + n}));
      ASSERT_TRUE(record.tombstone);
      ASSERT_EQ(record.create_revision + record.version + record.lease, 0);
      ASSERT_EQ(record.encoded.view(), encoded(keys[i]));
      bytes += record.encoded.size();
    }
    EXPECT_EQ(tombstones.encoded_bytes(), bytes);
  }
}

TEST(Tombstones, ARecordOutlivesThem) {
  auto tombstones = std::make_unique<Tombstones>(Revision{2, 0});
  tombstones->add("a", {1, 0});
  const Record record = tombstones->record(0);
  tombstones.reset();
  EXPECT_EQ(record.key(), "a");
}

TEST(Tombstones, KeysAreFoundInOrder) {
  Tombstones tombstones({2, 0});
  EXPECT_EQ(tombstones.lower_bound("a"), 0u);
  for (int i = 1000; i < 4000; i += 2) tombstones.add(std::to_string(i), {1, 0});
  EXPECT_EQ(tombstones.lower_bound(""), 0u);
  EXPECT_EQ(tombstones.lower_bound("2000"), 500u);
  EXPECT_EQ(tombstones.lower_bound("2001"), 501u);
  EXPECT_EQ(tombstones.lower_bound("4"), 1500u);
}

std::string show(const Record& record) {
  return fmt::format("{} {}{}", record.revision, record.tombstone ? "-" : "+", record.key());
}

// Against the same changes each on its own.
TEST(ChangeList, IsTheListOfItsChangesHoweverTheyStand) {
  Random random(1);
  for (int round = 0; round < 300; round++) {
    ChangeList<Record> list;
    std::vector<Record> plain;
    Revision next{2, 0};
    for (std::uint64_t parts = random.below(6); parts > 0; parts--) {
      if (random.one_in(3)) {
        auto tombstones = std::make_shared<Tombstones>(next);
        for (std::uint64_t n = random.below(5); n > 0; n--) {
          tombstones->add("key", {1, 0});
          plain.push_back(
              {.revision = next, .tombstone = true, .encoded = SharedBytes(encoded("key"))});
          next.sub++;
        }
        list.push_back(tombstones);
      } else {
        for (std::uint64_t n = random.below(4); n > 0; n--) {
          plain.push_back({.revision = next, .version = 1, .encoded = SharedBytes(encoded("put"))});
          list.push_back(plain.back());
          next.sub++;
        }
      }
      if (random.one_in(2)) next = {next.main + 1 + static_cast<std::int64_t>(random.below(2)), 0};
    }
    ASSERT_EQ(list.size(), plain.size());
    ASSERT_EQ(list.empty(), plain.empty());
    std::size_t at = 0;
    for (const Record& record : list) ASSERT_EQ(show(record), show(plain[at++]));
    ASSERT_EQ(at, plain.size());
    for (std::size_t i = 0; i < plain.size(); i++) {
      ASSERT_EQ(show(list[i]), show(plain[i]));
      ASSERT_EQ(list.revision(i), plain[i].revision);
      ASSERT_EQ(list.find(plain[i].revision), i);
      const auto part = list.part(i);
      ASSERT_GT(part.size(), 0u);
      ASSERT_LE(i + part.size(), plain.size());
      for (std::size_t n = 0; n < part.alone.size(); n++) {
        ASSERT_EQ(show(part.alone[n]), show(plain[i + n]));
      }
      std::size_t end = i;
      while (end < plain.size() && plain[end].revision.main == plain[i].revision.main) end++;
      ASSERT_EQ(list.end_of_main(i), end);
    }
    for (std::int64_t main = 1; main <= next.main + 1; main++) {
      const Revision wanted{main, static_cast<std::int64_t>(random.below(4))};
      const auto first = std::ranges::lower_bound(plain, wanted, {}, &Record::revision);
      ASSERT_EQ(list.lower_bound(wanted), static_cast<std::size_t>(first - plain.begin()));
      const bool there = first != plain.end() && first->revision == wanted;
      ASSERT_EQ(list.find(wanted).has_value(), there);
    }
    if (!plain.empty()) ASSERT_EQ(list.oldest(), plain.front().revision);
    if (!plain.empty()) ASSERT_EQ(list.newest(), plain.back().revision);
  }
}

}  // namespace
}  // namespace keelson::base
