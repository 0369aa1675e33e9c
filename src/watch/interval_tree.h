// IntervalTree<T>: values by key range, and which of them hold a key.
//
// An AVL tree ordered by (from, end) whose nodes know the greatest end below them, so that the
// subtrees that end before a key are never entered: O(log n + found) for a look-up of one key.
//
// Invariants   T1  nodes ascend by (from, end); each range stands once
//              T2  the heights of a node's children differ by at most one, so no walk is deeper
//              than
//                  1.44 log2(n)
//              T3  a node's `reach` is the greatest end in its subtree
//
// Touched by one lane.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/check.h"

namespace keelson::watch {

// The exclusive end of a range: a key, or beyond all keys.
struct End {
  std::string_view key;
  bool open = false;

  friend bool operator<(const End& a, const End& b) { return !a.open && (b.open || a.key < b.key); }
  friend bool operator==(const End& a, const End& b) {
    return a.open == b.open && (a.open || a.key == b.key);
  }
  bool is_after(std::string_view k) const { return open || k < key; }
};

template <class T>
class IntervalTree {
 public:
  // The value of exactly this range; nullptr if there is none.
  T* find(std::string_view from, End end) {
    Node* node = root_.get();
    while (node != nullptr) {
      const int order = compare(from, end, *node);
      if (order == 0) return &node->value;
      node = order < 0 ? node->left.get() : node->right.get();
    }
    return nullptr;
  }

  // The range is not there yet.
  void insert(std::string_view from, End end, T value) {
    insert(root_, std::make_unique<Node>(from, end, std::move(value)));
    size_++;
  }

  // The range is there.
  void erase(std::string_view from, End end) {
    erase(root_, from, end);
    size_--;
  }

  // Calls `found` with the value of each range that holds `key`, in ascending order of ranges.
  template <class F>
  void stab(std::string_view key, F&& found) const {
    stab(root_.get(), key, found);
  }

  // Calls `found` with each value, in ascending order of ranges.
  template <class F>
  void each(F&& found) const {
    each(root_.get(), found);
  }

  std::size_t size() const { return size_; }

  // T1 to T3, for tests.
  void check() const { CHECK_EQ(check(root_.get(), nullptr, nullptr), size_); }

 private:
  struct Node {
    Node(std::string_view f, End e, T v)
        : from(f), end(e.key), open(e.open), reach(stop()), value(std::move(v)) {}
    End stop() const { return {end, open}; }

    std::string from;
    std::string end;
    bool open;
    int height = 1;
    End reach;  // borrows from a node of the subtree
    T value;
    std::unique_ptr<Node> left;
    std::unique_ptr<Node> right;
  };
  using Link = std::unique_ptr<Node>;

  static int compare(std::string_view from, End end, const Node& node) {
    if (const int order = from.compare(node.from); order != 0) return order;
    if (end == node.stop()) return 0;
    return end < node.stop() ? -1 : 1;
  }
  static int height(const Link& link) { return link ? link->height : 0; }

  static void update(Node& node) {
    node.height = 1 + std::max(height(node.left), height(node.right));
    node.reach = node.stop();
    for (const Link* child : {&node.left, &node.right}) {
      if (*child && node.reach < (*child)->reach) node.reach = (*child)->reach;
    }
  }

  static void rotate_right(Link& link) {
    Link top = std::move(link->left);
    link->left = std::move(top->right);
    update(*link);
    top->right = std::move(link);
    link = std::move(top);
    update(*link);
  }
  static void rotate_left(Link& link) {
    Link top = std::move(link->right);
    link->right = std::move(top->left);
    update(*link);
    top->left = std::move(link);
    link = std::move(top);
    update(*link);
  }
  static void balance(Link& link) {
    update(*link);
    const int lean = height(link->left) - height(link->right);
    if (lean > 1) {
      if (height(link->left->left) < height(link->left->right)) rotate_left(link->left);
      rotate_right(link);
    } else if (lean < -1) {
      if (height(link->right->right) < height(link->right->left)) rotate_right(link->right);
      rotate_left(link);
    }
  }

  static void insert(Link& link, Link node) {
    if (!link) {
      link = std::move(node);
      return;
    }
    const int order = compare(node->from, node->stop(), *link);
    CHECK(order != 0);
    insert(order < 0 ? link->left : link->right, std::move(node));
    balance(link);
  }

  static void erase(Link& link, std::string_view from, End end) {
    CHECK(link != nullptr);
    const int order = compare(from, end, *link);
    if (order != 0) {
      erase(order < 0 ? link->left : link->right, from, end);
      return balance(link);
    }
    if (!link->left || !link->right) {
      Link rest = std::move(link->left ? link->left : link->right);
      link = std::move(rest);
      return;
    }
    Link successor = take_first(link->right);
    successor->left = std::move(link->left);
    successor->right = std::move(link->right);
    link = std::move(successor);
    balance(link);
  }
  static Link take_first(Link& link) {
    if (!link->left) {
      Link first = std::move(link);
      link = std::move(first->right);
      return first;
    }
    Link first = take_first(link->left);
    balance(link);
    return first;
  }

  template <class F>
  static void stab(const Node* node, std::string_view key, F& found) {
    while (node != nullptr && node->reach.is_after(key)) {
      stab(node->left.get(), key, found);
      if (key < node->from) return;  // so are all to the right
      if (node->stop().is_after(key)) found(node->value);
      node = node->right.get();
    }
  }

  template <class F>
  static void each(const Node* node, F& found) {
    if (node == nullptr) return;
    each(node->left.get(), found);
    found(node->value);
    each(node->right.get(), found);
  }

  // The number of nodes; `low` and `high` are its neighbours in order, exclusive.
  static std::size_t check(const Node* node, const Node* low, const Node* high) {
    if (node == nullptr) return 0;
    if (low != nullptr) CHECK(compare(node->from, node->stop(), *low) > 0);
    if (high != nullptr) CHECK(compare(node->from, node->stop(), *high) < 0);
    CHECK_LE(std::abs(height(node->left) - height(node->right)), 1);
    CHECK_EQ(node->height, 1 + std::max(height(node->left), height(node->right)));
    End reach = node->stop();
    for (const Link* child : {&node->left, &node->right}) {
      if (*child && reach < (*child)->reach) reach = (*child)->reach;
    }
    CHECK(reach == node->reach);
    return 1 + check(node->left.get(), low, node) + check(node->right.get(), node, high);
  }

  Link root_;
  std::size_t size_ = 0;
};

}  // namespace keelson::watch
