#include "bolt/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

#include "base/check.h"
#include "base/little_endian.h"

namespace keelson::bolt {
namespace {

using base::fail;
using internal::Page;

constexpr std::size_t kHeightMax = 64;   // of two children each, more than there can be pages
constexpr std::size_t kNestingMax = 64;  // of buckets in buckets
constexpr std::size_t kMetaProbes = 15;

// Bytes that must be there.
base::Result<std::string> read_exactly(const Source& file, std::uint64_t offset,
                                       std::uint64_t length, std::string_view what) {
  std::string bytes(length, '\0');
  ASSIGN_OR_RETURN(const std::size_t got, file.read_at(offset, bytes));
  if (got != length) {
    return fail(
        damaged(file.path(), offset,
                fmt::format("{} bytes of {}, and the file ends after {}", length, what, got)));
  }
  return bytes;
}

// The meta page that begins at `offset`; nullopt if there is none.
base::Result<std::optional<Meta>> read_meta(const Source& file, std::uint64_t offset) {
  char bytes[kPageHeaderBytes + kMetaBytes];
  ASSIGN_OR_RETURN(const std::size_t got, file.read_at(offset, bytes));
  if (got != sizeof bytes) return std::optional<Meta>();
  auto meta = decode_meta(bytes + kPageHeaderBytes);
  // Page 0, or page 1 by its own page size.
  if (meta && offset != 0 && offset != meta->page_bytes) meta.reset();
  return meta;
}

base::Result<std::optional<Meta>> newest_meta(const Source& file) {
  ASSIGN_OR_RETURN(std::optional<Meta> newest, read_meta(file, 0));
  for (std::size_t i = 0; i < kMetaProbes; i++) {
    ASSIGN_OR_RETURN(const std::optional<Meta> other, read_meta(file, std::uint64_t{1024} << i));
    if (!other) continue;
    if (newest && newest->page_bytes != other->page_bytes) continue;
    if (!newest || other->txid > newest->txid) newest = other;
  }
  return newest;
}

// Where a page lies, for what is wrong with it.
struct Place {
  std::string_view path;
  std::uint64_t offset = 0;
  std::uint64_t page_end = 0;  // of page and overflow, from the offset

  auto fail(std::uint64_t at, std::string_view expected) const {
    return base::fail(damaged(path, offset + at, expected));
  }
};

// Bounds of one element of a page that may take up to place.page_end bytes; the end of its bytes.
base::Result<std::uint64_t> check_element(const Place& place, std::size_t i, const Element& element,
                                          std::size_t count) {
  const std::uint64_t at = kPageHeaderBytes + i * kElementBytes;
  const std::uint64_t begin = at + element.position;
  const std::uint64_t end = begin + element.key_bytes + element.value_bytes;
  if (element.key_bytes == 0 || element.key_bytes > kKeyBytesMax) {
    return place.fail(
        at, fmt::format("a key of 1 to {} bytes, found {}", kKeyBytesMax, element.key_bytes));
  }
  if (element.value_bytes > kValueBytesMax) {
    return place.fail(at, fmt::format("a value of at most {} bytes, found {}", kValueBytesMax,
                                      element.value_bytes));
  }
  if (begin < kPageHeaderBytes + count * kElementBytes || end > place.page_end) {
    return place.fail(at, fmt::format("an element within its page of {} bytes, found {} to {}",
                                      place.page_end, begin, end));
  }
  return end;
}

// The elements in `table`, and how far their bytes reach.
base::Result<std::uint64_t> decode_elements(const Place& place, std::string_view table,
                                            bool is_branch, std::vector<Element>& out) {
  const std::size_t count = table.size() / kElementBytes;
  std::uint64_t end = kPageHeaderBytes + table.size();
  out.reserve(count);
  for (std::size_t i = 0; i < count; i++) {
    const char* at = table.data() + i * kElementBytes;
    const Element element = is_branch ? decode_branch(at) : decode_leaf(at);
    ASSIGN_OR_RETURN(const std::uint64_t element_end, check_element(place, i, element, count));
    if ((element.flags & ~kBucketFlag) != 0) {
      return place.fail(kPageHeaderBytes + i * kElementBytes,
                        fmt::format("flags 0 or 1 of an element, found {:#x}", element.flags));
    }
    end = std::max(end, element_end);
    out.push_back(element);
  }
  return end;
}

base::Result<> check_order(const Place& place, const Page& page) {
  for (std::size_t i = 1; i < page.elements.size(); i++) {
    if (page.key(i - 1) >= page.key(i)) {
      return place.fail(kPageHeaderBytes + i * kElementBytes, "a key above the one before it");
    }
  }
  return {};
}

base::Result<> check_kind(const Place& place, const PageHeader& header, std::uint64_t id) {
  if (header.id != id) {
    return place.fail(0, fmt::format("page {}, found a header of {}", id, header.id));
  }
  if (!header.is(PageType::kBranch) && !header.is(PageType::kLeaf)) {
    return place.fail(8, fmt::format("a branch or a leaf, found flags {:#x}", header.flags));
  }
  if (header.count > kElementsMax) {
    return place.fail(10, fmt::format("at most {} elements, found {}", kElementsMax, header.count));
  }
  if (kPageHeaderBytes + header.count * kElementBytes > place.page_end) {
    return place.fail(10, fmt::format("elements within a page of {} bytes, found {} of them",
                                      place.page_end, header.count));
  }
  return {};
}

// A page from its bytes, or from its first page alone with the rest read as far as it is needed.
class PageReader {
 public:
  PageReader(const Database& database, std::uint64_t id) : database_(database), id_(id) {}

