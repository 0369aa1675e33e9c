#include "member/db_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <limits>

#include "base/little_endian.h"

namespace keelson::member {
namespace {

// Each some 150 us of work: whoever wakes on the core meanwhile waits for its end.
constexpr std::size_t kKeysPerSlice = 1000;
constexpr std::size_t kLeasesPerSlice = 1000;
constexpr std::size_t kSizesPerSlice = 5000;
// Of records that are read at once.
constexpr std::size_t kRecordsPerRead = 1024;
constexpr std::uint64_t kNoBytesMax = ~std::uint64_t{0};

constexpr std::string_view kKeyBucket = "key";

// The places of all buckets in order of names, `key` among them.
constexpr std::size_t kBuckets = base::kBucketCount + 1;
constexpr std::size_t kKeyPlace = static_cast<std::size_t>(base::Bucket::kLease);
constexpr std::size_t kLeasePlace = kKeyPlace + 1;

std::string_view name_of(std::size_t place) {
  if (place == kKeyPlace) return kKeyBucket;
  return base::bucket_name(static_cast<base::Bucket>(place < kKeyPlace ? place : place - 1));
}

bolt::BucketKind kind_of(std::string_view bucket) {
  return bucket == kKeyBucket ? bolt::BucketKind::kLarge : bolt::BucketKind::kSmall;
}

std::string big_endian(std::uint64_t value) {
  std::string out;
  base::append_le(out, std::byteswap(value));
  return out;
}

base::Error unreadable(std::string_view what) {
  return base::make_error(std::errc::io_error, std::string(what));
}

// The walks differ in what they do with what they pass.
struct SizeSink {
  static constexpr std::size_t kRecords = kSizesPerSlice;
  static constexpr std::uint64_t bytes_max = kNoBytesMax;

  bolt::Layout& layout;

  void begin_bucket(std::string_view name) { layout.begin_bucket(name.size(), kind_of(name)); }
  void add(std::string_view key, std::string_view value) { layout.add(key.size(), value.size()); }
  base::Result<> add(const std::vector<store::SelectedRecord>& records) {
    for (const auto& record : records) {
      layout.add(record.tombstone ? base::kTombstoneKeyBytes : base::kRevisionKeyBytes,
                 record.bytes);
    }
    return {};
  }
};

struct FrontSink {
  static constexpr std::size_t kRecords = kSizesPerSlice;
  static constexpr std::uint64_t bytes_max = kNoBytesMax;

  bolt::Writer& writer;

  void begin_bucket(std::string_view name) { writer.begin_bucket(name, kind_of(name)); }
  void add(std::string_view key, std::string_view value) { writer.add(key, value); }
  base::Result<> add(const std::vector<store::SelectedRecord>& records) {
    for (const auto& record : records) {
      writer.add_size(base::revision_key(record.revision, record.tombstone), record.bytes);
    }
    return {};
  }
};

struct ByteSink {
  static constexpr std::size_t kRecords = kRecordsPerRead;

  bolt::Writer& writer;
  const base::RevisionReader& reader;
  const std::uint64_t bytes_max;

