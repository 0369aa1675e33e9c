// What a snapshot of the log holds beside the data: the members at its index.
#pragma once

#include "membership/cluster.h"
#include "raft/types.h"

namespace keelson::member {

raft::ConfState conf_state_of(const membership::Roster& roster);

// Its data is the v2 store that older members read. formats.md 2.2
raft::Snapshot log_snapshot(const membership::Roster& roster, raft::Index index, raft::Term term);

}  // namespace keelson::member
