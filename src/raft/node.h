// Node: one member's part in the agreement on a log (Raft, with etcd's extensions). raft.md is its
// contract.
//
// Input goes in by calls (ticks, messages, proposals), duties come out as Ready (ready.h); there is
// no other effect, and chance comes from Config::seed alone. After any call: while has_ready(),
// take_ready() and see to it.
//
//             tick: timeout                      quorum of votes
//   Follower ---------------> PreCandidate/Candidate ---------> Leader
//      ^  ^                            |                          |
//      |  +--- lost, or a leader spoke-+                          |
//      +------ higher term, no quorum, removed -------------------+
//
// Invariants (invariants.h checks those of them that show)
//   N1  term, commit and applied never go back; applied <= applying <= commit <= last index
//   N2  at most one vote per term, durable before it is told
//   N3  a leader never changes its own log, only appends; it commits by counting only entries of
//       its term
//   N4  a configuration is in force from when its entry is applied; one at a time is under way
//   N5  what a role needs dies with the role: votes with the candidacy; progress, transfer, and
//       reads that a quorum is to confirm with the leadership
// Time is ticks. Lives in one lane (the raft lane); `storage` outlives it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "base/random.h"
#include "base/trace.h"
#include "raft/confchange/confchange.h"
#include "raft/errc.h"
#include "raft/log.h"
#include "raft/ready.h"
#include "raft/roles.h"
#include "raft/storage.h"
#include "raft/tracer.h"
#include "raft/tracker/progress.h"
#include "raft/types.h"

namespace keelson::raft {

enum class ReadOnlyMode : std::uint8_t {
  kSafe,        // a quorum confirms the leader for every batch of reads
  kLeaseBased,  // trusts clocks; needs check_quorum
};

struct Config {
  NodeId id = kNone;
  std::uint32_t election_tick = 10;  // ticks without a leader until an election, times 1 to 2
  std::uint32_t heartbeat_tick = 1;  // < election_tick
  std::uint64_t max_size_per_message = 1 << 20;
  std::uint32_t max_inflight_messages = 512;
  std::uint64_t max_inflight_bytes = 0;     // 0: unlimited
  std::uint64_t max_uncommitted_bytes = 0;  // 0: unlimited; beyond it proposals are dropped
  std::uint64_t max_committed_bytes_per_ready =
      0;                      // 0: as max_size_per_message; also what may be applying
  bool check_quorum = false;  // a leader that hears no quorum steps down
  bool pre_vote = false;      // ask before raising the term
  ReadOnlyMode read_only = ReadOnlyMode::kSafe;
  // A follower's question whether this node leads counts as its own yes: where the two are a
  // quorum, as of three voters, the answer follows at once, without a round of heartbeats.
  bool asker_confirms_reads = false;
  bool disable_proposal_forwarding = false;     // a follower drops proposals
  bool disable_conf_change_validation = false;  // takes any conf change into the log
  bool step_down_on_removal = false;
  bool async_storage_writes = true;
  Index applied = 0;                 // what the state machine holds; 0: the snapshot's index
  std::uint64_t seed = 0;            // differs from node to node
  base::TraceSink* trace = nullptr;  // outlives the node

  // Why no node can run with it; nullopt if one can.
  std::optional<std::string> problem() const;
};

// A member of a new cluster, for bootstrap(); the context goes into its conf change.
struct Peer {
  NodeId id = kNone;
  std::string context;
};

// One look at a node, for status pages, metrics and tests.
struct Status {
  NodeId id = kNone;
  HardState hard_state;
  SoftState soft_state;
  Index applied = 0;
  Index first_index = 0;
  Index last_index = 0;
  NodeId transferee = kNone;  // leadership is going there
  bool learner = false;
  Configuration configuration;
  ProgressMap progress;  // empty unless it leads
};

class Node {
 public:
  // Starts as a follower from what `storage` says. CHECKs config.problem() and that the storage
  // agrees with itself (commit within the log, a configuration that can be).
  Node(Config config, const Storage& storage);
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  // Founds a cluster: conf changes that add `peers` (at least one), committed at term 1, come out
  // as if they had been agreed on. Only on an empty storage and before anything else.
  void bootstrap(std::span<const Peer> peers);