  void begin_bucket(std::string_view name) { writer.begin_bucket(name, kind_of(name)); }
  void add(std::string_view key, std::string_view value) { writer.add(key, value); }
  base::Result<> add(const std::vector<store::SelectedRecord>& records) {
    std::vector<base::Revision> revisions;
    revisions.reserve(records.size());
    for (const auto& record : records) revisions.push_back(record.revision);
    std::vector<base::ReadResult> read(records.size());
    reader.read(revisions, read);
    for (std::size_t i = 0; i < records.size(); i++) {
      const auto& record = records[i];
      if (read[i].state != base::ReadResult::State::kBytes ||
          read[i].bytes.size() != record.bytes) {
        return base::fail(unreadable(fmt::format("record of revision {}", record.revision)));
      }
      writer.add(base::revision_key(record.revision, record.tombstone), read[i].bytes);
    }
    return {};
  }
};

}  // namespace

static_assert(static_cast<std::size_t>(base::Bucket::kCluster) + 1 == kKeyPlace);

DbState DbState::of(std::shared_ptr<const View> view, const store::Store& store) {
  DbState state{.view = std::move(view), .records = store.snapshot()};
  for (std::size_t i = 0; i < base::kBucketCount; i++) {
    const auto bucket = static_cast<base::Bucket>(i);
    if (bucket == base::Bucket::kLease) continue;
    state.buckets.emplace_back(bucket, store.buckets()[bucket]);
    if (bucket != base::Bucket::kMeta) continue;
    auto& meta = state.buckets.back().second;
    if (state.view->applied_index == 0) continue;
    meta[std::string(base::kConsistentIndexKey)] = big_endian(state.view->applied_index);
    if (state.view->applied_term == 0) continue;
    meta[std::string(base::kTermKey)] = big_endian(state.view->applied_term);
  }
  return state;
}

DbFile::DbFile(DbState state, std::uint64_t piece_bytes)
    : piece_bytes_(piece_bytes),
      applied_index_(state.view->applied_index),
      buckets_(std::move(state.buckets)),
      leases_(state.view->leases),
      view_(std::move(state.view)),
      kept_(view_->keys),
      selection_(state.records),
      reader_(store::make_reader(std::move(state.records), {})) {
  const auto& meta = buckets_.back().second;
  if (const auto it = meta.find(base::kStorageVersionKey); it != meta.end()) {
    storage_version_ = it->second;
  }
}

base::Result<bool> DbFile::mark() {
  std::vector<base::Revision> revisions;
  const bool is_last = kept_.step(kKeysPerSlice, revisions);
  if (const auto missing = selection_.add_all(revisions)) {
    return base::fail(unreadable(fmt::format("record of revision {}", *missing)));
  }
  if (is_last) view_.reset();
  return is_last;
}

base::Result<bool> DbFile::plan() {
  if (!is_marked()) {
    RETURN_IF_ERROR(mark());
    return false;
  }
  SizeSink sink{layout_};
  ASSIGN_OR_RETURN(const bool is_last, step(sizes_, sink));
  if (!is_last) return false;
  plan_ = layout_.finish();
  writer_.emplace(*plan_);
  return true;
}

base::Result<std::string> DbFile::next() {
  while (!is_finished_ && writer_->ready_bytes() < piece_bytes_) RETURN_IF_ERROR(write_some());
  return writer_->take();
}

base::Result<> DbFile::write_some() {
  if (!has_front_) {
    FrontSink sink{*writer_};
    ASSIGN_OR_RETURN(has_front_, step(front_, sink));
    return has_front_ ? writer_->end_front() : base::Result<>();
  }
  ByteSink sink{*writer_, *reader_, piece_bytes_};
  ASSIGN_OR_RETURN(is_finished_, step(content_, sink));
  return is_finished_ ? writer_->finish() : base::Result<>();
}

// A slice of the content; true when all has been passed.
template <class Sink>
base::Result<bool> DbFile::step(Walk& walk, Sink& sink) {
  if (walk.bucket == kBuckets) return true;
  if (!walk.begun) sink.begin_bucket(name_of(walk.bucket));
  walk.begun = true;
  if (walk.bucket == kKeyPlace) {
    ASSIGN_OR_RETURN(const bool is_last, step_records(walk, sink));
    if (!is_last) return false;
  } else if (walk.bucket == kLeasePlace) {
    if (!step_leases(walk, sink)) return false;
  } else {
    for (const auto& [key, value] : buckets_[walk.small_bucket].second) sink.add(key, value);
    walk.small_bucket++;
  }
  walk.bucket++;
  walk.begun = false;
  return walk.bucket == kBuckets;
}

template <class Sink>
bool DbFile::step_leases(Walk& walk, Sink& sink) {
  for (std::size_t n = 0; n < kLeasesPerSlice; n++) {
    const auto lease = leases_.at_or_after(walk.next_lease);
    if (!lease) return true;
    sink.add(lease::lease_bucket_key(lease->id), lease::encode_lease(*lease));
    if (lease->id == std::numeric_limits<lease::LeaseId>::max()) return true;
    walk.next_lease = lease->id + 1;
  }
  return false;
}

template <class Sink>
base::Result<bool> DbFile::step_records(Walk& walk, Sink& sink) {
  if (!walk.records) walk.records = selection_.walk();
  std::vector<store::SelectedRecord> records;
  if (!walk.records->next(Sink::kRecords, sink.bytes_max, records)) {
    return base::fail(unreadable("the sizes of records in a footer"));
  }
  RETURN_IF_ERROR(sink.add(records));
  return records.empty();
}

}  // namespace keelson::member
