#include "raft/errc.h"

#include "base/check.h"

namespace keelson::raft {

std::string_view describe(Errc errc) {
  switch (errc) {
    case Errc::kProposalDropped:
      return "raft proposal dropped";
    case Errc::kLocalMessage:
      return "raft: cannot step raft local message";
    case Errc::kUnknownPeer:
      return "raft: cannot step as peer not found";
    case Errc::kMalformed:
      return "raft: malformed message";
    case Errc::kCompacted:
      return "requested index is unavailable due to compaction";
    case Errc::kUnavailable:
      return "requested entry at index is unavailable";
    case Errc::kSnapshotOutOfDate:
      return "requested index is older than the existing snapshot";
    case Errc::kSnapshotTemporarilyUnavailable:
      return "snapshot is temporarily unavailable";
  }
  CHECK(!"errc out of range");
  return {};
}

std::string_view describe(ConfChangeErrc errc) {
  switch (errc) {
    case ConfChangeErrc::kSimpleInJoint:
      return "can't apply simple config change in joint config";
    case ConfChangeErrc::kMoreThanOneVoter:
      return "more than one voter changed without entering joint config";
    case ConfChangeErrc::kAlreadyJoint:
      return "config is already joint";
    case ConfChangeErrc::kNoVotersToJoin:
      return "can't make a zero-voter config joint";
    case ConfChangeErrc::kNotJoint:
      return "can't leave a non-joint config";
    case ConfChangeErrc::kRemovedAllVoters:
      return "removed all voters";
  }
  CHECK(!"errc out of range");
  return {};
}

}  // namespace keelson::raft
