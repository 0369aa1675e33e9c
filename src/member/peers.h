// Peers: this member among the others. Owns the transport, tells it who the others are by what the
// applied membership says, and carries messages between it and the raft lane.
//
//   RaftDriver --send--> Peers --> Transport --> others
//   others --> Transport --receive--> [bounded] --> RaftDriver
//
// The channel from the others is bounded: what does not fit is dropped, for raft sends again what
// matters. Proposals have one of their own, so that a flood of them holds up no heartbeat.
//
// send() and follow() are the raft lane's; all else, and Handler's calls, belong to the transport's
// lane (io[0]).
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/containers.h"
#include "env/channel.h"
#include "env/lane.h"
#include "env/stream.h"
#include "member/peer_metrics.h"
#include "member/shared.h"
#include "peer/question.h"
#include "peer/transport.h"

namespace keelson::member {

class Peers final : public peer::Handler {
 public:
  // What comes in goes to these, made by the raft lane's owner.
  struct Inboxes {
    env::Channel<raft::Message>* messages = nullptr;
    env::Channel<raft::Message>* proposals = nullptr;
  };
  // `network` and `shared` outlive it. Before the lanes run.
  Peers(env::Lane& lane, Shared& shared, env::Network& network, Inboxes inboxes);
  ~Peers() override;

  // To whom each says. What cannot be taken is reported unreachable, by an event to the raft lane.
  void send(std::vector<raft::Message> messages);
  // The members as of now; at the start, and after each change.
  void follow(const membership::Roster& roster);

  peer::Transport& transport() { return *transport_; }
  // The transport's.
  env::Lane& lane() { return lane_; }
  // To the others' peer ports; from any lane.
  peer::Connector& connector() { return *connector_; }
  // Asks a member something on its peer port, from any lane (peer/question.h), by cluster id.
  std::unique_ptr<peer::Question> ask(env::Lane& lane, peer::Asked asked,
                                      base::Function<void(base::Result<peer::Answered>)> done);

  // On its lane: nothing comes or goes any more.
  void stop();

  // peer::Handler
  bool is_removed(raft::NodeId id) const override;
  bool receive(raft::Message message) override;
  base::Result<std::unique_ptr<peer::SnapshotSink>> open_snapshot(
      const raft::Message& message) override;
  void on_unreachable(raft::NodeId id) override;
  void on_snapshot_sent(raft::NodeId id, peer::SnapshotOutcome outcome) override;
  void on_member_removed(raft::NodeId by) override;

 private:
  env::Lane& lane_;
  Shared& shared_;
  const Inboxes inboxes_;
  mutable ViewCache views_;
  PeerMetrics metrics_;
  std::unique_ptr<peer::Connector> connector_;
  std::unique_ptr<peer::Transport> transport_;
  const std::shared_ptr<std::atomic<bool>> coming_;                 // a snapshot is; one at a time
  base::OrderedMap<raft::NodeId, std::vector<std::string>> known_;  // the raft lane's
};

}  // namespace keelson::member
