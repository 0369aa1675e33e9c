// StateMachine: the replicated state. Log entries in, answers and events out. formats.md 5.
//
//   entry -> alarms (CORRUPT, NOSPACE) -> mvcc | lease | alarm | membership -> one batch with its
//   index
//
// It wires the cores together (mvcc asks whether a lease is there; a lease knows its keys) and
// decides nothing that is not in the log: equal entries give equal state on every member, of either
// kind.
//
// Invariants
//   A1  Every entry applied moves the batch's applied index to its own, also one that failed or did
//       nothing.
//   A2  A failing request has no effect on state.
//   A3  Whether somebody here waits for the answer changes the answer's content only, never the
//       state.
//
// Threads: one lane (apply). It may block while it reads cold records.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "apply/alarms.h"
#include "apply/errc.h"
#include "base/result.h"
#include "base/storage.h"
#include "lease/lessor.h"
#include "membership/cluster.h"
#include "mvcc/state.h"
#include "proto/raft_internal.pb.h"
#include "raft/types.h"

namespace keelson::apply {

struct CompactAnswer {};
struct LeaseGrantAnswer {
  lease::Lease lease;
};
struct LeaseRevokeAnswer {};
struct AlarmAnswer {
  std::vector<AlarmMember> alarms;
};
// Entries whose effect is all the answer there is (attributes, versions, checkpoints).
struct DoneAnswer {};

using Answer = std::variant<DoneAnswer, mvcc::PutResult, mvcc::DeleteResult, mvcc::TxnResult,
                            CompactAnswer, LeaseGrantAnswer, LeaseRevokeAnswer, AlarmAnswer>;

// What the proposer of one entry is told.
struct Outcome {
  std::uint64_t request_id = 0;
  base::Result<Answer, Errc> answer;
  std::int64_t revision = 0;  // current revision after the entry, for the header
  raft::Term term = 0;        // of the entry, for the header
};

// For the leader's clock of leases, in the order of the log.
struct LeaseChange {
  enum class Kind : std::uint8_t { kGranted, kRevoked, kCheckpointed } kind;
  lease::Lease lease;  // only the id counts for kRevoked
};

// For the consensus core. A change that was refused has node 0 and still has to be told to it.
struct AppliedConfChange {
  raft::Index index = 0;
  raft::ConfChange change;
};

// What one batch of entries gave.
struct BatchResult {
  std::vector<Outcome> outcomes;  // of entries proposed here, in the order of the log
  std::vector<LeaseChange> lease_changes;
  std::vector<AppliedConfChange> conf_changes;
  mvcc::EventBatch events;
  std::vector<base::Revision> dead;  // died with the compaction floor, may be collected
  raft::Term new_leader_term = 0;  // of the last leader's first entry seen; 0 = none in this batch
  bool over_quota = false;         // a write was applied beyond the quota: raise NOSPACE
  bool membership_changed = false;
};

class StateMachine : private mvcc::Leases {
 public:
  struct Options {
    std::uint64_t member_id = 0;
    std::int64_t quota_bytes = 0;  // live bytes; negative: none
    std::size_t learners_max = 1;
    lease::Lessor::Config lessor;
    mvcc::State::Options mvcc;
  };
  explicit StateMachine(Options options);

  // Recovery, before anything else: buckets, then keys in ascending order, then finish.
  // False: a stored value is damaged.
  [[nodiscard]] bool recover_bucket(base::Bucket bucket, std::string_view key,
                                    std::string_view value);
  void load_key(std::string_view key, std::span<const mvcc::Version> history,
                lease::LeaseId lease_of_newest);
  [[nodiscard]] bool finish_recovery(std::int64_t newest_revision);

