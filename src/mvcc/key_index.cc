#include "mvcc/key_index.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "mvcc/key_index_history.h"
#include "mvcc/key_index_memory.h"
#include "mvcc/key_index_node.h"

namespace keelson::mvcc {
namespace internal {
namespace {

// A node below this looks for a neighbour to become one with.
constexpr std::size_t kMergeBelow = kLeafMax / 4;

void prefetch(const Node* node) {
  for (std::size_t line = 0; line < 3; line++) __builtin_prefetch(node->base() + line * kLine);
}

// The leaf that has `key`, if any has it.
const Node* leaf_of(const Node* root, std::string_view key) {
  const Node* node = root;
  while (!node->leaf) {
    node = node->child(node->child_of(key));
    prefetch(node);
  }
  return node;
}

}  // namespace

// Fills an empty tree from left to right with full nodes.
class Loader {
 public:
  explicit Loader(Memory& memory) : memory_(memory) {}

  // Keys in ascending order.
  void add(std::string_view key, const PackedHistory& history) {
    const LongKey* outside = key.size() > kInlineKeyMax ? LongKey::make(memory_, key) : nullptr;
    add(0, key, outside, history.form, history.bytes.data());
  }

  const Node* finish() {
    for (std::size_t level = 0; level < levels_.size(); level++) {
      if (level + 1 == levels_.size() && levels_[level]->items.size() == 1 && level > 0) {
        const Node* root;
        std::memcpy(&root, levels_[level]->items[0].payload, sizeof(root));
        return root;
      }
      flush(level);
    }
    return nullptr;
  }

 private:
  // A node in the making.
  struct Level {
    std::vector<Item> items;
    std::vector<std::string> keys;  // of the items, and more, for their room
    std::vector<std::array<char, kHistoryBytesMax>> payloads;
    std::size_t bytes = 0;   // of the node
    std::size_t prefix = 0;  // ... and its prefix
    std::string separator;   // under which it goes into the level above
    const LongKey* separator_outside = nullptr;
  };
  static constexpr std::size_t kItemsMax = kInnerMax / (sizeof(Slot) + 8);

  void add(std::size_t level, std::string_view key, const LongKey* outside, Form form,
           const char* payload) {
    if (level == levels_.size()) {
      levels_.push_back(std::make_unique<Level>());
      levels_.back()->keys.resize(kItemsMax + 1);
      levels_.back()->payloads.resize(kItemsMax + 1);
    }
    if (!try_add(*levels_[level], level == 0, key, outside, form, payload)) {
      // What begins the next node separates it from this one.
      std::string separator(key);
      const LongKey* separator_outside = outside;
      if (level == 0) {
        separator = separator_between(levels_[0]->items.back().key, key);
        separator_outside =
            separator.size() > kInlineKeyMax ? LongKey::make(memory_, separator) : nullptr;
      }
      flush(level);
      Level& next = *levels_[level];
      next.separator = std::move(separator);
      next.separator_outside = separator_outside;
      CHECK(try_add(next, level == 0, level == 0 ? key : std::string_view(),
                    level == 0 ? outside : nullptr, form, payload));
    }
  }

  bool try_add(Level& level, bool leaf, std::string_view key, const LongKey* outside, Form form,
               const char* payload) {
    const std::size_t i = level.items.size();
    level.keys[i].assign(key);
    std::copy_n(payload, form_bytes(form), level.payloads[i].begin());
    level.items.push_back({level.keys[i], outside, form, level.payloads[i].data()});
    const std::size_t prefix = node_prefix(leaf, level.items);
    const std::size_t bytes = prefix == level.prefix && i > 1
                                  ? level.bytes + sizeof(Slot) + item_bytes(level.items[i], prefix)
                                  : node_bytes(leaf, level.items);
    if (bytes > (leaf ? kLeafMax : kInnerMax) || i == kItemsMax) {
      CHECK(i > 0);
      level.items.pop_back();
      return false;
    }
    level.bytes = bytes;
    level.prefix = prefix;
    return true;
  }

