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
  const Status status = node.status();
  if (status.soft_state.role != Role::kLeader) {
    return status.progress.empty() ? Broken() : Broken("only a leader has progress");
  }
  const IdSet ids = status.configuration.ids();
  if (ids.size() != status.progress.size()) return "progress of exactly the configuration's ids";
  for (const auto& [id, progress] : status.progress) {
    if (!ids.contains(id)) return "progress of exactly the configuration's ids";
    if (progress.match >= progress.next) return "match < next";
    if (progress.match > status.last_index) return "match <= the leader's last index";
    if (progress.learner != status.configuration.learners.contains(id)) {
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

Broken StepWatcher::observe(const Node& node) {
  if (auto broken = broken_invariant(node)) return broken;
  if (before_) {
    if (auto broken = broken_step(node)) return broken;
  }
  if (auto broken = remember_committed(node)) return broken;
  before_ = Seen{.hard_state = node.hard_state(),
                 .role = node.role(),
                 .applied = node.log().applied(),
                 .last_index = node.log().last_index(),
                 .last_term = node.log().last_id().term};
  return std::nullopt;
}

void StepWatcher::restarted() { before_.reset(); }

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
  if (node.log().last_index() < before_->last_index) return "a leader's log only grows";
  if (node.log().term_or_zero(before_->last_index) != before_->last_term &&
      before_->last_index + 1 >= node.log().first_index()) {
    return "a leader never changes its log";
  }
  return std::nullopt;
}

// Also compares what was committed before and is still there.
Broken StepWatcher::remember_committed(const Node& node) {
  const Log& log = node.log();
  const Index lo = std::max(first_, log.first_index());
  const Index end = log.committed() + 1;
  if (committed_.empty() || lo > first_ + committed_.size()) {
    first_ = lo;  // a snapshot has skipped what is between
    committed_.clear();
  }
  if (lo >= end) return std::nullopt;
  const auto entries = log.slice(lo, end, kNoLimit);
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

}  // namespace keelson::raft
