// Node: what a message means before anybody's role is asked. raft.md 5.
#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/planted.h"
#include "raft/describe.h"
#include "raft/node.h"

namespace keelson::raft {
namespace {

constexpr std::string_view kTransferContext = "CampaignTransfer";

bool is_local_thread(NodeId id) { return id == kLocalAppendThread || id == kLocalApplyThread; }

// Only this node may say them to itself.
bool is_local(MessageType type) {
  switch (type) {
    case MessageType::kHup:
    case MessageType::kBeat:
    case MessageType::kUnreachable:
    case MessageType::kSnapStatus:
    case MessageType::kCheckQuorum:
    case MessageType::kStorageAppend:
    case MessageType::kStorageAppendResp:
    case MessageType::kStorageApply:
    case MessageType::kStorageApplyResp:
      return true;
    default:
      return false;
  }
}

bool is_response(MessageType type) {
  switch (type) {
    case MessageType::kAppResp:
    case MessageType::kVoteResp:
    case MessageType::kHeartbeatResp:
    case MessageType::kUnreachable:
    case MessageType::kReadIndexResp:
    case MessageType::kPreVoteResp:
    case MessageType::kStorageAppendResp:
    case MessageType::kStorageApplyResp:
      return true;
    default:
      return false;
  }
}

// Speaks for a term; a zero there would pass by all rules about terms. Snapshots and answers may
// come without: what they say, of what is committed, holds in all terms.
bool needs_term(MessageType type) {
  switch (type) {
    case MessageType::kApp:
    case MessageType::kVote:
    case MessageType::kVoteResp:
    case MessageType::kHeartbeat:
    case MessageType::kHeartbeatResp:
    case MessageType::kTimeoutNow:
    case MessageType::kReadIndexResp:
    case MessageType::kPreVote:
    case MessageType::kPreVoteResp:
      return true;
    default:
      return false;
  }
}

bool from_a_leader(MessageType type) {
  return type == MessageType::kApp || type == MessageType::kHeartbeat || type == MessageType::kSnap;
}

// Entries that follow each other and the one they claim to follow, none from the future.
bool consecutive(const Message& append) {
  Index index = append.index;
  Term term = append.log_term;
  for (const Entry& entry : append.entries) {
    if (entry.index != ++index || entry.term < term || entry.term > append.term) return false;
    term = entry.term;
  }
  return true;
}

MessageType response_to(MessageType vote_request) {
  return vote_request == MessageType::kVote ? MessageType::kVoteResp : MessageType::kPreVoteResp;
}

}  // namespace

Result<> Node::step(Message message) {
  if (!is_local_thread(message.from)) {
    if (is_local(message.type)) return base::fail(Errc::kLocalMessage);
    // In synchronous mode what it says to itself comes by advance(), and is no peer's.
    const bool of_peer = config_.async_storage_writes || message.from != id();
    if (of_peer && is_response(message.type) && !configuration_.contains(message.from)) {
      return base::fail(Errc::kUnknownPeer);
    }
  }
  RETURN_IF_ERROR(check(message));
  return receive(message);
}

// What no correct peer sends is refused before anything is touched.
Result<> Node::check(const Message& message) const {
  bool ok = message.term != 0 || !needs_term(message.type);
  // It would follow itself, or nobody.
  if (from_a_leader(message.type)) ok = ok && message.from != kNone && message.from != id();
  switch (message.type) {
    case MessageType::kApp:
      ok = ok && consecutive(message);
      break;
    case MessageType::kAppResp:
      // Nobody has more of this term's log than its leader.
      ok = ok && !(role() == Role::kLeader && (message.term == term_ || message.term == 0) &&
                   !message.reject && message.index > log_.last_index());
      // It never refuses itself anything.
      ok = ok && !(message.from == id() && message.reject);
      break;
    case MessageType::kHeartbeatResp:
      ok = ok && message.from != id();
      break;
    case MessageType::kSnap:
      // A candidate would follow its sender, into no term.
      ok = ok && (message.term != 0 || !std::holds_alternative<Candidate>(role_));
      ok = ok && (!message.snapshot || message.snapshot->metadata.index <= log_.committed() ||
                  restore_configuration(message.snapshot->metadata.conf_state).ok());
      break;
    case MessageType::kProp:
      ok = !message.entries.empty();
      break;
    case MessageType::kReadIndex:
      ok = message.entries.size() == 1;
      break;
    default:
      break;
  }
  if (!ok) return base::fail(Errc::kMalformed);
  return {};
}

Result<> Node::receive(Message& message) {
  if (message.term > term_) {
    if (!pass_higher_term(message)) return {};
  } else if (message.term != 0 && message.term < term_) {
    answer_lower_term(message);
    return {};
  }
  switch (message.type) {
    case MessageType::kHup:
      start_election(config_.pre_vote ? Campaign::kPreElection : Campaign::kElection);
      return {};
    case MessageType::kStorageAppendResp:
      on_storage_append_response(message);
      return {};
    case MessageType::kStorageApplyResp:
      on_storage_apply_response(message);
      return {};
    case MessageType::kVote:
    case MessageType::kPreVote:
      on_vote_request(message);
      return {};
    default:
      break;
  }
  if (auto* leader = std::get_if<Leader>(&role_)) return step_leader(*leader, message);
  if (std::holds_alternative<Candidate>(role_)) return step_candidate(message);
  return step_follower(message);
}

// False: to be ignored without an answer.
bool Node::pass_higher_term(const Message& message) {
  const bool asks_vote =
      message.type == MessageType::kVote || message.type == MessageType::kPreVote;
  // Who hears from a leader does not help to depose it, unless that leader itself wants to go.
  const bool in_lease =
      config_.check_quorum && leader() != kNone && election_elapsed_ < config_.election_tick;
  if (asks_vote && in_lease && message.context != kTransferContext) {
    if (trace_.wants(base::TraceLevel::kInfo)) {
      const EntryId last = log_.last_id();
      trace_.info(
          "{:x} [logterm: {}, index: {}, vote: {:x}] ignored {} from {:x} [logterm: {}, index: {}] "
          "at term {}: lease is not expired (remaining ticks: {})",
          id(), last.term, last.index, vote_, message.type, message.from, message.log_term,
          message.index, term_, config_.election_tick - election_elapsed_);
    }
    return false;
  }
  // A pre-vote is about a term that nobody has entered, and so is its being granted.
  if (message.type == MessageType::kPreVote) return true;
  if (message.type == MessageType::kPreVoteResp && !message.reject) return true;
  trace_.info("{:x} [term: {}] received a {} message with higher term from {:x} [term: {}]", id(),
              term_, message.type, message.from, message.term);
  become_follower(message.term, from_a_leader(message.type) ? message.from : kNone);
  return true;
}

void Node::answer_lower_term(const Message& message) {
  const bool of_old_leader =
      message.type == MessageType::kHeartbeat || message.type == MessageType::kApp;
  if ((config_.check_quorum || config_.pre_vote) && of_old_leader) {
    // A node whose term ran ahead while it was cut off may not raise everybody's term by an
    // election; its answer does, and frees it. Without the two options its election does the same.
    send({.type = MessageType::kAppResp, .to = message.from});
    return;
  }
  if (message.type == MessageType::kPreVote) {
    if (trace_.wants(base::TraceLevel::kInfo)) {
      const EntryId last = log_.last_id();
      trace_.info(
          "{:x} [logterm: {}, index: {}, vote: {:x}] rejected {} from {:x} [logterm: {}, index: "
          "{}] "
          "at term {}",
          id(), last.term, last.index, vote_, message.type, message.from, message.log_term,
          message.index, term_);
    }
    send({.type = MessageType::kPreVoteResp, .to = message.from, .term = term_, .reject = true});
    return;
  }
  if (message.type == MessageType::kStorageAppendResp) {
    // The entries may have been overwritten since by others with the same index and term; a
    // snapshot cannot be.
    if (message.index != 0) {
      trace_.info(
          "{:x} [term: {}] ignored entry appends from a {} message with lower term [term: {}]",
          id(), term_, message.type, message.term);
    }
    if (message.snapshot) snapshot_is_durable(*message.snapshot);
    return;
  }
  trace_.info("{:x} [term: {}] ignored a {} message with lower term from {:x} [term: {}]", id(),
              term_, message.type, message.from, message.term);
}

void Node::on_storage_append_response(const Message& message) {
  if (message.index != 0) log_.stable_to({.term = message.log_term, .index = message.index});
  if (message.snapshot) snapshot_is_durable(*message.snapshot);
}

void Node::snapshot_is_durable(const Snapshot& snapshot) {
  const Index index = snapshot.metadata.index;
  log_.stable_snapshot_to(index);
  applied_to(index, 0);
}

void Node::on_storage_apply_response(const Message& message) {
  if (message.entries.empty()) return;
  applied_to(message.entries.back().index, encoded_size(message.entries));
  if (auto* leader = std::get_if<Leader>(&role_)) {
    // Entries of former leaders were never counted here.
    leader->uncommitted_bytes -= std::min(leader->uncommitted_bytes, payload_size(message.entries));
  }
}

void Node::applied_to(Index index, std::uint64_t bytes) {
  // A snapshot may have overtaken what is now reported.
  log_.applied_to(std::max(index, log_.applied()), bytes);
  maybe_leave_joint();
}

// Learners and outsiders vote too: they may not know yet that they count.
void Node::on_vote_request(const Message& message) {
  const bool asked_again = vote_ == message.from;
  const bool free = (vote_ == kNone || KEELSON_PLANTED(kVoteTwice)) && leader() == kNone;
  const bool future = message.type == MessageType::kPreVote && message.term > term_;
  const bool granted = (asked_again || free || future) &&
                       log_.is_up_to_date({.term = message.log_term, .index = message.index});
  if (trace_.wants(base::TraceLevel::kInfo)) {
    const EntryId last = log_.last_id();
    trace_.info(
        "{:x} [logterm: {}, index: {}, vote: {:x}] {} {} {} {:x} [logterm: {}, index: {}] at term "
        "{}",
        id(), last.term, last.index, vote_, granted ? "cast" : "rejected", message.type,
        granted ? "for" : "from", message.from, message.log_term, message.index, term_);
  }
  // A pre-vote is granted in the term it asks about, or the candidate would take it for an old one.
  send({.type = response_to(message.type),
        .to = message.from,
        .term = granted ? message.term : term_,
        .reject = !granted});
  if (granted && message.type == MessageType::kVote) {
    election_elapsed_ = 0;
    vote_ = message.from;
  }
}

}  // namespace keelson::raft
