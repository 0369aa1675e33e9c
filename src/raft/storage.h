// Storage: the durable part of a node's log, as the node reads it. raft.md 3.
//
// The node only reads; whoever drives it writes. Two parts make a log: what Storage holds, and what
// the node has not yet seen confirmed as durable (log.h, Unstable). The driver keeps to one rule:
//
//   S1  what an AppendJob carries (snapshot, entries) is in Storage, in the order of the jobs, at
//       the latest when the job's responses are given to Node::step(). It may be there earlier,
//       even before the sync: the node takes nothing for durable before it is told so.
//
// Invariants of any implementation
//   S2  first_index() - 1 <= last_index(); the entry at first_index() - 1 is gone, its term is
//       still known
//   S3  indexes are consecutive, terms never fall
//   S4  compaction never passes what the node has applied
//
// What a log takes in memory is bounded in bytes, each part by something else, and the driver's to
// set:
//   applied       compact(), by bytes_held(): down to nothing, but a follower that lacks what is
//                 gone needs a snapshot. Node::progress() says how far they are.
//   of a leader   Config::max_uncommitted_bytes, which in spite of its name counts what it proposed
//                 until that is applied: beyond it propose() answers kProposalDropped.
//   of a follower what its leader appends and is not applied here: an append may be dropped before
//                 it is given to step(), like one that was lost, while that is too much; the
//                 leader's max_inflight_bytes bounds how much of it is under way.
// What is not durable yet is part of these: Unstable shares its entries' bytes with Storage.
//
// Read and written by jobs of the raft lane only.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "raft/errc.h"
#include "raft/types.h"

namespace keelson::raft {

template <class T = void>
using Result = base::Result<T, Errc>;

// Sizes are those of etcd's encoding (wire.h); a limit never keeps back the first entry.
inline constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};

class Storage {
 public:
  struct InitialState {
    HardState hard_state;
    ConfState conf_state;
  };

  virtual ~Storage() = default;

  // What the node starts from; asked once.
  virtual InitialState initial_state() const = 0;
  virtual Index first_index() const = 0;
  virtual Index last_index() const = 0;
  // For first_index() - 1 up to last_index(). kCompacted below, kUnavailable above.
  virtual Result<Term> term(Index index) const = 0;
  // Appends [lo, hi) to `out`, as many as max_bytes allow and at least one. lo < hi. kCompacted if
  // lo is gone, kUnavailable if hi - 1 is not there.
  virtual Result<> entries(Index lo, Index hi, std::uint64_t max_bytes,
                           std::vector<Entry>& out) const = 0;
  // For a follower that is too far behind; index >= first_index() - 1, or it would be too far
  // behind again. Asked when one is to be sent, so it may be made then: only index, term and
  // configuration are looked at. kSnapshotTemporarilyUnavailable, or an older one: the leader asks
  // again when that follower is heard from.
  virtual Result<Snapshot> snapshot() const = 0;
};

// MemoryStorage: the recent log in memory, beside the WAL that makes it durable. It grows until
// compact() is called: bytes_held() tells its owner when.
class MemoryStorage : public Storage {
 public:
  MemoryStorage();

  InitialState initial_state() const override;
  Index first_index() const override { return entries_.front().index + 1; }
  Index last_index() const override { return entries_.back().index; }
  Result<Term> term(Index index) const override;
  Result<> entries(Index lo, Index hi, std::uint64_t max_bytes,
                   std::vector<Entry>& out) const override;
  Result<Snapshot> snapshot() const override { return snapshot_; }

  void set_hard_state(const HardState& state) { hard_state_ = state; }
  // For a start from a state machine that is ahead of the snapshot (Config::applied): the
  // configuration in force there. Without it initial_state() names the snapshot's.
  void set_conf_state(ConfState state) { conf_state_ = std::move(state); }
  // Replaces the whole log. kSnapshotOutOfDate if it holds this one or a newer; index 0 sets only
  // the configuration of an empty log.
  Result<> apply_snapshot(Snapshot snapshot);
  // Entries that are consecutive and leave no gap. What is compacted already is skipped, what
  // stands at their indexes or above is replaced.
  void append(std::span<const Entry> entries);
  // Remembers a snapshot of the state at `index` <= last_index(); drops nothing. kSnapshotOutOfDate
  // if there is one as new, kCompacted if the log behind it has gone already: a snapshot is written
  // to disk while a busy log goes on, so both happen.
  Result<> create_snapshot(Index index, const ConfState& conf_state, base::SharedBytes data);
  // Drops entries up to and including `index` <= last_index(). kCompacted if they are gone.
  Result<> compact(Index index);

  // Encoded size of the entries held.
  std::uint64_t bytes_held() const { return bytes_held_; }

 private:
  Index offset() const { return entries_.front().index; }
  void truncate_from(Index index);

  HardState hard_state_;
  std::optional<ConfState> conf_state_;
  Snapshot snapshot_;
  std::deque<Entry> entries_;  // [0] stands for what was compacted: its index and term, no data
  std::uint64_t bytes_held_ = 0;
};

}  // namespace keelson::raft