  // nullopt: it has not come yet.
  base::Result<std::optional<Page>> read() {
    const Meta& meta = database_.meta();
    const std::uint64_t page_bytes = meta.page_bytes;
    const Source& file = database_.source();
    Page page{.offset = id_ * page_bytes};
    if (!file.has(page.offset + page_bytes)) return std::optional<Page>();
    ASSIGN_OR_RETURN(std::string bytes, read_exactly(file, page.offset, page_bytes, "a page"));
    page.header = decode_page_header(bytes.data());
    Place place{.path = file.path(), .offset = page.offset, .page_end = page_bytes};
    if (page.header.overflow >= meta.high_water - id_) {
      return place.fail(12, fmt::format("a page that ends before page {}, found an overflow of {}",
                                        meta.high_water, page.header.overflow));
    }
    place.page_end = (page.header.overflow + std::uint64_t{1}) * page_bytes;
    if (!file.has(page.offset + place.page_end)) return std::optional<Page>();
    RETURN_IF_ERROR(check_kind(place, page.header, id_));
    const std::uint64_t table = page.header.count * kElementBytes;
    RETURN_IF_ERROR(extend(page, bytes, kPageHeaderBytes + table));
    ASSIGN_OR_RETURN(const std::uint64_t end,
                     decode_elements(place, std::string_view(bytes).substr(kPageHeaderBytes, table),
                                     page.header.is(PageType::kBranch), page.elements));
    RETURN_IF_ERROR(extend(page, bytes, end));
    page.bytes = std::make_shared<const std::string>(std::move(bytes));
    RETURN_IF_ERROR(check_order(place, page));
    return std::optional<Page>(std::move(page));
  }

 private:
  base::Result<> extend(const Page& page, std::string& bytes, std::uint64_t length) {
    if (length <= bytes.size()) return {};
    ASSIGN_OR_RETURN(const std::string more,
                     read_exactly(database_.source(), page.offset + bytes.size(),
                                  length - bytes.size(), "an overflow page"));
    bytes += more;
    return {};
  }

