// Node: as a follower. raft.md 9, 10.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/planted.h"
#include "raft/describe.h"
#include "raft/node.h"
#include "raft/wire.h"

namespace keelson::raft {

Result<> Node::step_follower(Message& message) {
  switch (message.type) {
    case MessageType::kProp:
      return forward_proposal(message);
    case MessageType::kApp:
      heard_from_leader(message.from);
      on_append(message);
      return {};
    case MessageType::kHeartbeat:
      heard_from_leader(message.from);
      on_heartbeat(message);
      return {};
    case MessageType::kSnap:
      heard_from_leader(message.from);
      on_snapshot(message);
      return {};
    case MessageType::kTransferLeader:
      forward_to_leader(message, "leader transfer msg");
      return {};
    case MessageType::kReadIndex:
      forward_to_leader(message, "index reading msg");
      return {};
    case MessageType::kReadIndexResp:
      on_read_index_response(message);
      return {};
    case MessageType::kForgetLeader:
      on_forget_leader();
      return {};
    case MessageType::kTimeoutNow:
      on_timeout_now(message);
      return {};
    default:
      return {};
  }
}

void Node::heard_from_leader(NodeId leader) {
  election_elapsed_ = 0;
  std::get<Follower>(role_).leader = leader;
}

// --- what is for the leader

// What was asked here, and what another follower forwarded to us: it is some leadership behind. It
// cannot go in circles: each forwards to a leader of its own term, whom only one of a later term
// can have made a follower. `from` stays that of who was asked, so that an answer finds it.
Result<> Node::forward_proposal(Message& message) {
  if (leader() == kNone) {
    trace_.info("{:x} no leader at term {}; dropping proposal", id(), term_);
    return base::fail(Errc::kProposalDropped);
  }
  if (config_.disable_proposal_forwarding) {
    trace_.info("{:x} not forwarding to leader {:x} at term {}; dropping proposal", id(), leader(),
                term_);
    return base::fail(Errc::kProposalDropped);
  }
  message.to = leader();
  forward_in_parts(std::move(message));
  return {};
}

// A turn's proposals may be many: no message is larger than an append would be.
void Node::forward_in_parts(Message proposal) {
  std::vector<Entry> entries = std::exchange(proposal.entries, {});
  std::uint64_t bytes = 0;
  for (Entry& entry : entries) {
    const std::uint64_t size = encoded_size(entry);
    if (!proposal.entries.empty() && bytes + size > config_.max_size_per_message) {
      send(proposal);
      proposal.entries.clear();
      bytes = 0;
    }
    bytes += size;
    proposal.entries.push_back(std::move(entry));
  }
  send(std::move(proposal));
}

void Node::forward_to_leader(Message& message, std::string_view kind) {
  if (leader() == kNone) {
    trace_.info("{:x} no leader at term {}; dropping {}", id(), term_, kind);
    return;
  }
  // A transfer that has travelled carries a term: who asked for it meant the leader of that term.
  if (message.type == MessageType::kTransferLeader && message.term != 0) return;
  message.to = leader();
  send(std::move(message));
}

void Node::on_read_index_response(Message& message) {
  if (message.entries.size() != 1) {
    trace_.error("{:x} invalid format of MsgReadIndexResp from {:x}, entries count: {}", id(),
                 message.from, message.entries.size());
    return;
  }
  read_states_.push_back(
      {.index = message.index, .context = std::string(message.entries[0].data.view())});
}

// --- what the leader says

void Node::on_append(Message& message) {
  const EntryId previous{.term = message.log_term, .index = message.index};
  if (previous.index < log_.committed()) {
    // Old: everything up to the commit index is known to agree.
    send({.type = MessageType::kAppResp, .to = message.from, .index = log_.committed()});
    return;
  }
  if (const auto last = log_.maybe_append(previous, std::move(message.entries), message.commit)) {
    send({.type = MessageType::kAppResp, .to = message.from, .index = *last});
    return;
  }
  trace_.debug("{:x} [logterm: {}, index: {}] rejected MsgApp [logterm: {}, index: {}] from {:x}",
               id(), log_.term_or_zero(message.index), message.index, message.log_term,
               message.index, message.from);
  // Where the logs may agree at best: nothing above has a term that the leader's entry allows. The
  // leader does the same from its side, so that a whole term is skipped in one round.
  const EntryId hint =
      log_.find_conflict_by_term(std::min(message.index, log_.last_index()), message.log_term);
  send({.type = MessageType::kAppResp,
        .to = message.from,
        .log_term = hint.term,
        .index = message.index,
        .reject = true,
        .reject_hint = hint.index});
}

void Node::on_heartbeat(const Message& message) {
  log_.commit_to(message.commit);
  send({.type = MessageType::kHeartbeatResp, .to = message.from, .context = message.context});
}

void Node::on_snapshot(const Message& message) {
  // None is an empty one, and of no use.
  const Snapshot snapshot = message.snapshot.value_or(Snapshot());
  const SnapshotMetadata& metadata = snapshot.metadata;
  const bool restored = restore(snapshot);
  trace_.info("{:x} [commit: {}] {} snapshot [index: {}, term: {}]", id(), log_.committed(),
              restored ? "restored" : "ignored", metadata.index, metadata.term);
  send({.type = MessageType::kAppResp,
        .to = message.from,
        .index = restored ? log_.last_index() : log_.committed()});
}

// False if the log needs it not.
bool Node::restore(const Snapshot& snapshot) {
  const SnapshotMetadata& metadata = snapshot.metadata;
  const bool is_late = metadata.index <= log_.committed();
  if (is_late && !KEELSON_PLANTED(kSnapshotOverNewer)) return false;
  auto configuration = restore_configuration(metadata.conf_state);
  CHECK(configuration.ok());  // check() has refused it otherwise
  if (!configuration->contains(id())) {
    trace_.warn(
        "{:x} attempted to restore snapshot but it is not in the ConfState {}; should never happen",
        id(), metadata.conf_state);
    return false;
  }
  const EntryId end{.term = metadata.term, .index = metadata.index};
  if (log_.matches(end) && !is_late) {
    if (trace_.wants(base::TraceLevel::kInfo)) {
      const EntryId last = log_.last_id();
      trace_.info(
          "{:x} [commit: {}, lastindex: {}, lastterm: {}] fast-forwarded commit to snapshot "
          "[index: "
          "{}, term: {}]",
          id(), log_.committed(), last.index, last.term, end.index, end.term);
    }
    log_.commit_to(end.index);
    return false;
  }
  trace_.info("log [{}] starts to restore snapshot [index: {}, term: {}]", log_, end.index,
              end.term);
  log_.restore(snapshot);
  switch_to({.configuration = *std::move(configuration), .fresh = {}});
  trace_.info(
      "{:x} [commit: {}, lastindex: {}, lastterm: {}] restored snapshot [index: {}, term: {}]",
      id(), log_.committed(), end.index, end.term, end.index, end.term);
  return true;
}

void Node::on_forget_leader() {
  if (config_.read_only == ReadOnlyMode::kLeaseBased) {
    // The leader serves reads because we would not vote against it.
    trace_.error("ignoring MsgForgetLeader due to ReadOnlyLeaseBased");
    return;
  }
  auto& follower = std::get<Follower>(role_);
  if (follower.leader == kNone) return;
  trace_.info("{:x} forgetting leader {:x} at term {}", id(), follower.leader, term_);
  follower.leader = kNone;
}

void Node::on_timeout_now(const Message& message) {
  trace_.info(
      "{:x} [term {}] received MsgTimeoutNow from {:x} and starts an election to get leadership.",
      id(), term_, message.from);
  // The leader wants to go, so nobody needs to be asked whether it is gone.
  start_election(Campaign::kTransfer);
}

}  // namespace keelson::raft
