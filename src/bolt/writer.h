// Writing a bbolt file front to back, in memory that does not grow with it, and so that whoever
// takes it can walk its trees as it comes.
//
//   Layout: begin_bucket, add(sizes) ...  -> Plan: how long the file is, where its root lies
//   Writer: begin_bucket, add(key, size) ... -> the front: metas, branches, the bucket of buckets
//           begin_bucket, add(bytes) ...     -> the leaves, as they become full
//
//   meta meta branch branch ... branch(root of a bucket) leaf(root) | leaf leaf leaf ... leaf
//
// The first bytes of a file, its meta pages, name its root and its length, and whoever streams it
// tells how much is left; and a page is found only through those above it, which name its place. So
// what is to be written is walked three times, and read but once: two walks need keys and sizes
// alone. All of them are the same code and come to the same pages; a walk that brings anything else
// than the first is an error of its source.
//
// Pages are made bottom up. At each height of a tree one page is open; a full one goes out under
// the next free id of its part of the file and is handed to the height above by its first key. So
// memory is one page a height (one value, where that is longer).
//
// Invariants
//   W1  Every page from 2 on is reachable, exactly once; no list of free ones is written.
//   W2  A branch has at least two children, and its keys are exactly the first keys of those: bbolt
//       finds a page again by that when it changes it.
//   W3  A small bucket whose only leaf takes at most a quarter of a page lies within the root's
//       leaf.
//   W4  Leaves lie behind all else, in the order in which a walk from the root comes to them.
//
// Keys come in ascending order, once each, and so do buckets: CHECKed where the bytes are there.
// Top-level buckets only, as etcd uses them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "bolt/format.h"

namespace keelson::bolt {

struct Plan {
  std::uint32_t page_bytes = kPageBytesDefault;
  std::uint64_t root = 0;
  std::uint64_t leaves = 0;  // the first page of theirs
  std::uint64_t pages = 0;   // the high-water mark

  std::uint64_t file_bytes() const { return pages * page_bytes; }
  friend bool operator==(const Plan&, const Plan&) = default;
};

enum class BucketKind {
  kSmall,  // its values are there for the front too, and it may lie within the root's leaf
  kLarge,  // its values are asked for once, and it has pages of its own
};

namespace internal {

// Which of the walks it is, and so what of the file is put out.
enum class Pass { kLayout, kFront, kLeaves };

// Bytes, or only how many.
struct Piece {
  std::uint64_t bytes = 0;
  const char* content = nullptr;  // nullptr: not there in this pass

  Piece(std::uint64_t size, const char* data) : bytes(size), content(data) {}
  explicit Piece(std::string_view view) : bytes(view.size()), content(view.data()) {}
};

// A page that is being filled.
class OpenPage {
 public:
  // What it would take as it is, and with one more element.
  std::uint64_t bytes() const {
    return kPageHeaderBytes + elements_.size() * kElementBytes + used_;
  }
  std::uint64_t bytes_with(std::uint64_t more) const { return bytes() + kElementBytes + more; }
  std::size_t count() const { return elements_.size(); }

  void add_leaf(Piece key, Piece value, std::uint32_t flags);
  void add_child(Piece key, std::uint64_t child);

  // The key and child of a branch's last element, which is taken off.
  struct Child {
    std::string key;  // empty in a layout
    std::uint64_t key_bytes = 0;
    std::uint64_t page = 0;
    Piece piece() const { return {key_bytes, key.empty() ? nullptr : key.data()}; }
  };
  Child take_last();
  // Its first key, and `page` as the place of this page.
  Child as_child(std::uint64_t page) const;
  void clear();

  // The page as bytes() or more bytes, the rest zeros.
  void encode(PageType type, std::uint64_t id, std::uint64_t pages, std::uint64_t room,
              std::string& out) const;
  std::string_view last_key() const;

 private:
  void append(Piece piece);

