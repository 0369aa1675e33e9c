// Reading a bbolt file: any valid one, in memory of a page a height; anything else is an error that
// names file, offset and what was expected there, whatever its bytes are.
//
//   Database::open -> root() -> Cursor over the buckets -> cursor.bucket() -> Cursor over its keys
//   check(database): every page is reachable or free, and all keys are in order
//
// A file that still comes, front to back, is walked as far as it has come: a cursor that stands
// before a page which is not there says so, and goes on from there later.
//
//   Source -> Database::open_coming until it is there -> Cursor::advance, which may say kLater
//
// A file in use, or a copy of one, has pages that are free and still look like what they were: only
// the trees tell what is in it, so it is read from its root, never front to back.
//
// A cursor checks what it passes: ids, kinds and bounds of pages, the order of keys in a page and
// against those of the branches above it, so what it hands out ascends. Values are not
// checksummed by bbolt: damage within one goes unnoticed here. Nor does it see that two buckets
// name the same pages, or one its own: check() does, before buckets in buckets are walked.
//
// Threads: a Database is immutable, but for a source that comes, which belongs to the one lane of
// its cursors; a Cursor belongs to one. Both block in reads, never for what has not come.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "bolt/format.h"
#include "bolt/source.h"
#include "env/file.h"

namespace keelson::bolt {

// A tree of keys, or of buckets. Lies in pages of its own or, a small one, within its element.
struct Bucket {
  std::uint64_t root = 0;  // 0: inline
  std::uint64_t sequence = 0;
  std::shared_ptr<const std::string> inline_leaf;
  std::uint64_t offset = 0;  // of an inline leaf in the file, for errors
};

class Database {
 public:
  // `file` outlives it, and does not change. An error if neither meta page is valid, or the file is
  // shorter than the newer one says.
  static base::Result<Database> open(const env::File& file);
  // One that may still come, and outlives it. nullopt while it cannot be said which meta page
  // counts. How long it must be is looked at by whoever has it whole.
  static base::Result<std::optional<Database>> open_coming(const Source& source);
  // Whether the file is as long as the meta page says.
  base::Result<> check_length() const;

  const Meta& meta() const { return meta_; }
  const Source& source() const { return *source_; }
  Bucket root() const { return {.root = meta_.root, .sequence = meta_.sequence}; }
  // Bytes up to the high-water mark: what belongs to the file. More may follow.
  std::uint64_t bytes() const { return meta_.high_water * meta_.page_bytes; }

 private:
  Database(std::shared_ptr<const Source> source, const Meta& meta)
      : source_(std::move(source)), meta_(meta) {}

  std::shared_ptr<const Source> source_;
  Meta meta_;
};

namespace internal {

// One page with its overflow, as far as its elements reach.
struct Page {
  std::uint64_t offset = 0;  // in the file
  PageHeader header;
  std::vector<Element> elements;
  std::shared_ptr<const std::string> bytes;  // from the header on

  std::string_view key(std::size_t i) const;
  std::string_view value(std::size_t i) const;
};

}  // namespace internal

// Told of each page that a cursor has read, and so does not ask for again.
class PageListener {
 public:
  virtual ~PageListener() = default;
  virtual base::Result<> on_page(std::uint64_t id, std::uint64_t pages) = 0;
};

class Cursor {
 public:
  // Before the first element. `database` outlives it, as does `listener`, if there is one.
  Cursor(const Database& database, Bucket bucket, PageListener* listener = nullptr);

  enum class Next {
    kElement,
    kEnd,
    kLater,  // its page has not come yet; nothing is lost by asking again then
  };
  // To the next element. After an error: nothing more.
  base::Result<Next> advance();
  // The same where all of the file is there; false at the end.
  base::Result<bool> next();

  // After it stepped to an element, until it is asked again.
  std::string_view key() const;
  std::string_view value() const;  // of a key
  bool is_bucket() const;
  // Where is_bucket(), which is CHECKed. An error if its header is not whole.
  base::Result<Bucket> bucket() const;

 private:
  struct Frame {
    internal::Page page;
    std::size_t next = 0;
    // Keys below this page are smaller.
    std::optional<std::string> end;
  };
  // False: later.
  base::Result<bool> begin();
  base::Result<bool> descend(std::uint64_t id, std::optional<std::string> first,
                             std::optional<std::string> end);
  base::Result<bool> descend_to_child(const Frame& frame);
  base::Result<> check_place(const internal::Page& page, const std::optional<std::string>& first,
                             const std::optional<std::string>& end) const;

  const Database& database_;
  const Bucket bucket_;
  PageListener* const listener_;
  bool begun_ = false;
  std::vector<Frame> frames_;
};

// The whole file, as bbolt's own check does it: every page up to the high-water mark is reachable
// or free, none twice or both. One bit a page.
base::Result<> check(const Database& database);

}  // namespace keelson::bolt
