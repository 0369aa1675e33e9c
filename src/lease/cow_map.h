// CowMap: an ordered map whose copies are immutable snapshots.
//
// A copy costs one reference count and shares all nodes. The one writer changes its own copy by
// replacing the nodes on the path; nodes it made since the last snapshot it edits in place, so that
// a batch of many changes copies each touched node once. Who made a node is known by its Edit: a
// number that the writer raises whenever it hands out a copy.
//
//   B+ tree: leaves hold entries in order, inner nodes hold the lowest key of each child.
//
// Invariants   C1  keys ascend strictly within a leaf and across leaves
//              C2  all leaves have the same depth; no node but the root is empty
//              C3  a node whose edit is not the writer's current one never changes
//              C4  the first key of an inner node's slot is <= every key below that child and >
//              every key
//                  below the child before it
// Readers of copies need no lock: what they can reach is immutable (C3) and kept alive by their
// root. The writer must raise its Edit before a copy leaves its lane.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"

namespace keelson::lease {

using Edit = std::uint64_t;  // 0 belongs to nobody

template <class Key, class Value>
class CowMap {
 public:
  struct Entry {
    Key key;
    Value value;
  };
  static constexpr std::size_t kFanOut = 32;

  std::size_t size() const { return size_; }

  // nullptr if it is not there. The pointer lives until the next change of this copy. `Like` is
  // anything that compares with Key by <.
  template <class Like>
  const Value* find(const Like& key) const {
    const Entry* entry = at_or_after(key);
    return entry != nullptr && !(key < entry->key) ? &entry->value : nullptr;
  }

  // The first entry whose key is not less than `key`, nullptr at the end.
  template <class Like>
  const Entry* at_or_after(const Like& key) const {
    return root_ == nullptr ? nullptr : at_or_after(*root_, key);
  }

  // visit(const Key&, const Value&) -> bool, ascending; false ends the walk.
  template <class Visit>
  void visit(Visit&& visit) const {
    if (root_ != nullptr) walk(*root_, visit);
  }

  // The value of `key`, to be changed in place, made from Value{} if it is not there.
  Value& edit(Edit edit, const Key& key) {
    CHECK(edit != 0);
    if (root_ == nullptr) root_ = std::make_shared<Node>(edit);
    Node& root = own(root_, edit);
    Value* value = nullptr;
    auto sibling = insert(root, edit, key, value);
    if (sibling != nullptr) {
      auto grown = std::make_shared<Node>(edit);
      grown->slots.push_back({lowest(*root_), root_});
      grown->slots.push_back({lowest(*sibling), sibling});
      root_ = std::move(grown);
    }
    return *value;
  }

  // False if it is not there.
  template <class Like>
  bool erase(Edit edit, const Like& key) {
    CHECK(edit != 0);
    if (find(key) == nullptr) return false;
    remove(own(root_, edit), edit, key);
    size_--;
    while (!root_->is_leaf() && root_->slots.size() == 1) {
      auto only = root_->slots.front().child;
      root_ = std::move(only);
    }
    if (size_ == 0) root_ = nullptr;
    return true;
  }

  // Bulk walk over the invariants, for tests; CHECKs.
  void check() const {
    std::size_t count = 0;
    if (root_ != nullptr) check_node(*root_, depth(*root_), count);
    CHECK_EQ(count, size_);
  }

 private:
  struct Node;
  using NodePointer = std::shared_ptr<Node>;
  struct Slot {
    Key lowest;  // a bound from below, C4; not always the lowest key there is
    NodePointer child;
  };
  struct Node {
    explicit Node(Edit owner) : edit(owner) {}
    Edit edit;
    std::vector<Entry> entries;  // of a leaf
    std::vector<Slot> slots;     // of an inner node
    bool is_leaf() const { return slots.empty(); }
    std::size_t count() const { return is_leaf() ? entries.size() : slots.size(); }
  };

  static const Key& lowest(const Node& node) {
    return node.is_leaf() ? node.entries.front().key : node.slots.front().lowest;
  }

  static Node& own(NodePointer& pointer, Edit edit) {
    if (pointer->edit != edit) {
      pointer = std::make_shared<Node>(*pointer);
      pointer->edit = edit;
    }
    return *pointer;
  }

  // The place of the child that may hold `key`.
  template <class Like>
  static std::size_t child_of(const Node& node, const Like& key) {
    const auto it =
        std::upper_bound(node.slots.begin(), node.slots.end(), key,
                         [](const Like& k, const Slot& slot) { return k < slot.lowest; });
    return it == node.slots.begin() ? 0 : static_cast<std::size_t>(it - node.slots.begin()) - 1;
  }
  template <class Like>
  static std::size_t entry_of(const Node& leaf, const Like& key) {
    const auto it =
        std::lower_bound(leaf.entries.begin(), leaf.entries.end(), key,
                         [](const Entry& entry, const Like& k) { return entry.key < k; });
    return static_cast<std::size_t>(it - leaf.entries.begin());
  }