  void flush(std::size_t level) {
    Level& full = *levels_[level];
    const Node* node = make_node(memory_, level == 0, full.items);
    full.items.clear();
    nodes++;
    add(level + 1, full.separator, full.separator_outside, Form::kChild,
        reinterpret_cast<const char*>(&node));
  }

 public:
  std::uint64_t nodes = 0;

 private:
  Memory& memory_;
  std::vector<std::unique_ptr<Level>> levels_;  // leaves first
};

class Tree {
 public:
  ~Tree() {
    if (loader_ != nullptr) finish_load();
    if (root_ != nullptr) destroy(root_);
  }

  void put(std::string_view key, const Version& version);
  void put_all(std::span<const KeyChange> changes);
  void delete_range(const KeyRange& range, Revision first, KeyIndex::Deleting deleting);
  KeyIndex::CompactSlice compact(std::int64_t floor, std::string_view from, std::size_t budget);
  void load(std::string_view key, std::span<const Version> history);
  void finish_load();

  const Node* root() const { return root_; }
  std::uint64_t publish() {
    CHECK(loader_ == nullptr);
    const std::uint64_t batch = memory_.publish();
    count_bytes();
    return batch;
  }
  void release(std::uint64_t batch) {
    memory_.release(batch);
    count_bytes();
  }
  bool free_due() {
    const bool more = memory_.free_due();
    count_bytes();
    return more;
  }
  const KeyIndex::Stats& stats() const { return stats_; }

 private:
  struct Step {
    Node* node;
    std::size_t slot;
  };

  // Sets path_ to the inner nodes above the leaf that has `key`, and returns that leaf.
  Node* descend(std::string_view key);
  // Makes the nodes of path_ ones of the running batch.
  void own_path();
  Node* own(Node* node);
  // Puts `branches` in place of the child at the end of path_, whose separator stays the first
  // one's. The child itself is gone already. Consumes path_ and branches_.
  void replace_child();
  // Edits `node`: `added` in place of `removed` slots, into branches_. `node` is discarded.
  void splice(Node* node, std::size_t at, std::size_t removed, std::span<const Item> added);
  // Puts items_, gathered from the leaf at the end of path_ and edited, in its place. Consumes
  // path_.
  void rewrite(Node* leaf);
  void set_root();
  void discard_node(const Node* node);

  // Takes as many of the changes as are of keys in the leaf of the first one, in one go, and not
  // beyond the first that is of a new key. How many.
  std::size_t put_in_leaf(std::span<const KeyChange> changes);
  // The history of a key that is there, with one more change.
  PackedHistory lengthen(const History& before, const Version& version);

  // Deletes what is live in `leaf`, at the end of path_, from slot `at` on; `next` is the revision
  // of the first and then that behind the last. False if the range ends in the leaf.
  bool delete_in_leaf(Node* leaf, std::size_t at, const KeyRange& range, Revision& next,
                      KeyIndex::Deleting& deleting);

  struct Compaction {
    std::int64_t floor;
    std::size_t drops_left;
    std::vector<Revision>& dropped;
  };
  // Compacts the leaf at the end of path_ from slot `first` on; false if it was too much for one
  // slice.
  bool compact_leaf(Node* leaf, std::size_t first, Compaction& compaction);
  // The separator after the child at the end of path_; false at the right edge.
  bool next_separator(std::string& separator) const;
  // Joins small nodes above `key` with their neighbours.
  void merge_at(std::string_view key);
  void merge_child(std::size_t depth);

  void start_gather(std::size_t bytes) {
    items_.clear();
    keys_.clear();
    keys_.reserve(bytes);
  }
  void count_bytes() {
    stats_.bytes = memory_.live_bytes();
    stats_.retired_bytes = memory_.retired_bytes();
  }
  void destroy(const Node* node);

  Memory memory_;
  const Node* root_ = nullptr;
  KeyIndex::Stats stats_;
  std::unique_ptr<Loader> loader_;
  std::string last_loaded_;

