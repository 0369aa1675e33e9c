#include "lease/cow_map.h"

#include <gtest/gtest.h>

#include <map>

#include "base/random.h"

namespace keelson::lease {
namespace {

using Map = CowMap<std::uint64_t, std::string>;
using Model = std::map<std::uint64_t, std::string>;

void expect_equal(const Map& map, const Model& model) {
  map.check();
  ASSERT_EQ(map.size(), model.size());
  auto it = model.begin();
  map.visit([&](std::uint64_t key, const std::string& value) {
    EXPECT_EQ(key, it->first);
    EXPECT_EQ(value, it->second);
    ++it;
    return true;
  });
  EXPECT_TRUE(it == model.end());
}

TEST(CowMap, Empty) {
  Map map;
  EXPECT_EQ(map.size(), 0u);
  EXPECT_EQ(map.find(1u), nullptr);
  EXPECT_EQ(map.at_or_after(0u), nullptr);
  EXPECT_FALSE(map.erase(1, 1u));
  map.check();
}

TEST(CowMap, GrowsAndShrinksInEveryOrder) {
  for (const int order : {0, 1, 2}) {
    const std::uint64_t count = 3000;
    std::vector<std::uint64_t> keys;
    for (std::uint64_t i = 0; i < count; i++) keys.push_back(i);
    base::Random random(5);
    if (order == 1) std::reverse(keys.begin(), keys.end());
    if (order == 2) std::shuffle(keys.begin(), keys.end(), random);
    Map map;
    Model model;
    for (const auto key : keys) model[key] = map.edit(1, key) = std::to_string(key);
    expect_equal(map, model);
    for (const auto key : keys) {
      ASSERT_TRUE(map.erase(1, key));
      ASSERT_FALSE(map.erase(1, key));
      model.erase(key);
      if (key % 97 == 0) expect_equal(map, model);
    }
    expect_equal(map, model);
  }
}

TEST(CowMap, FindsTheNextEntry) {
  Map map;
  for (std::uint64_t key = 10; key <= 5000; key += 10) map.edit(1, key);
  for (std::uint64_t key = 0; key <= 5000; key++) {
    const auto* entry = map.at_or_after(key);
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(entry->key, std::max<std::uint64_t>(10, (key + 9) / 10 * 10));
  }
  EXPECT_EQ(map.at_or_after(5001u), nullptr);
}

TEST(CowMap, AWalkMayEndEarly) {
  Map map;
  for (std::uint64_t key = 0; key < 500; key++) map.edit(1, key);
  int seen = 0;
  map.visit([&](std::uint64_t, const std::string&) { return ++seen < 100; });
  EXPECT_EQ(seen, 100);
}

// Against std::map, with copies kept: each copy stays as it was when it was taken.
TEST(CowMap, Twin) {
  for (std::uint64_t seed = 1; seed <= 10; seed++) {
    base::Random random(seed);
    Map map;
    Model model;
    Edit edit = 1;
    std::vector<std::pair<Map, Model>> copies;
    const std::uint64_t range = seed % 2 == 0 ? 200 : 5000;
    for (int i = 0; i < 6000; i++) {
      const std::uint64_t key = random.below(range);
      // Waves, so that it both fills and empties.
      if (random.below(10) < (i / 1500 % 2 == 0 ? 7u : 3u)) {
        model[key] = map.edit(edit, key) = std::to_string(i);
      } else {
        ASSERT_EQ(map.erase(edit, key), model.erase(key) == 1);
      }
      const auto* found = map.find(key);
      ASSERT_EQ(found != nullptr, model.contains(key));
      if (random.one_in(400)) {
        copies.emplace_back(map, model);
        edit++;
      }
      if (random.one_in(800) && !copies.empty()) copies.erase(copies.begin());
    }
    expect_equal(map, model);
    for (const auto& [copy, then] : copies) expect_equal(copy, then);
  }
}

// What a copy costs: nodes on the path, once per snapshot, not the map.
TEST(CowMap, SharesWhatDidNotChange) {
  struct Counted {
    int copies = 0;
    Counted() = default;
    Counted(const Counted& other) : copies(other.copies + 1) {}
    Counted& operator=(const Counted&) = default;
  };
  CowMap<std::uint64_t, Counted> map;
  for (std::uint64_t key = 0; key < 10'000; key++) map.edit(1, key);
  const auto before = map;
  std::map<std::uint64_t, int> copies_before;
  before.visit([&](std::uint64_t key, const Counted& c) {
    copies_before[key] = c.copies;
    return true;
  });
  for (int again = 0; again < 5; again++) map.edit(2, 5000u);
  int touched = 0;
  map.visit([&](std::uint64_t key, const Counted& c) {
    touched += c.copies != copies_before[key];
    return true;
  });
  EXPECT_GT(touched, 0);
  EXPECT_LE(touched, static_cast<int>(CowMap<std::uint64_t, Counted>::kFanOut));
}

}  // namespace
}  // namespace keelson::lease
