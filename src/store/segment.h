// Segment: the read side of one segment, shared by all Snapshots that name it. SegmentTable: all of
// them in order.
//
// A segment takes appends (tail), or waits for its footer (sealing), or is sealed. In the first two
// forms its places are in a TailIndex, in the last in a RevisionArray; the file is the same.
// Ordinal i is the i-th record (put or tombstone) of the segment in order of revision, in every
// form.
//
// Lifetime: a SegmentFile closes with its last owner; if it was condemned (collected, and the
// manifest says so), the open file goes to the Graveyard, from which the store lane cuts it up and
// removes it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/storage.h"
#include "env/file.h"
#include "store/buckets.h"
#include "store/format.h"
#include "store/revision_array.h"
#include "store/tail_index.h"

namespace keelson::store {

// Files that nobody names any more. Given from any lane, taken by the store lane.
class Graveyard {
 public:
  void give(std::unique_ptr<env::File> file) {
    const std::scoped_lock lock(mutex_);
    files_.push_back(std::move(file));
  }
  std::vector<std::unique_ptr<env::File>> take() {
    const std::scoped_lock lock(mutex_);
    return std::exchange(files_, {});
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<env::File>> files_;
};

class SegmentFile {
 public:
  SegmentFile(std::unique_ptr<env::File> file, std::shared_ptr<Graveyard> graveyard)
      : file_(std::move(file)), graveyard_(std::move(graveyard)) {}
  ~SegmentFile() {
    if (condemned_.load(std::memory_order_acquire)) graveyard_->give(std::move(file_));
  }
  SegmentFile(const SegmentFile&) = delete;
  SegmentFile& operator=(const SegmentFile&) = delete;

  // To be removed after its last use.
  void condemn() { condemned_.store(true, std::memory_order_release); }
  env::File& file() { return *file_; }
  const env::File& file() const { return *file_; }

 private:
  std::unique_ptr<env::File> file_;
  std::shared_ptr<Graveyard> graveyard_;
  std::atomic<bool> condemned_ = false;
};

// Reads that went wrong, counted by all readers.
struct ReadCounters {
  std::atomic<std::uint64_t> missing = 0;
  std::atomic<std::uint64_t> corrupt = 0;
  std::atomic<std::uint64_t> failed = 0;
};

// Where the parts of a sealed segment's footer lie.
struct FooterPlaces {
  std::uint64_t hash_rows = 0;
  std::uint64_t key_blocks = 0;
  std::uint64_t trailer = 0;
  std::uint32_t hash_rows_crc = 0;
};

inline constexpr std::size_t kHashRowBytes = 8;

// The sum of a sealed segment's records for the choice of records asked for last. Any lane.
class HashCache {
 public:
  std::optional<Sum> find(const std::vector<std::uint64_t>& marks) const {
    const std::scoped_lock lock(mutex_);
    return marks == marks_ ? std::optional(sum_) : std::nullopt;
  }
  void keep(const std::vector<std::uint64_t>& marks, Sum sum) {
    const std::scoped_lock lock(mutex_);
    marks_ = marks;
    sum_ = sum;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::uint64_t> marks_;
  Sum sum_;
};

// What a look-up gives: which record, and the bytes in which it lies (a checkpoint may follow it
// there).
struct Extent {
  std::size_t ordinal = 0;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

class Segment {
 public:
  // Not sealed.
  Segment(std::uint64_t id, base::Revision first, std::shared_ptr<SegmentFile> file,
          std::shared_ptr<TailIndex> tail)
      : id_(id), first_(first), file_(std::move(file)), tail_(std::move(tail)) {}
  // Sealed: `data_end` is where its records end.
  Segment(std::uint64_t id, base::Revision first, std::shared_ptr<SegmentFile> file,
          RevisionArray array, std::uint64_t data_end, FooterPlaces footer)
      : id_(id),
        first_(first),
        file_(std::move(file)),
        array_(std::move(array)),
        data_end_(data_end),
        footer_(footer) {}

  std::uint64_t id() const { return id_; }
  // Revisions from here to the next segment's belong here.
  base::Revision first() const { return first_; }
  bool sealed() const { return tail_ == nullptr; }
  const env::File& file() const { return file_->file(); }
  const std::shared_ptr<SegmentFile>& shared_file() const { return file_; }

