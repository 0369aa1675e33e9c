#include "raft/invariants.h"

#include <algorithm>

#include "base/crc32c.h"
#include "raft/describe.h"

namespace keelson::raft {
namespace {

using Broken = std::optional<std::string>;

Broken broken_log(const Log& log) {
  const Unstable& unstable = log.unstable();
  if (log.applied() > log.applying() || log.applying() > log.committed() ||
      log.committed() > log.last_index()) {
    return "applied <= applying <= committed <= last index";
  }
  if (log.first_index() > log.last_index() + 1) return "first index <= last index + 1";
  if (unstable.offset() > unstable.offset_in_progress() ||
      unstable.offset_in_progress() > unstable.offset() + unstable.count()) {
    return "offset <= offset in progress <= offset + entries";
  }
  return std::nullopt;
}

Broken broken_role(const Node& node) {
  switch (node.role()) {
    case Role::kFollower:
      if (node.leader() == node.id()) return "a follower does not lead";
      return std::nullopt;
    case Role::kCandidate:
      if (node.hard_state().vote != node.id()) return "a candidate votes for itself";
      [[fallthrough]];
    case Role::kPreCandidate:
      if (node.leader() != kNone) return "a candidate follows nobody";
      return std::nullopt;
    case Role::kLeader:
      if (node.leader() != node.id()) return "a leader follows itself";
      if (node.hard_state().vote != node.id()) return "a leader was elected by itself too";
      if (node.log().last_id().term != node.term()) return "a leader has an entry of its term";
      return std::nullopt;
  }
  return "a role of the four";
}

Broken broken_progress(const Node& node) {
  const ProgressMap* const all = node.progress();
  if (node.role() != Role::kLeader) {
    return all == nullptr ? Broken() : Broken("only a leader has progress");
  }
  const Configuration& configuration = node.configuration();
  const IdSet ids = configuration.ids();
  const Index last = node.log().last_index();
  if (ids.size() != all->size()) return "progress of exactly the configuration's ids";
  for (const auto& [id, progress] : *all) {
    if (!ids.contains(id)) return "progress of exactly the configuration's ids";
    if (progress.match >= progress.next) return "match < next";
    if (progress.match > last) return "match <= the leader's last index";
    if (progress.learner != configuration.learners.contains(id)) {
      return "progress knows the learners";
    }
    if (progress.state != ProgressState::kReplicate && progress.inflights.count() != 0) {
      return "inflights only while replicating";
    }
  }
  return std::nullopt;
}

}  // namespace

Broken broken_invariant(const Node& node) {
  if (auto broken = broken_log(node.log())) return broken;
  if (auto broken = broken_role(node)) return broken;
  if (auto broken = broken_progress(node)) return broken;
  if (!restore_configuration(node.configuration().conf_state()).ok()) {
    return "the configuration is one that can be";
  }
  return std::nullopt;
}

// --- one node

Broken StepWatcher::observe(const Node& node) {
  if (auto broken = broken_invariant(node)) return broken;
  if (before_) {
    if (auto broken = broken_step(node)) return broken;
    if (auto broken = broken_match(node)) return broken;
  }
  if (auto broken = remember_committed(node)) return broken;
  look(node);
  return std::nullopt;
}

void StepWatcher::restarted() {
  before_.reset();
  compare_all_ = true;
}

void StepWatcher::look(const Node& node) {
  if (!before_) before_ = Seen{};
  before_->hard_state = node.hard_state();
  before_->role = node.role();
  before_->applied = node.log().applied();
  before_->last_index = node.log().last_index();
  before_->last_term = node.log().last_id().term;
  before_->configuration = node.configuration();
  before_->match.clear();
  if (const ProgressMap* const all = node.progress()) {
    for (const auto& [id, progress] : *all) before_->match.emplace(id, progress.match);
  }
}

Broken StepWatcher::broken_step(const Node& node) const {
  const HardState now = node.hard_state();
  const HardState& then = before_->hard_state;
  if (now.term < then.term) return "the term never goes back";
  if (now.commit < then.commit) return "commit never goes back";
  if (node.log().applied() < before_->applied) return "applied never goes back";
  if (now.term != then.term) return std::nullopt;
  if (then.vote != kNone && now.vote != then.vote) return "one vote per term";
  if (before_->role != Role::kLeader) return std::nullopt;
  if (node.role() != Role::kLeader && node.role() != Role::kFollower) {
    return "a leader does not campaign in its own term";
  }
  if (now.commit > then.commit && node.role() == Role::kLeader &&
      node.log().term_or_zero(now.commit) != now.term) {
    return "a leader counts only entries of its own term as committed";
  }
  if (node.log().last_index() < before_->last_index) return "a leader's log only grows";
  if (node.log().term_or_zero(before_->last_index) != before_->last_term &&
      before_->last_index + 1 >= node.log().first_index()) {
    return "a leader never changes its log";
  }
  return std::nullopt;
}

// Within a leadership; who was removed and added in one change starts afresh.
Broken StepWatcher::broken_match(const Node& node) const {
  const ProgressMap* const all = node.progress();
  if (all == nullptr || node.term() != before_->hard_state.term) return std::nullopt;
  const bool reconfigured = node.configuration() != before_->configuration;
  for (const auto& [id, progress] : *all) {
    const auto then = before_->match.find(id);
    if (then == before_->match.end() || progress.match >= then->second) continue;
    if (progress.match == 0 && reconfigured) continue;
    return fmt::format("the match of {:x} never goes back", id);
  }
  return std::nullopt;
}

// New ones are remembered, old ones compared.
Broken StepWatcher::remember_committed(const Node& node) {
  constexpr std::size_t kRememberedMax = std::size_t{1} << 16;
  constexpr Index kComparedAgain = 16;
  const Log& log = node.log();
  const Index lo = std::max(first_, log.first_index());
  const Index end = log.committed() + 1;
  if (committed_.empty() || lo > first_ + committed_.size()) {
    first_ = lo;  // a snapshot has skipped what is between
    committed_.clear();
  }
  const Index known_end = first_ + committed_.size();
  if (lo >= end) return std::nullopt;
  Index from = std::min(known_end, end), again = from;
  if (compare_all_) {
    from = lo;
  } else if (known_end > lo) {
    from = compared_ >= lo && compared_ < from ? compared_ : lo;
    again = std::min(from + kComparedAgain, again);
    if (auto broken = compare_committed(log, from, again)) return broken;
    compared_ = again;
    from = std::min(known_end, end);
  }
  compare_all_ = false;
  if (auto broken = compare_committed(log, from, end)) return broken;
  for (; committed_.size() > kRememberedMax; first_++) committed_.pop_front();
  return std::nullopt;
}

Broken StepWatcher::compare_committed(const Log& log, Index lo, Index hi) {
  if (lo >= hi) return std::nullopt;
  const auto entries = log.slice(lo, hi, kNoLimit);
  if (!entries) return "committed entries are there";
  for (const Entry& entry : *entries) {
    const Committed now{.term = entry.term, .data_crc = base::crc32c(0, entry.data)};
    const std::size_t place = entry.index - first_;
    if (place == committed_.size()) {
      committed_.push_back(now);
    } else if (committed_[place].term != now.term || committed_[place].data_crc != now.data_crc) {
      return fmt::format("committed entry {} never changes", entry.index);
    }
  }
  return std::nullopt;
}

// --- all nodes

Broken ClusterWatcher::observe(const Node& node) {
  Watched& of = nodes_[node.id()];
  if (auto broken = of.watcher.observe(node)) return broken;
  if (auto broken = broken_word(of, node)) return broken;
  if (auto broken = broken_matching(of, node)) return broken;
  if (auto broken = broken_election(of, node)) return broken;
  return broken_commit(of, node);
}

void ClusterWatcher::restarted(NodeId id) {
  Watched& of = nodes_[id];
  of.watcher.restarted();
  of.committed = 0;
  of.terms.clear();
}

// Heartbeats' answers and the like say nothing that others count on.
Broken ClusterWatcher::sent(const Message& message) {
  NodeId vote = kNone;
  switch (message.type) {
    case MessageType::kVote:
    case MessageType::kApp:
    case MessageType::kHeartbeat:
    case MessageType::kSnap:
      vote = message.from;
      break;
    case MessageType::kVoteResp:
      if (!message.reject) vote = message.to;
      break;
    case MessageType::kAppResp:
      break;
    default:
      return std::nullopt;
  }
  Watched& of = nodes_[message.from];
  if (message.term < of.said) return std::nullopt;  // it was on its way before
  if (message.term > of.said) of.vote = kNone;
  of.said = message.term;
  if (vote == kNone) return std::nullopt;
  if (of.vote != kNone && of.vote != vote) {
    return fmt::format("one vote in term {}: for {:x} before, now for {:x}", of.said, of.vote,
                       vote);
  }
  of.vote = vote;
  return std::nullopt;
}

Broken ClusterWatcher::broken_word(const Watched& of, const Node& node) const {
  const HardState now = node.hard_state();
  if (now.term < of.said) return fmt::format("a term others heard of is kept: {}", of.said);
  if (now.term == of.said && of.vote != kNone && now.vote != of.vote) {
    return fmt::format("a vote others heard of is kept: for {:x} in term {}", of.vote, of.said);
  }
  return std::nullopt;
}

Broken ClusterWatcher::broken_election(Watched& of, const Node& node) {
  if (node.role() != Role::kLeader || of.led == node.term()) return std::nullopt;
  of.led = node.term();
  const auto [it, fresh] = leaders_.emplace(node.term(), node.id());
  if (it->second != node.id()) {
    return fmt::format("one leader in term {}: {:x} leads already", node.term(), it->second);
  }
  return broken_completeness(node);
}

Broken ClusterWatcher::broken_completeness(const Node& node) const {
  const Log& log = node.log();
  for (auto it = agreed_.lower_bound(log.first_index()); it != agreed_.end(); ++it) {
    if (it->second.committed_in >= node.term()) continue;
    if (log.term_or_zero(it->first) != it->second.term) {
      return fmt::format("a leader has all that is committed: not entry {}", it->first);
    }
  }
  return std::nullopt;
}

// Looks at what is new in the log: all above the last entry that was there when last looked at.
Broken ClusterWatcher::broken_matching(Watched& of, const Node& node) {
  constexpr std::size_t kWrittenMax = std::size_t{1} << 17;
  const Log& log = node.log();
  const Index first = log.first_index(), last = log.last_index();
  for (; of.first < first && !of.terms.empty(); of.first++) of.terms.pop_front();
  if (of.terms.empty()) of.first = first;
  Index end = std::min(of.first + of.terms.size(), last + 1);
  while (end > of.first && log.term_or_zero(end - 1) != of.terms[end - 1 - of.first]) end--;
  of.terms.resize(end - of.first);
  if (end > last) return std::nullopt;
  const auto entries = log.slice(end, last + 1, kNoLimit);
  if (!entries) return "entries of the log are there";
  Term previous = log.term_or_zero(end - 1);
  for (const Entry& entry : *entries) {
    const Written now{
        .previous = previous, .data_crc = base::crc32c(0, entry.data), .type = entry.type};
    const auto [it, fresh] = written_.emplace(std::pair(entry.index, entry.term), now);
    if (it->second != now) {
      return fmt::format("one entry of index {} and term {}, and one before it", entry.index,
                         entry.term);
    }
    of.terms.push_back(previous = entry.term);
  }
  while (written_.size() > kWrittenMax) written_.erase(written_.begin());
  return std::nullopt;
}

Broken ClusterWatcher::broken_commit(Watched& of, const Node& node) {
  constexpr std::size_t kAgreedMax = std::size_t{1} << 17;
  const Log& log = node.log();
  for (Index index = std::max(of.committed + 1, log.first_index()); index <= log.committed();
       index++) {
    const Term term = log.term_or_zero(index);
    const auto [it, fresh] =
        agreed_.emplace(index, Agreed{.term = term, .committed_in = node.term()});
    if (it->second.term != term) {
      return fmt::format("one entry is committed at index {}: of term {}, and of {} elsewhere",
                         index, term, it->second.term);
    }
    it->second.committed_in = std::min(it->second.committed_in, node.term());
  }
  of.committed = std::max(of.committed, log.committed());
  while (agreed_.size() > kAgreedMax) agreed_.erase(agreed_.begin());
  return std::nullopt;
}

}  // namespace keelson::raft
