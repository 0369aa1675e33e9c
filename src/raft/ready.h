// Ready: everything the driver must do now, as values that may cross to other lanes. raft.md 4.
//
//   take_ready() --messages-->                                        peers, at once
//                --append--> log lane: write, sync --responses-->     peers, and back to step()
//                --apply---> apply lane: apply     --response()-->    back to step()
//
// Rules of the driver
//   D1  append jobs are made durable in the order they were taken, and their responses are
//       delivered in that order, none before its job is durable. Several may be under way.
//   D2  within a job the snapshot comes first, then entries, then hard state.
//   D3  apply jobs are applied in order. In asynchronous mode their entries are durable here
//       already; in synchronous mode the append job of the same Ready comes first.
//   D4  a snapshot in an append job replaces the state machine before any later apply job. An
//       earlier one may still come after it: its entries are part of the snapshot, and skipped.
//   D5  `messages` may be lost, delayed, repeated; a response to a peer likewise, one to self
//       never. One to self may be refused: who is removed is unknown even to itself.
//
// Of messages to peers
//   D6  what a transport drops it tells by report_unreachable(), or the follower hears nothing but
//       heartbeats until one of its answers shows what it lacks.
//   D7  a kSnap is owed one report_snapshot(), whatever becomes of it, its being dropped included.
//       What is sent may be a newer snapshot than the message names, with its metadata changed to
//       match: state machines go on meanwhile, and any that joins the follower to the log will do.
//   D8  kProp, kReadIndex and kTransferLeader are what somebody asked: `from` says who, for a
//       transfer the transferee, and need not be the peer that passes it on.
//   D9  entries share their bytes with the log, so what waits in a queue to a slow peer keeps them
//       from being freed. max_inflight_messages and max_inflight_bytes bound that for each.
//   D10 in asynchronous mode kVote leaves when the append job of its Ready is durable
//       (hold_vote_requests). Others' votes alone can elect a candidate: who has forgotten its own
//       in a crash could be elected again by them, and fill its term a second time with other
//       entries. (raft.md 4 has vote requests leave at once; its synchronous mode waits.)
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

// D10: what of `messages` must wait becomes a response of the append job.
void hold_vote_requests(Ready& ready);

}  // namespace keelson::raft
