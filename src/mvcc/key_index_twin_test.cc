// KeyIndex against a slow obvious twin: a map of vectors, copied whole at every publish.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "base/random.h"
#include "mvcc/key_index.h"

namespace keelson::mvcc {
namespace {

using Model = std::map<std::string, std::vector<Version>>;

bool same(const Version& a, const Version& b) {
  return std::tie(a.mod, a.create_revision, a.version, a.bytes, a.tombstone) ==
         std::tie(b.mod, b.create_revision, b.version, b.bytes, b.tombstone);
}

std::string show(const std::vector<Version>& history) {
  std::string out;
  for (const Version& v : history) {
    out += fmt::format("{}{}(create {} version {} bytes {}) ", v.tombstone ? "delete " : "put ",
                       v.mod, v.create_revision, v.version, v.bytes);
  }
  return out;
}

const Version* newest_in(const std::vector<Version>& history, std::int64_t revision) {
  const auto it = std::find_if(history.rbegin(), history.rend(),
                               [&](const Version& v) { return v.mod.main <= revision; });
  return it == history.rend() ? nullptr : &*it;
}

// How many of the oldest changes compaction at `floor` drops.
std::size_t dead_at(const std::vector<Version>& history, std::int64_t floor) {
  const Version* newest = newest_in(history, floor);
  if (newest == nullptr) return 0;
  const bool goes = newest->tombstone && newest->mod.main < floor;
  return static_cast<std::size_t>(newest - history.data()) + (goes ? 1 : 0);
}

struct Shape {
  const char* name;
  std::size_t keys;  // about how many different ones
  std::string (*key)(base::Random&, std::size_t keys);
  std::int64_t first_revision = 2;
  bool odd_numbers = false;  // versions that fit no compact form
  unsigned delete_one_in = 5;
  unsigned hot_one_in = 1000000;  // writes of one key
};

void PrintTo(const Shape& shape, std::ostream* out) { *out << shape.name; }

class KeyIndexTwin : public ::testing::TestWithParam<Shape> {
 protected:
  struct Held {
    KeyIndexView view;
    Model model;
  };

  void put_one() {
    const std::string key = random_.one_in(GetParam().hot_one_in) ? std::string("hot") : a_key();
    index_.put(key, next_change(key));
  }

  // Of neighbours, most of them there, as a delete of a range has them; now and then new ones too.
  void put_many() {
    std::set<std::string> keys;
    const std::size_t wanted = random_.below(200);
    for (auto it = model_.lower_bound(a_key()); it != model_.end() && keys.size() < wanted; ++it) {
      if (!random_.one_in(10)) keys.insert(it->first);
    }
    for (std::size_t more = random_.below(3); more > 0; more--) keys.insert(a_key());
    std::vector<KeyChange> changes;
    for (const std::string& key : keys) {
      changes.push_back({.key = key, .version = next_change(key)});
    }
    index_.put_all(changes);
  }

  void delete_range() {
    const std::string from = a_key();
    std::string end = from + "5";  // mostly few, so that something is left
    if (random_.one_in(10)) end = random_.one_in(4) ? std::string(1, '\0') : a_key();
    const KeyRange range = KeyRange::of(from, end);
    revision_ = {revision_.main + 1, random_.one_in(2) ? 0 : 80'000};
    std::vector<std::pair<std::string, Version>> wanted;
    const Revision first = revision_;
    for (auto& [key, history] : model_) {
      if (!range.contains(key) || history.back().tombstone) continue;
      wanted.emplace_back(key, history.back());
      const auto bytes = static_cast<std::uint32_t>(key.size() + 3);
      history.push_back({.mod = revision_, .bytes = bytes, .tombstone = true});
      key_of_[revision_] = key;
      revision_.sub++;
    }
    std::size_t told = 0;
    index_.delete_range(range, first, [&](std::string_view key, const Version& superseded) {
      EXPECT_LT(told, wanted.size());
      if (told == wanted.size()) return 0u;
      EXPECT_EQ(key, wanted[told].first);
      EXPECT_TRUE(same(superseded, wanted[told].second));
      told++;
      return static_cast<std::uint32_t>(key.size() + 3);
    });
    EXPECT_EQ(told, wanted.size());
  }

  // The next of this key, in the model already.
  Version next_change(const std::string& key) {
    const Shape& shape = GetParam();
    std::vector<Version>& history = model_[key];
    Version v;
    if (random_.one_in(4)) {
      revision_.sub += 1 + static_cast<std::int64_t>(random_.below(3));
    } else {
      revision_ = {revision_.main + 1, 0};
    }
    if (shape.odd_numbers && random_.one_in(20)) revision_.sub += 70'000;
    if (shape.odd_numbers && random_.one_in(200)) revision_.sub += std::int64_t{1} << 28;
    v.mod = revision_;
    const Version* newest = history.empty() ? nullptr : &history.back();
    const bool live = newest != nullptr && !newest->tombstone;
    v.tombstone = live && key != "hot" && random_.one_in(shape.delete_one_in);
    v.bytes = static_cast<std::uint32_t>(random_.below(2000));
    if (!v.tombstone) {
      v.create_revision = live ? newest->create_revision : v.mod.main;
      v.version = live ? newest->version + 1 : 1;
    }
    if (shape.odd_numbers && random_.one_in(10)) {
      const auto any = [&] {
        return static_cast<std::int64_t>(random_.next() >> random_.below(64));
      };
      v.bytes = static_cast<std::uint32_t>(random_.next());
      v.create_revision = any(), v.version = any();
    }
    history.push_back(v);
    key_of_[v.mod] = key;
    return v;
  }

  std::string a_key() { return GetParam().key(random_, GetParam().keys); }

  void publish() {
    held_.push_back({index_.publish(), model_});
    batches_.insert(held_.back().view.batch());
  }

  void release(std::size_t i) {
    index_.release(held_[i].view.batch());
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(i));
  }

