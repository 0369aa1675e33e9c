#include "raft/confchange/confchange.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace keelson::raft {
namespace {

void add_voter(Reconfiguration& to, NodeId id) {
  Configuration& c = to.configuration;
  if (!c.contains(id)) to.fresh.insert(id);
  c.learners.erase(id);
  c.learners_next.erase(id);
  c.voters.incoming.insert(id);
}

void add_learner(Reconfiguration& to, NodeId id) {
  Configuration& c = to.configuration;
  if (c.learners.contains(id)) return;
  if (!c.contains(id)) to.fresh.insert(id);
  c.voters.incoming.erase(id);
  c.learners_next.erase(id);
  // The outgoing half still counts on its vote (C1): it turns learner when that half is left.
  (c.voters.outgoing.contains(id) ? c.learners_next : c.learners).insert(id);
}

void remove_node(Reconfiguration& to, NodeId id) {
  Configuration& c = to.configuration;
  c.voters.incoming.erase(id);
  c.learners.erase(id);
  c.learners_next.erase(id);
  if (!c.contains(id)) to.fresh.erase(id);
}

void apply_changes(Reconfiguration& to, std::span<const ConfChangeSingle> changes) {
  for (const ConfChangeSingle& change : changes) {
    if (change.node_id == kNone) continue;
    switch (change.type) {
      case ConfChangeType::kAddNode:
        add_voter(to, change.node_id);
        break;
      case ConfChangeType::kAddLearnerNode:
        add_learner(to, change.node_id);
        break;
      case ConfChangeType::kRemoveNode:
        remove_node(to, change.node_id);
        break;
      case ConfChangeType::kUpdateNode:
        break;
    }
  }
}

std::size_t symmetric_difference(const IdSet& a, const IdSet& b) {
  std::size_t count = 0;
  for (const NodeId id : a) count += b.contains(id) ? 0 : 1;
  for (const NodeId id : b) count += a.contains(id) ? 0 : 1;
  return count;
}

bool valid(const Configuration& c) {
  for (const NodeId id : c.learners) {
    if (c.voters.contains(id)) return false;
  }
  for (const NodeId id : c.learners_next) {
    if (!c.voters.outgoing.contains(id) || c.voters.incoming.contains(id)) return false;
  }
  return c.voters.joint() || (c.learners_next.empty() && !c.auto_leave);
}

bool fill(IdSet& to, const std::vector<NodeId>& ids) {
  for (const NodeId id : ids) {
    if (id == kNone || !to.insert(id)) return false;
  }
  return true;
}

}  // namespace

IdSet Configuration::ids() const {
  IdSet all = voters.ids();
  for (const NodeId id : learners) all.insert(id);
  return all;
}

ConfState Configuration::conf_state() const {
  return {.voters = voters.incoming.ids(),
          .learners = learners.ids(),
          .voters_outgoing = voters.outgoing.ids(),
          .learners_next = learners_next.ids(),
          .auto_leave = auto_leave};
}

ReconfigurationResult simple_change(const Configuration& from,
                                    std::span<const ConfChangeSingle> changes) {
  if (from.voters.joint()) return base::fail(ConfChangeErrc::kSimpleInJoint);
  Reconfiguration to{from, {}};
  apply_changes(to, changes);
  if (to.configuration.voters.incoming.empty()) {
    return base::fail(ConfChangeErrc::kRemovedAllVoters);
  }
  if (symmetric_difference(from.voters.incoming, to.configuration.voters.incoming) > 1) {
    return base::fail(ConfChangeErrc::kMoreThanOneVoter);
  }
  CHECK(valid(to.configuration));
  return to;
}

ReconfigurationResult enter_joint(const Configuration& from, bool auto_leave,
                                  std::span<const ConfChangeSingle> changes) {
  if (from.voters.joint()) return base::fail(ConfChangeErrc::kAlreadyJoint);
  if (from.voters.incoming.empty()) return base::fail(ConfChangeErrc::kNoVotersToJoin);
  Reconfiguration to{from, {}};
  to.configuration.voters.outgoing = from.voters.incoming;
  apply_changes(to, changes);
  if (to.configuration.voters.incoming.empty()) {
    return base::fail(ConfChangeErrc::kRemovedAllVoters);
  }
  to.configuration.auto_leave = auto_leave;
  CHECK(valid(to.configuration));
  return to;
}

ReconfigurationResult leave_joint(const Configuration& from) {
  if (!from.voters.joint()) return base::fail(ConfChangeErrc::kNotJoint);
  Reconfiguration to{from, {}};
  Configuration& c = to.configuration;
  for (const NodeId id : c.learners_next) c.learners.insert(id);
  c.learners_next.clear();
  c.voters.outgoing.clear();
  c.auto_leave = false;
  CHECK(valid(c));
  return to;
}

bool leaves_joint(const ConfChangeV2& change) {
  return change.transition == ConfChangeTransition::kAuto && change.changes.empty();
}

ReconfigurationResult change_configuration(const Configuration& from, const ConfChangeV2& change) {
  if (leaves_joint(change)) return leave_joint(from);
  if (change.transition == ConfChangeTransition::kAuto && change.changes.size() == 1) {
    return simple_change(from, change.changes);
  }
  return enter_joint(from, change.transition != ConfChangeTransition::kJointExplicit,
                     change.changes);
}

void follow(const Reconfiguration& change, Index last_index, Inflights::Limits limits,
            ProgressMap& progress) {
  const Configuration& configuration = change.configuration;
  absl::erase_if(progress, [&](const auto& of) { return !configuration.contains(of.first); });
  for (const NodeId added : change.fresh) {
    Progress begin(limits);
    begin.next = std::max<Index>(last_index, 1);
    // Or the next check of the quorum could depose a leader that has done nothing but add a member.
    begin.recent_active = true;
    progress.insert_or_assign(added, std::move(begin));
  }
  for (auto& [id, of] : progress) of.learner = configuration.learners.contains(id);
}

base::Result<Configuration, Errc> restore_configuration(const ConfState& state) {
  Configuration c;
  if (!fill(c.voters.incoming, state.voters) || !fill(c.voters.outgoing, state.voters_outgoing) ||
      !fill(c.learners, state.learners) || !fill(c.learners_next, state.learners_next)) {
    return base::fail(Errc::kMalformed);
  }
  c.auto_leave = state.auto_leave;
  const bool voterless = c.voters.incoming.empty() && !(c == Configuration{});
  if (voterless || !valid(c)) return base::fail(Errc::kMalformed);
  return c;
}

ConfChangeV2 as_v2(const ConfChange& change) {
  return {.transition = ConfChangeTransition::kAuto,
          .changes = {{.type = change.type, .node_id = change.node_id}},
          .context = change.context};
}

}  // namespace keelson::raft
