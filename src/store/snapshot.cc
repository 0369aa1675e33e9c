#include "store/snapshot.h"

#include <algorithm>
#include <numeric>
#include <span>

#include "store/hasher.h"
#include "store/segment.h"

namespace keelson::store {
namespace {

using base::ReadResult;
using base::Revision;
using base::StorageErrc;
using Batches = std::vector<std::shared_ptr<const base::Batch>>;

constexpr std::uint64_t kGapBytesMax = 4 * 1024;     // read over rather than read twice
constexpr std::uint64_t kPartBytesMax = 256 * 1024;  // of one read, unless one record is longer

std::optional<base::Record> find_pending(const Batches& pending, Revision revision) {
  const auto it = std::lower_bound(
      pending.begin(), pending.end(), revision, [](const auto& batch, Revision wanted) {
        return batch->records().empty() || batch->records().newest() < wanted;
      });
  return it == pending.end() ? std::nullopt : (*it)->find(revision);
}

// One wanted record: where it lies, and where its answer goes.
struct Wanted {
  std::size_t segment = 0;
  Extent extent;
  Revision revision;
  std::size_t out = 0;
  bool tombstone = false;  // filled in by the read

  std::uint64_t end() const { return extent.offset + extent.length; }
};

ReadResult failure(StorageErrc error) {
  return {.state = ReadResult::State::kError, .error = error};
}

class Reader final : public base::RevisionReader {
 public:
  Reader(std::shared_ptr<const Snapshot> snapshot, Batches pending)
      : snapshot_(std::move(snapshot)), pending_(std::move(pending)) {
    std::erase_if(pending_, [](const auto& batch) { return batch->records().empty(); });
  }

  void try_read(std::span<const Revision> revisions, std::span<ReadResult> out) const override {
    read_all(revisions, out, false);
  }
  void read(std::span<const Revision> revisions, std::span<ReadResult> out) const override {
    read_all(revisions, out, true);
  }
  std::unique_ptr<base::RevisionScan> scan(Revision first, Revision last) const override;
  std::unique_ptr<base::RevisionHasher> hasher() const override {
    return make_hasher(snapshot_, pending_);
  }

  // How many records of the table's i-th segment are in this snapshot.
  std::size_t count(std::size_t segment) const {
    const auto& segments = snapshot_->table().segments();
    return segment + 1 == segments.size() ? snapshot_->tail_records()
                                          : segments[segment]->records();
  }
  // Reads records in order of place, joining neighbours.
  void read_wanted(std::span<Wanted> wanted, std::span<ReadResult> out, bool may_block) const;
  const Snapshot& snapshot() const { return *snapshot_; }
  const Batches& pending() const { return pending_; }

 private:
  void read_all(std::span<const Revision> revisions, std::span<ReadResult> out,
                bool may_block) const;
  std::optional<Wanted> locate(Revision revision, ReadResult& out) const;
  void read_part(std::span<Wanted> part, std::span<ReadResult> out, bool may_block) const;
  std::optional<std::string_view> payload_of(Wanted& one, std::string_view record,
                                             ReadResult& out) const;
  void finish_one(Wanted& one, const base::SharedBytes& bytes, std::span<ReadResult> out) const;
  void split_part(std::span<Wanted> part, std::string_view bytes, std::span<ReadResult> out) const;
  ReadResult counted(StorageErrc error) const;