  template <class Like>
  static const Entry* at_or_after(const Node& node, const Like& key) {
    if (node.is_leaf()) {
      const std::size_t place = entry_of(node, key);
      return place < node.entries.size() ? &node.entries[place] : nullptr;
    }
    // The child may end before `key`; then the answer is the first entry of the next one.
    for (std::size_t i = child_of(node, key); i < node.slots.size(); i++) {
      if (const Entry* entry = at_or_after(*node.slots[i].child, key)) return entry;
    }
    return nullptr;
  }

  template <class Visit>
  static bool walk(const Node& node, Visit& visit) {
    for (const Entry& entry : node.entries) {
      if (!visit(entry.key, entry.value)) return false;
    }
    for (const Slot& slot : node.slots) {
      if (!walk(*slot.child, visit)) return false;
    }
    return true;
  }

  // Returns the new right sibling if the node had to be split.
  NodePointer insert(Node& node, Edit edit, const Key& key, Value*& value) {
    if (node.is_leaf()) return insert_into_leaf(node, edit, key, value);
    const std::size_t place = child_of(node, key);
    if (key < node.slots[place].lowest) node.slots[place].lowest = key;
    auto sibling = insert(own(node.slots[place].child, edit), edit, key, value);
    if (sibling == nullptr) return nullptr;
    node.slots.insert(node.slots.begin() + static_cast<std::ptrdiff_t>(place) + 1,
                      Slot{lowest(*sibling), sibling});
    if (node.slots.size() <= kFanOut) return nullptr;
    auto right = std::make_shared<Node>(edit);
    split(node.slots, right->slots, place + 2 == node.slots.size());
    return right;
  }

  NodePointer insert_into_leaf(Node& leaf, Edit edit, const Key& key, Value*& value) {
    const std::size_t place = entry_of(leaf, key);
    if (place < leaf.entries.size() && !(key < leaf.entries[place].key)) {
      value = &leaf.entries[place].value;
      return nullptr;
    }
    const auto it = leaf.entries.insert(leaf.entries.begin() + static_cast<std::ptrdiff_t>(place),
                                        Entry{key, Value{}});
    size_++;
    value = &it->value;
    if (leaf.entries.size() <= kFanOut) return nullptr;
    auto right = std::make_shared<Node>(edit);
    split(leaf.entries, right->entries, place + 1 == leaf.entries.size());
    const std::size_t kept = leaf.entries.size();
    value = place < kept ? &leaf.entries[place].value : &right->entries[place - kept].value;
    return right;
  }

  // In halves; but what grows at its end (ids and keys often ascend) leaves full nodes behind.
  template <class T>
  static void split(std::vector<T>& left, std::vector<T>& right, bool at_end) {
    const auto middle =
        left.begin() + static_cast<std::ptrdiff_t>(at_end ? left.size() - 1 : left.size() / 2);
    right.assign(std::make_move_iterator(middle), std::make_move_iterator(left.end()));
    left.erase(middle, left.end());
  }

  template <class Like>
  void remove(Node& node, Edit edit, const Like& key) {
    if (node.is_leaf()) {
      node.entries.erase(node.entries.begin() + static_cast<std::ptrdiff_t>(entry_of(node, key)));
      return;
    }
    const std::size_t place = child_of(node, key);
    remove(own(node.slots[place].child, edit), edit, key);
    if (node.slots[place].child->count() < kFanOut / 4) join_neighbours(node, edit, place);
  }

  // Puts a thin child together with a neighbour if both fit into one node.
  static void join_neighbours(Node& node, Edit edit, std::size_t place) {
    if (node.slots.size() == 1) {
      // With its only child gone this node is as empty; the parent drops it.
      if (node.slots.front().child->count() == 0) node.slots.clear();
      return;
    }
    const std::size_t left = place == 0 ? 0 : place - 1;
    const std::size_t count = node.slots[left].child->count() + node.slots[left + 1].child->count();
    if (count > kFanOut * 3 / 4 && node.slots[place].child->count() > 0) return;
    Node& into = own(node.slots[left].child, edit);
    const Node& from = *node.slots[left + 1].child;
    into.entries.insert(into.entries.end(), from.entries.begin(), from.entries.end());
    into.slots.insert(into.slots.end(), from.slots.begin(), from.slots.end());
    node.slots.erase(node.slots.begin() + static_cast<std::ptrdiff_t>(left) + 1);
  }

  static std::size_t depth(const Node& node) {
    return node.is_leaf() ? 1 : 1 + depth(*node.slots.front().child);
  }
  static void check_node(const Node& node, std::size_t levels, std::size_t& count) {
    CHECK(node.count() > 0 && node.count() <= kFanOut);
    CHECK_EQ(levels == 1, node.is_leaf());
    for (std::size_t i = 1; i < node.entries.size(); i++) {
      CHECK(node.entries[i - 1].key < node.entries[i].key);
    }
    count += node.entries.size();
    for (std::size_t i = 0; i < node.slots.size(); i++) {
      CHECK(!(lowest(*node.slots[i].child) < node.slots[i].lowest));
      if (i > 0) CHECK(highest(*node.slots[i - 1].child) < node.slots[i].lowest);
      check_node(*node.slots[i].child, levels - 1, count);
    }
  }
  static const Key& highest(const Node& node) {
    return node.is_leaf() ? node.entries.back().key : highest(*node.slots.back().child);
  }

  NodePointer root_;
  std::size_t size_ = 0;
};

}  // namespace keelson::lease