  std::vector<Element> elements_;
  std::uint64_t used_ = 0;       // by keys and values
  std::string content_;          // those that are there
  std::size_t last_key_at_ = 0;  // in it
};

// Gives pages their ids in either part of the file, and takes those of the part that is put out.
class Pages {
 public:
  Pages(std::uint32_t page_bytes, Pass pass, std::uint64_t leaves, std::string* out)
      : page_bytes_(page_bytes), pass_(pass), leaves_(leaves), next_leaf_(leaves), out_(out) {}
  std::uint32_t page_bytes() const { return page_bytes_; }
  std::uint64_t put_front(const OpenPage& page, PageType type);
  std::uint64_t put_leaf(const OpenPage& page);
  // Of all that was put, with this root.
  Plan plan(std::uint64_t root) const;

 private:
  std::uint64_t put(const OpenPage& page, PageType type, std::uint64_t& next, bool is_out);

  const std::uint32_t page_bytes_;
  const Pass pass_;
  const std::uint64_t leaves_;  // where they begin; 0 in a layout, which finds it
  std::uint64_t next_front_ = kFirstPage;
  std::uint64_t next_leaf_;
  std::string* const out_;  // nullptr in a layout
};

// One tree, from its leaves up.
class Tree {
 public:
  enum class Of { kKeys, kBuckets };  // the leaves of the tree of buckets are part of the front
  Tree(Pages& pages, Of of) : pages_(pages), of_(of) { heights_.emplace_back(); }
  void add(Piece key, Piece value, std::uint32_t flags);
  // True if all of it is one small leaf, which may lie within another page.
  bool fits_inline() const {
    return heights_.size() == 1 && heights_[0].bytes() <= pages_.page_bytes() / 4;
  }
  const OpenPage& only_leaf() const { return heights_[0]; }
  // Puts out what is open; the root's page.
  std::uint64_t finish();

 private:
  std::uint64_t put_page(std::size_t height);
  void put(std::size_t height);
  void add_child(std::size_t height, const OpenPage::Child& child);

  Pages& pages_;
  const Of of_;
  std::vector<OpenPage> heights_;
};

// All of a file but its metas, in one pass.
class Trees {
 public:
  Trees(std::uint32_t page_bytes, Pass pass, std::uint64_t leaves, std::string* out);
  void begin_bucket(Piece name, BucketKind kind);
  void add(Piece key, Piece value);
  Plan finish();

 private:
  void end_bucket();

  Pages pages_;
  Tree buckets_;
  std::optional<Tree> bucket_;  // the one that is open
  BucketKind kind_ = BucketKind::kSmall;
  std::string name_;
  std::uint64_t name_bytes_ = 0;
};

}  // namespace internal

class Layout {
 public:
  explicit Layout(std::uint32_t page_bytes = kPageBytesDefault)
      : trees_(page_bytes, internal::Pass::kLayout, 0, nullptr) {}

  void begin_bucket(std::size_t name_bytes, BucketKind kind = BucketKind::kSmall) {
    trees_.begin_bucket({name_bytes, nullptr}, kind);
  }
  void add(std::size_t key_bytes, std::uint64_t value_bytes) {
    trees_.add({key_bytes, nullptr}, {value_bytes, nullptr});
  }
  // Once, at the end.
  Plan finish() { return trees_.finish(); }

 private:
  internal::Trees trees_;
};

class Writer {
 public:
  explicit Writer(const Plan& plan);
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // All buckets, for the front; then, once that has ended, all of them again for the leaves.
  void begin_bucket(std::string_view name, BucketKind kind = BucketKind::kSmall);
  void add(std::string_view key, std::string_view value);
  // Of a large bucket, for the front: how long the value will be.
  void add_size(std::string_view key, std::uint64_t value_bytes);

  // The last pages of the front, and of the file. An error if what was added is not what the plan
  // was made from.
  base::Result<> end_front();
  base::Result<> finish();

  // What is ready of the file, behind what was taken before.
  std::string take() { return std::exchange(out_, {}); }
  std::size_t ready_bytes() const { return out_.size(); }

 private:
  base::Result<> end_pass();

  const Plan plan_;
  std::string out_;
  internal::Pass pass_ = internal::Pass::kFront;
  std::optional<internal::Trees> trees_;  // of the pass
};

}  // namespace keelson::bolt
