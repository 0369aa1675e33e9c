// State: the writer's side of the multi-version store. Applies operations in log order, each
// atomically under one main revision, and hands out Views.
//
//   begin(batch, reader) ... put / delete_range / txn / revoke / compact ... publish()
//
// Invariants
//   S1  The current revision grows by one exactly when an operation changed at least one key;
//   changes inside
//       are numbered sub = 0, 1, 2 ... in the order they were made.
//   S2  An operation that fails changed nothing, but for one that fails only because its answer
//   cannot be had here (a previous value or a range of a txn that is unreadable or beyond the
//   memory budget): that one is done, because on every other member it is.
//   S3  Every change is in the index, in the batch and among the batch's events, or in none of
//   them. S4  Equal calls give equal state and equal records, byte for byte, on every member.
//
// Threads: one lane (apply). It may block in `reader`.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "base/storage.h"
#include "mvcc/key_index.h"
#include "mvcc/range.h"
#include "mvcc/types.h"
#include "proto/rpc.pb.h"

namespace keelson::mvcc {

// What this core must ask and tell of leases. apply/ wires it to the lessor.
class Leases {
 public:
  virtual ~Leases() = default;
  virtual bool exists(std::int64_t id) const = 0;
  // The lease a live key hangs on; 0 = none. Asked, because the index does not hold it and a record
  // need not be read for it.
  virtual std::int64_t lease_of(std::string_view key) const = 0;
  // A key's lease became `id`, after it was `previous`; 0 = none.
  virtual void moved(std::string_view key, std::int64_t previous, std::int64_t id) = 0;
};

// Revisions in results are those of their headers: after the operation, unchanged if nothing was
// changed.
struct PutResult {
  std::int64_t revision = 0;
  std::optional<base::SharedBytes>
      previous;  // encoded, if prev_kv was asked for and the key existed
};

struct DeleteResult {
  std::int64_t revision = 0;  // unchanged if nothing was deleted
  std::int64_t deleted = 0;
  std::vector<base::SharedBytes> previous;  // encoded, in key order, if asked for
};

struct TxnResult;
using OpResult = std::variant<RangeResult, PutResult, DeleteResult, std::unique_ptr<TxnResult>>;

struct TxnResult {
  std::int64_t revision = 0;  // 0 in a nested one, as etcd has it
  bool succeeded = false;
  std::vector<OpResult> responses;  // one per executed operation, in order
};

class State {
 public:
  struct Options {
    std::size_t range_memory_budget = std::size_t{256}
                                      << 20;  // bytes the answer of one operation may gather
  };
  struct Stats {
    std::uint64_t puts =
        0;  // storage operations, as etcd_mvcc_*_total count them (operations.md 6)
    std::uint64_t deletes = 0;
    std::uint64_t ranges = 0;
    std::uint64_t txns = 0;
    std::uint64_t put_bytes = 0;  // keys and values of all puts
  };

  State(Leases& leases, Options options);

  // Recovery: keys in ascending order with their changes, then the revisions as found in the store.
  // Leases of live keys are told to Leases by the caller, who has them from the store's footers.
  // formats.md 5.7 (Boot).
  void load(std::string_view key, std::span<const Version> history);
  // -1 stands for a compaction never noted; one scheduled beyond the finished one is the floor at
  // once, and compacting() again.
  void finish_load(std::int64_t newest_revision, std::int64_t finished_compact,
                   std::int64_t scheduled_compact);

  // A record that cannot be read was to decide what is changed (a compare of values, a value to be
  // kept), so nothing was: a member whose disk is whole has decided, and this one is no copy of it
  // any more. How often so far.
  std::uint64_t undecided() const { return undecided_; }

  // Until publish(), changes go to `batch`, and reads through `reader`, which knows all older
  // batches.
  void begin(base::Batch& batch, const base::RevisionReader& reader);

  // kLeaseNotFound before kKeyNotFound. kUnreadable: nothing was changed if the value to be kept is
  // the unreadable one, else the put is done and its previous value cannot be told.
  base::Result<PutResult, Errc> put(const etcdserverpb::PutRequest& request);
  // kUnreadable and kTooMuchMemory, with prev_kv only; the keys are deleted all the same.
  base::Result<DeleteResult, Errc> delete_range(const etcdserverpb::DeleteRangeRequest& request);
  // Executes the branch the compares choose, all or nothing; operations see those before them. What
  // cannot be gathered for the answer leaves the changes made (S2). With
  // `want_results` false (nobody waits here) ranges are checked but not executed, previous values
  // not read and the answer's responses stay empty. formats.md 5.6 (version trap). Any Errc.
  // Recursion is as deep as the request's nesting, which its parser has bounded.
  base::Result<TxnResult, Errc> txn(const etcdserverpb::TxnRequest& request, bool want_results);
  // Deletes these keys, given in ascending order, under one revision: what a revoked lease does.
  base::Result<DeleteResult, Errc> delete_keys(const std::vector<std::string>& keys);
  // Raises the floor, kCompacted if it is not above the present one, kFutureRevision: reads below
  // it fail at once. Dropping follows by compact_slice().
  base::Result<void, Errc> compact(std::int64_t revision);

  // Index compaction still to be done for the newest floor, a slice of about `budget` keys. Returns
  // the revisions that died with it (dead at floor compact_revision()); writes finishedCompactRev
  // into the batch at the end. Call between begin() and publish(). `pending` is true while there is
  // more.
  struct CompactProgress {
    std::vector<Revision> dropped;
    bool pending = false;
  };
  CompactProgress compact_slice(std::size_t budget);
  bool compacting() const;

  // The state after everything so far, and the events since the last call.
  View publish();
  EventBatch take_events();
  void release(std::uint64_t batch) { index_.release(batch); }
  // Frees a part of what no View reaches any more; true if there is more.
  bool free_due() { return index_.free_due(); }

  std::int64_t revision() const { return revision_; }
  std::int64_t compact_revision() const { return compact_revision_; }
  const Stats& stats() const { return stats_; }
  const KeyIndex::Stats& index_stats() const { return index_.stats(); }

 private:
  class Operation;

  View current() const;

  Leases& leases_;
  const Options options_;
  KeyIndex index_;
  std::int64_t revision_ = 1;
  std::int64_t compact_revision_ = -1;
  std::optional<std::string>
      compact_next_;              // key where index compaction goes on; nullopt: it is done
  base::Batch* batch_ = nullptr;  // from begin() to publish()
  const base::RevisionReader* reader_ = nullptr;
  base::ChangeList<Event> events_;  // since take_events()
  std::uint64_t undecided_ = 0;
  Stats stats_;
};

}  // namespace keelson::mvcc