  const Database& database_;
  const std::uint64_t id_;
};

base::Result<Page> read_inline(const Database& database, const Bucket& bucket) {
  const Place place{.path = database.source().path(),
                    .offset = bucket.offset,
                    .page_end = bucket.inline_leaf->size()};
  if (bucket.inline_leaf->size() < kPageHeaderBytes) return place.fail(0, "a page within a value");
  Page page{.offset = bucket.offset,
            .header = decode_page_header(bucket.inline_leaf->data()),
            .bytes = bucket.inline_leaf};
  RETURN_IF_ERROR(check_kind(place, page.header, 0));
  if (!page.header.is(PageType::kLeaf)) return place.fail(8, "a leaf within a value");
  const std::string_view table =
      std::string_view(*page.bytes).substr(kPageHeaderBytes, page.header.count * kElementBytes);
  RETURN_IF_ERROR(decode_elements(place, table, false, page.elements));
  RETURN_IF_ERROR(check_order(place, page));
  return page;
}

base::Result<std::optional<Page>> read_page(const Database& database, std::uint64_t id,
                                            std::uint64_t from) {
  if (id < kFirstPage || id >= database.meta().high_water) {
    return fail(damaged(database.source().path(), from,
                        fmt::format("a page from {} to {}, found {}", kFirstPage,
                                    database.meta().high_water - 1, id)));
  }
  return PageReader(database, id).read();
}

// Which pages are taken, a bit each.
class Coverage final : public PageListener {
 public:
  explicit Coverage(const Database& database)
      : database_(database), taken_(database.meta().high_water) {}

  base::Result<> on_page(std::uint64_t id, std::uint64_t pages) override {
    for (std::uint64_t page = id; page < id + pages; page++) {
      if (taken_[page]) {
        return fail(damaged(database_.source().path(), page * database_.meta().page_bytes,
                            fmt::format("page {} to be used once", page)));
      }
      taken_[page] = true;
    }
    return {};
  }
  base::Result<> expect_all() const {
    for (std::uint64_t page = kFirstPage; page < taken_.size(); page++) {
      if (!taken_[page]) {
        return fail(damaged(database_.source().path(), page * database_.meta().page_bytes,
                            fmt::format("page {} to be reachable or free", page)));
      }
    }
    return {};
  }

 private:
  const Database& database_;
  std::vector<bool> taken_;
};

// Bytes of a page's ids, read some at a time.
class FreelistReader {
 public:
  FreelistReader(const Database& database, Coverage& coverage)
      : database_(database),
        file_(database.source()),
        coverage_(coverage),
        offset_(database.meta().freelist * database.meta().page_bytes) {}

  base::Result<> read() {
    ASSIGN_OR_RETURN(std::string head,
                     read_exactly(file_, offset_, kPageHeaderBytes + 8, "a list of free pages"));
    const PageHeader header = decode_page_header(head.data());
    const Meta& meta = database_.meta();
    if (!header.is(PageType::kFreelist) || header.id != meta.freelist ||
        header.overflow >= meta.high_water - meta.freelist) {
      return fail(damaged(file_.path(), offset_, "a list of free pages"));
    }
    RETURN_IF_ERROR(coverage_.on_page(header.id, header.overflow + std::uint64_t{1}));
    std::uint64_t at = kPageHeaderBytes, count = header.count;
    if (count > kElementsMax) {
      count = base::load_le<std::uint64_t>(head.data() + kPageHeaderBytes);
      at += 8;
    }
    const std::uint64_t room = (header.overflow + std::uint64_t{1}) * meta.page_bytes - at;
    if (count > room / 8) {
      return fail(damaged(file_.path(), offset_, fmt::format("at most {} free pages", room / 8)));
    }
    return read_ids(at, count);
  }

 private:
  static constexpr std::uint64_t kIdsPerRead = 8192;

  base::Result<> read_ids(std::uint64_t at, std::uint64_t count) {
    for (std::uint64_t last = 0; count > 0;) {
      const std::uint64_t some = std::min(count, kIdsPerRead);
      ASSIGN_OR_RETURN(const std::string ids,
                       read_exactly(file_, offset_ + at, some * 8, "ids of free pages"));
      for (std::uint64_t i = 0; i < some; i++) {
        const auto id = base::load_le<std::uint64_t>(ids.data() + i * 8);
        if (id < kFirstPage || id <= last || id >= database_.meta().high_water) {
          return fail(damaged(file_.path(), offset_ + at + i * 8,
                              fmt::format("the id of a free page above {}, found {}", last, id)));
        }
        RETURN_IF_ERROR(coverage_.on_page(id, 1));
        last = id;
      }
      at += some * 8;
      count -= some;
    }
    return {};
  }