  // One batch of entries, which says what is applied already. Reads go through `reader` (all older
  // batches); `live_bytes` is what the quota is held against at its start.
  void begin(base::Batch& batch, const base::RevisionReader& reader, std::uint64_t live_bytes);
  // Next entry of the log. False if it failed, whoever proposed it. Of an entry of a former life
  // nobody waits for the outcome, even if somebody waits for one of the same id: ids come from the
  // wall clock, which may have been set back since.
  enum class Life { kThis, kFormer };
  bool apply(const raft::Entry& entry, Life proposed_in = Life::kThis);
  // Next entry of the log, of a former life, which is known to have changed nothing.
  void pass_over(const raft::Entry& entry);
  // A slice of the compaction under way, about `budget` keys. True while more is left.
  bool compact_slice(std::size_t budget);
  // Ends the batch. The state readers see is `view()` and the snapshots below.
  BatchResult finish();

  mvcc::View publish_keys() { return keys_.publish(); }
  void release_keys(std::uint64_t batch) { keys_.release(batch); }
  // Frees a part of what they reached; true if there is more.
  bool free_due() { return keys_.free_due(); }
  lease::LeaseSnapshot leases() { return lessor_.snapshot(); }
  std::shared_ptr<const membership::Roster> roster() const { return cluster_.snapshot(); }
  const std::vector<AlarmMember>& alarms() const { return alarms_.all(); }

  // mvcc::State::undecided: what comes after is not what other members have.
  std::uint64_t undecided() const { return keys_.undecided(); }
  bool compacting() const { return keys_.compacting(); }
  std::int64_t compact_revision() const { return keys_.compact_revision(); }
  const mvcc::State::Stats& key_stats() const { return keys_.stats(); }
  const mvcc::KeyIndex::Stats& index_stats() const { return keys_.index_stats(); }

  // True if this request id was made by the member `member_id`: its top 16 bits say so.
  // formats.md 5.2.
  static bool proposed_by(std::uint64_t request_id, std::uint64_t member_id) {
    return request_id >> 48 == (member_id & 0xFFFF);
  }

 private:
  using AnswerResult = base::Result<Answer, Errc>;

  // mvcc::Leases
  bool exists(std::int64_t id) const override { return lessor_.contains(id); }
  std::int64_t lease_of(std::string_view key) const override { return lessor_.lease_of(key); }
  void moved(std::string_view key, std::int64_t previous, std::int64_t id) override;

  bool apply_conf_change(const raft::Entry& entry, Life proposed_in);
  void save_conf_state();
  AnswerResult dispatch(const etcdserverpb::InternalRaftRequest& request, bool waiter);
  AnswerResult put(const etcdserverpb::PutRequest& request);
  AnswerResult txn(const etcdserverpb::TxnRequest& request, bool waiter);
  AnswerResult grant(const etcdserverpb::LeaseGrantRequest& request);
  AnswerResult revoke(const etcdserverpb::LeaseRevokeRequest& request);
  AnswerResult checkpoint(const etcdserverpb::LeaseCheckpointRequest& request);
  AnswerResult alarm(const etcdserverpb::AlarmRequest& request);
  // Beyond the quota the write stays, but the proposer is told kNoSpace. formats.md 5.5.
  AnswerResult charge(std::uint64_t cost, AnswerResult answer);

  const Options options_;
  lease::Lessor lessor_;
  mvcc::State keys_;
  membership::Cluster cluster_;
  AlarmSet alarms_;

  bool auth_revision_stored_ = false;
  base::Batch* batch_ = nullptr;  // between begin and finish
  std::uint64_t live_bytes_ = 0;
  BatchResult result_;
  // Until finish_recovery. -1: never compacted, as etcd counts.
  std::int64_t finished_compact_ = -1;
  std::int64_t scheduled_compact_ = -1;
  membership::Cluster::Stored stored_members_, stored_removed_, stored_cluster_;
};

// What a request costs against the quota: 256 + key + value per put (the dearer branch of a txn,
// nested ones counted), 64 for a lease. api.md 7.6.
std::uint64_t quota_cost(const etcdserverpb::PutRequest& request);
std::uint64_t quota_cost(const etcdserverpb::TxnRequest& request);
inline constexpr std::uint64_t kLeaseQuotaCost = 64;

}  // namespace keelson::apply
