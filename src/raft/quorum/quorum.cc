#include "raft/quorum/quorum.h"

namespace keelson::raft {

IdSet JointConfig::ids() const {
  IdSet all = incoming;
  for (const NodeId id : outgoing) all.insert(id);
  return all;
}

namespace internal {
Index majority_index(Index* acked, std::size_t voters) {
  if (voters == 0) return kInfiniteIndex;
  // With n/2+1 voters at or above it, the answer has n - (n/2+1) below it.
  Index* const answer = acked + (voters - (voters / 2 + 1));
  std::nth_element(acked, answer, acked + voters);
  return *answer;
}
}  // namespace internal

VoteResult vote_result(std::size_t voters, std::size_t yes, std::size_t no) {
  if (voters == 0) return VoteResult::kWon;
  const std::size_t quorum = voters / 2 + 1;
  if (yes >= quorum) return VoteResult::kWon;
  return voters - no >= quorum ? VoteResult::kPending : VoteResult::kLost;
}

VoteResult joint_vote_result(VoteResult incoming, VoteResult outgoing) {
  if (incoming == outgoing) return incoming;
  if (incoming == VoteResult::kLost || outgoing == VoteResult::kLost) return VoteResult::kLost;
  return VoteResult::kPending;
}

}  // namespace keelson::raft
