// What a role knows, and what dies with it. Held by Node in a variant, so that nobody can look at a
// leader's progress while it does not lead.
#pragma once

#include <cstdint>
#include <vector>

#include "base/containers.h"
#include "raft/read_only.h"
#include "raft/tracker/progress.h"
#include "raft/types.h"

namespace keelson::raft {

struct Follower {
  NodeId leader = kNone;
};

struct Candidate {
  bool pre_vote = false;                      // only asking: the term is not raised yet
  base::OrderedMap<NodeId, bool> votes = {};  // by voter: granted?
};

struct Leader {
  ProgressMap progress;                 // of every id in the configuration
  ReadOnly reads;                       // wait for a quorum
  NodeId transferee = kNone;            // leadership is going there; no proposals meanwhile
  Index pending_conf_index = 0;         // no conf change may be proposed until this is applied
  std::uint64_t uncommitted_bytes = 0;  // payload of its proposals that are not applied yet
  std::uint32_t heartbeat_elapsed = 0;  // ticks
};

}  // namespace keelson::raft
