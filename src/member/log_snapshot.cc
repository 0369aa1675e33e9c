#include "member/log_snapshot.h"

namespace keelson::member {

raft::ConfState conf_state_of(const membership::Roster& roster) {
  raft::ConfState conf;
  for (const auto& member : roster.members) {
    (member.is_learner ? conf.learners : conf.voters).push_back(member.id);
  }
  return conf;
}

raft::Snapshot log_snapshot(const membership::Roster& roster, raft::Index index, raft::Term term) {
  raft::Snapshot snapshot;
  snapshot.metadata = {.conf_state = conf_state_of(roster), .index = index, .term = term};
  snapshot.data = base::SharedBytes(membership::v2_store_json(roster));
  return snapshot;
}

}  // namespace keelson::member
