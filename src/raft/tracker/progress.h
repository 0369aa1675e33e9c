// Progress: how far the leader has brought one follower, as the leader knows it. raft.md 8.
//
//            accepted                     log too short
//   Probe ------------> Replicate   any ---------------> Snapshot
//     ^                     |                               |
//     +---- rejected, ------+                               |
//     |     unreachable                                     |
//     +---- reported, or acknowledged at the log's start ---+
//
// Probe sends one message and waits; Replicate streams, optimistic, bounded by inflights; Snapshot
// waits.
//
// Invariants   P1  match < next: everything up to match is known to be the same in both logs
//              P2  sent_commit is the highest commit index the follower may have been told, as far
//              as it
//                  could use it
//              P3  inflights are empty but in Replicate
// Held by a leader only; one for every id of the configuration, its own included.
#pragma once

#include <cstdint>

#include "base/containers.h"
#include "raft/tracker/inflights.h"
#include "raft/types.h"

namespace keelson::raft {

enum class ProgressState : std::uint8_t { kProbe, kReplicate, kSnapshot };

struct Progress {
  explicit Progress(Inflights::Limits limits) : inflights(limits) {}

  Index match = 0;
  Index next = 1;  // of the next entry to send
  Index sent_commit = 0;
  ProgressState state = ProgressState::kProbe;
  Index pending_snapshot = 0;  // in Snapshot: its index
  bool recent_active = false;  // has spoken since the last check of the quorum
  bool append_paused = false;  // nothing more until it answers an append or a heartbeat
  bool learner = false;
  Inflights inflights;

  void become_probe();
  void become_replicate();
  void become_snapshot(Index index);
  // An append with `entries` entries of `bytes` payload left, from `next` on. Not in Snapshot.
  void sent_entries(std::size_t entries, std::uint64_t bytes);
  // Would an append that carries `commit` tell the follower something it can use?
  bool can_bump_commit(Index commit) const {
    return commit > sent_commit && sent_commit < next - 1;
  }
  void sent_commit_index(Index commit) { sent_commit = commit; }
  // It has everything up to `index`. False if that was known.
  bool maybe_update(Index index);
  // It refused an append after `rejected`; `hint` is where the logs may still agree. False if the
  // answer is stale.
  bool maybe_decrease(Index rejected, Index hint);
  bool paused() const { return state == ProgressState::kSnapshot || append_paused; }

 private:
  void reset_state(ProgressState to);
};

using ProgressMap = base::OrderedMap<NodeId, Progress>;

}  // namespace keelson::raft
