#include "watch/interval_tree.h"

#include <gtest/gtest.h>

#include <map>
#include <tuple>
#include <vector>

#include "base/random.h"

namespace keelson::watch {
namespace {

// The same in the plainest words.
class Twin {
 public:
  using Range = std::tuple<std::string, bool, std::string>;  // from, open, end
  std::map<Range, int> ranges;

  std::vector<int> stab(const std::string& key) const {
    std::vector<int> found;
    for (const auto& [range, value] : ranges) {
      const auto& [from, open, end] = range;
      if (from <= key && (open || key < end)) found.push_back(value);
    }
    std::sort(found.begin(), found.end());
    return found;
  }
};

std::string random_key(base::Random& random) {
  std::string key;
  for (std::uint64_t i = random.below(4); i > 0; i--) {
    key.push_back(static_cast<char>('a' + random.below(4)));
  }
  return key;
}

std::vector<int> stab(const IntervalTree<int>& tree, std::string_view key) {
  std::vector<int> found;
  tree.stab(key, [&](int value) { found.push_back(value); });
  std::sort(found.begin(), found.end());
  return found;
}

class IntervalTreeTwin : public testing::TestWithParam<std::uint64_t> {};

TEST_P(IntervalTreeTwin, FindsWhatTheTwinFinds) {
  base::Random random(GetParam());
  IntervalTree<int> tree;
  Twin twin;
  int next = 0;
  for (int step = 0; step < 3000; step++) {
    const std::string from = random_key(random);
    const bool open = random.below(8) == 0;
    const std::string end = open ? "" : random_key(random);
    const Twin::Range range{from, open, end};
    const auto it = twin.ranges.find(range);
    int* value = tree.find(from, {end, open});
    ASSERT_EQ(value != nullptr, it != twin.ranges.end());
    if (value != nullptr) {
      ASSERT_EQ(*value, it->second);
      tree.erase(from, {end, open});
      twin.ranges.erase(it);
    } else {
      tree.insert(from, {end, open}, next);
      twin.ranges.emplace(range, next++);
    }
    if (step % 50 == 0) tree.check();
    const std::string key = random_key(random);
    ASSERT_EQ(stab(tree, key), twin.stab(key)) << "step " << step << " key " << key;
  }
  while (!twin.ranges.empty()) {
    const auto [from, open, end] = twin.ranges.begin()->first;
    tree.erase(from, {end, open});
    twin.ranges.erase(twin.ranges.begin());
  }
  EXPECT_EQ(tree.size(), 0u);
  tree.check();
}

INSTANTIATE_TEST_SUITE_P(Seeds, IntervalTreeTwin, testing::Range<std::uint64_t>(1, 9));

TEST(IntervalTree, StaysShallowWhateverTheOrder) {
  IntervalTree<int> tree;
  for (int i = 0; i < 4096; i++) {
    const std::string from = fmt::format("{:06}", i);
    tree.insert(from, {from + "x", false}, i);
  }
  tree.check();  // T2
  EXPECT_EQ(stab(tree, "000777"), std::vector<int>{777});
}

}  // namespace
}  // namespace keelson::watch
