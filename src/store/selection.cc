#include "store/selection.h"

#include "store/segment.h"

namespace keelson::store {

using base::StorageErrc;

Selection::Selection(std::shared_ptr<const Snapshot> snapshot)
    : snapshot_(std::move(snapshot)), marks_(snapshot_->table().segments().size()) {}

// How many records of the table's i-th segment are in the snapshot.
std::size_t Selection::count(std::size_t segment) const {
  const auto& segments = snapshot_->table().segments();
  return segment + 1 == segments.size() ? snapshot_->tail_records() : segments[segment]->records();
}

base::Result<void, StorageErrc> Selection::add(base::Revision revision) {
  const SegmentTable& table = snapshot_->table();
  const std::size_t at = table.segment_of(revision);
  const auto ordinal = at < table.segments().size()
                           ? table.segments()[at]->find(revision, count(at))
                           : std::optional<std::size_t>();
  if (!ordinal) {
    table.counters().missing++;
    return base::fail(StorageErrc::kMissing);
  }
  marks_[at].set(*ordinal, count(at));
  return {};
}

std::optional<base::Revision> Selection::add_all(std::span<const base::Revision> revisions) {
  std::optional<base::Revision> missing;
  snapshot_->table().look_up_in_turn(
      revisions.size(), [&](std::size_t n) { return revisions[n]; },
      [&](std::size_t n) {
        if (!add(revisions[n])) missing = revisions[n];
        return !missing;
      });
  return missing;
}

Selection::Walk Selection::walk() const { return Walk(*this); }

base::Result<void, StorageErrc> Selection::Walk::next(std::size_t records_max,
                                                      std::uint64_t bytes_max,
                                                      std::vector<SelectedRecord>& out) {
  const SegmentTable& table = selection_->snapshot_->table();
  std::uint64_t bytes = 0;
  for (std::size_t n = 0; n < records_max && bytes < bytes_max;) {
    if (segment_ == selection_->marks_.size()) return {};
    const std::size_t ordinal = selection_->marks_[segment_].next(ordinal_);
    if (ordinal == Marks::npos) {
      segment_++;
      ordinal_ = 0;
      rows_.clear();
      continue;
    }
    const Segment& segment = *table.segments()[segment_];
    if (segment.sealed() && rows_.empty()) {
      ASSIGN_OR_RETURN(rows_, read_hash_rows(segment, table.counters()));
    }
    out.push_back(describe(ordinal));
    bytes += out.back().bytes;
    ordinal_ = ordinal + 1;
    n++;
  }
  return {};
}

SelectedRecord Selection::Walk::describe(std::size_t ordinal) const {
  const Segment& segment = *selection_->snapshot_->table().segments()[segment_];
  if (!segment.sealed()) {
    const TailEntry& entry = (*segment.tail())[ordinal];
    return {entry.revision, entry.tombstone(), entry.length()};
  }
  const HashRow row = decode_hash_row(rows_, ordinal);
  return {segment.revision(ordinal), row.tombstone, row.length};
}

}  // namespace keelson::store