  const std::shared_ptr<const Snapshot> snapshot_;
  Batches pending_;
};

ReadResult Reader::counted(StorageErrc error) const {
  ReadCounters& counters = snapshot_->table().counters();
  switch (error) {
    case StorageErrc::kMissing:
      counters.missing++;
      break;
    case StorageErrc::kCorrupt:
      counters.corrupt++;
      break;
    case StorageErrc::kIo:
      counters.failed++;
      break;
  }
  return failure(error);
}

void Reader::read_all(std::span<const Revision> revisions, std::span<ReadResult> out,
                      bool may_block) const {
  CHECK_EQ(revisions.size(), out.size());
  if (revisions.size() == 1) {
    if (auto one = locate(revisions[0], out[0])) read_part({&*one, 1}, out, may_block);
    return;
  }
  // Looked up in their order, which is that of their places: neighbours share cache lines of the
  // revision arrays, and of the kernel's page tables after them.
  std::vector<std::size_t> order(revisions.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return revisions[a] < revisions[b]; });
  std::vector<Wanted> wanted;
  wanted.reserve(revisions.size());
  snapshot_->table().look_up_in_turn(
      order.size(), [&](std::size_t n) { return revisions[order[n]]; },
      [&](std::size_t n) {
        const std::size_t i = order[n];
        if (auto one = locate(revisions[i], out[i])) {
          one->out = i;
          wanted.push_back(*one);
        }
        return true;
      });
  read_wanted(wanted, out, may_block);
}

// Where the record lies; nullopt if `out` has the answer already.
std::optional<Wanted> Reader::locate(Revision revision, ReadResult& out) const {
  if (auto record = find_pending(pending_, revision)) {
    out = {.state = ReadResult::State::kBytes, .bytes = std::move(record->encoded)};
    return std::nullopt;
  }
  const SegmentTable& table = snapshot_->table();
  const std::size_t at = table.segment_of(revision);
  const Segment* segment = at < table.segments().size() ? table.segments()[at].get() : nullptr;
  const auto ordinal = segment ? segment->find(revision, count(at)) : std::nullopt;
  if (!ordinal) {
    out = counted(StorageErrc::kMissing);
    return std::nullopt;
  }
  return Wanted{
      .segment = at, .extent = segment->extent(*ordinal, count(at)), .revision = revision};
}

void Reader::read_wanted(std::span<Wanted> wanted, std::span<ReadResult> out,
                         bool may_block) const {
  while (!wanted.empty()) {
    std::size_t n = 1;
    while (n < wanted.size() && wanted[n].segment == wanted[0].segment &&
           wanted[n].extent.offset <= wanted[n - 1].end() + kGapBytesMax &&
           wanted[n].end() - wanted[0].extent.offset <= kPartBytesMax) {
      n++;
    }
    read_part(wanted.first(n), out, may_block);
    wanted = wanted.subspan(n);
  }
}

void Reader::read_part(std::span<Wanted> part, std::span<ReadResult> out, bool may_block) const {
  const env::File& file = snapshot_->table().segments()[part.front().segment]->file();
  const std::uint64_t from = part.front().extent.offset, length = part.back().end() - from;
  auto buffer = std::make_shared_for_overwrite<char[]>(length);
  const std::span<char> into(buffer.get(), length);
  std::optional<base::Result<std::size_t>> got =
      may_block ? file.read_at(from, into) : file.try_read_at(from, into);
  if (got && *got) {
    const base::SharedBytes bytes(buffer, std::string_view(buffer.get(), **got));
    return part.size() == 1 ? finish_one(part.front(), bytes, out) : split_part(part, bytes, out);
  }
  for (const Wanted& one : part) {
    out[one.out] = got ? counted(StorageErrc::kIo) : ReadResult{.state = ReadResult::State::kCold};
  }
}

// The payload of a record, or nullopt and the error in `out`.
std::optional<std::string_view> Reader::payload_of(Wanted& one, std::string_view record,
                                                   ReadResult& out) const {
  const SegmentTable& table = snapshot_->table();
  const auto checked =
      check_record(record, table.segments()[one.segment]->id(), one.extent.offset, one.revision);
  if (checked) {
    one.tombstone = checked->tombstone;
    return checked->payload;
  }
  if (table.serve_unchecked() && record.size() > kRecordHeaderBytes) {
    return record.substr(kRecordHeaderBytes);
  }
  out = counted(checked.error());
  return std::nullopt;
}

// A record that was read alone is handed on where it lies.
void Reader::finish_one(Wanted& one, const base::SharedBytes& bytes,
                        std::span<ReadResult> out) const {
  const auto payload = payload_of(one, bytes, out[one.out]);
  if (!payload) return;
  const auto skip = static_cast<std::size_t>(payload->data() - bytes.data());
  out[one.out] = {.state = ReadResult::State::kBytes, .bytes = bytes.slice(skip, payload->size())};
}

// The answers of one part share one allocation, of payloads alone: whoever keeps one record of an
// answer keeps no gaps with it.
void Reader::split_part(std::span<Wanted> part, std::string_view bytes,
                        std::span<ReadResult> out) const {
  const std::uint64_t from = part.front().extent.offset;
  std::size_t room = 0;
  for (const Wanted& one : part) room += one.extent.length - kRecordHeaderBytes;
  const auto payloads = std::make_shared_for_overwrite<char[]>(room);
  char* to = payloads.get();
  for (Wanted& one : part) {
    const std::uint64_t skip = std::min<std::uint64_t>(one.extent.offset - from, bytes.size());
    const auto payload = payload_of(one, bytes.substr(skip, one.extent.length), out[one.out]);
    if (!payload) continue;
    std::memcpy(to, payload->data(), payload->size());
    out[one.out] = {.state = ReadResult::State::kBytes,
                    .bytes = base::SharedBytes(payloads, std::string_view(to, payload->size()))};
    to += payload->size();
  }
}

// Walks the segments of one snapshot, then the pending batches.
class Scan final : public base::RevisionScan {
 public:
  Scan(std::shared_ptr<const Snapshot> snapshot, Batches pending, Revision first, Revision last)
      : reader_(std::move(snapshot), std::move(pending)), next_(first), last_(last) {
    const SegmentTable& table = reader_.snapshot().table();
    segment_ = table.segment_of(first);
    if (segment_ == table.segments().size()) segment_ = 0;  // below all
    ordinal_ = table.segments()[segment_]->lower_bound(first, reader_.count(segment_));
  }

