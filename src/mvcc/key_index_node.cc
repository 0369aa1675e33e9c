#include "mvcc/key_index_node.h"

#include <algorithm>

#include "base/check.h"

namespace keelson::mvcc::internal {
namespace {

static_assert(std::endian::native == std::endian::little);

std::size_t common_prefix(std::string_view a, std::string_view b) {
  const std::size_t limit = std::min({a.size(), b.size(), kInlineKeyMax});
  std::size_t at = 0;
  for (; at + 8 <= limit; at += 8) {
    std::uint64_t left, right;
    std::memcpy(&left, a.data() + at, 8);
    std::memcpy(&right, b.data() + at, 8);
    if (left == right) continue;
    return at + static_cast<std::size_t>(std::countr_zero(left ^ right)) / 8;
  }
  while (at < limit && a[at] == b[at]) at++;
  return at;
}

std::size_t lines_for(std::size_t bytes) { return (bytes + kAllocatorBytes + kLine - 1) / kLine; }

Node* allocate_node(Memory& memory, bool leaf, std::size_t prefix_length, std::size_t count,
                    std::size_t heap_bytes) {
  const std::size_t lines =
      lines_for(Node::head_bytes(prefix_length) + count * sizeof(Slot) + heap_bytes);
  auto* node = static_cast<Node*>(memory.allocate(lines * kLine - kAllocatorBytes));
  node->lines = static_cast<std::uint16_t>(lines);
  node->count = static_cast<std::uint16_t>(count);
  node->heap_bytes = static_cast<std::uint16_t>(heap_bytes);
  node->prefix_length = static_cast<std::uint16_t>(prefix_length) & 0x7FFF;
  node->leaf = leaf ? 1 : 0;
  return node;
}

// Writes `item` as slot `i`, its bytes at `offset` from the end.
void write_item(Node& node, std::size_t i, const Item& item, std::size_t offset) {
  const std::string_view suffix =
      item.key.substr(std::min<std::size_t>(item.key.size(), node.prefix_length));
  Slot& slot = const_cast<Slot*>(node.slots())[i];
  slot.head = head_of(suffix);
  slot.offset = offset & 0xFFF;
  slot.length = item.outside != nullptr ? 0 : suffix.size() & 0x3FF;
  slot.outside = item.outside != nullptr ? 1 : 0;
  slot.form = static_cast<std::uint32_t>(item.form);
  char* to = node.base() + node.bytes() - offset;
  std::memcpy(to, item.payload, form_bytes(item.form));
  to += form_bytes(item.form);
  if (item.outside != nullptr) {
    std::memcpy(to, &item.outside, sizeof(void*));
  } else if (suffix.size() > 4) {
    std::memcpy(to, suffix.data() + 4, suffix.size() - 4);
  }
}

// Where to cut items that do not fit into one node: after half of the bytes, between two items.
std::size_t middle(std::span<const Item> items) {
  const std::size_t prefix = node_prefix(true, items);
  std::size_t total = 0;
  for (const Item& item : items) total += sizeof(Slot) + item_bytes(item, prefix);
  std::size_t cut = 0;
  for (std::size_t sum = 0; cut + 1 < items.size() && sum * 2 < total; cut++) {
    sum += sizeof(Slot) + item_bytes(items[cut], prefix);
  }
  return std::max<std::size_t>(cut, 1);
}

}  // namespace

const LongKey* LongKey::make(Memory& memory, std::string_view key) {
  auto* made = static_cast<LongKey*>(memory.allocate(sizeof(LongKey) + key.size()));
  made->length = key.size();
  std::memcpy(static_cast<void*>(made + 1), key.data(), key.size());
  return made;
}

const LongKey* Node::outside_key(std::size_t i) const {
  if (!slots()[i].outside) return nullptr;
  const LongKey* key;
  std::memcpy(&key, item(i) + form_bytes(form(i)), sizeof(key));
  return key;
}

std::size_t Node::key_length(std::size_t i) const {
  if (const LongKey* outside = outside_key(i)) return outside->length;
  return leaf || i > 0 ? prefix_length + slots()[i].length : 0;
}

void Node::append_key(std::size_t i, std::string& out) const {
  if (const LongKey* outside = outside_key(i)) {
    out.append(outside->view());
    return;
  }
  if (!leaf && i == 0) return;
  const Slot& slot = slots()[i];
  const std::uint32_t head = std::byteswap(slot.head);
  char bytes[4];
  std::memcpy(bytes, &head, 4);
  out.append(prefix());
  out.append(bytes, std::min<std::size_t>(slot.length, 4));
  if (slot.length > 4) out.append(item(i) + form_bytes(form(i)), slot.length - 4);
}

// Heads are equal. A key shorter than four bytes has zeros in its head, so the lengths decide last.
int Node::compare_equal_head(const Slot& slot, std::size_t i, std::string_view suffix) const {
  std::string_view rest;
  std::size_t length = slot.length;
  if (const LongKey* outside = outside_key(i)) {
    const std::string_view whole = outside->view();
    length = whole.size() - prefix_length;
    rest = whole.substr(std::min<std::size_t>(whole.size(), prefix_length + 4));
  } else if (length > 4) {
    rest = {item(i) + form_bytes(form(i)), length - 4};
  }
  const int c = rest.compare(suffix.size() > 4 ? suffix.substr(4) : std::string_view());
  if (c != 0) return c;
  return length < suffix.size() ? -1 : length > suffix.size() ? 1 : 0;
}

Node::Place Node::lower_bound(std::string_view key) const {
  std::size_t low = leaf ? 0 : 1, high = count;
  const std::string_view shared = prefix();
  const int side = key.substr(0, shared.size()).compare(shared);  // a shorter key sorts before
  if (side != 0) return {side < 0 ? std::min(low, high) : high, false};
  const std::string_view suffix = key.substr(shared.size());
  const std::uint32_t head = head_of(suffix);
  const Slot* const all = slots();
  while (low < high) {
    const std::size_t i = (low + high) / 2;
    int c = all[i].head < head ? -1 : all[i].head > head ? 1 : 0;
    if (c == 0) {
      c = compare_equal_head(all[i], i, suffix);
      if (c == 0) return {i, true};
    }
    if (c < 0) {
      low = i + 1;
    } else {
      high = i;
    }
  }
  return {low, false};
}

std::size_t Node::child_of(std::string_view key) const {
  const Place place = lower_bound(key);
  return place.exact ? place.slot : place.slot - 1;
}

std::string_view separator_between(std::string_view before, std::string_view key) {
  const auto differs = std::mismatch(key.begin(), key.end(), before.begin(), before.end()).first;
  return key.substr(0, static_cast<std::size_t>(differs - key.begin()) + 1);
}

// Slot 0 of an inner node has no key of its own.
std::size_t node_prefix(bool leaf, std::span<const Item> items) {
  const std::size_t first = leaf ? 0 : 1;
  return first < items.size() ? common_prefix(items[first].key, items.back().key) : 0;
}

std::size_t item_bytes(const Item& item, std::size_t prefix) {
  const std::size_t inside = item.key.size() > prefix + 4 ? item.key.size() - prefix - 4 : 0;
  return form_bytes(item.form) + (item.outside != nullptr ? sizeof(void*) : inside);
}

std::size_t node_bytes(bool leaf, std::span<const Item> items) {
  const std::size_t prefix = node_prefix(leaf, items);
  std::size_t bytes = Node::head_bytes(prefix) + items.size() * sizeof(Slot);
  for (const Item& item : items) bytes += item_bytes(item, prefix);
  return bytes;
}

Node* make_node(Memory& memory, bool leaf, std::span<const Item> items) {
  const std::size_t prefix = node_prefix(leaf, items);
  std::size_t heap_bytes = 0;
  for (const Item& item : items) heap_bytes += item_bytes(item, prefix);
  Node* node = allocate_node(memory, leaf, prefix, items.size(), heap_bytes);
  items.back().key.copy(node->base() + sizeof(Node), prefix);
  std::size_t offset = 0;
  for (std::size_t i = 0; i < items.size(); i++) {
    offset += item_bytes(items[i], prefix);
    write_item(*node, i, items[i], offset);
  }
  return node;
}

void make_nodes(Memory& memory, bool leaf, std::span<Item> items, std::vector<Branch>& out) {
  if (items.empty()) return;
  if (node_bytes(leaf, items) <= (leaf ? kLeafMax : kInnerMax)) {
    out.push_back({.node = make_node(memory, leaf, items)});
    return;
  }
  const std::size_t cut = middle(items);
  Branch right;
  if (leaf) {
    right.separator = separator_between(items[cut - 1].key, items[cut].key);
    if (right.separator.size() > kInlineKeyMax)
      right.outside = LongKey::make(memory, right.separator);
  } else {  // the separator moves up
    right.separator = items[cut].key;
    right.outside = items[cut].outside;
    items[cut].key = {};
    items[cut].outside = nullptr;
  }
  make_nodes(memory, leaf, items.first(cut), out);
  const std::size_t first = out.size();
  make_nodes(memory, leaf, items.subspan(cut), out);
  out[first].separator = std::move(right.separator);
  out[first].outside = right.outside;
}

Node* copy_node(Memory& memory, const Node& node) {
  auto* copy = static_cast<Node*>(memory.allocate(node.bytes()));
  std::memcpy(copy->base() + sizeof(Object), node.base() + sizeof(Object),
              node.bytes() - sizeof(Object));
  return copy;
}

Node* splice_node(Memory& memory, const Node& node, std::size_t at, std::size_t removed,
                  std::span<const Item> added) {
  const std::size_t count = node.count - removed + added.size();
  if (count == 0 || (!node.leaf && at == 0)) return nullptr;
  const std::size_t gone_bytes = removed == 0 ? 0 : node.item_bytes(at);
  std::size_t heap_bytes = node.heap_bytes - gone_bytes;
  for (const Item& item : added) {
    if (!item.key.starts_with(node.prefix())) return nullptr;
    heap_bytes += item_bytes(item, node.prefix_length);
  }
  if (Node::head_bytes(node.prefix_length) + count * sizeof(Slot) + heap_bytes > node.max_bytes()) {
    return nullptr;
  }
  Node* copy = allocate_node(memory, node.leaf, node.prefix_length, count, heap_bytes);
  std::memcpy(copy->base() + sizeof(Node), node.base() + sizeof(Node), node.prefix_length);
  auto* slots = const_cast<Slot*>(copy->slots());
  std::memcpy(slots, node.slots(), at * sizeof(Slot));
  std::memcpy(slots + at + added.size(), node.slots() + at + removed,
              (node.count - at - removed) * sizeof(Slot));

  // The heap without the item that goes: what lies before it moves up to the end.
  char* const end = copy->base() + copy->bytes();
  const char* const from = node.base() + node.bytes();
  const std::size_t gone_offset = removed == 0 ? 0 : node.slots()[at].offset;
  const std::size_t kept = gone_offset - gone_bytes;  // bytes nearer to the end
  std::memcpy(end - kept, from - kept, kept);
  std::memcpy(end - (node.heap_bytes - gone_bytes), from - node.heap_bytes,
              node.heap_bytes - gone_offset);
  const auto close_gap = [&](std::size_t first, std::size_t last) {
    for (std::size_t i = first; i < last; i++) {
      if (slots[i].offset > gone_offset) slots[i].offset -= gone_bytes & 0xFFF;
    }
  };
  if (gone_bytes != 0) close_gap(0, at), close_gap(at + added.size(), count);
  std::size_t offset = node.heap_bytes - gone_bytes;
  for (std::size_t i = 0; i < added.size(); i++) {
    offset += item_bytes(added[i], node.prefix_length);
    write_item(*copy, at + i, added[i], offset);
  }
  return copy;
}

std::size_t gather_bytes(const Node& node) {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < node.count; i++) {
    if (!node.slots()[i].outside) bytes += node.key_length(i);
  }
  return bytes;
}

void gather(const Node& node, std::string& keys, std::vector<Item>& items) {
  for (std::size_t i = 0; i < node.count; i++) {
    Item item{{}, node.outside_key(i), node.form(i), node.item(i)};
    if (item.outside != nullptr) {
      item.key = item.outside->view();
    } else {
      const std::size_t begin = keys.size();
      CHECK_LE(begin + node.key_length(i), keys.capacity());
      node.append_key(i, keys);
      item.key = std::string_view(keys).substr(begin);
    }
    items.push_back(item);
  }
}

}  // namespace keelson::mvcc::internal
