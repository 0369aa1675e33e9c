// Quorum: what a set of voters, or two sets at once (a joint configuration), has agreed on.
// raft.md 6.
//
// A majority of n voters is n/2+1 of them. A joint configuration decides what both its halves
// decide. An empty half agrees to everything, so that a configuration with one half is a joint one
// with the other empty.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "raft/types.h"

namespace keelson::raft {

// Ids in ascending order; a handful, so a vector is the fastest set.
class IdSet {
 public:
  IdSet() = default;
  IdSet(std::initializer_list<NodeId> ids) {
    for (const NodeId id : ids) insert(id);
  }
  bool contains(NodeId id) const { return std::ranges::binary_search(ids_, id); }
  // False if it was there already.
  bool insert(NodeId id) {
    const auto at = std::ranges::lower_bound(ids_, id);
    if (at != ids_.end() && *at == id) return false;
    ids_.insert(at, id);
    return true;
  }
  // False if it was not there.
  bool erase(NodeId id) {
    const auto at = std::ranges::lower_bound(ids_, id);
    if (at == ids_.end() || *at != id) return false;
    ids_.erase(at);
    return true;
  }
  void clear() { ids_.clear(); }
  bool empty() const { return ids_.empty(); }
  std::size_t size() const { return ids_.size(); }
  auto begin() const { return ids_.begin(); }
  auto end() const { return ids_.end(); }
  const std::vector<NodeId>& ids() const { return ids_; }
  friend bool operator==(const IdSet&, const IdSet&) = default;

 private:
  std::vector<NodeId> ids_;
};

struct JointConfig {
  IdSet incoming;
  IdSet outgoing;  // empty unless the configuration is joint

  bool joint() const { return !outgoing.empty(); }
  bool contains(NodeId id) const { return incoming.contains(id) || outgoing.contains(id); }
  bool is_singleton() const { return incoming.size() == 1 && outgoing.empty(); }
  IdSet ids() const;  // of both
  friend bool operator==(const JointConfig&, const JointConfig&) = default;
};

// What an empty configuration has committed: everything.
inline constexpr Index kInfiniteIndex = ~Index{0};

enum class VoteResult : std::uint8_t { kPending, kLost, kWon };

namespace internal {
// The highest index that a majority has reached; sorts `acked` (one for each voter, 0 if unknown).
Index majority_index(Index* acked, std::size_t voters);
}  // namespace internal

// The largest index acknowledged by a majority. `acked(id)` is an optional<Index>.
template <class Acked>
Index committed_index(const IdSet& voters, const Acked& acked) {
  constexpr std::size_t kOnStack = 9;
  std::array<Index, kOnStack> few;
  std::vector<Index> many;
  if (voters.size() > kOnStack) many.resize(voters.size());
  Index* const all = many.empty() ? few.data() : many.data();
  std::size_t count = 0;
  for (const NodeId id : voters) {
    const std::optional<Index> index = acked(id);
    all[count++] = index.value_or(0);
  }
  return internal::majority_index(all, count);
}
template <class Acked>
Index committed_index(const JointConfig& config, const Acked& acked) {
  return std::min(committed_index(config.incoming, acked), committed_index(config.outgoing, acked));
}

VoteResult vote_result(std::size_t voters, std::size_t yes, std::size_t no);
VoteResult joint_vote_result(VoteResult incoming, VoteResult outgoing);

// How the vote stands. `vote(id)` is an optional<bool>, none if the voter has not answered.
template <class Vote>
VoteResult vote_result(const IdSet& voters, const Vote& vote) {
  std::size_t yes = 0, no = 0;
  for (const NodeId id : voters) {
    const std::optional<bool> answer = vote(id);
    if (answer) (*answer ? yes : no)++;
  }
  return vote_result(voters.size(), yes, no);
}
template <class Vote>
VoteResult vote_result(const JointConfig& config, const Vote& vote) {
  return joint_vote_result(vote_result(config.incoming, vote), vote_result(config.outgoing, vote));
}

}  // namespace keelson::raft
