// Log: what is durable (Storage) and what is not yet known to be (Unstable), seen as one.
// raft.md 3.
//
//   storage: [first ............ offset)           unstable: [offset ... in_progress ... last]
//                     applied <= applying <= committed <= last          |
//                                                                       +- handed to the log lane
//
// Unstable keeps entries until their append is confirmed, even when Storage holds them already;
// where both have an index, Unstable is right. A snapshot that came from a leader waits there too
// and stands in front of its entries; until it is durable nothing behind it is applied.
//
// Invariants   L1  applied <= applying <= committed <= last_index(); each only grows
//              L2  a committed entry is never replaced (append CHECKs it)
//              L3  offset <= offset_in_progress <= offset + entries
//              L4  asynchronous mode: what next_committed() gives is durable here
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/trace.h"
#include "raft/storage.h"
#include "raft/tracer.h"
#include "raft/types.h"

namespace keelson::raft {

struct EntryId {
  Term term = 0;
  Index index = 0;
  friend bool operator==(const EntryId&, const EntryId&) = default;
};

// Encoded size of all; of their data alone.
std::uint64_t encoded_size(const std::vector<Entry>& entries);
std::uint64_t payload_size(const std::vector<Entry>& entries);

// The part of the log that the log lane has not confirmed.
class Unstable {
 public:
  Unstable(Index offset, Tracer trace)
      : offset_(offset), offset_in_progress_(offset), trace_(trace) {}

  // Index before the first one it could hold entries for, if a snapshot says so.
  std::optional<Index> first_index() const;
  std::optional<Index> last_index() const;
  std::optional<Term> term(Index index) const;

  // What the log lane has not been given yet. The span is valid until the next change.
  std::span<const Entry> next_entries() const;
  const Snapshot* next_snapshot() const;
  // All of that has been given to it.
  void accept_in_progress();
  const std::optional<Snapshot>& snapshot() const { return snapshot_; }
  bool has_entries() const { return !entries_.empty(); }

  // Appends; what stands at their indexes or above is replaced.
  void truncate_and_append(std::vector<Entry> entries);
  // Entries up to `id` are durable, if this still is the entry that was written (another term has
  // overwritten it otherwise, and its own confirmation comes).
  void stable_to(EntryId id);
  void stable_snapshot_to(Index index);
  // The log begins behind this snapshot.
  void restore(Snapshot snapshot);

  std::span<const Entry> slice(Index lo, Index hi) const;
  Index offset() const { return offset_; }
  Index offset_in_progress() const { return offset_in_progress_; }
  std::size_t count() const { return entries_.size(); }

 private:
  std::optional<Snapshot> snapshot_;
  std::vector<Entry> entries_;  // [0] has index offset_
  Index offset_;
  Index offset_in_progress_;
  bool snapshot_in_progress_ = false;
  Tracer trace_;
};

class Log {
 public:
  struct Options {
    std::uint64_t max_applying_bytes =
        kNoLimit;                 // handed out by next_committed() and not yet applied
    bool apply_unstable = false;  // synchronous mode: may apply what is not durable yet
    base::TraceSink* trace = nullptr;
  };
  // Starts with everything before the storage's first index applied.
  Log(const Storage& storage, Options options);

  Index first_index() const;
  Index last_index() const;
  EntryId last_id() const;
  // For first_index() - 1 up to last_index(): kCompacted below, kUnavailable above.
  Result<Term> term(Index index) const;
  Term term_or_zero(Index index) const;
  // Does the log have this very entry? The empty log has {0, 0}.
  bool matches(EntryId id) const;
  // Is a log that ends with `other` at least as complete as this one? Decides votes.
  bool is_up_to_date(EntryId other) const;
  // Entries from `lo` to the end, or to hi, within max_bytes but at least one. lo above the end:
  // none.
  Result<std::vector<Entry>> entries(Index lo, std::uint64_t max_bytes) const;
  Result<std::vector<Entry>> slice(Index lo, Index hi, std::uint64_t max_bytes) const;
  Result<Snapshot> snapshot() const;

  // Of a leader: appends, returns the last index.
  Index append(std::vector<Entry> entries);
  // Of a follower: appends what is new if the log has `previous`, and commits what both have of
  // `leader_commit`. The index of the last entry that is the same in both logs, nullopt if
  // `previous` is not here. CHECKs that no committed entry would go.
  std::optional<Index> maybe_append(EntryId previous, std::vector<Entry> entries,
                                    Index leader_commit);
  // The last index <= `index` whose term is <= `term`, and its term; term 0 if it is not known.
  EntryId find_conflict_by_term(Index index, Term term) const;
  void restore(Snapshot snapshot);

  // Never goes back. CHECKs index <= last_index(): beyond it, entries that were confirmed are lost.
  void commit_to(Index index);
  // Commits `id` if it is above the commit index and of this very term.
  bool maybe_commit(EntryId id);

  // What may be applied next, within the limits; empty if nothing.
  std::vector<Entry> next_committed() const;
  bool has_next_committed() const;
  // They were handed out, up to `last`, `bytes` in encoded size.
  void accept_applying(Index last, std::uint64_t bytes);
  // They have been applied. bytes: of those that were handed out; 0 otherwise.
  void applied_to(Index index, std::uint64_t bytes);

  std::span<const Entry> next_unstable() const { return unstable_.next_entries(); }
  const Snapshot* next_unstable_snapshot() const { return unstable_.next_snapshot(); }
  bool has_unstable_snapshot() const { return unstable_.snapshot().has_value(); }
  bool has_unstable_entries() const { return unstable_.has_entries(); }
  void accept_unstable() { unstable_.accept_in_progress(); }
  void stable_to(EntryId id) { unstable_.stable_to(id); }
  void stable_snapshot_to(Index index) { unstable_.stable_snapshot_to(index); }

  Index committed() const { return committed_; }
  Index applying() const { return applying_; }
  Index applied() const { return applied_; }
  const Unstable& unstable() const { return unstable_; }

 private:
  Index max_appliable_index() const;
  Index first_conflict(const std::vector<Entry>& entries) const;
  void append_from_conflict(Index conflict, std::vector<Entry> entries);

  const Storage& storage_;
  const Options options_;
  const Tracer trace_;
  Unstable unstable_;
  Index committed_ = 0;
  Index applying_ = 0;
  Index applied_ = 0;
  std::uint64_t applying_bytes_ = 0;
  bool applying_paused_ = false;  // enough is under way
};

}  // namespace keelson::raft