  // `count` is how many records the caller may see: all, or a Snapshot's share of a tail.
  // The record of exactly this revision.
  std::optional<std::size_t> find(base::Revision revision, std::size_t count) const;
  // Fetches what find() will read, in two steps, with some other work before and between them.
  void prefetch_table(base::Revision revision) const {
    if (sealed()) array_.prefetch_table(revision);
  }
  void prefetch_record(base::Revision revision) const {
    if (sealed()) array_.prefetch_block(revision);
  }
  // The first one >= `revision`; `count` if there is none.
  std::size_t lower_bound(base::Revision revision, std::size_t count) const;
  base::Revision revision(std::size_t ordinal) const;
  Extent extent(std::size_t ordinal, std::size_t count) const;

  // Of the sealed; of a tail on the store lane.
  std::size_t records() const { return sealed() ? array_.size() : tail_->size(); }
  const RevisionArray& array() const { return array_; }
  const FooterPlaces& footer() const { return footer_; }
  std::uint64_t data_end() const { return data_end_; }
  const TailIndex* tail() const { return tail_.get(); }
  HashCache& hash_cache() const { return hash_cache_; }

 private:
  const std::uint64_t id_;
  const base::Revision first_;
  const std::shared_ptr<SegmentFile> file_;
  const std::shared_ptr<TailIndex> tail_;  // nullptr: sealed
  const RevisionArray array_;
  const std::uint64_t data_end_ = 0;
  const FooterPlaces footer_;
  mutable HashCache hash_cache_;
};

class SegmentTable {
 public:
  SegmentTable(std::vector<std::shared_ptr<const Segment>> segments,
               std::shared_ptr<ReadCounters> counters, bool serve_unchecked)
      : segments_(std::move(segments)),
        counters_(std::move(counters)),
        serve_unchecked_(serve_unchecked) {}

  const std::vector<std::shared_ptr<const Segment>>& segments() const { return segments_; }
  // The one to which `revision` belongs: the last whose first is not above it. segments().size() if
  // it is below all.
  std::size_t segment_of(base::Revision revision) const;
  // Calls use(n) for each n below `count`, in order, while what a look-up of revision_of(n) reads
  // is fetched ahead: records that lie anywhere cost a fraction so. Until use() says false.
  template <class RevisionOf, class Use>
  void look_up_in_turn(std::size_t count, const RevisionOf& revision_of, const Use& use) const {
    constexpr std::size_t kAhead = 8;  // look-ups, from table to record and from there to use
    const auto segment = [&](base::Revision revision) -> const Segment* {
      const std::size_t at = segment_of(revision);
      return at < segments_.size() ? segments_[at].get() : nullptr;
    };
    for (std::size_t n = 0; n < count + 2 * kAhead; n++) {
      if (n < count) {
        const base::Revision revision = revision_of(n);
        if (const Segment* its = segment(revision)) its->prefetch_table(revision);
      }
      if (n >= kAhead && n - kAhead < count) {
        const base::Revision revision = revision_of(n - kAhead);
        if (const Segment* its = segment(revision)) its->prefetch_record(revision);
      }
      if (n >= 2 * kAhead && !use(n - 2 * kAhead)) return;
    }
  }
  ReadCounters& counters() const { return *counters_; }
  bool serve_unchecked() const { return serve_unchecked_; }

 private:
  const std::vector<std::shared_ptr<const Segment>> segments_;
  const std::shared_ptr<ReadCounters> counters_;
  const bool serve_unchecked_;
};

// What a footer says of each record of a sealed segment, in order of ordinals.
struct HashRow {
  std::uint32_t body_crc = 0;
  std::uint32_t length = 0;  // of the payload
  bool tombstone = false;
};
// All rows of a sealed segment. What cannot be read, or does not match its checksum, is counted.
base::Result<std::string, base::StorageErrc> read_hash_rows(const Segment& segment,
                                                            ReadCounters& counters);
HashRow decode_hash_row(std::string_view rows, std::size_t ordinal);

// The payload of the record at `offset` of which `bytes` are the first bytes, if its checksums, its
// revision and its length are right. kCorrupt otherwise.
struct CheckedRecord {
  bool tombstone = false;
  std::uint32_t body_crc = 0;
  std::string_view payload;
};
base::Result<CheckedRecord, base::StorageErrc> check_record(std::string_view bytes,
                                                            std::uint64_t segment_id,
                                                            std::uint64_t offset,
                                                            base::Revision revision);

}  // namespace keelson::store