  base::Result<std::vector<base::Record>, StorageErrc> next(std::size_t limit) override {
    std::vector<base::Record> records;
    if (!stored_is_over_) RETURN_IF_ERROR(next_stored(limit, records));
    if (stored_is_over_ && records.empty()) next_pending(limit, records);
    return records;
  }

 private:
  base::Result<void, StorageErrc> next_stored(std::size_t limit,
                                              std::vector<base::Record>& records);
  void next_pending(std::size_t limit, std::vector<base::Record>& records);

  const Reader reader_;
  std::size_t segment_ = 0;
  std::size_t ordinal_ = 0;
  bool stored_is_over_ = false;
  Revision next_;  // of pending ones, once the stored are over
  const Revision last_;
};

base::Result<void, StorageErrc> Scan::next_stored(std::size_t limit,
                                                  std::vector<base::Record>& records) {
  const auto& segments = reader_.snapshot().table().segments();
  std::vector<Wanted> wanted;
  std::uint64_t bytes = 0;
  while (wanted.size() < limit && bytes < kPartBytesMax) {
    if (ordinal_ == reader_.count(segment_)) {
      if (++segment_ == segments.size()) break;
      ordinal_ = 0;
      continue;
    }
    const Revision revision = segments[segment_]->revision(ordinal_);
    if (revision > last_) {
      segment_ = segments.size();
      break;
    }
    const Extent extent = segments[segment_]->extent(ordinal_, reader_.count(segment_));
    wanted.push_back({segment_, extent, revision, wanted.size()});
    bytes += extent.length;
    ordinal_++;
  }
  stored_is_over_ = segment_ == segments.size();
  std::vector<ReadResult> results(wanted.size());
  reader_.read_wanted(wanted, results, true);
  for (std::size_t i = 0; i < results.size(); i++) {
    if (results[i].state != ReadResult::State::kBytes) return base::fail(results[i].error);
    const auto fields = parse_key_value(results[i].bytes);
    if (!fields) return base::fail(StorageErrc::kCorrupt);
    records.push_back({.revision = wanted[i].revision,
                       .tombstone = wanted[i].tombstone,
                       .create_revision = fields->create_revision,
                       .version = fields->version,
                       .lease = fields->lease,
                       .encoded = std::move(results[i].bytes)});
  }
  return {};
}

void Scan::next_pending(std::size_t limit, std::vector<base::Record>& records) {
  next_ = std::max(next_,
                   Revision{reader_.snapshot().newest().main, reader_.snapshot().newest().sub + 1});
  for (const auto& batch : reader_.pending()) {
    const auto& all = batch->records();
    for (std::size_t place = all.lower_bound(next_); place < all.size(); place++) {
      if (all.revision(place) > last_ || records.size() == limit) return;
      records.push_back(all[place]);
      next_ = {records.back().revision.main, records.back().revision.sub + 1};
    }
  }
}

std::unique_ptr<base::RevisionScan> Reader::scan(Revision first, Revision last) const {
  return std::make_unique<Scan>(snapshot_, pending_, first, last);
}

}  // namespace

Snapshot::Snapshot(std::shared_ptr<const SegmentTable> table, std::size_t tail_records,
                   base::Revision newest, std::uint64_t applied_index)
    : table_(std::move(table)),
      tail_records_(tail_records),
      newest_(newest),
      applied_index_(applied_index) {}

std::shared_ptr<const base::RevisionReader> make_reader(
    std::shared_ptr<const Snapshot> snapshot,
    std::vector<std::shared_ptr<const base::Batch>> pending) {
  return std::make_shared<Reader>(std::move(snapshot), std::move(pending));
}

}  // namespace keelson::store