  // One logical tick has passed.
  void tick();
  // A peer, or a storage job that is done, spoke. The transport vouches for a peer's `from`, but of
  // what it passes on for others (ready.h, D8). kLocalMessage, kUnknownPeer, kMalformed: nothing
  // was done, and nothing need be; also a response to self may find that self was removed.
  // kProposalDropped: as propose().
  Result<> step(Message message);
  // Begins an election, if this node may.
  Result<> campaign();
  // Entries with type and data only; at least one. A follower forwards them to its leader, in
  // messages of max_size_per_message. kProposalDropped: no leader known, a transfer going on, or
  // too much uncommitted. Success promises nothing: it may be lost with its leader.
  Result<> propose(std::vector<Entry> entries);
  // A change that validation refuses becomes an empty entry (raft.md 7).
  Result<> propose_conf_change(const ConfChange& change);
  Result<> propose_conf_change(const ConfChangeV2& change);
  // A committed conf change was applied: puts it into force and returns the configuration to be
  // kept with snapshots. Applied without effect, it is told here all the same, with node id 0.
  base::Result<ConfState, ConfChangeErrc> apply_conf_change(const ConfChange& change);
  base::Result<ConfState, ConfChangeErrc> apply_conf_change(const ConfChangeV2& change);
  // Asks for a ReadState with this context; a follower asks its leader. It may never come (no
  // leader, a leader lost) and may come twice: ask again, with the same context.
  void read_index(std::string context);
  // Hands leadership to `transferee`, asked of any node. It may fail silently within an election
  // timeout.
  void transfer_leader(NodeId transferee);
  // A follower forgets whom it follows, so that it may vote at once.
  void forget_leader();
  // Of the transport: a message to `peer` was lost; a snapshot to it arrived or failed (ready.h, D6
  // and D7). Of peers unknown, or when not leading: nothing.
  void report_unreachable(NodeId peer);
  enum class SnapshotOutcome : std::uint8_t { kDelivered, kFailed };
  void report_snapshot(NodeId peer, SnapshotOutcome outcome);

  bool has_ready() const;
  // Everything that has gathered; counts as accepted (the rules in ready.h are now owed).
  [[nodiscard]] Ready take_ready();

  NodeId id() const { return config_.id; }
  const Config& config() const { return config_; }
  HardState hard_state() const { return {term_, vote_, log_.committed()}; }
  SoftState soft_state() const { return {leader(), role()}; }
  Term term() const { return term_; }
  NodeId leader() const;
  Role role() const;
  const Log& log() const { return log_; }
  const Configuration& configuration() const { return configuration_; }
  Status status() const;  // copies the progress of every peer
  // Of every peer, its own included; nullptr unless it leads. Good until the next call.
  const ProgressMap* progress() const;
  std::uint32_t election_timeout_ticks() const { return randomized_timeout_; }
  // Until the next change of term or role; for scripts that must say who campaigns first.
  void set_election_timeout_ticks(std::uint32_t ticks) { randomized_timeout_ = ticks; }

 private:
  enum class Campaign : std::uint8_t { kPreElection, kElection, kTransfer };
  enum class IfEmpty : bool { kSkip, kSend };

  // node.cc: start, ready, configuration
  void restore_configuration_at_start(const ConfState& state);
  void resume_from(Index applied);
  void add_append_job(Ready& ready);
  Message storage_append_response(const std::optional<Snapshot>& snapshot) const;
  bool hard_state_changed() const;
  void switch_to(Reconfiguration change);
  bool promotable() const;
  void send(Message message);

  // node_step.cc: what a message means before anybody's role is asked
  Result<> check(const Message& message) const;
  Result<> receive(Message& message);
  bool pass_higher_term(const Message& message);
  void answer_lower_term(const Message& message);
  void on_storage_append_response(const Message& message);
  void on_storage_apply_response(const Message& message);
  void snapshot_is_durable(const Snapshot& snapshot);
  void on_vote_request(const Message& message);