  void compact_slice() {
    if (!compacting_) {
      if (floor_ >= revision_.main) return;
      const auto step = static_cast<std::uint64_t>(revision_.main - floor_);
      floor_ += 1 + static_cast<std::int64_t>(random_.below(step));
      compacting_ = true;
      next_ = "";
    }
    const auto slice = index_.compact(floor_, next_, 1 + random_.below(300));
    for (const Revision& revision : slice.dropped) {
      const auto it = model_.find(key_of_.at(revision));
      ASSERT_TRUE(it != model_.end());
      ASSERT_EQ(it->second.front().mod, revision) << "the oldest goes first";
      ASSERT_GT(dead_at(it->second, floor_), 0u);
      it->second.erase(it->second.begin());
      if (it->second.empty()) model_.erase(it);
    }
    next_ = slice.next;
    if (!slice.done) return;
    compacting_ = false;
    for (const auto& [key, history] : model_) ASSERT_EQ(dead_at(history, floor_), 0u) << key;
  }

  void check(const KeyIndexView& view, const Model& model) {
    auto cursor = view.seek("");
    std::vector<Version> changes;
    for (const auto& [key, history] : model) {
      ASSERT_TRUE(cursor.valid());
      ASSERT_EQ(cursor.key(), key);
      changes.clear();
      cursor.history(changes);
      ASSERT_TRUE(std::equal(changes.begin(), changes.end(), history.begin(), history.end(), same))
          << show(changes) << "\nwanted\n"
          << show(history);
      cursor.next();
    }
    ASSERT_FALSE(cursor.valid());
    for (int i = 0; i < 50; i++) check_key(view, model, a_key());
  }

  void check_key(const KeyIndexView& view, const Model& model, const std::string& key) {
    const auto it = model.find(key);
    std::int64_t at = static_cast<std::int64_t>(
        random_.below(static_cast<std::uint64_t>(revision_.main - GetParam().first_revision + 3)));
    at += GetParam().first_revision - 1;
    const Version* wanted = it == model.end() ? nullptr : newest_in(it->second, at);
    const auto newest = view.newest(key, at), got = view.get(key, at);
    ASSERT_EQ(newest.has_value(), wanted != nullptr);
    if (wanted != nullptr) ASSERT_TRUE(same(*newest, *wanted)) << show({*newest, *wanted});
    ASSERT_EQ(got.has_value(), wanted != nullptr && !wanted->tombstone);
    const auto after = model.lower_bound(key);
    auto cursor = view.seek(key);
    ASSERT_EQ(cursor.valid(), after != model.end());
    if (!cursor.valid()) return;
    ASSERT_EQ(cursor.key(), after->first);
    const Version* here = newest_in(after->second, at);
    ASSERT_EQ(cursor.newest(at).has_value(), here != nullptr);
    ASSERT_EQ(cursor.get(at).has_value(), here != nullptr && !here->tombstone);
  }

  void check_all() {
    check(index_.current(), model_);
    for (const Held& held : held_) check(held.view, held.model);
    ASSERT_EQ(index_.stats().keys, model_.size());
    const auto live = std::count_if(model_.begin(), model_.end(),
                                    [](const auto& row) { return !row.second.back().tombstone; });
    ASSERT_EQ(index_.stats().live_keys, static_cast<std::uint64_t>(live));
  }

