// What the consensus core answers when it cannot do as asked. The texts are etcd's (raft.md 4, 7,
// 12).
#pragma once

#include <cstdint>
#include <string_view>

namespace keelson::raft {

enum class Errc : std::uint8_t {
  kProposalDropped,                // no leader, a transfer is going on, too much uncommitted; retry
  kLocalMessage,                   // a message only this node may give itself came from a peer
  kUnknownPeer,                    // a response of somebody who is in no configuration
  kMalformed,                      // bytes or fields that no correct peer sends
  kCompacted,                      // Storage: the index is behind the log
  kUnavailable,                    // Storage: the index is ahead of the log
  kSnapshotOutOfDate,              // Storage: it has a newer snapshot
  kSnapshotTemporarilyUnavailable  // Storage: ask again later
};
std::string_view describe(Errc errc);

// Why a change of the configuration is not possible from where it stands.
enum class ConfChangeErrc : std::uint8_t {
  kSimpleInJoint,
  kMoreThanOneVoter,
  kAlreadyJoint,
  kNoVotersToJoin,
  kNotJoint,
  kRemovedAllVoters,
};
std::string_view describe(ConfChangeErrc errc);

}  // namespace keelson::raft
