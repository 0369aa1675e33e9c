// Configurations and the steps between them. raft.md 12.
//
//            simple: one voter at most                 enter_joint: any change
//   plain -------------------------> plain      plain ------------------------> joint (old, new)
//                                                  ^                               |
//                                                  +--------- leave_joint ---------+
//
// Invariants of a Configuration (every function keeps them; restore() refuses what breaks them)
//   C1  learners are disjoint from the voters of both halves
//   C2  learners_next are voters of the outgoing half that become learners when it is left
//   C3  when not joint: no outgoing voters, no learners_next, auto_leave false
// Pure functions of their arguments: equal entries give equal configurations everywhere.
#pragma once

#include <span>

#include "base/result.h"
#include "raft/errc.h"
#include "raft/quorum/quorum.h"
#include "raft/tracker/progress.h"
#include "raft/types.h"

namespace keelson::raft {

struct Configuration {
  JointConfig voters;
  IdSet learners;
  IdSet learners_next;
  bool auto_leave = false;  // a leader leaves the joint state by itself

  // Is it a voter or a learner of any half?
  bool contains(NodeId id) const { return voters.contains(id) || learners.contains(id); }
  IdSet ids() const;
  ConfState conf_state() const;
  friend bool operator==(const Configuration&, const Configuration&) = default;
};

// A configuration and who is new in it: a leader starts their Progress afresh, even of one who was
// removed and added again in one go.
struct Reconfiguration {
  Configuration configuration;
  IdSet fresh;
};

using ReconfigurationResult = base::Result<Reconfiguration, ConfChangeErrc>;

// Nodes with id 0 are skipped by all of these: so the application takes back what it rejected.
ReconfigurationResult simple_change(const Configuration& from,
                                    std::span<const ConfChangeSingle> changes);
ReconfigurationResult enter_joint(const Configuration& from, bool auto_leave,
                                  std::span<const ConfChangeSingle> changes);
ReconfigurationResult leave_joint(const Configuration& from);
// The one of the three that the change asks for.
ReconfigurationResult change_configuration(const Configuration& from, const ConfChangeV2& change);

// Brings a leader's progress in line with the change: who is gone goes, who is fresh starts from
// `last_index`.
void follow(const Reconfiguration& change, Index last_index, Inflights::Limits limits,
            ProgressMap& progress);

// The configuration a snapshot names. kMalformed if it breaks C1-C3, repeats an id or has node 0.
base::Result<Configuration, Errc> restore_configuration(const ConfState& state);

// A version 1 change is one step, entered and left at once.
ConfChangeV2 as_v2(const ConfChange& change);
bool leaves_joint(const ConfChangeV2& change);

}  // namespace keelson::raft
