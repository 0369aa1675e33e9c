// Node: as the leader. raft.md 7, 8, 10, 11, 13.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/planted.h"
#include "raft/describe.h"
#include "raft/node.h"
#include "raft/wire.h"

namespace keelson::raft {
namespace {

// Reads that wait, for a quorum or for the first commit of the term. Peers can cause them; beyond
// this many they are dropped, and asked again by whoever still wants to know.
constexpr std::size_t kWaitingReadsMax = 4096;

// nullopt: a conf change that does not parse.
std::optional<ConfChangeV2> parse_conf_change(const Entry& entry) {
  if (entry.type == EntryType::kConfChange) {
    const auto change = decode_conf_change(entry.data);
    if (!change) return std::nullopt;
    return as_v2(*change);
  }
  auto change = decode_conf_change_v2(entry.data);
  if (!change) return std::nullopt;
  return *std::move(change);
}

}  // namespace

Result<> Node::step_leader(Leader& leader, Message& message) {
  switch (message.type) {
    case MessageType::kProp:
      return on_proposal(leader, message);
    case MessageType::kReadIndex:
      on_read_index(leader, message);
      return {};
    case MessageType::kBeat:
      broadcast_heartbeat(leader);
      return {};
    case MessageType::kCheckQuorum:
      on_check_quorum(leader);
      return {};
    case MessageType::kForgetLeader:
      return {};
    default:
      break;
  }
  const auto it = leader.progress.find(message.from);
  if (it == leader.progress.end()) {
    trace_.debug("{:x} no progress available for {:x}", id(), message.from);
    return {};
  }
  step_leader_of(leader, it->second, message);
  return {};
}

// About one follower.
void Node::step_leader_of(Leader& leader, Progress& progress, const Message& message) {
  switch (message.type) {
    case MessageType::kAppResp:
      return on_append_response(leader, progress, message);
    case MessageType::kHeartbeatResp:
      return on_heartbeat_response(leader, progress, message);
    case MessageType::kUnreachable:
      return on_unreachable(progress, message.from);
    case MessageType::kSnapStatus:
      return on_snapshot_status(progress, message);
    case MessageType::kTransferLeader:
      return on_transfer_leader(leader, progress, message);
    default:
      return;
  }
}

// --- proposals

Result<> Node::on_proposal(Leader& leader, Message& message) {
  // Removed while leading: it only sees its last entries through.
  if (!configuration_.contains(id())) return base::fail(Errc::kProposalDropped);
  if (leader.transferee != kNone) {
    trace_.debug("{:x} [term {}] transfer leadership to {:x} is in progress; dropping proposal",
                 id(), term_, leader.transferee);
    return base::fail(Errc::kProposalDropped);
  }
  RETURN_IF_ERROR(admit_conf_changes(leader, message.entries));
  if (!append_entries(leader, std::move(message.entries))) {
    return base::fail(Errc::kProposalDropped);
  }
  broadcast_append(leader);
  return {};
}

// Those that may not be now become empty entries: their proposer sees them come by without effect.
Result<> Node::admit_conf_changes(Leader& leader, std::vector<Entry>& entries) {
  for (const Entry& entry : entries) {
    if (entry.type != EntryType::kNormal && !parse_conf_change(entry)) {
      return base::fail(Errc::kMalformed);
    }
  }
  for (std::size_t i = 0; i < entries.size(); i++) {
    if (entries[i].type == EntryType::kNormal) continue;
    const ConfChangeV2 change = *parse_conf_change(entries[i]);
    const std::string refusal = conf_change_refusal(leader, change);
    if (!refusal.empty() && !config_.disable_conf_change_validation) {
      trace_.info("{:x} ignoring conf change {} at config {}: {}", id(), change, configuration_,
                  refusal);
      entries[i] = {};
    } else {
      leader.pending_conf_index = log_.last_index() + i + 1;
    }
  }
  return {};
}

// Why the change may not be proposed now; empty if it may.
std::string Node::conf_change_refusal(const Leader& leader, const ConfChangeV2& change) const {
  if (leader.pending_conf_index > log_.applied()) {
    return fmt::format("possible unapplied conf change at index {} (applied to {})",
                       leader.pending_conf_index, log_.applied());
  }
  const bool joint = configuration_.voters.joint();
  const bool leaving = change.changes.empty();
  if (joint && !leaving) return "must transition out of joint config first";
  if (!joint && leaving) return "not in joint state; refusing empty conf change";
  return {};
}

// False if there is too much uncommitted already.
bool Node::append_entries(Leader& leader, std::vector<Entry> entries) {
  Index index = log_.last_index();
  for (Entry& entry : entries) {
    entry.term = term_;
    entry.index = ++index;
  }
  if (!admit_uncommitted(leader, entries)) {
    trace_.warn(
        "{:x} appending new entries to log would exceed uncommitted entry size limit; dropping "
        "proposal",
        id());
    return false;
  }
  const Index last = log_.append(std::move(entries));
  // It counts itself like any follower: once the entries are durable.
  send({.type = MessageType::kAppResp, .to = id(), .index = last});
  return true;
}

// One proposal is always let in, however large, and so are empty entries, which the core itself
// makes.
bool Node::admit_uncommitted(Leader& leader, const std::vector<Entry>& entries) const {
  const std::uint64_t bytes = payload_size(entries);
  if (config_.max_uncommitted_bytes != 0 && leader.uncommitted_bytes > 0 && bytes > 0 &&
      leader.uncommitted_bytes + bytes > config_.max_uncommitted_bytes) {
    return false;
  }
  leader.uncommitted_bytes += bytes;
  return true;
}

// --- replication

void Node::broadcast_append(Leader& leader) {
  for (auto& [to, progress] : leader.progress) {
    if (to != id()) MAYBE(maybe_send_append(to, progress, IfEmpty::kSend));
  }
}

// Sends what follows progress.next, or a snapshot if that is gone. False if nothing was sent.
bool Node::maybe_send_append(NodeId to, Progress& progress, IfEmpty if_empty) {
  if (progress.paused()) return false;
  const Index previous = progress.next - 1;
  const auto previous_term = log_.term(previous);
  if (!previous_term) return maybe_send_snapshot(to, progress);
  std::vector<Entry> entries;
  // With full inflights only an empty append may go: its answer shows what was lost.
  if (progress.state != ProgressState::kReplicate || !progress.inflights.full()) {
    auto next = log_.entries(progress.next, config_.max_size_per_message);
    if (!next) return maybe_send_snapshot(to, progress);
    entries = *std::move(next);
  }
  if (entries.empty() && if_empty == IfEmpty::kSkip) return false;
  const std::size_t count = entries.size();
  const std::uint64_t bytes = payload_size(entries);
  send({.type = MessageType::kApp,
        .to = to,
        .log_term = *previous_term,
        .index = previous,
        .entries = std::move(entries),
        .commit = log_.committed()});
  progress.sent_entries(count, bytes);
  progress.sent_commit = log_.committed();
  return true;
}

bool Node::maybe_send_snapshot(NodeId to, Progress& progress) {
  if (!progress.recent_active) {
    trace_.debug("ignore sending snapshot to {:x} since it is not recently active", to);
    return false;
  }
  auto snapshot = log_.snapshot();
  if (!snapshot) CHECK(snapshot.error() == Errc::kSnapshotTemporarilyUnavailable);
  // From one behind the log's start the log could not go on: it would be sent for ever.
  if (!snapshot || snapshot->metadata.index + 1 < log_.first_index()) {
    trace_.debug("{:x} failed to send snapshot to {:x} because snapshot is temporarily unavailable",
                 id(), to);
    return false;
  }
  CHECK_MSG(!snapshot->empty(), "need non-empty snapshot");
  const EntryId end{.term = snapshot->metadata.term, .index = snapshot->metadata.index};
  trace_.debug("{:x} [firstindex: {}, commit: {}] sent snapshot[index: {}, term: {}] to {:x} [{}]",
               id(), log_.first_index(), log_.committed(), end.index, end.term, to, progress);
  progress.become_snapshot(end.index);
  trace_.debug("{:x} paused sending replication messages to {:x} [{}]", id(), to, progress);
  send({.type = MessageType::kSnap, .to = to, .snapshot = *std::move(snapshot)});
  return true;
}

void Node::on_append_response(Leader& leader, Progress& progress, const Message& message) {
  // A peer that answers from an older configuration may have been added anew since; its word still
  // counts.
  progress.recent_active = true;
  if (message.reject) {
    on_append_rejected(progress, message);
  } else {
    on_append_accepted(leader, progress, message);
  }
}

void Node::on_append_rejected(Progress& progress, const Message& message) {
  trace_.debug(
      "{:x} received MsgAppResp(rejected, hint: (index {}, term {})) from {:x} for index {}", id(),
      message.reject_hint, message.log_term, message.from, message.index);
  Index hint = message.reject_hint;
  if (message.log_term > 0) {
    // All our entries of higher terms are unknown to it: skip them at once.
    hint = log_.find_conflict_by_term(message.reject_hint, message.log_term).index;
  }
  if (!progress.maybe_decrease(message.index, hint)) return;
  trace_.debug("{:x} decreased progress of {:x} to [{}]", id(), message.from, progress);
  if (progress.state == ProgressState::kReplicate) progress.become_probe();
  MAYBE(maybe_send_append(message.from, progress, IfEmpty::kSend));
}

void Node::on_append_accepted(Leader& leader, Progress& progress, const Message& message) {
  const bool answers_probe =
      progress.match == message.index && progress.state == ProgressState::kProbe;
  if (!progress.maybe_update(message.index) && !answers_probe) return;
  switch (progress.state) {
    case ProgressState::kProbe:
      progress.become_replicate();
      break;
    case ProgressState::kSnapshot:
      // Whatever brought it so far, the log can take it from here.
      if (progress.match + 1 < log_.first_index()) break;
      trace_.debug(
          "{:x} recovered from needing snapshot, resumed sending replication messages to {:x} [{}]",
          id(), message.from, progress);
      progress.become_probe();
      progress.become_replicate();
      break;
    case ProgressState::kReplicate:
      progress.inflights.free_up_to(message.index);
      break;
  }
  const bool to_peer = message.from != id();
  if (maybe_commit(leader)) {
    release_postponed_reads(leader);
    broadcast_append(leader);
  } else if (to_peer && progress.can_bump_commit(log_.committed())) {
    MAYBE(maybe_send_append(message.from, progress, IfEmpty::kSend));
  }
  if (!to_peer) return;
  // Room again: fill it.
  while (maybe_send_append(message.from, progress, IfEmpty::kSkip)) {
  }
  if (message.from == leader.transferee && progress.match == log_.last_index()) {
    trace_.info("{:x} sent MsgTimeoutNow to {:x} after received MsgAppResp", id(), message.from);
    send_timeout_now(message.from);
  }
}

bool Node::maybe_commit(Leader& leader) {
  const Index index =
      committed_index(configuration_.voters, [&leader](NodeId of) -> std::optional<Index> {
        const auto it = leader.progress.find(of);
        if (it == leader.progress.end()) return std::nullopt;
        return it->second.match;
      });
  const Term term = KEELSON_PLANTED(kCommitOfOlderTerm) ? log_.term_or_zero(index) : term_;
  return log_.maybe_commit({.term = term, .index = index});
}

void Node::on_unreachable(Progress& progress, NodeId peer) {
  // What was sent optimistically is probably lost.
  if (progress.state == ProgressState::kReplicate) progress.become_probe();
  trace_.debug("{:x} failed to send message to {:x} because it is unreachable [{}]", id(), peer,
               progress);
}

void Node::on_snapshot_status(Progress& progress, const Message& message) {
  if (progress.state != ProgressState::kSnapshot) return;
  if (message.reject) progress.pending_snapshot = 0;  // it did not arrive: probe where we were
  progress.become_probe();
  trace_.debug("{:x} snapshot {}, resumed sending replication messages to {:x} [{}]", id(),
               message.reject ? "failed" : "succeeded", message.from, progress);
  // Its answer comes when it has taken the snapshot in; or else the next heartbeat's.
  progress.append_paused = true;
}

// --- heartbeats and the quorum

void Node::broadcast_heartbeat(Leader& leader) {
  const std::string context = leader.reads.heartbeat_context();
  for (auto& [to, progress] : leader.progress) {
    if (to == id()) continue;
    // Not beyond what it is known to have: a heartbeat matches no log.
    const Index commit = std::min(progress.match, log_.committed());
    send({.type = MessageType::kHeartbeat, .to = to, .commit = commit, .context = context});
    progress.sent_commit = commit;
  }
}

void Node::on_heartbeat_response(Leader& leader, Progress& progress, const Message& message) {
  progress.recent_active = true;
  progress.append_paused = false;
  if (progress.match < log_.last_index() || progress.state == ProgressState::kProbe) {
    MAYBE(maybe_send_append(message.from, progress, IfEmpty::kSend));
  }
  if (message.context.empty()) return;
  leader.reads.acknowledge(message.from, message.context);
  for (ReadOnly::Read& read : leader.reads.take_confirmed(configuration_.voters)) {
    serve_read(read.request, read.commit);
  }
}

void Node::on_check_quorum(Leader& leader) {
  const auto active =
      vote_result(configuration_.voters, [&leader](NodeId of) -> std::optional<bool> {
        const auto it = leader.progress.find(of);
        return it != leader.progress.end() && it->second.recent_active;
      });
  if (active != VoteResult::kWon) {
    trace_.warn("{:x} stepped down to follower since quorum is not active", id());
    return become_follower(term_, kNone);  // `leader` is gone
  }
  for (auto& [of, progress] : leader.progress) {
    if (of != id()) progress.recent_active = false;
  }
}

// --- reads

// Not even the only voter answers before an entry of its own term is committed: after a restart its
// commit index may be behind what it had acknowledged, for commit indexes alone are not synced.
void Node::on_read_index(Leader& leader, Message& message) {
  if (postponed_reads_.size() + leader.reads.unconfirmed() >= kWaitingReadsMax) return;
  const JointConfig& voters = configuration_.voters;
  const bool alone = voters.is_singleton() && voters.contains(id());
  const bool too_early = !has_committed_in_its_term();
  if (voters.is_singleton() && (too_early || !alone)) {
    // The one place where etcd's raft does otherwise: it answers whenever there is one voter only,
    // be it another node.
    trace_.debug("{:x} does not answer a read for there being one voter only", id());
  }
  if (too_early) {
    postponed_reads_.push_back(std::move(message));
    return;
  }
  if (alone || asker_confirms(message) || config_.read_only == ReadOnlyMode::kLeaseBased ||
      KEELSON_PLANTED(kLeaderTrustsItself)) {
    serve_read(message, log_.committed());
    return;
  }
  leader.reads.add(std::move(message), log_.committed(), id());
  broadcast_heartbeat(leader);
}

// A follower forwards a question to the leader it knows, so when it did, after the read began, it
// had voted in no later term. With us, who have not either to this moment, it may be a quorum: then
// no leader of a later term can have committed anything before the read began, and there is no need
// to ask. For the reads before it this says nothing: the question may be older than they.
bool Node::asker_confirms(const Message& request) const {
  if (!config_.asker_confirms_reads || request.from == kNone || request.from == id()) return false;
  const auto vote = [&](NodeId of) {
    return of == id() || of == request.from ? std::optional(true) : std::nullopt;
  };
  return vote_result(configuration_.voters, vote) == VoteResult::kWon;
}

bool Node::has_committed_in_its_term() const {
  return log_.term_or_zero(log_.committed()) == term_;
}

void Node::serve_read(Message& request, Index index) {
  if (request.from == kNone || request.from == id()) {
    read_states_.push_back(
        {.index = index, .context = std::string(request.entries[0].data.view())});
    return;
  }
  send({.type = MessageType::kReadIndexResp,
        .to = request.from,
        .index = index,
        .entries = std::move(request.entries)});
}

void Node::release_postponed_reads(Leader& leader) {
  if (!has_committed_in_its_term()) return;
  for (Message& message : std::exchange(postponed_reads_, {})) on_read_index(leader, message);
}

// --- transfer

void Node::on_transfer_leader(Leader& leader, Progress& progress, const Message& message) {
  const NodeId to = message.from;
  if (progress.learner) {
    trace_.debug("{:x} is learner. Ignored transferring leadership", id());
    return;
  }
  if (leader.transferee == to) {
    trace_.info(
        "{:x} [term {}] transfer leadership to {:x} is in progress, ignores request to same node "
        "{:x}",
        id(), term_, to, to);
    return;
  }
  if (leader.transferee != kNone) {
    trace_.info("{:x} [term {}] abort previous transferring leadership to {:x}", id(), term_,
                leader.transferee);
    abort_transfer();
  }
  if (to == id()) {
    trace_.debug("{:x} is already leader. Ignored transferring leadership to self", id());
    return;
  }
  trace_.info("{:x} [term {}] starts to transfer leadership to {:x}", id(), term_, to);
  election_elapsed_ = 0;  // it has one election timeout
  leader.transferee = to;
  if (progress.match == log_.last_index()) {
    send_timeout_now(to);
    trace_.info("{:x} sends MsgTimeoutNow to {:x} immediately as {:x} already has up-to-date log",
                id(), to, to);
  } else {
    MAYBE(maybe_send_append(to, progress, IfEmpty::kSend));
  }
}

void Node::send_timeout_now(NodeId to) { send({.type = MessageType::kTimeoutNow, .to = to}); }

void Node::abort_transfer() {
  if (auto* leader = std::get_if<Leader>(&role_)) leader->transferee = kNone;
}

// --- joint configurations

// Asked whenever something was applied, until it has worked; a new leader comes here with its first
// entry.
void Node::maybe_leave_joint() {
  auto* const leader = std::get_if<Leader>(&role_);
  if (leader == nullptr || !configuration_.auto_leave) return;
  if (log_.applied() < leader->pending_conf_index) return;
  const auto proposed = propose_conf_change(ConfChangeV2{});
  if (proposed) {
    trace_.info("initiating automatic transition out of joint configuration {}", configuration_);
  } else {
    trace_.debug("not initiating automatic transition out of joint configuration {}: {}",
                 configuration_, describe(proposed.error()));
  }
}

}  // namespace keelson::raft