  // Room for one edit.
  std::vector<Step> path_;
  std::vector<Branch> branches_;
  std::vector<Item> items_;
  std::string keys_;
};

Node* Tree::descend(std::string_view key) {
  path_.clear();
  auto* node = const_cast<Node*>(root_);
  while (!node->leaf) {
    const std::size_t slot = node->child_of(key);
    path_.push_back({node, slot});
    node = const_cast<Node*>(node->child(slot));
    prefetch(node);
  }
  return node;
}

Node* Tree::own(Node* node) {
  if (memory_.is_new(node)) return node;
  Node* copy = copy_node(memory_, *node);
  memory_.discard(node, node->bytes());
  return copy;
}

void Tree::own_path() {
  for (std::size_t depth = 0; depth < path_.size(); depth++) {
    Node* const owned = own(path_[depth].node);
    if (owned == path_[depth].node) continue;
    path_[depth].node = owned;
    if (depth == 0) {
      root_ = owned;
    } else {
      path_[depth - 1].node->set_child(path_[depth - 1].slot, owned);
    }
  }
}

void Tree::discard_node(const Node* node) {
  memory_.discard(node, node->bytes());
  stats_.nodes--;
}

void Tree::splice(Node* node, std::size_t at, std::size_t removed, std::span<const Item> added) {
  branches_.clear();
  if (Node* spliced = splice_node(memory_, *node, at, removed, added)) {
    branches_.push_back({.node = spliced});
  } else {
    start_gather(gather_bytes(*node));
    gather(*node, keys_, items_);
    const auto place = items_.begin() + static_cast<std::ptrdiff_t>(at);
    items_.erase(place, place + static_cast<std::ptrdiff_t>(removed));
    items_.insert(items_.begin() + static_cast<std::ptrdiff_t>(at), added.begin(), added.end());
    if (!node->leaf && !items_.empty() && !items_[0].key.empty()) {  // slot 0 went
      if (const LongKey* outside = items_[0].outside) memory_.discard(outside, outside->bytes());
      items_[0].key = {};
      items_[0].outside = nullptr;
    }
    make_nodes(memory_, node->leaf, items_, branches_);
  }
  stats_.nodes += branches_.size();
  discard_node(node);
}

void Tree::replace_child() {
  while (!path_.empty()) {
    const auto [parent, slot] = path_.back();
    path_.pop_back();
    if (!branches_.empty()) parent->set_child(slot, branches_[0].node);
    if (branches_.size() == 1) return;
    if (branches_.empty()) {
      if (slot > 0) {
        if (const LongKey* outside = parent->outside_key(slot)) {
          memory_.discard(outside, outside->bytes());
        }
      }
      splice(parent, slot, 1, {});
      continue;
    }
    const std::vector<Branch> more(std::make_move_iterator(branches_.begin() + 1),
                                   std::make_move_iterator(branches_.end()));
    std::vector<Item> added;
    for (const Branch& branch : more) added.push_back(branch.item());
    splice(parent, slot + 1, 0, added);
  }
  set_root();
}

// branches_ have come up to the top.
void Tree::set_root() {
  while (branches_.size() > 1) {
    const std::vector<Branch> children = std::exchange(branches_, {});
    items_.clear();
    for (const Branch& branch : children) items_.push_back(branch.item());
    make_nodes(memory_, false, items_, branches_);
    stats_.nodes += branches_.size();
  }
  root_ = branches_.empty() ? nullptr : branches_[0].node;
  while (root_ != nullptr && !root_->leaf && root_->count == 1) {
    const Node* const child = root_->child(0);
    discard_node(root_);
    root_ = child;
  }
}

void Tree::put(std::string_view key, const Version& version) {
  CHECK(loader_ == nullptr);
  const auto outside = [&] {
    return key.size() > kInlineKeyMax ? LongKey::make(memory_, key) : nullptr;
  };
  path_.clear();
  Node* leaf = root_ == nullptr ? nullptr : descend(key);
  const Node::Place place = leaf == nullptr ? Node::Place{0, false} : leaf->lower_bound(key);
  stats_.keys += place.exact ? 0 : 1;
  if (!place.exact) {
    stats_.live_keys += version.tombstone ? 0 : 1;
    const PackedHistory history = make_history(memory_, std::span(&version, 1));
    const Item item{key, outside(), history.form, history.bytes.data()};
    if (leaf == nullptr) {
      root_ = make_node(memory_, true, std::span(&item, 1));
      stats_.nodes = 1;
    } else {
      own_path();
      splice(leaf, place.slot, 0, std::span(&item, 1));
      replace_child();
    }
    return count_bytes();
  }

  const History before = leaf->history(place.slot);
  own_path();
  const PackedHistory history = lengthen(before, version);
  if (form_bytes(history.form) == form_bytes(before.form)) {
    Node* const owned = own(leaf);
    owned->set_history(place.slot, history);
    branches_.clear();
    branches_.push_back({.node = owned});
  } else {
    const Item item{key, leaf->outside_key(place.slot), history.form, history.bytes.data()};
    splice(leaf, place.slot, 1, std::span(&item, 1));
  }
  replace_child();
  count_bytes();
}

PackedHistory Tree::lengthen(const History& before, const Version& version) {
  const Version newest = newest_change(before);
  CHECK(newest.mod < version.mod);
  stats_.live_keys += version.tombstone ? 0 : 1;
  stats_.live_keys -= newest.tombstone ? 0 : 1;
  return with_change(memory_, before, version);
}

void Tree::put_all(std::span<const KeyChange> changes) {
  CHECK(loader_ == nullptr);
  while (!changes.empty()) {
    std::size_t taken = put_in_leaf(changes);
    if (taken == 0) {
      put(changes[0].key, changes[0].version);
      taken = 1;
    }
    changes = changes.subspan(taken);
  }
  count_bytes();
}

void Tree::rewrite(Node* leaf) {
  own_path();
  branches_.clear();
  make_nodes(memory_, true, items_, branches_);
  stats_.nodes += branches_.size();
  discard_node(leaf);
  replace_child();
}

std::size_t Tree::put_in_leaf(std::span<const KeyChange> changes) {
  if (root_ == nullptr) return 0;
  Node* const leaf = descend(changes[0].key);
  const Node::Place first = leaf->lower_bound(changes[0].key);
  if (!first.exact) return 0;
  start_gather(gather_bytes(*leaf));
  gather(*leaf, keys_, items_);
  std::vector<PackedHistory> packed;
  packed.reserve(leaf->count - first.slot);  // never moves
  std::size_t taken = 0;
  for (std::size_t i = first.slot; i < leaf->count && taken < changes.size(); i++) {
    if (items_[i].key < changes[taken].key) continue;
    if (items_[i].key != changes[taken].key) break;
    packed.push_back(lengthen(leaf->history(i), changes[taken].version));
    items_[i].form = packed.back().form;
    items_[i].payload = packed.back().bytes.data();
    taken++;
  }
  rewrite(leaf);
  return taken;
}

void Tree::delete_range(const KeyRange& range, Revision first, KeyIndex::Deleting deleting) {
  CHECK(loader_ == nullptr);
  std::string from(range.key), after;
  Revision next = first;
  while (root_ != nullptr) {
    Node* const leaf = descend(from);
    const std::size_t at = leaf->lower_bound(from).slot;
    const bool more = next_separator(after);
    if (!delete_in_leaf(leaf, at, range, next, deleting) || !more) break;
    std::swap(from, after);
  }
  count_bytes();
}

bool Tree::delete_in_leaf(Node* leaf, std::size_t at, const KeyRange& range, Revision& next,
                          KeyIndex::Deleting& deleting) {
  start_gather(gather_bytes(*leaf));
  gather(*leaf, keys_, items_);
  std::vector<PackedHistory> packed;
  packed.reserve(items_.size());  // never moves
  const bool whole = range.contains(items_.back().key);
  bool inside = true;
  for (std::size_t i = at; i < items_.size() && inside; i++) {
    inside = whole || range.contains(items_[i].key);
    const History before = leaf->history(i);
    const Version newest = newest_change(before);
    if (!inside || newest.tombstone) continue;
    const std::uint32_t bytes = deleting(items_[i].key, newest);
    packed.push_back(lengthen(before, {.mod = next, .bytes = bytes, .tombstone = true}));
    items_[i].form = packed.back().form;
    items_[i].payload = packed.back().bytes.data();
    next.sub++;
  }
  if (!packed.empty()) rewrite(leaf);
  return inside;
}

bool Tree::next_separator(std::string& separator) const {
  for (std::size_t depth = path_.size(); depth > 0; depth--) {
    const Step& step = path_[depth - 1];
    if (step.slot + 1 == step.node->count) continue;
    separator.clear();
    step.node->append_key(step.slot + 1, separator);
    return true;
  }
  return false;
}

KeyIndex::CompactSlice Tree::compact(std::int64_t floor, std::string_view from,
                                     std::size_t budget) {
  CHECK(loader_ == nullptr);
  CHECK_GT(budget, 0u);
  KeyIndex::CompactSlice slice;
  Compaction compaction{floor, budget, slice.dropped};
  slice.next = from;
  std::string after;
  while (root_ != nullptr) {
    Node* const leaf = descend(slice.next);
    const std::size_t first = leaf->lower_bound(slice.next).slot;
    const std::size_t looked_at = std::max<std::size_t>(1, leaf->count - first);
    const bool more = next_separator(after);
    if (!compact_leaf(leaf, first, compaction)) return slice;  // again from the same place
    if (!more) break;
    std::swap(slice.next, after);
    budget -= std::min(budget, looked_at);
    if (budget == 0 || compaction.drops_left == 0) return slice;
  }
  slice.done = true;
  slice.next.clear();
  return slice;
}

bool Tree::compact_leaf(Node* leaf, std::size_t first, Compaction& compaction) {
  bool whole = true;
  std::vector<PackedHistory> packed;  // never moves
  std::vector<Version> gone;
  std::string first_key;
  std::size_t shrunk = 0;  // items_ left out so far
  for (std::size_t i = first; i < leaf->count; i++) {
    if (!may_compact(leaf->form(i))) continue;
    const History history = leaf->history(i);
    const Found kept = find_change(history, compaction.floor);
    if (kept.rank == 0) continue;
    const bool old_tombstone = kept.version.tombstone && kept.version.mod.main < compaction.floor;
    std::uint64_t drops = kept.rank - (old_tombstone ? 0 : 1);
    if (drops == 0) continue;
    if (compaction.drops_left == 0) {
      whole = false;
      break;
    }
    if (drops > compaction.drops_left) {
      drops = compaction.drops_left;
      whole = false;
    }
    compaction.drops_left -= drops;
    gone.clear();
    append_changes(history, 0, drops, gone);
    for (const Version& v : gone) compaction.dropped.push_back(v.mod);

    if (packed.capacity() == 0) {
      packed.reserve(leaf->count);
      start_gather(gather_bytes(*leaf));
      gather(*leaf, keys_, items_);
      first_key = items_[0].key;
    }
    Item& item = items_[i - shrunk];
    if (drops < change_count(history)) {
      packed.push_back(without_oldest(memory_, history, drops));
      item.form = packed.back().form;
      item.payload = packed.back().bytes.data();
    } else {
      discard_history(memory_, history);
      if (item.outside != nullptr) memory_.discard(item.outside, item.outside->bytes());
      items_.erase(items_.begin() + static_cast<std::ptrdiff_t>(i - shrunk));
      shrunk++;
      stats_.keys--;
    }
    if (!whole) break;
  }
  if (packed.capacity() == 0) return whole;

  rewrite(leaf);
  if (root_ != nullptr) merge_at(first_key);
  count_bytes();
  return whole;
}

void Tree::merge_at(std::string_view key) {
  descend(key);
  for (std::size_t depth = path_.size(); depth > 0; depth--) {
    merge_child(depth - 1);
  }
  while (root_ != nullptr && !root_->leaf && root_->count == 1) {
    const Node* const child = root_->child(0);
    discard_node(root_);
    root_ = child;
  }
}

// Joins the child at path_[depth] with a neighbour under the same parent, if they are small.
void Tree::merge_child(std::size_t depth) {
  const auto [parent, slot] = path_[depth];
  if (parent->count == 1 || parent->child(slot)->content_bytes() >= kMergeBelow) return;
  const std::size_t right_slot = slot + 1 < parent->count ? slot + 1 : slot;
  const Node* const left = parent->child(right_slot - 1);
  const Node* const right = parent->child(right_slot);
  if (left->content_bytes() + right->content_bytes() > left->max_bytes()) return;

  const LongKey* const separator_outside = parent->outside_key(right_slot);
  start_gather(gather_bytes(*left) + gather_bytes(*right) + parent->key_length(right_slot));
  gather(*left, keys_, items_);
  const std::size_t boundary = items_.size();
  gather(*right, keys_, items_);
  if (!right->leaf) {  // the separator comes down
    const std::size_t begin = keys_.size();
    parent->append_key(right_slot, keys_);
    items_[boundary].key = std::string_view(keys_).substr(begin);
    items_[boundary].outside = separator_outside;
  }
  // A shorter common prefix may make them too large together.
  if (node_bytes(left->leaf, items_) > left->max_bytes() * 3 / 4) return;

  path_.resize(depth + 1);
  own_path();
  Node* const owner = path_[depth].node;
  const Node* const joined = make_node(memory_, left->leaf, items_);
  if (left->leaf && separator_outside != nullptr) {
    memory_.discard(separator_outside, separator_outside->bytes());
  }
  discard_node(left);
  discard_node(right);
  stats_.nodes++;
  owner->set_child(right_slot - 1, joined);
  Node* const smaller = splice_node(memory_, *owner, right_slot, 1, {});
  CHECK(smaller != nullptr);
  memory_.discard(owner, owner->bytes());
  path_.pop_back();
  if (path_.empty()) {
    root_ = smaller;
  } else {
    path_.back().node->set_child(path_.back().slot, smaller);
  }
}

void Tree::load(std::string_view key, std::span<const Version> history) {
  if (loader_ == nullptr) {
    CHECK(root_ == nullptr);
    loader_ = std::make_unique<Loader>(memory_);
  } else {
    CHECK(last_loaded_ < key);
  }
  last_loaded_ = key;
  for (std::size_t i = 1; i < history.size(); i++) CHECK(history[i - 1].mod < history[i].mod);
  loader_->add(key, make_history(memory_, history));
  stats_.keys++;
  stats_.live_keys += history.back().tombstone ? 0 : 1;
}

void Tree::finish_load() {
  if (loader_ == nullptr) return;
  root_ = loader_->finish();
  stats_.nodes = loader_->nodes;
  loader_.reset();
  last_loaded_ = {};
  count_bytes();
}

void Tree::destroy(const Node* node) {
  for (std::size_t i = 0; i < node->count; i++) {
    if (const LongKey* outside = node->outside_key(i)) memory_.destroy(outside, outside->bytes());
    if (node->leaf) {
      destroy_history(memory_, node->history(i));
    } else {
      destroy(node->child(i));
    }
  }
  memory_.destroy(node, node->bytes());
}

}  // namespace internal

namespace {

using internal::Node;

std::optional<Version> newest_at(const Node& leaf, std::size_t slot, std::int64_t revision) {
  const internal::Found found = internal::find_change(leaf.history(slot), revision);
  return found.rank == 0 ? std::nullopt : std::optional(found.version);
}

std::optional<Version> put_at(const Node& leaf, std::size_t slot, std::int64_t revision) {
  const internal::Found found = internal::find_change(leaf.history(slot), revision);
  return found.rank == 0 || found.version.tombstone ? std::nullopt : std::optional(found.version);
}

}  // namespace

std::optional<Version> KeyIndexView::newest(std::string_view key, std::int64_t revision) const {
  if (root_ == nullptr) return std::nullopt;
  const Node* const leaf = internal::leaf_of(root_, key);
  const auto [slot, exact] = leaf->lower_bound(key);
  return exact ? newest_at(*leaf, slot, revision) : std::nullopt;
}

std::optional<Version> KeyIndexView::get(std::string_view key, std::int64_t revision) const {
  if (root_ == nullptr) return std::nullopt;
  const Node* const leaf = internal::leaf_of(root_, key);
  const auto [slot, exact] = leaf->lower_bound(key);
  return exact ? put_at(*leaf, slot, revision) : std::nullopt;
}

KeyIndexView::Cursor KeyIndexView::seek(std::string_view from) const {
  Cursor cursor;
  cursor.root_ = root_;
  cursor.seek(from);
  return cursor;
}

bool KeyIndexView::Cursor::valid() const { return !path_.empty(); }

std::string_view KeyIndexView::Cursor::key() const {
  key_.clear();
  path_.back().node->append_key(path_.back().slot, key_);
  return key_;
}

std::optional<Version> KeyIndexView::Cursor::newest(std::int64_t revision) const {
  return newest_at(*path_.back().node, path_.back().slot, revision);
}

std::optional<Version> KeyIndexView::Cursor::get(std::int64_t revision) const {
  return put_at(*path_.back().node, path_.back().slot, revision);
}

void KeyIndexView::Cursor::history(std::vector<Version>& out) const {
  const internal::History history = path_.back().node->history(path_.back().slot);
  internal::append_changes(history, 0, internal::change_count(history), out);
}

void KeyIndexView::Cursor::next() {
  path_.back().slot++;
  skip_end_of_leaf();
}

void KeyIndexView::Cursor::seek(std::string_view key) {
  path_.clear();
  if (root_ == nullptr) return;
  const Node* node = root_;
  for (; !node->leaf; node = node->child(path_.back().slot)) {
    path_.push_back({node, node->child_of(key)});
  }
  path_.push_back({node, node->lower_bound(key).slot});
  skip_end_of_leaf();
}

void KeyIndexView::Cursor::descend_first(const Node* node) {
  for (; !node->leaf; node = node->child(0)) path_.push_back({node, 0});
  path_.push_back({node, 0});
}

// On to the next leaf if the path is at the end of its own.
void KeyIndexView::Cursor::skip_end_of_leaf() {
  if (path_.back().slot < path_.back().node->count) return;
  do {
    path_.pop_back();
    if (path_.empty()) return;
  } while (++path_.back().slot == path_.back().node->count);
  const auto [parent, slot] = path_.back();
  if (slot + 1 < parent->count) internal::prefetch(parent->child(slot + 1));
  descend_first(parent->child(slot));
}

KeyIndex::KeyIndex() : tree_(std::make_unique<internal::Tree>()) {}
KeyIndex::~KeyIndex() = default;

void KeyIndex::put(std::string_view key, const Version& version) { tree_->put(key, version); }
void KeyIndex::put_all(std::span<const KeyChange> changes) { tree_->put_all(changes); }
void KeyIndex::delete_range(const KeyRange& range, Revision first, Deleting deleting) {
  tree_->delete_range(range, first, std::move(deleting));
}

KeyIndexView KeyIndex::current() const {
  KeyIndexView view;
  view.root_ = tree_->root();
  return view;
}

KeyIndexView KeyIndex::publish() {
  KeyIndexView view = current();
  view.batch_ = tree_->publish();
  return view;
}

void KeyIndex::release(std::uint64_t batch) { tree_->release(batch); }

bool KeyIndex::free_due() { return tree_->free_due(); }

KeyIndex::CompactSlice KeyIndex::compact(std::int64_t floor, std::string_view from,
                                         std::size_t budget) {
  return tree_->compact(floor, from, budget);
}

void KeyIndex::load(std::string_view key, std::span<const Version> history) {
  tree_->load(key, history);
}

void KeyIndex::finish_load() { tree_->finish_load(); }

const KeyIndex::Stats& KeyIndex::stats() const { return tree_->stats(); }

}  // namespace keelson::mvcc
