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
  last_key_at_ = content_.size();
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
  return std::string_view(content_).substr(last_key_at_, elements_.back().key_bytes);
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

std::uint64_t Pages::put(const OpenPage& page, PageType type, std::uint64_t& next, bool is_out) {
  const std::uint64_t id = next;
  const std::uint64_t pages = (page.bytes() + page_bytes_ - 1) / page_bytes_;
  next += pages;
  if (is_out) page.encode(type, id, pages, pages * page_bytes_, *out_);
  return id;
}

std::uint64_t Pages::put_front(const OpenPage& page, PageType type) {
  return put(page, type, next_front_, pass_ == Pass::kFront);
}

std::uint64_t Pages::put_leaf(const OpenPage& page) {
  return put(page, PageType::kLeaf, next_leaf_, pass_ == Pass::kLeaves);
}

Plan Pages::plan(std::uint64_t root) const {
  return {.page_bytes = page_bytes_,
          .root = root,
          .leaves = next_front_,
          .pages = next_front_ + (next_leaf_ - leaves_)};
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

std::uint64_t Tree::put_page(std::size_t height) {
  const OpenPage& page = heights_[height];
  if (height > 0) return pages_.put_front(page, PageType::kBranch);
  return of_ == Of::kBuckets ? pages_.put_front(page, PageType::kLeaf) : pages_.put_leaf(page);
}

void Tree::put(std::size_t height) {
  const OpenPage::Child child = heights_[height].as_child(put_page(height));
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
  // A height may be added by what is put out below it.
  for (std::size_t height = 0; height + 1 < heights_.size(); height++) put(height);
  if (heights_.size() > 1) CHECK_GE(heights_.back().count(), 2u);
  return put_page(heights_.size() - 1);
}

Trees::Trees(std::uint32_t page_bytes, Pass pass, std::uint64_t leaves, std::string* out)
    : pages_(page_bytes, pass, leaves, out), buckets_(pages_, Tree::Of::kBuckets) {
  // Within these a page cannot hold more elements than its header can count.
  CHECK_GE(page_bytes, kPageBytesMin);
  CHECK_LE(page_bytes / kElementBytes, std::uint32_t{kElementsMax});
}

void Trees::begin_bucket(Piece name, BucketKind kind) {
  end_bucket();
  name_bytes_ = name.bytes;
  name_.clear();
  if (name.content != nullptr) name_.assign(name.content, name.bytes);
  kind_ = kind;
  bucket_.emplace(pages_, Tree::Of::kKeys);
}

void Trees::add(Piece key, Piece value) {
  CHECK(bucket_.has_value());
  bucket_->add(key, value, 0);
}

void Trees::end_bucket() {
  if (!bucket_) return;
  const bool has_content = !name_.empty();
  std::string value(kBucketHeaderBytes, '\0');  // root and sequence; root 0: within the value
  std::uint64_t value_bytes = kBucketHeaderBytes;
  if (kind_ == BucketKind::kSmall && bucket_->fits_inline()) {
    const OpenPage& leaf = bucket_->only_leaf();
    value_bytes += leaf.bytes();
    if (has_content) leaf.encode(PageType::kLeaf, 0, 1, leaf.bytes(), value);
  } else {
    base::store_le(value.data(), bucket_->finish());
  }
  buckets_.add({name_bytes_, has_content ? name_.data() : nullptr},
               {value_bytes, has_content ? value.data() : nullptr}, kBucketFlag);
  bucket_.reset();
}

Plan Trees::finish() {
  end_bucket();
  return pages_.plan(buckets_.finish());
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

Writer::Writer(const Plan& plan) : plan_(plan) {
  put_meta(plan_, 0, kTxid, out_);
  put_meta(plan_, 1, kTxid - 1, out_);
  trees_.emplace(plan_.page_bytes, pass_, plan_.leaves, &out_);
}

void Writer::begin_bucket(std::string_view name, BucketKind kind) {
  trees_->begin_bucket(internal::Piece(name), kind);
}

void Writer::add(std::string_view key, std::string_view value) {
  trees_->add(internal::Piece(key), internal::Piece(value));
}

void Writer::add_size(std::string_view key, std::uint64_t value_bytes) {
  CHECK(pass_ == internal::Pass::kFront);
  trees_->add(internal::Piece(key), {value_bytes, nullptr});
}

base::Result<> Writer::end_pass() {
  const Plan written = trees_->finish();
  if (written == plan_) return {};
  return base::fail(base::make_error(
      std::errc::bad_message,
      fmt::format(
          "a bbolt file was to have {} pages, leaves from {} on and its root at {}, and came "
          "to {}, {} and {}",
          plan_.pages, plan_.leaves, plan_.root, written.pages, written.leaves, written.root)));
}

base::Result<> Writer::end_front() {
  CHECK(pass_ == internal::Pass::kFront);
  RETURN_IF_ERROR(end_pass());
  pass_ = internal::Pass::kLeaves;
  trees_.emplace(plan_.page_bytes, pass_, plan_.leaves, &out_);
  return {};
}

base::Result<> Writer::finish() {
  CHECK(pass_ == internal::Pass::kLeaves);
  return end_pass();
}

}  // namespace keelson::bolt