  base::Random random_{20261};
  KeyIndex index_;
  Model model_;
  std::map<Revision, std::string> key_of_;
  std::deque<Held> held_;
  std::set<std::uint64_t> batches_;
  Revision revision_{GetParam().first_revision, 0};
  std::int64_t floor_ = GetParam().first_revision;
  bool compacting_ = false;
  std::string next_;
};

TEST_P(KeyIndexTwin, AgreesOnEveryRoot) {
  constexpr int kOperations = 6'000;
  for (int i = 0; i < kOperations; i++) {
    SCOPED_TRACE(fmt::format("operation {}", i));
    const std::uint64_t die = random_.below(100);
    if (die < 78) {
      put_one();
    } else if (die < 80) {
      put_many();
    } else if (die < 82) {
      delete_range();
    } else if (die < 86) {
      publish();
    } else if (die < 92 || held_.size() > 6) {
      if (!held_.empty()) release(random_.below(held_.size()));
    } else if (die < 95) {
      compact_slice();
    } else {
      check_key(index_.current(), model_, a_key());
    }
    if (i % 1500 == 0) check_all();
    if (HasFatalFailure()) return;
  }
  check_all();

  // Delete everything, compact it away and let all roots go: nothing is left.
  for (auto& [key, history] : model_) {
    revision_ = {revision_.main + 1, 0};
    index_.put(key, {.mod = revision_, .bytes = 1, .tombstone = true});
  }
  publish();
  KeyIndex::CompactSlice slice;
  do {
    slice = index_.compact(revision_.main + 1, slice.next, 700);
    publish();
  } while (!slice.done);
  EXPECT_EQ(index_.stats().keys, 0u);
  EXPECT_EQ(index_.stats().live_keys, 0u);
  EXPECT_EQ(index_.stats().nodes, 0u);
  EXPECT_EQ(index_.stats().bytes, 0u);
  EXPECT_GT(index_.stats().retired_bytes, 0u);
  while (!held_.empty()) release(random_.below(held_.size()));
  for (int i = 0; i < 10'000 && index_.stats().retired_bytes > 0; i++) {
    index_.release(index_.publish().batch());
  }
  EXPECT_EQ(index_.stats().retired_bytes, 0u);
}

std::string numbered_key(base::Random& random, std::size_t keys) {
  return fmt::format("/registry/pods/default/pod-{:05}", random.below(keys));
}

std::string nested_key(base::Random& random, std::size_t) {
  std::string key(random.below(9), '\0');
  for (char& c : key) c = "\0a\xff"[random.below(3)];
  return key;
}

std::string binary_key(base::Random& random, std::size_t keys) {
  base::Random of_key(random.below(keys));
  return of_key.bytes(of_key.below(40));
}

std::string mixed_length_key(base::Random& random, std::size_t keys) {
  const std::uint64_t n = random.below(keys);
  const std::size_t lengths[] = {0, 1, 60, 240, 250, 256, 257, 258, 261, 300, 5000};
  return std::string(lengths[n % 11], 'x') + fmt::format("{}", n / 11);
}

std::string long_key(base::Random& random, std::size_t keys) {
  base::Random of_key(random.below(keys));
  return of_key.bytes(3) + std::string(150, 'y') + of_key.bytes(60);
}

std::string one_of_few_prefixes(base::Random& random, std::size_t keys) {
  const std::uint64_t n = random.below(keys);
  return std::string(n % 3 * 90, "abc"[n % 3]) + fmt::format("/{:x}", n * 0x9E3779B97F4A7C15u);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, KeyIndexTwin,
    ::testing::Values(
        Shape{.name = "Numbered", .keys = 2000, .key = numbered_key},
        Shape{.name = "FewKeysLongHistories", .keys = 8, .key = numbered_key, .delete_one_in = 50},
        Shape{.name = "Nested", .keys = 0, .key = nested_key},
        Shape{.name = "Binary", .keys = 1000, .key = binary_key, .delete_one_in = 2},
        Shape{.name = "MixedLength", .keys = 600, .key = mixed_length_key},
        Shape{.name = "Deep", .keys = 3000, .key = long_key},
        Shape{.name = "FewPrefixes", .keys = 3000, .key = one_of_few_prefixes},
        Shape{.name = "HotKey", .keys = 100, .key = numbered_key, .hot_one_in = 2},
        Shape{.name = "LargeRevisions",
              .keys = 200,
              .key = numbered_key,
              .first_revision = (std::int64_t{1} << 48) - 2000},
        Shape{.name = "RevisionsTooLargeForATombstone",
              .keys = 200,
              .key = numbered_key,
              .first_revision = (std::int64_t{1} << 44) - 2000,
              .delete_one_in = 2},
        Shape{.name = "OddNumbers",
              .keys = 100,
              .key = numbered_key,
              .odd_numbers = true,
              .hot_one_in = 4}),
    [](const auto& info) { return std::string(info.param.name); });

// One writer, two readers, each at the newest root it was handed. Pairs of keys change together, so
// a reader that sees half a batch, or memory already freed, does not find them equal.
TEST(KeyIndexThreads, ReadersSeeWholeBatches) {
  constexpr std::int64_t kPairs = 300, kBatches = 2500;
  KeyIndex index;
  std::mutex mutex;  // the hand-over, as the owner of the views makes it
  KeyIndexView newest;
  std::map<std::uint64_t, int> holders;
  std::vector<std::uint64_t> released;
  bool done = false;
  const auto take = [&](KeyIndexView& view) {
    const std::lock_guard lock(mutex);
    view = newest;
    if (view.batch() != 0) holders[view.batch()]++;
    return !done;
  };
  const auto give_back = [&](const KeyIndexView& view) {
    const std::lock_guard lock(mutex);
    if (view.batch() != 0 && --holders[view.batch()] == 0) released.push_back(view.batch());
  };
  const auto name = [](char side, std::uint64_t pair) { return fmt::format("{}/{}", side, pair); };
  std::atomic<std::uint64_t> seen = 0;
  const auto read = [&](std::uint64_t seed) {
    base::Random random(seed);
    KeyIndexView view;
    std::vector<Version> left, right;
    while (take(view)) {
      auto a = view.seek("a"), b = view.seek("b");
      for (; a.valid() && a.key().starts_with('a'); a.next(), b.next()) {
        left.clear(), right.clear();
        a.history(left), b.history(right);
        EXPECT_TRUE(std::equal(left.begin(), left.end(), right.begin(), right.end(), same));
        seen++;
      }
      for (int i = 0; i < 20; i++) {
        const std::uint64_t pair = random.below(kPairs);
        const auto at = static_cast<std::int64_t>(random.below(kBatches * 4));
        const auto l = view.get(name('a', pair), at), r = view.get(name('b', pair), at);
        EXPECT_EQ(l.has_value(), r.has_value());
        if (l && r) EXPECT_TRUE(same(*l, *r));
      }
      give_back(view);
    }
    give_back(view);
  };
  std::thread first(read, 1), second(read, 2);

  base::Random random(3);
  std::map<std::uint64_t, Version> latest;
  std::string next;
  for (std::int64_t batch = 1; batch <= kBatches; batch++) {
    for (std::int64_t i = 0; i < 3; i++) {
      const std::uint64_t pair = random.one_in(3) ? 7 : random.below(kPairs);
      Version& v = latest[pair];
      const bool live = v.version > 0;
      v.mod = {batch * 4 + i, 0};
      v.tombstone = live && pair != 7 && random.one_in(4);
      v.version = v.tombstone ? 0 : v.version + 1;
      v.create_revision = v.tombstone ? 0 : live ? v.create_revision : v.mod.main;
      index.put(name('a', pair), v);
      index.put(name('b', pair), v);
    }
    // A whole compaction within a batch, so that pairs stay equal.
    if (batch % 50 == 0) {
      KeyIndex::CompactSlice slice;
      do {
        slice = index.compact(batch * 4 - 100, slice.next, 50);
      } while (!slice.done);
    }
    const KeyIndexView view = index.publish();
    std::vector<std::uint64_t> free;
    {
      const std::lock_guard lock(mutex);
      if (newest.batch() != 0 && --holders[newest.batch()] == 0) released.push_back(newest.batch());
      newest = view;
      holders[view.batch()] = 1;
      free.swap(released);
    }
    for (const std::uint64_t old : free) index.release(old);
    if (batch % 16 == 0) std::this_thread::yield();
  }
  while (seen == 0) std::this_thread::yield();  // a busy machine may not have let a reader run yet
  {
    const std::lock_guard lock(mutex);
    done = true;
  }
  first.join();
  second.join();
  for (const std::uint64_t old : released) index.release(old);
  index.release(newest.batch());
  for (int i = 0; i < 10'000 && index.stats().retired_bytes > 0; i++) {
    index.release(index.publish().batch());
  }
  EXPECT_EQ(index.stats().retired_bytes, 0u);
  EXPECT_GT(seen, 0u);
}

}  // namespace
}  // namespace keelson::mvcc
