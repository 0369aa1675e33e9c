// DbFile: all that one applied batch has left, as etcd's own db file, byte for byte the form that
// its members and tools take over. formats.md 3 to 4; sent to clients (Maintenance.Snapshot) and to
// followers that are too far behind.
//
//   Front::on_state -> DbState::of -> DbFile -> plan() until true -> bytes() -> next() until empty
//
//   marking --(every key of the index seen)--> sizing --(all sizes added up)--> planned
//
// What is alive is marked by a walk over the index, which goes by key; from then on the file's
// order, that of revisions and of the store's own files, is walked three times: for sizes and again
// for the branches, both out of footers, and for the values (bolt/writer.h). Only marking needs the
// View: next to a bit for each record the rest keeps files alone, which no longer go while it
// lasts.
//
// Invariants
//   B1  consistent_index and term are those of the batch, and everything else is as it was then.
//   B2  Records that compaction leaves are in it, and no other, however far dropping has got.
//   B3  All of etcd's buckets are there, also empty ones: it writes into them unasked.
//
// Threads: plan() and next() block, on a worker, a slice of some milliseconds a call; one lane at a
// time. A record that cannot be read ends it with an error.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/storage.h"
#include "base/time.h"
#include "bolt/writer.h"
#include "member/view.h"
#include "mvcc/hash.h"
#include "store/selection.h"
#include "store/store.h"

namespace keelson::member {

// What is copied on the store lane when the store has exactly what `view` shows.
struct DbState {
  std::shared_ptr<const View> view;
  std::shared_ptr<const store::Snapshot> records;
  // In order of names; those of leases are in the View, and `key` is in the records.
  std::vector<std::pair<base::Bucket, store::Buckets::Map>> buckets;

  static DbState of(std::shared_ptr<const View> view, const store::Store& store);
};

// What streams a file rests so long between two pieces, so that it leaves most of a core to others:
// some 100 MB/s.
inline constexpr base::Duration kDbRest = std::chrono::microseconds(500);
// What it streams between two rests.
inline constexpr std::uint64_t kDbPieceBytes = 64 * 1024;

class DbFile {
 public:
  explicit DbFile(DbState state, std::uint64_t piece_bytes = kDbPieceBytes);

  // Works out a part of the layout; true when it is complete.
  base::Result<bool> plan();
  // False while the View is needed, which the owner counts as held.
  bool is_marked() const { return view_ == nullptr; }

  // After plan() said true.
  std::uint64_t bytes() const { return plan_->file_bytes(); }
  // The bytes behind those it gave before, about piece_bytes or one value; empty at the end, when
  // all of bytes() have been given.
  base::Result<std::string> next();

  std::uint64_t applied_index() const { return applied_index_; }
  // "3.7.0"; empty while the cluster has not said one.
  const std::string& storage_version() const { return storage_version_; }

 private:
  // Where a walk over the whole content is.
  struct Walk {
    std::size_t bucket = 0;
    bool begun = false;            // the bucket
    std::size_t small_bucket = 0;  // of DbState::buckets
    lease::LeaseId next_lease = 0;
    std::optional<store::Selection::Walk> records;
  };
  base::Result<bool> mark();
  base::Result<> write_some();
  template <class Sink>
  base::Result<bool> step(Walk& walk, Sink& sink);
  template <class Sink>
  bool step_leases(Walk& walk, Sink& sink);
  template <class Sink>
  base::Result<bool> step_records(Walk& walk, Sink& sink);

  const std::uint64_t piece_bytes_;
  const std::uint64_t applied_index_;
  std::string storage_version_;
  std::vector<std::pair<base::Bucket, store::Buckets::Map>> buckets_;
  lease::LeaseSnapshot leases_;

  std::shared_ptr<const View> view_;  // until all is marked
  mvcc::KeptCursor kept_;
  store::Selection selection_;
  std::shared_ptr<const base::RevisionReader> reader_;

  Walk sizes_;
  bolt::Layout layout_;
  std::optional<bolt::Plan> plan_;
  std::optional<bolt::Writer> writer_;
  Walk front_, content_;
  bool has_front_ = false;
  bool is_finished_ = false;
};

}  // namespace keelson::member
