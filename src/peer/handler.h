// Handler: what the transport asks of the member and tells it. Implemented by member/.
//
// All calls come in jobs of the transport's lane, never from within a call of Transport. They must
// not wait: what belongs to the raft lane goes there through a channel of the member's own.
//
// What comes in has been checked before it gets here
//   - it is whole and well formed, and no message of a kind that only travels within a member
//   - `to` is this member, `from` is somebody else whom is_removed() does not know
//   - a snapshot has arrived before its message: kSnap comes only after its sink has finished
// but the sender may be no peer of ours (yet), and its term, log and intentions are raft's to
// judge.
#pragma once

#include <memory>

#include "base/result.h"
#include "peer/snapshot.h"
#include "raft/types.h"

namespace keelson::peer {

enum class SnapshotOutcome { kFinished, kFailed };

class Handler {
 public:
  virtual ~Handler() = default;

  // Whether a member of this id was removed from the cluster. It never comes back: answering it so
  // ends its process (etcd's as ours), so true must be said only of what the applied membership
  // says.
  virtual bool is_removed(raft::NodeId id) const = 0;

  // A message for the raft core. False: there is no room, and the message is dropped and counted;
  // raft sends again what matters. (etcd: 4096 messages, and 4096 proposals apart from them.)
  virtual bool receive(raft::Message message) = 0;

  // A snapshot begins to arrive with this message (kSnap, its data without the file). The member
  // bounds how many it takes at a time; an error is answered by 500 and the sender's raft tries
  // again. Where the snapshot is not needed the member may hand the message to its own raft then,
  // whose answer says so.
  virtual base::Result<std::unique_ptr<SnapshotSink>> open_snapshot(
      const raft::Message& message) = 0;

  // Messages to this peer were lost (a connection broke, a queue was full): the core's
  // report_unreachable. At most once per peer and turn of the lane.
  virtual void on_unreachable(raft::NodeId id) = 0;

  // What became of Transport::send_snapshot, once for each that was not cut off by stop(): the
  // core's report_snapshot. A failure comes with on_unreachable.
  virtual void on_snapshot_sent(raft::NodeId id, SnapshotOutcome outcome) = 0;

  // `by` says that this member was removed from the cluster (status 410 or 403): the process is to
  // stop as one that was removed, and its data is of no use to this cluster any more. May come
  // several times.
  virtual void on_member_removed(raft::NodeId by) = 0;
};

}  // namespace keelson::peer
