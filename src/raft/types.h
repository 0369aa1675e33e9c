// The words of consensus: terms, entries, messages, configurations. raft.md 1.
//
// Plain values; payload is shared, not copied. raft/wire.h turns them into etcd's bytes and back.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/strong.h"

namespace keelson::raft {

using NodeId = std::uint64_t;  // a member's id; 0 is nobody
using Term = std::uint64_t;
using Index = std::uint64_t;  // a place in the log, from 1

inline constexpr NodeId kNone = 0;
inline constexpr NodeId kLocalAppendThread = ~NodeId{0};
inline constexpr NodeId kLocalApplyThread = ~NodeId{0} - 1;

enum class EntryType : std::uint8_t { kNormal = 0, kConfChange = 1, kConfChangeV2 = 2 };

struct Entry {
  EntryType type = EntryType::kNormal;
  Term term = 0;
  Index index = 0;
  base::SharedBytes data;
};

// What must be durable of a node besides its log.
struct HardState {
  Term term = 0;
  NodeId vote = kNone;
  Index commit = 0;
  friend bool operator==(const HardState&, const HardState&) = default;
  bool empty() const { return *this == HardState{}; }
};

struct ConfState {
  std::vector<NodeId> voters;
  std::vector<NodeId> learners;
  std::vector<NodeId> voters_outgoing;
  std::vector<NodeId> learners_next;
  bool auto_leave = false;
  friend bool operator==(const ConfState&, const ConfState&) = default;
};

struct SnapshotMetadata {
  ConfState conf_state;
  Index index = 0;
  Term term = 0;
};

struct Snapshot {
  base::SharedBytes data;
  SnapshotMetadata metadata;
  bool empty() const { return metadata.index == 0; }
};

enum class ConfChangeType : std::uint8_t {
  kAddNode = 0,
  kRemoveNode = 1,
  kUpdateNode = 2,
  kAddLearnerNode = 3,
};

struct ConfChange {
  std::uint64_t id = 0;
  ConfChangeType type = ConfChangeType::kAddNode;
  NodeId node_id = kNone;
  std::string context;
};

enum class ConfChangeTransition : std::uint8_t {
  kAuto = 0,
  kJointImplicit = 1,
  kJointExplicit = 2
};

struct ConfChangeSingle {
  ConfChangeType type = ConfChangeType::kAddNode;
  NodeId node_id = kNone;
};

struct ConfChangeV2 {
  ConfChangeTransition transition = ConfChangeTransition::kAuto;
  std::vector<ConfChangeSingle> changes;
  std::string context;
};

enum class MessageType : std::uint8_t {
  kHup = 0,
  kBeat = 1,
  kProp = 2,
  kApp = 3,
  kAppResp = 4,
  kVote = 5,
  kVoteResp = 6,
  kSnap = 7,
  kHeartbeat = 8,
  kHeartbeatResp = 9,
  kUnreachable = 10,
  kSnapStatus = 11,
  kCheckQuorum = 12,
  kTransferLeader = 13,
  kTimeoutNow = 14,
  kReadIndex = 15,
  kReadIndexResp = 16,
  kPreVote = 17,
  kPreVoteResp = 18,
  kStorageAppend = 19,
  kStorageAppendResp = 20,
  kStorageApply = 21,
  kStorageApplyResp = 22,
  kForgetLeader = 23,
};

struct Message {
  MessageType type = MessageType::kHup;
  NodeId to = kNone;
  NodeId from = kNone;
  Term term = 0;
  Term log_term = 0;
  Index index = 0;
  std::vector<Entry> entries;
  Index commit = 0;
  std::optional<Snapshot> snapshot;
  bool reject = false;
  Index reject_hint = 0;
  std::string context;
  NodeId vote = kNone;
  std::vector<Message> responses;
};

}  // namespace keelson::raft
