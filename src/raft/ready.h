// Ready: everything the driver must do now, as values that may cross to other lanes. raft.md 4.
//
//   take_ready() --messages-->                                        peers, at once
//                --append--> log lane: write, sync --responses-->     peers, and back to step()
//                --apply---> apply lane: apply     --response()-->    back to step()
//
// Rules of the driver
//   D1  append jobs are made durable in the order they were taken, and their responses are
//   delivered in
//       that order, none before its job is durable. Several may be under way.
//   D2  within a job the snapshot comes first, then entries, then hard state.
//   D3  apply jobs are applied in order. In asynchronous mode their entries are durable here
//   already; in
//       synchronous mode the append job of the same Ready comes first.
//   D4  a snapshot in an append job replaces the state machine before any later apply job.
//   D5  `messages` may be lost, delayed, repeated; a response to a peer likewise, one to self
//   never.
// Synchronous mode (Config::async_storage_writes off) has one Ready at a time, ended by advance()
// (sync_adapter.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "raft/types.h"

namespace keelson::raft {

enum class Role : std::uint8_t { kFollower = 0, kCandidate = 1, kLeader = 2, kPreCandidate = 3 };

// Who leads and what this node is; worth telling, never stored.
struct SoftState {
  NodeId leader = kNone;
  Role role = Role::kFollower;
  friend bool operator==(const SoftState&, const SoftState&) = default;
};

// A read may be served once `index` is applied.
struct ReadState {
  Index index = 0;
  std::string context;  // the caller's own
};

struct AppendJob {
  std::optional<HardState> hard_state;  // if it changed
  std::vector<Entry> entries;
  std::optional<Snapshot> snapshot;
  bool must_sync = false;          // false: nothing but a commit index moved, which may be lost
  std::vector<Message> responses;  // to peers or to this node, once the job is durable
};

struct ApplyJob {
  NodeId node = kNone;
  std::vector<Entry> entries;  // committed; never empty
  // Consumes the job: what to give to step() when all of it is applied.
  Message response() && {
    Message message{.type = MessageType::kStorageApplyResp, .to = node, .from = kLocalApplyThread};
    message.entries = std::move(entries);
    return message;
  }
};

struct Ready {
  std::optional<SoftState> soft_state;  // if it changed
  std::vector<ReadState> read_states;
  std::vector<Message> messages;
  std::optional<AppendJob> append;
  std::optional<ApplyJob> apply;
};

}  // namespace keelson::raft
