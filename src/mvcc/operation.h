// State::Operation: one operation while it is staged. Private to state.cc and operation.cc.
//
// It reads the state before it and collects changes; State commits them all, or drops it. So
// whatever fails, at whatever depth of a txn, has changed nothing (S2). What is read for the answer
// alone (previous values, ranges of a txn) cannot make it fail: the reason is kept, and the rest
// goes on without results.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "mvcc/overlay.h"
#include "mvcc/read.h"
#include "mvcc/record.h"
#include "mvcc/state.h"

namespace keelson::mvcc {

// Which branch compares chose, and those of the nested txns in it, in order.
struct TxnPath {
  bool succeeded = false;
  std::vector<TxnPath> nested;
};

// Storage operations of one storage transaction; counted when it ends, whatever came of it.
struct Tally {
  explicit Tally(State::Stats& to) : stats(to) {}
  ~Tally() {
    stats.puts += puts;
    stats.deletes += deletes;
    stats.ranges += ranges;
    stats.put_bytes += put_bytes;
    if (puts + deletes + ranges > 1) stats.txns++;
  }
  Tally(const Tally&) = delete;
  Tally& operator=(const Tally&) = delete;

  State::Stats& stats;
  std::uint64_t puts = 0, deletes = 0, ranges = 0, put_bytes = 0;
};

class State::Operation {
 public:
  explicit Operation(State& state);

  base::Result<PutResult, Errc> put(const etcdserverpb::PutRequest& request, bool want_previous);
  base::Result<DeleteResult, Errc> delete_range(const etcdserverpb::DeleteRangeRequest& request,
                                                bool want_previous);
  DeleteResult delete_keys(const std::vector<std::string>& keys);
  base::Result<TxnResult, Errc> txn(const etcdserverpb::TxnRequest& request, bool want_results);

  // Makes the changes real.
  void commit();
  // Why the answer could not be gathered, though the changes stand. Its first reason.
  const std::optional<Errc>& answer_error() const { return answer_error_; }
  // The revision an answer given now carries.
  std::int64_t revision() const { return state_.revision_ + (changed() ? 1 : 0); }

 private:
  struct Change {
    base::Record record;
    std::optional<Revision> previous;  // as in Event
    std::int64_t previous_lease = 0;

    Version version() const;
  };

  // A record decides, and cannot be read.
  std::unexpected<Errc> undecided(Errc errc) const {
    state_.undecided_++;
    return base::fail(errc);
  }
  base::Result<void, Errc> check_lease(const etcdserverpb::PutRequest& request) const;
  base::Result<TxnPath, Errc> choose(const etcdserverpb::TxnRequest& request, Tally& tally) const;
  base::Result<void, Errc> check(const etcdserverpb::TxnRequest& request, const TxnPath& path,
                                 Tally& tally) const;
  base::Result<void, Errc> check_range(const etcdserverpb::RangeRequest& request) const;
  base::Result<void, Errc> check_put(const etcdserverpb::PutRequest& request, Tally& tally) const;
  base::Result<TxnResult, Errc> execute(const etcdserverpb::TxnRequest& request,
                                        const TxnPath& path, bool want_results);
  base::Result<OpResult, Errc> execute_op(const etcdserverpb::RequestOp& op, const TxnPath* nested,
                                          bool want_results);
  RangeResult range(const etcdserverpb::RangeRequest& request);

  bool changed() const {
    return !changes_.empty() || (deleted_ != nullptr && deleted_->size() > 0);
  }
  // The key with the changes so far; nullopt if it is not there.
  std::optional<Version> find(std::string_view key) const;
  // What it was before the operation, if it is `now`.
  std::optional<Version> before_operation(std::string_view key,
                                          const std::optional<Version>& now) const;
  std::int64_t lease_of(std::string_view key) const;
  // What one operation alone deletes cannot fail to be deleted, so it is indexed at once: view_ is
  // no more. How many; `existing`, if not nullptr, gets what they were.
  std::size_t delete_alone(const KeyRange& range, std::vector<Version>* existing);
  base::Tombstones& pack_deletions();
  void leave_lease(std::string_view key);
  std::size_t delete_among_others(const KeyRange& range, std::vector<Version>* existing);
  // The next change. `superseded`: what the key was before the operation.
  Change tombstone(std::string_view key, const std::optional<Version>& superseded);
  void add(Change change);
  // Before another operation of the txn looks. Most txns have but one that changes anything.
  void lay_over();
  // The index's part of commit(), of many changes.
  void index_many();

  void read(std::span<const Revision> revisions, std::span<base::ReadResult> out) const;
  // nullopt if the change is older than the running batch.
  std::optional<base::SharedBytes> unpublished(Revision revision) const;
  // For the answer only: empty, and answer_error() set, if they cannot be had.
  std::vector<base::SharedBytes> answer_with(std::span<const Version> versions);
  base::Result<std::vector<base::SharedBytes>, Errc> gather(std::span<const Version> versions);

  State& state_;
  const View view_;  // before the operation
  const std::int64_t main_;
  const ReadFunction read_;
  std::vector<Change> changes_;  // by sub revision
  std::shared_ptr<base::Tombstones>
      deleted_;  // instead, for deletes of many keys that are no txn's
  PackedRecords tombstones_;
  bool in_txn_ = false;
  Overlay overlay_;            // the newest change of each key in the first of `changes_`,
  std::size_t laid_over_ = 0;  // ... so many
  std::size_t memory_left_;    // for the answer
  std::optional<Errc> answer_error_;
  Tally tally_;  // of the writing storage transaction
};

}  // namespace keelson::mvcc
