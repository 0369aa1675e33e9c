#include "raft/ready.h"

#include "base/check.h"

namespace keelson::raft {

// Who asks has a new term and its own vote to save.
void hold_vote_requests(Ready& ready) {
  std::erase_if(ready.messages, [&ready](const Message& message) {
    if (message.type != MessageType::kVote) return false;
    CHECK(ready.append && ready.append->must_sync);
    ready.append->responses.push_back(message);
    return true;
  });
}

}  // namespace keelson::raft
