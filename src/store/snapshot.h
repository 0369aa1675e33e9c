// Snapshot: what lies in the store after one appended batch, immutable, read from any lane.
//
//   View = Snapshot + the batches applied since, which the store has not appended yet
//   make_reader(snapshot, pending) reads both as one: pending first, then tail, then sealed
//   segments
//
// A Snapshot keeps the files it names: collection swaps rows in later Snapshots, and a file is cut
// up and removed only after the last Snapshot naming it has gone. So a held Snapshot costs disk,
// not memory.
//
// Nothing that is read is served unless its checksums match: a record that does not is kCorrupt,
// one that the disk refuses kIo; both are counted in Store::Stats.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/revision.h"
#include "base/storage.h"

namespace keelson::store {

class SegmentTable;

class Snapshot {
 public:
  Snapshot(std::shared_ptr<const SegmentTable> table, std::size_t tail_records,
           base::Revision newest, std::uint64_t applied_index);

  // The newest revision in here; {0, 0} if there is none. Pending batches begin above it.
  base::Revision newest() const { return newest_; }
  // The last log entry whose effects are in here.
  std::uint64_t applied_index() const { return applied_index_; }

  const SegmentTable& table() const { return *table_; }
  // How many records of the table's last segment belong to this snapshot.
  std::size_t tail_records() const { return tail_records_; }

 private:
  std::shared_ptr<const SegmentTable> table_;
  std::size_t tail_records_;
  base::Revision newest_;
  std::uint64_t applied_index_;
};

// A reader over `snapshot` and, newer than it, `pending` in ascending order of revision. Batches
// that the snapshot has already may still be among them: the two agree. Keeps both alive.
std::shared_ptr<const base::RevisionReader> make_reader(
    std::shared_ptr<const Snapshot> snapshot,
    std::vector<std::shared_ptr<const base::Batch>> pending);

}  // namespace keelson::store
