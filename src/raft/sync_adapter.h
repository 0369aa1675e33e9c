// Synchronous mode: one Ready at a time. raft.md 4.
//
//   Ready ready = node.take_ready();
//   ... persist what ready.append holds, send what may go, apply what ready.apply holds ...
//   advance(node, std::move(ready));        // only then the next take_ready()
//
// A leader may send ready.messages before it persists, everybody else after; the responses of the
// append job that go to peers (sync_responses) after, always.
#pragma once

#include "raft/node.h"

namespace keelson::raft {

// Those responses of the job that are for peers.
std::vector<Message> sync_responses(const AppendJob& job, NodeId self);

// Everything in `ready` is done: what the node says to itself after that is said.
void advance(Node& node, Ready ready);

}  // namespace keelson::raft
