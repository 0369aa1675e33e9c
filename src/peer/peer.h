// Peer: all that goes between this member and one other: two streams each way, posts, snapshots and
// the prober. Remote: somebody who can only be posted to. Internal to peer/.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "peer/link.h"
#include "peer/pipeline.h"
#include "peer/prober.h"
#include "peer/snapshot_sender.h"
#include "peer/stream_codec.h"
#include "peer/stream_reader.h"
#include "peer/stream_writer.h"

namespace keelson::peer {

class Peer {
 public:
  Peer(Context& context, raft::NodeId id, const std::vector<std::string>& urls);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  // By the channel it belongs to; flush() after the last of a batch.
  void send(raft::Message message);
  void flush();
  void send_snapshot(raft::Message message, std::unique_ptr<SnapshotSource> source);

  void update(const std::vector<std::string>& urls);
  void set_cut(bool cut) { link_.cut = cut; }
  bool cut() const { return link_.cut; }
  StreamWriter& writer(StreamKind kind) {
    return kind == StreamKind::kMsgApp ? msgapp_writer_ : message_writer_;
  }

 private:
  // Snapshots at a time; raft has one per peer under way.
  static constexpr std::size_t kSnapshotsMax = 2;

  bool push(raft::Message&& message);
  void drop(raft::MessageType type, raft::NodeId from);
  void refuse_snapshot();

  Link link_;
  StreamWriter msgapp_writer_{link_, StreamKind::kMsgApp};
  StreamWriter message_writer_{link_, StreamKind::kMessage};
  Pipeline pipeline_{link_};
  std::vector<std::unique_ptr<SnapshotSender>> snapshots_;
  Prober prober_{link_};
  StreamReader msgapp_reader_{link_, StreamKind::kMsgApp};
  StreamReader message_reader_{link_, StreamKind::kMessage};
  const std::shared_ptr<int> alive_ = std::make_shared<int>();
};

class Remote {
 public:
  Remote(Context& context, raft::NodeId id, const std::vector<std::string>& urls);

  void send(raft::Message message);
  void set_cut(bool cut) { link_.cut = cut; }
  bool cut() const { return link_.cut; }

 private:
  Link link_;
  Pipeline pipeline_{link_};
};

}  // namespace keelson::peer
