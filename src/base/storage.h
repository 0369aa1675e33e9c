// How the cores persist and how stored history is read back.
//
// Everything durable goes through a Batch: changes of keys (the history, written once, by revision)
// and puts and deletes in etcd's small buckets (formats.md 4). One Batch is one applied batch of
// log entries; it carries the index and term of its last entry, so that data and consistent_index
// are atomic. The store implements RevisionReader; the cores read through it and know no file.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/record.h"
#include "base/result.h"
#include "base/revision.h"

namespace keelson::base {

// etcd's buckets but `key`, in the order of their names (the order of Hash).
enum class Bucket : std::uint8_t {
  kAlarm,
  kAuth,
  kAuthRoles,
  kAuthUsers,
  kCluster,
  kLease,
  kMembers,
  kMembersRemoved,
  kMeta,
};
inline constexpr std::size_t kBucketCount = 9;
std::string_view bucket_name(Bucket bucket);

// Keys of the meta bucket, formats.md 4.2.
inline constexpr std::string_view kConsistentIndexKey = "consistent_index";
inline constexpr std::string_view kTermKey = "term";
inline constexpr std::string_view kConfStateKey = "confState";
inline constexpr std::string_view kStorageVersionKey = "storageVersion";
inline constexpr std::string_view kScheduledCompactKey = "scheduledCompactRev";
inline constexpr std::string_view kFinishedCompactKey = "finishedCompactRev";

// Of the auth bucket: 8 bytes, big-endian. Each member writes 1 when its store is new.
inline constexpr std::string_view kAuthRevisionKey = "authRevision";

struct BucketChange {
  Bucket bucket;
  std::string key;
  std::optional<std::string> value;  // nullopt deletes
};

// What one applied batch changes. Built by the apply lane, then immutable and shared with Views and
// store.
class Batch {
 public:
  void put(Bucket bucket, std::string key, std::string value) {
    changes_.push_back({bucket, std::move(key), std::move(value)});
  }
  void erase(Bucket bucket, std::string key) {
    changes_.push_back({bucket, std::move(key), std::nullopt});
  }
  // For `more` records that follow, and some after them.
  void make_room(std::size_t more) { records_.make_room(more); }
  // In ascending order of revision, within and across batches.
  void add(Record record) {
    CHECK(records_.empty() || records_.newest() < record.revision);
    record_bytes_ += record.encoded.size();
    records_.push_back(std::move(record));
  }
  void add(std::shared_ptr<const Tombstones> tombstones) {
    if (tombstones->size() == 0) return;
    CHECK(records_.empty() || records_.newest() < tombstones->revision(0));
    record_bytes_ += tombstones->encoded_bytes();
    records_.push_back(std::move(tombstones));
  }
  // The last log entry whose effects are in here. Never goes back.
  void set_applied(std::uint64_t index, std::uint64_t term) {
    CHECK_GE(index, applied_index_);
    applied_index_ = index;
    applied_term_ = term;
  }

  // Ascending by revision.
  const ChangeList<Record>& records() const { return records_; }
  // In the order they were made; later ones win.
  const std::vector<BucketChange>& changes() const { return changes_; }
  std::uint64_t applied_index() const { return applied_index_; }
  std::uint64_t applied_term() const { return applied_term_; }
  std::size_t record_bytes() const { return record_bytes_; }
  // The record of exactly this revision, nullopt if it is not in this batch.
  std::optional<Record> find(Revision revision) const {
    const auto place = records_.find(revision);
    return place ? std::optional(records_[*place]) : std::nullopt;
  }

 private:
  ChangeList<Record> records_;
  std::vector<BucketChange> changes_;
  std::uint64_t applied_index_ = 0;
  std::uint64_t applied_term_ = 0;
  std::size_t record_bytes_ = 0;
};

enum class StorageErrc {
  kMissing,  // no such revision here: a caller's error, or a lost record
  kCorrupt,  // found, but its checksum does not match
  kIo,       // the disk refused to read it
};

// The answer for one revision.
struct ReadResult {
  enum class State : std::uint8_t { kBytes, kCold, kError };
  State state = State::kCold;
  StorageErrc error = StorageErrc::kMissing;  // with kError
  SharedBytes bytes;                          // with kBytes: the encoded KeyValue
};

// Combines the checksums of chosen records into the CRC-32C of what HashKV feeds: for each, in
// ascending order of revision, its revision key (with the 't' of a tombstone) and its stored bytes.
// formats.md 5.7.
class RevisionHasher {
 public:
  virtual ~RevisionHasher() = default;
  // In any order; a revision counts once. Memory: about a bit per record of the store.
  virtual void add(Revision revision) = 0;
  // Continues `crc` (that of the bucket's name). May block. An unreadable record is an error.
  virtual Result<std::uint32_t, StorageErrc> finish(std::uint32_t crc) = 0;
};

// Records from one revision to another in ascending order, tombstones included, the dead among them
// too as long as they lie there: the caller asks for nothing at or below the compact revision.
class RevisionScan {
 public:
  virtual ~RevisionScan() = default;
  // At most `limit` records; empty at the end. May block.
  virtual Result<std::vector<Record>, StorageErrc> next(std::size_t limit) = 0;
};

// Reads of stored history as of one View: immutable, any lane, any number at a time.
class RevisionReader {
 public:
  virtual ~RevisionReader() = default;
  // Never blocks: what is not in memory is kCold. For io lanes. out.size() == revisions.size().
  virtual void try_read(std::span<const Revision> revisions, std::span<ReadResult> out) const = 0;
  // May block; never kCold. For the apply lane and workers.
  virtual void read(std::span<const Revision> revisions, std::span<ReadResult> out) const = 0;
  // Both ends inclusive. For workers.
  virtual std::unique_ptr<RevisionScan> scan(Revision first, Revision last) const = 0;
  virtual std::unique_ptr<RevisionHasher> hasher() const = 0;
};

}  // namespace keelson::base
