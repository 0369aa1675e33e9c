#include "raft/node.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "raft/describe.h"
#include "raft/wire.h"

namespace keelson::raft {
namespace {

const Config& checked(const Config& config) {
  const auto problem = config.problem();
  CHECK_MSG(!problem, "{}", *problem);
  return config;
}

Log::Options log_options(const Config& config) {
  return {.max_applying_bytes = config.max_committed_bytes_per_ready != 0
                                    ? config.max_committed_bytes_per_ready
                                    : config.max_size_per_message,
          .apply_unstable = !config.async_storage_writes,
          .trace = config.trace};
}

}  // namespace

std::optional<std::string> Config::problem() const {
  if (id == kNone) return "cannot use none as id";
  if (id == kLocalAppendThread || id == kLocalApplyThread) return "cannot use local target as id";
  if (heartbeat_tick == 0) return "heartbeat tick must be greater than 0";
  if (election_tick <= heartbeat_tick) {
    return "election tick must be greater than heartbeat tick";
  }
  if (max_inflight_messages == 0) return "max inflight messages must be greater than 0";
  if (max_inflight_bytes != 0 && max_inflight_bytes < max_size_per_message) {
    return "max inflight bytes must be >= max message size";
  }
  if (max_committed_bytes_per_ready == 0 && max_size_per_message == 0) {
    return "max committed bytes per ready must be greater than 0";
  }
  if (read_only == ReadOnlyMode::kLeaseBased && !check_quorum) {
    return "CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased";
  }
  return std::nullopt;
}

Node::Node(Config config, const Storage& storage)
    : config_(checked(config)),
      trace_(config.trace),
      random_(config.seed),
      log_(storage, log_options(config)) {
  const Storage::InitialState initial = storage.initial_state();
  restore_configuration_at_start(initial.conf_state);
  if (!initial.hard_state.empty()) {
    CHECK_MSG(log_.committed() <= initial.hard_state.commit &&
                  initial.hard_state.commit <= log_.last_index(),
              "{:x} state.commit {} is out of range [{}, {}]", id(), initial.hard_state.commit,
              log_.committed(), log_.last_index());
    log_.commit_to(initial.hard_state.commit);
    term_ = initial.hard_state.term;
    vote_ = initial.hard_state.vote;
  }
  if (config_.applied > 0) resume_from(config_.applied);
  become_follower(term_, kNone);
  if (trace_.wants(base::TraceLevel::kInfo)) {
    const EntryId last = log_.last_id();
    trace_.info(
        "newRaft {:x} [peers: [{:x}], term: {}, commit: {}, applied: {}, lastindex: {}, lastterm: "
        "{}]",
        id(), fmt::join(configuration_.voters.ids(), ","), term_, log_.committed(), log_.applied(),
        last.index, last.term);
  }
  accepted_soft_state_ = soft_state();
  accepted_hard_state_ = hard_state();
}

void Node::restore_configuration_at_start(const ConfState& state) {
  auto configuration = restore_configuration(state);
  CHECK_MSG(configuration.ok(), "no configuration can be {}", describe(state));
  switch_to({.configuration = *std::move(configuration), .fresh = {}});
}

// What was applied was committed, but a commit index alone is not synced: after a crash the stored
// one may be behind.
void Node::resume_from(Index applied) {
  applied = std::min(applied, log_.last_index());
  log_.commit_to(applied);
  log_.applied_to(applied, 0);
}

void Node::bootstrap(std::span<const Peer> peers) {
  CHECK(!peers.empty());
  CHECK_MSG(log_.last_index() == 0, "can't bootstrap a nonempty Storage");
  // The storage starts with nothing, so the first Ready must bring the whole hard state.
  accepted_hard_state_ = {};
  become_follower(1, kNone);
  std::vector<Entry> entries;
  for (const Peer& peer : peers) {
    const ConfChange change{
        .type = ConfChangeType::kAddNode, .node_id = peer.id, .context = peer.context};
    entries.push_back({.type = EntryType::kConfChange,
                       .term = 1,
                       .index = entries.size() + 1,
                       .data = base::SharedBytes(encode(change))});
  }
  log_.append(std::move(entries));
  log_.commit_to(peers.size());
  // In force at once, so that the node can campaign; the entries come out as well and add nobody
  // anew.
  for (const Peer& peer : peers) {
    const auto state = apply_conf_change(
        ConfChange{.type = ConfChangeType::kAddNode, .node_id = peer.id, .context = {}});
    CHECK(state.ok());
  }
}

void Node::tick() {
  if (std::holds_alternative<Leader>(role_)) {
    tick_leader();
  } else {
    tick_election();
  }
}

// --- calls that are messages to itself

Result<> Node::campaign() {
  Message message{.type = MessageType::kHup, .from = id()};
  return receive(message);
}

Result<> Node::propose(std::vector<Entry> entries) {
  Message message{.type = MessageType::kProp, .from = id(), .entries = std::move(entries)};
  RETURN_IF_ERROR(check(message));
  return receive(message);
}

Result<> Node::propose_conf_change(const ConfChange& change) {
  return propose(
      {Entry{.type = EntryType::kConfChange, .data = base::SharedBytes(encode(change))}});
}

Result<> Node::propose_conf_change(const ConfChangeV2& change) {
  return propose(
      {Entry{.type = EntryType::kConfChangeV2, .data = base::SharedBytes(encode(change))}});
}

void Node::read_index(std::string context) {
  Message message{.type = MessageType::kReadIndex};
  message.entries.push_back({.data = base::SharedBytes(std::move(context))});
  MAYBE(receive(message).ok());
}

void Node::transfer_leader(NodeId transferee) {
  Message message{.type = MessageType::kTransferLeader, .from = transferee};
  MAYBE(receive(message).ok());
}

void Node::forget_leader() {
  Message message{.type = MessageType::kForgetLeader};
  MAYBE(receive(message).ok());
}

void Node::report_unreachable(NodeId peer) {
  Message message{.type = MessageType::kUnreachable, .from = peer};
  MAYBE(receive(message).ok());
}

void Node::report_snapshot(NodeId peer, SnapshotOutcome outcome) {
  Message message{.type = MessageType::kSnapStatus,
                  .from = peer,
                  .reject = outcome == SnapshotOutcome::kFailed};
  MAYBE(receive(message).ok());
}

// --- ready

bool Node::hard_state_changed() const {
  const HardState now = hard_state();
  return !now.empty() && now != accepted_hard_state_;
}

bool Node::has_ready() const {
  return soft_state() != accepted_soft_state_ || hard_state_changed() ||
         log_.next_unstable_snapshot() != nullptr || !messages_.empty() ||
         !messages_after_append_.empty() || !log_.next_unstable().empty() ||
         log_.has_next_committed() || !read_states_.empty();
}

Ready Node::take_ready() {
  Ready ready;
  if (const SoftState now = soft_state(); now != accepted_soft_state_) {
    ready.soft_state = accepted_soft_state_ = now;
  }
  ready.read_states = std::exchange(read_states_, {});
  ready.messages = std::exchange(messages_, {});
  add_append_job(ready);
  if (auto entries = log_.next_committed(); !entries.empty()) {
    log_.accept_applying(entries.back().index, encoded_size(entries));
    ready.apply = ApplyJob{.node = id(), .entries = std::move(entries)};
  }
  return ready;
}

void Node::add_append_job(Ready& ready) {
  const auto entries = log_.next_unstable();
  const Snapshot* const snapshot = log_.next_unstable_snapshot();
  const bool changed = hard_state_changed();
  if (entries.empty() && snapshot == nullptr && !changed && messages_after_append_.empty()) return;
  const HardState now = hard_state();
  AppendJob job;
  job.must_sync = !entries.empty() || now.term != accepted_hard_state_.term ||
                  now.vote != accepted_hard_state_.vote;
  if (changed) job.hard_state = accepted_hard_state_ = now;
  job.entries.assign(entries.begin(), entries.end());
  if (snapshot != nullptr) job.snapshot = *snapshot;
  job.responses = std::exchange(messages_after_append_, {});
  if (log_.has_unstable_entries() || job.snapshot) {
    job.responses.push_back(storage_append_response(job.snapshot));
  }
  log_.accept_unstable();
  ready.append = std::move(job);
}

// Confirms the whole log up to here, not just this job's entries: if an earlier confirmation was
// refused because the term has moved on since, this one stands in for it. For the same reason it
// carries the current term: one from an older term may speak of entries that were overwritten and
// came back (ABA).
Message Node::storage_append_response(const std::optional<Snapshot>& snapshot) const {
  Message message{.type = MessageType::kStorageAppendResp,
                  .to = id(),
                  .from = kLocalAppendThread,
                  .term = term_,
                  .snapshot = snapshot};
  if (log_.has_unstable_entries()) {
    const EntryId last = log_.last_id();
    message.index = last.index;
    message.log_term = last.term;
  }
  return message;
}

// Fills in sender and term, and sorts by when it may leave.
void Node::send(Message message) {
  if (message.from == kNone) message.from = id();
  switch (message.type) {
    case MessageType::kVote:
    case MessageType::kVoteResp:
    case MessageType::kPreVote:
    case MessageType::kPreVoteResp:
      break;  // of the term they are about, which a pre-vote has not entered
    case MessageType::kProp:
    case MessageType::kReadIndex:
      break;  // forwarded as if they had been made there
    default:
      CHECK_EQ(message.term, Term{0});
      message.term = term_;
  }
  switch (message.type) {
    case MessageType::kAppResp:
    case MessageType::kVoteResp:
    case MessageType::kPreVoteResp:
      // Promises: the log or vote behind them must be durable first (N2).
      messages_after_append_.push_back(std::move(message));
      return;
    default:
      CHECK(message.to != id());
      messages_.push_back(std::move(message));
  }
}

// --- configuration

base::Result<ConfState, ConfChangeErrc> Node::apply_conf_change(const ConfChange& change) {
  return apply_conf_change(as_v2(change));
}

base::Result<ConfState, ConfChangeErrc> Node::apply_conf_change(const ConfChangeV2& change) {
  ASSIGN_OR_RETURN(auto next, change_configuration(configuration_, change));
  switch_to(std::move(next));
  return configuration_.conf_state();
}

void Node::switch_to(Reconfiguration change) {
  auto* const leader = std::get_if<Leader>(&role_);
  if (leader != nullptr) {
    follow(change, log_.last_index(), {config_.max_inflight_messages, config_.max_inflight_bytes},
           leader->progress);
  }
  configuration_ = std::move(change.configuration);
  trace_.info("{:x} switched to configuration {}", id(), configuration_);
  if (leader == nullptr) return;
  if (!configuration_.voters.contains(id())) {
    // Removed or demoted. By default it leads on until somebody else does: stepping down now could
    // leave the last entries of this term without a leader who knows that they are committed.
    if (config_.step_down_on_removal) become_follower(term_, kNone);
    return;
  }
  // The new quorum may be smaller, and a new follower wants its first append.
  if (maybe_commit(*leader)) {
    release_postponed_reads(*leader);
    broadcast_append(*leader);
  } else {
    for (auto& [to, progress] : leader->progress) {
      if (to != id()) MAYBE(maybe_send_append(to, progress, IfEmpty::kSkip));
    }
  }
  if (leader->transferee != kNone && !configuration_.voters.contains(leader->transferee)) {
    abort_transfer();
  }
}

bool Node::promotable() const {
  return configuration_.voters.contains(id()) && !log_.has_unstable_snapshot();
}

// --- looks

NodeId Node::leader() const {
  if (const auto* follower = std::get_if<Follower>(&role_)) return follower->leader;
  return std::holds_alternative<Leader>(role_) ? id() : kNone;
}

Role Node::role() const {
  if (std::holds_alternative<Follower>(role_)) return Role::kFollower;
  if (std::holds_alternative<Leader>(role_)) return Role::kLeader;
  return std::get<Candidate>(role_).pre_vote ? Role::kPreCandidate : Role::kCandidate;
}

const ProgressMap* Node::progress() const {
  const auto* leader = std::get_if<Leader>(&role_);
  return leader == nullptr ? nullptr : &leader->progress;
}

Status Node::status() const {
  Status status{.id = id(),
                .hard_state = hard_state(),
                .soft_state = soft_state(),
                .applied = log_.applied(),
                .first_index = log_.first_index(),
                .last_index = log_.last_index(),
                .learner = configuration_.learners.contains(id()),
                .configuration = configuration_};
  if (const auto* leader = std::get_if<Leader>(&role_)) {
    status.transferee = leader->transferee;
    status.progress = leader->progress;
  }
  return status;
}

}  // namespace keelson::raft
