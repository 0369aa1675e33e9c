// What the lanes of one member tell each other. All by value or as immutable shared payload.
//
//   Front --Proposal, ReadIndexRequest, lease questions--> RaftDriver --AppendWork--> LogWriter
//   LogWriter --Persisted--> RaftDriver --ApplyWork--> Applier --Applied--> Front, RaftDriver
//   Applier --batch--> StoreKeeper --Stored--> Applier;  StoreKeeper --synced index--> Applier
//   Applier --SnapshotWork--> LogWriter --SnapshotSaved--> RaftDriver
//   Peers --raft::Message, PeerUnreachable, SnapshotSent--> RaftDriver --raft::Message--> Peers
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "apply/state_machine.h"
#include "base/storage.h"
#include "base/time.h"
#include "lease/lease.h"
#include "member/errc.h"
#include "mvcc/types.h"
#include "raft/types.h"

namespace keelson::member {

// Names an outstanding request of one Front; 0 is none. For a proposal it is the request's id.
using Ticket = std::uint64_t;

// --- to RaftDriver, from Fronts. Bounded: a full channel refuses.

struct Proposal {
  raft::Entry entry;  // type and data
  Ticket ticket = 0;  // told if the core drops it; 0: nobody asks
  std::uint32_t front = 0;
};
// Whoever asked for this proposal has given up: if it still waits for a leader, it is not proposed.
struct Withdraw {
  Ticket ticket = 0;
};
struct ReadIndexRequest {
  std::uint32_t front = 0;
  std::uint64_t context = 0;  // comes back with the index
};
struct RenewLease {
  std::uint32_t front = 0;
  Ticket ticket = 0;
  lease::LeaseId id = 0;
};
struct AskTimeToLive {
  std::uint32_t front = 0;
  Ticket ticket = 0;
  lease::LeaseId id = 0;
};
// When these leases end.
struct AskLeaseEnds {
  std::uint32_t front = 0;
  Ticket ticket = 0;
  std::vector<lease::LeaseId> ids;
};
// How far a member's log has come, which only the leader knows.
struct AskProgress {
  std::uint32_t front = 0;
  Ticket ticket = 0;
  raft::NodeId id = raft::kNone;
};
// Nobody is told; whoever asked looks at who leads.
struct TransferLeader {
  raft::NodeId to = raft::kNone;
};
using FrontRequest = std::variant<Proposal, Withdraw, ReadIndexRequest, RenewLease, AskTimeToLive,
                                  AskLeaseEnds, AskProgress, TransferLeader>;

// --- to RaftDriver, from the other lanes. Answers to what it asked for, so their number is
// bounded.

// So many appends more are durable: their responses may leave.
struct Persisted {
  std::vector<raft::Message> responses;
  std::size_t appends = 0;
};
// Entries were applied.
struct AppliedNotice {
  std::vector<raft::Message> responses;
  std::vector<apply::AppliedConfChange> conf_changes;
  std::vector<apply::LeaseChange> lease_changes;
  raft::Index applied = 0;
  raft::Term new_leader_term = 0;  // a leader's first entry is among them; once in a term
  bool over_quota = false;
  bool membership_changed = false;
  raft::Index undecided = 0;  // no other member may be given the log up to here (Applier P6)
};
// A snapshot of the log is durable; what lies behind it may go.
struct SnapshotSaved {
  raft::Snapshot snapshot;
};
// The volume has less room than the reserve of the store, or of the log: raise NOSPACE.
struct OutOfSpace {};
// Messages to this member were lost on their way.
struct PeerUnreachable {
  raft::NodeId id = raft::kNone;
};
// A snapshot that was sent to this member arrived, or did not.
struct SnapshotSent {
  raft::NodeId id = raft::kNone;
  bool arrived = false;
};
using RaftEvent = std::variant<Persisted, AppliedNotice, SnapshotSaved, OutOfSpace, PeerUnreachable,
                               SnapshotSent>;

// --- to a Front

struct AppliedBatch {
  std::shared_ptr<const mvcc::EventBatch> events;  // nullptr: none, or lost (events_lost)
  bool events_lost = false;                        // the hub's channel was full: catch up
  std::vector<apply::Outcome> outcomes;
};
struct ReadIndexAnswer {
  std::uint64_t context = 0;
  raft::Index index = 0;
};
struct RenewAnswer {
  Ticket ticket = 0;
  std::variant<base::Seconds, Errc> answer;
  bool pending_revoke = false;  // expired: look again once the lease is gone
};
struct TimeToLiveAnswer {
  Ticket ticket = 0;
  bool leading = false;  // else nobody here knows
  bool found = false;
  base::Duration remaining{0};
};
struct LeaseEndsAnswer {
  Ticket ticket = 0;
  std::vector<base::TimePoint> ends;  // in the order asked for, max() for one it does not know;
                                      // none if it does not lead
};
struct ProgressAnswer {
  Ticket ticket = 0;
  bool leads = false;  // else the rest says nothing
  bool known = false;  // raft has it among its members
  raft::Index match = 0;
  raft::Index own_match = 0;  // the leader's
};
struct ProposalRefused {
  Ticket ticket = 0;
  Errc errc = Errc::kProposalDropped;
};
// A leader was newly learned, or lost (0).
struct LeaderNotice {
  raft::NodeId leader = raft::kNone;
  raft::Term term = 0;
};
using FrontMessage = std::variant<AppliedBatch, ReadIndexAnswer, RenewAnswer, TimeToLiveAnswer,
                                  LeaseEndsAnswer, ProgressAnswer, ProposalRefused, LeaderNotice>;

}  // namespace keelson::member
