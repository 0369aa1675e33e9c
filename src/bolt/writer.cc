#include "bolt/writer.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/little_endian.h"

namespace keelson::bolt {
namespace internal {

void OpenPage::append(Piece piece) {
  used_ += piece.bytes;
  if (piece.content != nullptr) content_.append(piece.content, piece.bytes);
}

void OpenPage::add_leaf(Piece key, Piece value, std::uint32_t flags) {
  elements_.push_back({.flags = flags,
                       .key_bytes = static_cast<std::uint32_t>(key.bytes),
                       .value_bytes = static_cast<std::uint32_t>(value.bytes)});
  append(key);
  append(value);
}

void OpenPage::add_child(Piece key, std::uint64_t child) {
  elements_.push_back({.key_bytes = static_cast<std::uint32_t>(key.bytes), .child = child});
  append(key);
}

OpenPage::Child OpenPage::take_last() {
  const Element last = elements_.back();
  elements_.pop_back();
  used_ -= last.key_bytes;
  Child child{.key = {}, .key_bytes = last.key_bytes, .page = last.child};
  if (!content_.empty()) {
    child.key = content_.substr(used_);
    content_.resize(used_);
  }
  return child;
}

OpenPage::Child OpenPage::as_child(std::uint64_t page) const {
  const std::uint32_t key_bytes = elements_.front().key_bytes;
  return {.key = content_.substr(0, key_bytes), .key_bytes = key_bytes, .page = page};
}

std::string_view OpenPage::last_key() const {
  if (content_.empty()) return {};
  const Element& last = elements_.back();
  const std::uint64_t length = std::uint64_t{last.key_bytes} + last.value_bytes;
  return std::string_view(content_).substr(used_ - length, last.key_bytes);
}

void OpenPage::clear() {
  elements_.clear();
  used_ = 0;
  content_.clear();
}

void OpenPage::encode(PageType type, std::uint64_t id, std::uint64_t pages, std::uint64_t room,
                      std::string& out) const {
  const std::size_t begin = out.size();
  out.reserve(begin + room);
  char head[kPageHeaderBytes];
  bolt::encode({.id = id,
                .flags = static_cast<std::uint16_t>(type),
                .count = static_cast<std::uint16_t>(elements_.size()),
                .overflow = static_cast<std::uint32_t>(pages - 1)},
               head);
  out.append(head, sizeof head);
  std::uint64_t place = 0;  // of the key among keys and values
  for (std::size_t i = 0; i < elements_.size(); i++) {
    Element element = elements_[i];
    element.position = static_cast<std::uint32_t>((elements_.size() - i) * kElementBytes + place);
    place += std::uint64_t{element.key_bytes} + element.value_bytes;
    char bytes[kElementBytes];
    type == PageType::kBranch ? encode_branch(element, bytes) : encode_leaf(element, bytes);
    out.append(bytes, sizeof bytes);
  }
  out += content_;
  out.resize(begin + room);
}

std::uint64_t Pages::put(const OpenPage& page, PageType type) {
  const std::uint64_t id = next_;
  const std::uint64_t pages = (page.bytes() + page_bytes_ - 1) / page_bytes_;
  next_ += pages;
  if (out_ != nullptr) page.encode(type, id, pages, pages * page_bytes_, *out_);
  return id;
}

void Tree::add(Piece key, Piece value, std::uint32_t flags) {
  CHECK_GT(key.bytes, 0u);
  CHECK_LE(key.bytes, kKeyBytesMax);
  CHECK_LE(value.bytes, kValueBytesMax);
  const OpenPage& leaf = heights_[0];
  if (key.content != nullptr && leaf.count() > 0) {
    CHECK(leaf.last_key() < std::string_view(key.content, key.bytes));
  }
  if (leaf.count() > 0 && leaf.bytes_with(key.bytes + value.bytes) > pages_.page_bytes()) put(0);
  heights_[0].add_leaf(key, value, flags);
}

void Tree::put(std::size_t height) {
  const std::uint64_t id =
      pages_.put(heights_[height], height == 0 ? PageType::kLeaf : PageType::kBranch);
  const OpenPage::Child child = heights_[height].as_child(id);
  heights_[height].clear();
  add_child(height + 1, child);
}

// A full branch goes out without its last child, which begins the next one together with the new
// child: so no branch is ever left with one child alone (W2).
void Tree::add_child(std::size_t height, const OpenPage::Child& child) {
  if (height == heights_.size()) heights_.emplace_back();
  const OpenPage& open = heights_[height];
  if (open.count() >= 3 && open.bytes_with(child.key_bytes) > pages_.page_bytes()) {
    const OpenPage::Child last = heights_[height].take_last();
    put(height);
    heights_[height].add_child(last.piece(), last.page);
  }
  heights_[height].add_child(child.piece(), child.page);
}

std::uint64_t Tree::finish() {
  for (std::size_t height = 0; height + 1 < heights_.size(); height++) put(height);
  const bool is_leaf = heights_.size() == 1;
  if (!is_leaf) CHECK_GE(heights_.back().count(), 2u);
  return pages_.put(heights_.back(), is_leaf ? PageType::kLeaf : PageType::kBranch);
}

Trees::Trees(std::uint32_t page_bytes, std::string* out)
    : pages_(page_bytes, out), buckets_(pages_) {
  // Within these a page cannot hold more elements than its header can count.
  CHECK_GE(page_bytes, kPageBytesMin);
  CHECK_LE(page_bytes / kElementBytes, std::uint32_t{kElementsMax});
}

void Trees::begin_bucket(Piece name) {
  end_bucket();
  name_bytes_ = name.bytes;
  name_.clear();
  if (name.content != nullptr) name_.assign(name.content, name.bytes);
  bucket_.emplace_back(pages_);
}

void Trees::add(Piece key, Piece value) {
  CHECK(!bucket_.empty());
  bucket_[0].add(key, value, 0);
}

void Trees::end_bucket() {
  if (bucket_.empty()) return;
  Tree& tree = bucket_[0];
  const bool has_content = !name_.empty();
  std::string value(kBucketHeaderBytes, '\0');  // root and sequence; root 0: within the value
  std::uint64_t value_bytes = kBucketHeaderBytes;
  if (tree.fits_inline()) {
    const OpenPage& leaf = tree.only_leaf();
    value_bytes += leaf.bytes();
    if (has_content) leaf.encode(PageType::kLeaf, 0, 1, leaf.bytes(), value);
  } else {
    base::store_le(value.data(), tree.finish());
  }
  buckets_.add({name_bytes_, has_content ? name_.data() : nullptr},
               {value_bytes, has_content ? value.data() : nullptr}, kBucketFlag);
  bucket_.clear();
}

Plan Trees::finish() {
  end_bucket();
  const std::uint64_t root = buckets_.finish();
  return {.page_bytes = pages_.page_bytes(), .root = root, .pages = pages_.next()};
}

}  // namespace internal

namespace {

// A transaction writes its meta to the page of its parity, and a stream has the newer one in page
// 0: so it is even.
constexpr std::uint64_t kTxid = 2;

void put_meta(const Plan& plan, std::uint64_t page, std::uint64_t txid, std::string& out) {
  const std::size_t begin = out.size();
  out.resize(begin + plan.page_bytes);
  encode({.id = page, .flags = static_cast<std::uint16_t>(PageType::kMeta)}, out.data() + begin);
  encode(Meta{.page_bytes = plan.page_bytes,
              .root = plan.root,
              .freelist = kNoFreelist,
              .high_water = plan.pages,
              .txid = txid},
         out.data() + begin + kPageHeaderBytes);
}

}  // namespace

Writer::Writer(const Plan& plan) : plan_(plan), trees_(plan.page_bytes, &out_) {
  put_meta(plan_, 0, kTxid, out_);
  put_meta(plan_, 1, kTxid - 1, out_);
}

void Writer::begin_bucket(std::string_view name) { trees_.begin_bucket(internal::Piece(name)); }

void Writer::add(std::string_view key, std::string_view value) {
  trees_.add(internal::Piece(key), internal::Piece(value));
}

base::Result<> Writer::finish() {
  const Plan written = trees_.finish();
  if (written == plan_) return {};
  return base::fail(base::make_error(
      std::errc::bad_message,
      fmt::format("a bbolt file was to have {} pages and its root at {}, and came to {} and {}",
                  plan_.pages, plan_.root, written.pages, written.root)));
}

}  // namespace keelson::bolt
