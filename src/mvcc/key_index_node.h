// Node: the page of the key index's B-tree, leaf and inner alike.
//
//   | Object | lines count heap_bytes prefix_length/leaf | prefix | slots ... -> (gap) <- ... heap
//   |
//     8 B      4 x 2 B
//
// The keys of a node share `prefix`. A slot of 8 B has the next 4 bytes of its key as a big-endian
// number, zeros where the key is shorter, so that a search compares integers and touches the heap
// for equal ones only; and the place of its item in the heap, counted back from the node's end:
//
//   item of a leaf    history (its form is in the slot) | the rest of the key
//   item of an inner  child                             | the rest of the separator
//
// Keys longer than kInlineKeyMax are kept outside, whole, and the item has a pointer to them. Slot
// 0 of an inner node has the empty key and stands for everything before slot 1.
//
// A node is allocated to its content, in lines of 64 B, and has no room to grow: an insertion makes
// a new one. That costs a copy that copy-on-write pays anyway, and saves the usual third of slack.
//
// Invariants
//   N1  Keys ascend strictly; child i has the keys in [key i, key i+1).
//   N2  All leaves have the same depth; a node has at least one slot.
//   N3  A node has at most kLeafMax or kInnerMax bytes.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mvcc/key_index_history.h"
#include "mvcc/key_index_memory.h"

namespace keelson::mvcc::internal {

constexpr std::size_t kLine = 64;
constexpr std::size_t kAllocatorBytes = 8;  // malloc's own, so that a node ends with a line
constexpr std::size_t kLeafMax = 1024 - kAllocatorBytes;
constexpr std::size_t kInnerMax = 2048 - kAllocatorBytes;
constexpr std::size_t kInlineKeyMax = 256;

// A key kept outside its node.
struct LongKey : Object {
  std::size_t length;

  std::string_view view() const { return {reinterpret_cast<const char*>(this + 1), length}; }
  std::size_t bytes() const { return sizeof(LongKey) + length; }
  static const LongKey* make(Memory& memory, std::string_view key);
};

struct Slot {
  std::uint32_t head;         // bytes 0..3 of the key after the prefix
  std::uint32_t offset : 12;  // of the item, from the node's end back
  std::uint32_t length : 10;  // of the key after the prefix, if it is not outside
  std::uint32_t outside : 1;
  std::uint32_t form : 4;
};
static_assert(sizeof(Slot) == 8 && kInnerMax < 1 << 12 && kInlineKeyMax < 1 << 10);

struct Node : Object {
  std::uint16_t lines;
  std::uint16_t count;
  std::uint16_t heap_bytes;
  std::uint16_t prefix_length : 15;
  std::uint16_t leaf : 1;

  std::size_t bytes() const { return lines * kLine - kAllocatorBytes; }
  std::size_t content_bytes() const {
    return head_bytes(prefix_length) + count * sizeof(Slot) + heap_bytes;
  }
  std::size_t max_bytes() const { return leaf ? kLeafMax : kInnerMax; }

  std::string_view prefix() const { return {base() + sizeof(Node), prefix_length}; }
  const Slot* slots() const {
    return reinterpret_cast<const Slot*>(base() + head_bytes(prefix_length));
  }
  Form form(std::size_t i) const { return static_cast<Form>(slots()[i].form); }
  const char* item(std::size_t i) const { return base() + bytes() - slots()[i].offset; }
  std::size_t item_bytes(std::size_t i) const {
    const Slot& slot = slots()[i];
    const std::size_t rest = slot.outside ? sizeof(void*) : slot.length > 4 ? slot.length - 4 : 0;
    return form_bytes(form(i)) + rest;
  }

  // Of a leaf.
  History history(std::size_t i) const { return {form(i), item(i)}; }
  // Of an inner node.
  const Node* child(std::size_t i) const {
    const Node* child;
    std::memcpy(&child, item(i), sizeof(child));
    return child;
  }

  const LongKey* outside_key(std::size_t i) const;  // nullptr if the key is inside
  std::size_t key_length(std::size_t i) const;
  void append_key(std::size_t i, std::string& out) const;

  // The first slot whose key is >= `key`; count if there is none.
  struct Place {
    std::size_t slot;
    bool exact;
  };
  Place lower_bound(std::string_view key) const;
  // Of an inner node: the child that has `key`.
  std::size_t child_of(std::string_view key) const;

  // Edits in place, for nodes of the running batch.
  void set_child(std::size_t i, const Node* child) {
    std::memcpy(const_cast<char*>(item(i)), &child, sizeof(child));
  }
  void set_history(std::size_t i, const PackedHistory& history) {  // of equal size
    std::memcpy(const_cast<char*>(item(i)), history.bytes.data(), form_bytes(history.form));
    const_cast<Slot*>(slots())[i].form = static_cast<std::uint32_t>(history.form);
  }

  // The prefix is padded, so that slots are aligned.
  static constexpr std::size_t head_bytes(std::size_t prefix_length) {
    return sizeof(Object) + 8 + (prefix_length + 3) / 4 * 4;
  }
  char* base() { return reinterpret_cast<char*>(this); }
  const char* base() const { return reinterpret_cast<const char*>(this); }

 private:
  int compare_equal_head(const Slot& slot, std::size_t i, std::string_view suffix) const;
};
static_assert(sizeof(Node) == 16);

// One slot on its way into a node. Borrows key and payload.
struct Item {
  std::string_view key;  // whole
  const LongKey* outside = nullptr;
  Form form = Form::kChild;
  const char* payload = nullptr;  // form_bytes(form)
};

// A child on its way into its parent; `separator` is the least key it may have.
struct Branch {
  std::string separator;
  const LongKey* outside = nullptr;
  const Node* node = nullptr;

  Item item() const {
    return {separator, outside, Form::kChild, reinterpret_cast<const char*>(&node)};
  }
};

// The first four bytes of what follows a prefix, as slots have them.
inline std::uint32_t head_of(std::string_view suffix) {
  std::uint32_t head = 0;
  if (suffix.size() >= 4) {
    std::memcpy(&head, suffix.data(), 4);
  } else if (!suffix.empty()) {
    std::memcpy(&head, suffix.data(), suffix.size());
  }
  return std::byteswap(head);
}

// The least key that is > `before` and <= `key`, a prefix of `key`.
std::string_view separator_between(std::string_view before, std::string_view key);

// What a node of these items, at least one, would have: its prefix, its size; and an item's in its
// heap.
std::size_t node_prefix(bool leaf, std::span<const Item> items);
std::size_t item_bytes(const Item& item, std::size_t prefix);
std::size_t node_bytes(bool leaf, std::span<const Item> items);
Node* make_node(Memory& memory, bool leaf, std::span<const Item> items);
// As many nodes as it takes, appended to `out`. The separator of the first stays with the caller;
// the others' are made. With no item, no node.
void make_nodes(Memory& memory, bool leaf, std::span<Item> items, std::vector<Branch>& out);

// A copy for the running batch.
Node* copy_node(Memory& memory, const Node& node);
// A copy in which `added` stands in place of `removed` slots (0 or 1) from `at` on; nullptr if that
// needs another prefix, or more or less than one node: then gather and make_nodes.
Node* splice_node(Memory& memory, const Node& node, std::size_t at, std::size_t removed,
                  std::span<const Item> added);

// All items of a node, keys in `keys`, which must have room for gather_bytes (it may not move).
std::size_t gather_bytes(const Node& node);
void gather(const Node& node, std::string& keys, std::vector<Item>& items);

}  // namespace keelson::mvcc::internal