  // node_election.cc: terms and roles
  void reset(Term term);
  void become_follower(Term term, NodeId leader);
  void become_candidate();
  void become_pre_candidate();
  void become_leader();
  void tick_election();
  void tick_leader();
  void start_election(Campaign kind);
  bool has_unapplied_conf_changes() const;
  void campaign(Campaign kind);
  void request_vote(NodeId voter, Campaign kind);
  Result<> step_candidate(Message& message);
  void on_vote_response(Candidate& candidate, const Message& message);

  // node_follower.cc
  Result<> step_follower(Message& message);
  void heard_from_leader(NodeId leader);
  Result<> forward_proposal(Message& message);
  void forward_in_parts(Message proposal);
  void forward_to_leader(Message& message, std::string_view kind);
  void on_append(Message& message);
  void on_heartbeat(const Message& message);
  void on_snapshot(const Message& message);
  bool restore(const Snapshot& snapshot);
  void on_forget_leader();
  void on_timeout_now(const Message& message);
  void on_read_index_response(Message& message);

  // node_leader.cc
  Result<> step_leader(Leader& leader, Message& message);
  void step_leader_of(Leader& leader, Progress& progress, const Message& message);
  Result<> on_proposal(Leader& leader, Message& message);
  Result<> admit_conf_changes(Leader& leader, std::vector<Entry>& entries);
  std::string conf_change_refusal(const Leader& leader, const ConfChangeV2& change) const;
  bool append_entries(Leader& leader, std::vector<Entry> entries);
  bool admit_uncommitted(Leader& leader, const std::vector<Entry>& entries) const;
  void on_append_response(Leader& leader, Progress& progress, const Message& message);
  void on_append_rejected(Progress& progress, const Message& message);
  void on_append_accepted(Leader& leader, Progress& progress, const Message& message);
  void on_heartbeat_response(Leader& leader, Progress& progress, const Message& message);
  void on_unreachable(Progress& progress, NodeId peer);
  void on_snapshot_status(Progress& progress, const Message& message);
  void on_transfer_leader(Leader& leader, Progress& progress, const Message& message);
  void abort_transfer();
  void on_check_quorum(Leader& leader);
  void on_read_index(Leader& leader, Message& message);
  bool asker_confirms(const Message& request) const;
  bool has_committed_in_its_term() const;
  void serve_read(Message& request, Index index);
  void release_postponed_reads(Leader& leader);
  bool maybe_commit(Leader& leader);
  void broadcast_append(Leader& leader);
  void broadcast_heartbeat(Leader& leader);
  bool maybe_send_append(NodeId to, Progress& progress, IfEmpty if_empty);
  bool maybe_send_snapshot(NodeId to, Progress& progress);
  void send_timeout_now(NodeId to);
  void maybe_leave_joint();
  void applied_to(Index index, std::uint64_t bytes);

  const Config config_;
  const Tracer trace_;
  base::Random random_;
  Log log_;
  Configuration configuration_;
  Term term_ = 0;
  NodeId vote_ = kNone;
  std::variant<Follower, Candidate, Leader> role_;
  std::uint32_t election_elapsed_ =
      0;  // ticks; a leader counts them for quorum checks and transfers
  std::uint32_t randomized_timeout_ = 0;

  // Asked of a leader that had committed no entry of its own term yet, and bounded. They outlive
  // the leadership, as in etcd's raft, and are answered in the next one: that is later than they
  // need.
  std::vector<Message> postponed_reads_;

  // What gathers for the next Ready, and what the last one said.
  std::vector<ReadState> read_states_;
  std::vector<Message> messages_;               // may leave at any time
  std::vector<Message> messages_after_append_;  // only once what precedes them is durable
  SoftState accepted_soft_state_;
  HardState accepted_hard_state_;
};

}  // namespace keelson::raft
