// Node: terms, roles and how they change. raft.md 2, 6.
#include <utility>

#include "base/check.h"
#include "raft/describe.h"
#include "raft/node.h"

namespace keelson::raft {

// What every change of role begins with; the caller sets the role itself.
void Node::reset(Term term) {
  if (term != term_) {
    CHECK_GT(term, term_);
    term_ = term;
    vote_ = kNone;
  }
  election_elapsed_ = 0;
  // Of each node's own stream: equal timeouts split votes.
  randomized_timeout_ =
      config_.election_tick + static_cast<std::uint32_t>(random_.below(config_.election_tick));
}

void Node::become_follower(Term term, NodeId leader) {
  reset(term);
  role_ = Follower{.leader = leader};
  trace_.info("{:x} became follower at term {}", id(), term_);
}

void Node::become_candidate() {
  CHECK(role() != Role::kLeader);
  reset(term_ + 1);
  vote_ = id();
  role_ = Candidate{};
  trace_.info("{:x} became candidate at term {}", id(), term_);
}

// Term, vote and timers stay: nothing has happened yet that anybody could have seen.
void Node::become_pre_candidate() {
  CHECK(role() != Role::kLeader);
  role_ = Candidate{.pre_vote = true, .votes = {}};
  trace_.info("{:x} became pre-candidate at term {}", id(), term_);
}

void Node::become_leader() {
  CHECK(role() == Role::kCandidate);
  reset(term_);
  auto& leader = role_.emplace<Leader>();
  const Index last = log_.last_index();
  for (const NodeId of : configuration_.ids()) {
    Progress progress({config_.max_inflight_messages, config_.max_inflight_bytes});
    progress.match = of == id() ? last : 0;
    progress.next = last + 1;
    progress.learner = configuration_.learners.contains(of);
    leader.progress.emplace(of, std::move(progress));
  }
  Progress& own = leader.progress.at(id());
  own.become_replicate();
  own.recent_active = true;
  // The log may hold a conf change that is not applied yet: no other until everything so far is.
  leader.pending_conf_index = last;
  // Only by an entry of its own term can a leader commit those of others (thesis 3.6.2).
  CHECK(append_entries(leader, std::vector<Entry>(1)));
  trace_.info("{:x} became leader at term {}", id(), term_);
}

// --- time

void Node::tick_election() {
  election_elapsed_++;
  if (!promotable() || election_elapsed_ < randomized_timeout_) return;
  election_elapsed_ = 0;
  MAYBE(campaign().ok());
}

void Node::tick_leader() {
  election_elapsed_++;
  std::get<Leader>(role_).heartbeat_elapsed++;
  if (election_elapsed_ >= config_.election_tick) {
    election_elapsed_ = 0;
    if (config_.check_quorum) on_check_quorum(std::get<Leader>(role_));
    abort_transfer();
  }
  auto* const leader = std::get_if<Leader>(&role_);
  if (leader == nullptr || leader->heartbeat_elapsed < config_.heartbeat_tick) return;
  leader->heartbeat_elapsed = 0;
  broadcast_heartbeat(*leader);
}

// --- elections

void Node::start_election(Campaign kind) {
  if (role() == Role::kLeader) {
    trace_.debug("{:x} ignoring MsgHup because already leader", id());
    return;
  }
  if (!promotable()) {
    trace_.warn("{:x} is unpromotable and can not campaign", id());
    return;
  }
  if (has_unapplied_conf_changes()) {
    // It could win by a quorum that is none any more.
    trace_.warn(
        "{:x} cannot campaign at term {} since there are still pending configuration changes to "
        "apply",
        id(), term_);
    return;
  }
  trace_.info("{:x} is starting a new election at term {}", id(), term_);
  campaign(kind);
}

bool Node::has_unapplied_conf_changes() const {
  Index next = log_.applied() + 1;
  const Index end = log_.committed() + 1;
  // In pages, for a node that starts anew may have much to apply.
  while (next < end) {
    const auto page = log_.slice(next, end, config_.max_size_per_message);
    CHECK_MSG(page.ok(), "entries to apply from {} are gone: {}", next, describe(page.error()));
    for (const Entry& entry : *page) {
      if (entry.type != EntryType::kNormal) return true;
    }
    next += page->size();
  }
  return false;
}

void Node::campaign(Campaign kind) {
  if (kind == Campaign::kPreElection) {
    become_pre_candidate();
  } else {
    become_candidate();
  }
  for (const NodeId voter : configuration_.voters.ids()) request_vote(voter, kind);
}

void Node::request_vote(NodeId voter, Campaign kind) {
  const bool pre = kind == Campaign::kPreElection;
  const Term term = pre ? term_ + 1 : term_;
  if (voter == id()) {
    // Its own vote counts once it is durable, like everybody's.
    send({.type = pre ? MessageType::kPreVoteResp : MessageType::kVoteResp,
          .to = id(),
          .term = term});
    return;
  }
  const MessageType type = pre ? MessageType::kPreVote : MessageType::kVote;
  const EntryId last = log_.last_id();
  trace_.info("{:x} [logterm: {}, index: {}] sent {} request to {:x} at term {}", id(), last.term,
              last.index, type, voter, term_);
  send({.type = type,
        .to = voter,
        .term = term,
        .log_term = last.term,
        .index = last.index,
        .context = kind == Campaign::kTransfer ? "CampaignTransfer" : ""});
}

Result<> Node::step_candidate(Message& message) {
  switch (message.type) {
    case MessageType::kProp:
      trace_.info("{:x} no leader at term {}; dropping proposal", id(), term_);
      return base::fail(Errc::kProposalDropped);
    case MessageType::kApp:
    case MessageType::kHeartbeat:
    case MessageType::kSnap:
      // Somebody else has won this term.
      become_follower(message.term, message.from);
      return step_follower(message);
    case MessageType::kVoteResp:
    case MessageType::kPreVoteResp:
      on_vote_response(std::get<Candidate>(role_), message);
      return {};
    case MessageType::kTimeoutNow:
      trace_.debug("{:x} [term {} state {}] ignored MsgTimeoutNow from {:x}", id(), term_, role(),
                   message.from);
      return {};
    default:
      return {};
  }
}

void Node::on_vote_response(Candidate& candidate, const Message& message) {
  // An answer to the pre-election may arrive during the election itself.
  const bool to_pre_vote = message.type == MessageType::kPreVoteResp;
  if (to_pre_vote != candidate.pre_vote) return;
  trace_.info("{:x} received {}{} from {:x} at term {}", id(), message.type,
              message.reject ? " rejection" : "", message.from, term_);
  candidate.votes.emplace(message.from, !message.reject);  // the first answer counts
  if (trace_.wants(base::TraceLevel::kInfo)) {
    std::size_t granted = 0, rejected = 0;
    for (const auto& [voter, yes] : candidate.votes) {
      if (configuration_.voters.contains(voter)) (yes ? granted : rejected)++;
    }
    trace_.info("{:x} has received {} {} votes and {} vote rejections", id(), granted, message.type,
                rejected);
  }
  const auto result =
      vote_result(configuration_.voters, [&candidate](NodeId voter) -> std::optional<bool> {
        const auto it = candidate.votes.find(voter);
        if (it == candidate.votes.end()) return std::nullopt;
        return it->second;
      });
  switch (result) {
    case VoteResult::kPending:
      return;
    case VoteResult::kLost:
      // At its own term: a refused pre-vote names one that nobody has entered.
      return become_follower(term_, kNone);
    case VoteResult::kWon:
      if (candidate.pre_vote) return campaign(Campaign::kElection);
      become_leader();
      return broadcast_append(std::get<Leader>(role_));
  }
}

}  // namespace keelson::raft
