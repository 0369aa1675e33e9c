#include "mvcc/key_index.h"

#include <map>
#include <utility>

#include "base/check.h"

namespace keelson::mvcc {
namespace internal {

using History = std::vector<Version>;  // ascending, never empty

// One state of all keys. A published one never changes; histories are shared among states.
struct Node {
  std::map<std::string, std::shared_ptr<const History>, std::less<>> keys;
};

class Tree {
 public:
  Node live;
  bool edited = false;  // since the last publish
  std::shared_ptr<const Node> newest = std::make_shared<Node>();
  std::map<std::uint64_t, std::shared_ptr<const Node>> held;  // by batch number
  std::uint64_t batch = 0;
  KeyIndex::Stats stats;

  void count(const History& history, int sign) {
    const auto signed_one = static_cast<std::uint64_t>(sign);
    stats.keys += signed_one;
    if (!history.back().tombstone) stats.live_keys += signed_one;
    stats.bytes += signed_one * (sizeof(Node) + history.size() * sizeof(Version));
  }
};

}  // namespace internal

namespace {

using internal::History;

const Version* newest_in(const History& history, std::int64_t revision) {
  for (std::size_t i = history.size(); i-- > 0;) {
    if (history[i].mod.main <= revision) return &history[i];
  }
  return nullptr;
}

std::optional<Version> newest_of(const History& history, std::int64_t revision) {
  const Version* found = newest_in(history, revision);
  return found == nullptr ? std::nullopt : std::optional(*found);
}

std::optional<Version> without_tombstone(std::optional<Version> version) {
  return version && version->tombstone ? std::nullopt : version;
}

}  // namespace

std::optional<Version> KeyIndexView::newest(std::string_view key, std::int64_t revision) const {
  if (root_ == nullptr) return std::nullopt;
  const auto it = root_->keys.find(key);
  return it == root_->keys.end() ? std::nullopt : newest_of(*it->second, revision);
}

std::optional<Version> KeyIndexView::get(std::string_view key, std::int64_t revision) const {
  return without_tombstone(newest(key, revision));
}

KeyIndexView::Cursor KeyIndexView::seek(std::string_view from) const {
  Cursor cursor;
  cursor.tree_ = tree_;
  cursor.root_ = root_;
  cursor.seek(from);
  return cursor;
}

bool KeyIndexView::Cursor::valid() const { return !path_.empty(); }

std::string_view KeyIndexView::Cursor::key() const { return key_; }

std::optional<Version> KeyIndexView::Cursor::newest(std::int64_t revision) const {
  CHECK(valid());
  return newest_of(*root_->keys.find(key_)->second, revision);
}

std::optional<Version> KeyIndexView::Cursor::get(std::int64_t revision) const {
  return without_tombstone(newest(revision));
}

void KeyIndexView::Cursor::history(std::vector<Version>& out) const {
  CHECK(valid());
  const History& history = *root_->keys.find(key_)->second;
  out.insert(out.end(), history.begin(), history.end());
}

void KeyIndexView::Cursor::next() {
  CHECK(valid());
  key_.push_back('\0');  // the successor of the key
  seek(std::string(key_));
}

void KeyIndexView::Cursor::seek(std::string_view key) {
  path_.clear();
  if (root_ == nullptr) return;
  const auto it = root_->keys.lower_bound(key);
  if (it == root_->keys.end()) return;
  key_ = it->first;
  path_.push_back({root_, 0});
}

KeyIndex::KeyIndex() : tree_(std::make_unique<internal::Tree>()) {}
KeyIndex::~KeyIndex() = default;

void KeyIndex::put(std::string_view key, const Version& version) {
  auto& place = tree_->live.keys[std::string(key)];
  History history;
  if (place != nullptr) {
    CHECK(place->back().mod < version.mod);
    tree_->count(*place, -1);
    history = *place;
  }
  history.push_back(version);
  tree_->count(history, 1);
  place = std::make_shared<History>(std::move(history));
  tree_->edited = true;
}

KeyIndexView KeyIndex::current() const {
  KeyIndexView view;
  view.tree_ = tree_.get();
  view.root_ = &tree_->live;
  return view;
}

KeyIndexView KeyIndex::publish() {
  if (std::exchange(tree_->edited, false)) {
    tree_->newest = std::make_shared<internal::Node>(tree_->live);
  }
  KeyIndexView view;
  view.tree_ = tree_.get();
  view.root_ = tree_->newest.get();
  view.batch_ = ++tree_->batch;
  tree_->held.emplace(view.batch_, tree_->newest);
  return view;
}

void KeyIndex::release(std::uint64_t batch) { CHECK_EQ(tree_->held.erase(batch), 1u); }

KeyIndex::CompactSlice KeyIndex::compact(std::int64_t floor, std::string_view from,
                                         std::size_t budget) {
  CHECK(budget > 0);
  CompactSlice slice;
  auto& keys = tree_->live.keys;
  auto it = keys.lower_bound(from);
  for (; budget > 0 && it != keys.end(); budget--) {
    const History& old = *it->second;
    const Version* newest = newest_in(old, floor);
    const bool keep = newest != nullptr && (!newest->tombstone || newest->mod.main == floor);
    const auto first = newest == nullptr ? 0 : newest - old.data() + (keep ? 0 : 1);
    for (auto i = 0; i < first; i++) slice.dropped.push_back(old[i].mod);
    if (first == 0) {
      ++it;
      continue;
    }
    tree_->edited = true;
    tree_->count(old, -1);
    History left(old.begin() + first, old.end());
    if (left.empty()) {
      it = keys.erase(it);
      continue;
    }
    tree_->count(left, 1);
    it->second = std::make_shared<History>(std::move(left));
    ++it;
  }
  slice.done = it == keys.end();
  if (!slice.done) slice.next = it->first;
  return slice;
}

void KeyIndex::load(std::string_view key, std::span<const Version> history) {
  CHECK(!history.empty());
  auto& keys = tree_->live.keys;
  CHECK(keys.empty() || keys.rbegin()->first < key);
  auto shared = std::make_shared<History>(history.begin(), history.end());
  tree_->count(*shared, 1);
  keys.emplace_hint(keys.end(), key, std::move(shared));
  tree_->edited = true;
}

void KeyIndex::finish_load() {}

const KeyIndex::Stats& KeyIndex::stats() const { return tree_->stats; }

}  // namespace keelson::mvcc
