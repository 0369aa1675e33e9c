// RaftDriver: the jobs of the raft lane. Feeds the consensus core with ticks, proposals and what
// storage, apply and the other members report, and hands out its duties: appends to the log lane,
// committed entries to the apply lane, messages to the others. It also keeps what only the leader
// counts: the ends of leases.
//
//   requests --propose--> Node --AppendWork--> LogWriter --Persisted--> Node --ApplyWork--> Applier
//   --AppliedNotice--> Node
//   others' messages --> Node --messages--> others; those that promise something only once what
//   they promise is durable (ready.h)
//
// Invariants
//   D1  A proposal is handed to the core once, or refused by a ProposalRefused, or dropped in
//   silence: then its
//       Front's timeout answers.
//   D2  Only this lane touches the node, its storage and the deadlines.
//   D3  The entries in memory are bounded in number and bytes behind what is applied.
//   D4  After a standstill of more than three ticks no lease is renewed or ended before a quorum
//       has confirmed that this member still leads.
//   D5  What promises nothing that is not durable already leaves without the log lane, and never
//       before what earlier appends promise.
//   D6  No lease is ended behind an entry, not applied here, that grants or revokes it.
//
// A single voter campaigns as soon as its log is loaded and applied: there is nobody to wait for.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/containers.h"
#include "env/channel.h"
#include "env/lane.h"
#include "lease/deadline_queue.h"
#include "member/applier.h"
#include "member/boot.h"
#include "member/log_writer.h"
#include "member/request_ids.h"
#include "member/shared.h"
#include "raft/node.h"
#include "raft/storage.h"

namespace keelson::member {

class RaftDriver {
 public:
  struct Start {
    raft::SnapshotMetadata snapshot;
    raft::HardState hard_state;
    std::vector<raft::Entry> entries;
    raft::Index applied = 0;
    raft::Index undecided = 0;  // up to here nobody is given the log (Applier P6)
    std::uint64_t seed = 0;
  };
  RaftDriver(env::Lane& lane, Shared& shared, Start start);
  RaftDriver(const RaftDriver&) = delete;
  RaftDriver& operator=(const RaftDriver&) = delete;

  // Wiring, before start. `peers` may be nullptr where there never is anybody else.
  void connect(env::Channel<AppendWork>* log, env::Channel<ApplyWork>* apply, Peers* peers);

  // What the channels of Shared deliver; on the raft lane.
  void on_requests(std::vector<FrontRequest> requests);
  void on_events(std::vector<RaftEvent> events);
  // What the others say.
  void on_messages(std::vector<raft::Message> messages);

  // Begins to tick. On the raft lane, once.
  void start();
  // Nothing is proposed or answered afterwards. On the raft lane.
  void stop();

  // What of the log is in memory. On the raft lane.
  const raft::MemoryStorage& log() const { return storage_; }

 private:
  void on(Proposal request);
  void on(const Withdraw& request);
  void on(const ReadIndexRequest& request);
  void on(const RenewLease& request);
  void on(const AskTimeToLive& request);
  void on(const AskLeaseEnds& request);
  void on(const AskProgress& request);
  void on(const TransferLeader& request);
  void on(Persisted event);
  void on(AppliedNotice event);
  void on(SnapshotSaved event);
  void on(OutOfSpace event);
  void on(PeerUnreachable event);
  void on(SnapshotSent event);

  void tick();
  void hurry_first_election(int polls_left);
  void pump();
  void send_gathered();
  void send_snapshot(raft::Message message);
  std::optional<raft::Index> held_for_snapshots();
  void hand_out(raft::Ready ready);
  void tell(const raft::SoftState& state);
  void append(raft::AppendJob job);
  void push_append(raft::AppendJob job);  // with the state that is unsaved
  void deliver(std::vector<raft::Message> messages);
  // False if they were not taken: those of clients are refused then, others lost.
  bool flush_proposals();
  void look_around();
  void follow_members();
  std::string read_context(const ReadIndexRequest& request) const;
  void answer_read(const raft::ReadState& read);
  void maybe_campaign();
  std::size_t log_bytes_max() const;
  void trim_log();

  bool leads() const { return node_.role() == raft::Role::kLeader; }
  // After a standstill this member may believe that it leads when another does.
  void note_standstill();
  void ask_whether_leading();
  void end_doubt();
  void answer_renewal(const RenewLease& request);
  void reset_checkpoint(const RenewLease& request);
  void answer_resets(lease::LeaseId id);
  void promote_leases();
  void promoted(raft::Term term, lease::DeadlineQueue& queue);
  void demote_leases();
  void note_lease_changes(const std::vector<apply::LeaseChange>& changes);
  void scan_leases();
  bool end_leases();
  std::set<lease::LeaseId> leases_in_flight() const;
  std::size_t expiries_per_scan() const;
  void propose_checkpoints(const std::vector<lease::DeadlineQueue::DueCheckpoint>& due);
  // A request of this member's own, for which nobody waits.
  void propose_own(etcdserverpb::InternalRaftRequest request);
  void raise_no_space();

  env::Lane& lane_;
  Shared& shared_;
  raft::MemoryStorage storage_;
  raft::Node node_;
  env::Channel<AppendWork>* log_ = nullptr;
  env::Channel<ApplyWork>* apply_ = nullptr;
  Peers* peers_ = nullptr;
  RequestIds ids_;
  // Makes what this life asks of a leader unlike what any other member or life asks.
  const std::uint64_t life_;

  std::vector<Proposal> gathered_;       // of this turn
  std::vector<raft::Message> outgoing_;  // of this turn, to others
  // Snapshots on their way, and those that have arrived lately: whoever gets one goes on from
  // there, so the log is kept from where it begins.
  struct Sending {
    raft::Index index = 0;
    std::optional<base::TimePoint> until;  // it arrived
  };
  base::OrderedMap<raft::NodeId, Sending> sending_;
  std::deque<Proposal> without_leader_;  // wait for one, as etcd's callers do
  raft::HardState unsaved_state_;        // only commit moved: goes with the next append or tick
  std::size_t appends_under_way_ = 0;    // the log lane has them, and has not said Persisted
  std::vector<raft::Message> held_;      // promise what those make durable, and nothing else
  raft::Index applied_ = 0;
  raft::Index undecided_;  // up to here nobody is given the log (Applier P6)
  bool only_voter_ = false;
  bool alone_ = false;  // ... and no learner either

  base::TimePoint ticked_at_;
  // Set from a standstill until a quorum has confirmed that this member leads in that term.
  std::optional<raft::Term> doubted_term_;
  std::uint64_t doubts_ = 0;
  base::TimePoint doubted_at_;
  std::vector<RenewLease> doubted_renewals_;  // bounded by what the Fronts let wait

  lease::DeadlineQueue deadlines_;
  raft::Index promoted_at_ = 0;  // lease changes up to here were in the promote
  // A worker fills the queue of a term that this member leads; what was applied since its View.
  struct Promoting {
    raft::Term term = 0;
    raft::Index view_index = 0;
    std::vector<apply::LeaseChange> changes;
  };
  std::optional<Promoting> promoting_;
  // Renewals that wait for a checkpoint of 0 to be applied.
  base::OrderedMap<lease::LeaseId, std::vector<RenewLease>> resets_;
  ViewCache views_;
  bool stopped_ = false;
};

}  // namespace keelson::member
