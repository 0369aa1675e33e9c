#include "raft/sync_adapter.h"

#include <utility>

#include "base/check.h"

namespace keelson::raft {

std::vector<Message> sync_responses(const AppendJob& job, NodeId self) {
  std::vector<Message> to_peers;
  for (const Message& response : job.responses) {
    if (response.to != self) to_peers.push_back(response);
  }
  return to_peers;
}

void advance(Node& node, Ready ready) {
  CHECK(!node.config().async_storage_writes);
  if (ready.append) {
    for (Message& response : ready.append->responses) {
      if (response.to == node.id()) CHECK(node.step(std::move(response)).ok());
    }
  }
  if (ready.apply) CHECK(node.step(std::move(*ready.apply).response()).ok());
}

}  // namespace keelson::raft