  const Database& database_;
  const Source& file_;
  Coverage& coverage_;
  const std::uint64_t offset_;
};

// What no tree reaches and no list names is free where no list is kept: so it is not asked for.
base::Result<> check_rest(const Database& database, Coverage& coverage) {
  const std::uint64_t freelist = database.meta().freelist;
  if (freelist == kNoFreelist) return {};
  if (freelist < kFirstPage || freelist >= database.meta().high_water) {
    return fail(damaged(database.source().path(), 0,
                        fmt::format("a list of free pages below page {}, found it at {}",
                                    database.meta().high_water, freelist)));
  }
  RETURN_IF_ERROR(FreelistReader(database, coverage).read());
  return coverage.expect_all();
}

}  // namespace

base::Result<Database> Database::open(const env::File& file) {
  auto source = std::make_shared<const WholeFile>(file);
  ASSIGN_OR_RETURN(auto database, open_coming(*source));
  CHECK(database.has_value());
  database->source_ = std::move(source);
  RETURN_IF_ERROR(database->check_length());
  return *std::move(database);
}

// A damaged first page does not say where the second lies: then all of it is waited for.
base::Result<std::optional<Database>> Database::open_coming(const Source& source) {
  if (!source.is_whole()) {
    if (!source.has(kPageBytesMin)) return std::optional<Database>();
    ASSIGN_OR_RETURN(const std::optional<Meta> first, read_meta(source, 0));
    if (!first || !source.has(kFirstPage * first->page_bytes)) return std::optional<Database>();
  }
  ASSIGN_OR_RETURN(const std::optional<Meta> meta, newest_meta(source));
  if (!meta) return fail(damaged(source.path(), 0, "a valid meta page of bbolt, 0 or 1"));
  // Somebody else's to keep.
  std::shared_ptr<const Source> borrowed(std::shared_ptr<const Source>(), &source);
  return std::optional<Database>(Database(std::move(borrowed), *meta));
}

base::Result<> Database::check_length() const {
  ASSIGN_OR_RETURN(const std::uint64_t size, source_->size());
  if (meta_.high_water > kFirstPage && meta_.high_water <= size / meta_.page_bytes) return {};
  return fail(damaged(source_->path(), 0,
                      fmt::format("{} pages of {} bytes, as its meta page says, found {} bytes",
                                  meta_.high_water, meta_.page_bytes, size)));
}

std::string_view Page::key(std::size_t i) const {
  const std::size_t at = kPageHeaderBytes + i * kElementBytes;
  return std::string_view(*bytes).substr(at + elements[i].position, elements[i].key_bytes);
}

std::string_view Page::value(std::size_t i) const {
  const std::size_t at = kPageHeaderBytes + i * kElementBytes;
  return std::string_view(*bytes).substr(at + elements[i].position + elements[i].key_bytes,
                                         elements[i].value_bytes);
}

Cursor::Cursor(const Database& database, Bucket bucket, PageListener* listener)
    : database_(database), bucket_(std::move(bucket)), listener_(listener) {}

base::Result<bool> Cursor::begin() {
  if (bucket_.root != 0) return descend(bucket_.root, std::nullopt, std::nullopt);
  CHECK(bucket_.inline_leaf != nullptr);
  ASSIGN_OR_RETURN(Page page, read_inline(database_, bucket_));
  frames_.push_back({.page = std::move(page)});
  return true;
}

// Puts the page on the path, if it is there and one that may stand there.
base::Result<bool> Cursor::descend(std::uint64_t id, std::optional<std::string> first,
                                   std::optional<std::string> end) {
  const std::uint64_t from = frames_.empty() ? 0 : frames_.back().page.offset;
  if (frames_.size() == kHeightMax) {
    return fail(damaged(database_.source().path(), from,
                        fmt::format("a tree of at most {} heights", kHeightMax)));
  }
  ASSIGN_OR_RETURN(std::optional<Page> page, read_page(database_, id, from));
  if (!page) return false;
  RETURN_IF_ERROR(check_place(*page, first, end));
  if (listener_ != nullptr) {
    RETURN_IF_ERROR(listener_->on_page(id, page->header.overflow + std::uint64_t{1}));
  }
  frames_.push_back({.page = *std::move(page), .end = std::move(end)});
  return true;
}

// The one that is next in a branch.
base::Result<bool> Cursor::descend_to_child(const Frame& frame) {
  const Page& page = frame.page;
  const std::size_t i = frame.next;
  const bool is_last = i + 1 == page.elements.size();
  auto end = is_last ? frame.end : std::optional<std::string>(page.key(i + 1));
  return descend(page.elements[i].child, std::string(page.key(i)), std::move(end));
}

base::Result<> Cursor::check_place(const Page& page, const std::optional<std::string>& first,
                                   const std::optional<std::string>& end) const {
  const Place place{.path = database_.source().path(), .offset = page.offset};
  const bool is_root = frames_.empty();
  if (page.elements.empty()) {
    if (is_root && page.header.is(PageType::kLeaf)) return {};
    return place.fail(10, "at least one element");
  }
  if (first && page.key(0) < *first) {
    return place.fail(kPageHeaderBytes, "no key below that of the branch above");
  }
  if (end && page.key(page.elements.size() - 1) >= *end) {
    return place.fail(kPageHeaderBytes, "no key at or above the next one of the branch above");
  }
  return {};
}

base::Result<Cursor::Next> Cursor::advance() {
  if (!begun_) {
    const auto is_there = begin();
    begun_ = !is_there || *is_there;
    if (!is_there) return fail(is_there.error());
    if (!*is_there) return Next::kLater;
  }
  while (!frames_.empty()) {
    Frame& frame = frames_.back();
    if (frame.next == frame.page.elements.size()) {
      frames_.pop_back();
      continue;
    }
    if (frame.page.header.is(PageType::kLeaf)) {
      frame.next++;
      return Next::kElement;
    }
    const std::size_t height = frames_.size();
    const auto is_there = descend_to_child(frame);
    if (!is_there) {
      frames_.clear();
      return fail(is_there.error());
    }
    if (!*is_there) return Next::kLater;
    frames_[height - 1].next++;
  }
  return Next::kEnd;
}

base::Result<bool> Cursor::next() {
  ASSIGN_OR_RETURN(const Next next, advance());
  CHECK(next != Next::kLater);
  return next == Next::kElement;
}

std::string_view Cursor::key() const {
  const Frame& frame = frames_.back();
  return frame.page.key(frame.next - 1);
}

std::string_view Cursor::value() const {
  const Frame& frame = frames_.back();
  return frame.page.value(frame.next - 1);
}

bool Cursor::is_bucket() const {
  const Frame& frame = frames_.back();
  return (frame.page.elements[frame.next - 1].flags & kBucketFlag) != 0;
}

base::Result<Bucket> Cursor::bucket() const {
  CHECK(is_bucket());
  const Frame& frame = frames_.back();
  const std::string_view bytes = value();
  const std::uint64_t offset =
      frame.page.offset + static_cast<std::uint64_t>(bytes.data() - frame.page.bytes->data());
  if (bytes.size() < kBucketHeaderBytes) {
    return fail(damaged(database_.source().path(), offset, "the root and sequence of a bucket"));
  }
  Bucket bucket{.root = base::load_le<std::uint64_t>(bytes.data()),
                .sequence = base::load_le<std::uint64_t>(bytes.data() + 8)};
  if (bucket.root != 0) return bucket;
  bucket.inline_leaf = std::make_shared<const std::string>(bytes.substr(kBucketHeaderBytes));
  bucket.offset = offset + kBucketHeaderBytes;
  return bucket;
}

base::Result<> check(const Database& database) {
  Coverage coverage(database);
  std::vector<std::unique_ptr<Cursor>> path;
  path.push_back(std::make_unique<Cursor>(database, database.root(), &coverage));
  while (!path.empty()) {
    ASSIGN_OR_RETURN(const bool more, path.back()->next());
    if (!more) {
      path.pop_back();
      continue;
    }
    if (!path.back()->is_bucket()) continue;
    if (path.size() == kNestingMax) {
      return fail(damaged(database.source().path(), 0,
                          fmt::format("buckets in buckets at most {} deep", kNestingMax)));
    }
    ASSIGN_OR_RETURN(Bucket bucket, path.back()->bucket());
    path.push_back(std::make_unique<Cursor>(database, std::move(bucket), &coverage));
  }
  return check_rest(database, coverage);
}

}  // namespace keelson::bolt
