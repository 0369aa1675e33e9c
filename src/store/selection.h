// Selection: chosen records of one Snapshot, to be walked in order of revision, sizes first.
//
//   select(snapshot) -> add(revision) in any order ... -> walk() -> next() ... each chosen one
//
// The index, which knows what is alive, goes by key; a file of all records goes by revision.
// Between the two stands a bit for each record of the store. What a walk says of a record comes
// from the footers and the tail's own index: no record is read for it.
//
// Keeps the Snapshot, and so its files, as long as it lives; not the index it was made from.
// Threads: one lane at a time, one that may block (a walk reads footers).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/revision.h"
#include "base/storage.h"
#include "store/marks.h"
#include "store/snapshot.h"

namespace keelson::store {

struct SelectedRecord {
  base::Revision revision;
  bool tombstone = false;
  std::uint32_t bytes = 0;  // of the stored KeyValue
};

class Selection {
 public:
  explicit Selection(std::shared_ptr<const Snapshot> snapshot);

  // kMissing if there is no such record.
  base::Result<void, base::StorageErrc> add(base::Revision revision);
  // All of these, which costs much less where they lie anywhere. The first that is missing, if any.
  std::optional<base::Revision> add_all(std::span<const base::Revision> revisions);

  class Walk;
  // From the first chosen record on. The Selection outlives it and is complete.
  Walk walk() const;

  const std::shared_ptr<const Snapshot>& snapshot() const { return snapshot_; }

 private:
  std::size_t count(std::size_t segment) const;

  std::shared_ptr<const Snapshot> snapshot_;
  std::vector<Marks> marks_;  // by segment of the snapshot's table
};

class Selection::Walk {
 public:
  // The next ones in ascending order, until there are `records_max` or they have `bytes_max`
  // together: appended to `out`. None at the end. An unreadable footer is an error.
  base::Result<void, base::StorageErrc> next(std::size_t records_max, std::uint64_t bytes_max,
                                             std::vector<SelectedRecord>& out);

 private:
  friend class Selection;
  explicit Walk(const Selection& selection) : selection_(&selection) {}
  SelectedRecord describe(std::size_t ordinal) const;

  const Selection* selection_;
  std::size_t segment_ = 0;
  std::size_t ordinal_ = 0;
  std::string rows_;  // hash rows of the segment, if it is sealed
};

}  // namespace keelson::store
