// Stats: what the transport counts, by the names of operations.md 6 (etcd_network_*). Plain
// numbers, written by the transport's lane, read by any; what is a histogram there is told to an
// Observer.
#pragma once

#include <memory>
#include <vector>

#include "base/counter.h"
#include "base/time.h"
#include "raft/types.h"

namespace keelson::peer {

// One remote member's, from the first time it is heard of; it outlives the peer, as etcd's label
// values do. Labels `To`, `From` and `Remote` are its id.
struct PeerStats {
  explicit PeerStats(raft::NodeId the_id) : id(the_id) {}
  const raft::NodeId id;  // raft::kNone: snapshots from a sender that did not get as far as naming
                          // itself (UNKNOWN_SNAPSHOT_SENDER), and failures of whoever is unknown

  // active_peers is became_active - disconnected.
  base::Counter became_active;
  base::Counter disconnected;       // disconnected_peers_total
  base::Counter sent_bytes;         // peer_sent_bytes_total
  base::Counter sent_failures;      // peer_sent_failures_total
  base::Counter received_bytes;     // peer_received_bytes_total
  base::Counter received_failures;  // peer_received_failures_total
  // snapshot_send_inflights_total is started - ended; of receiving likewise.
  base::Counter snapshot_sends_started;
  base::Counter snapshot_sends_ended;
  base::Counter snapshot_send_success;
  base::Counter snapshot_send_failures;
  base::Counter snapshot_receives_started;
  base::Counter snapshot_receives_ended;
  base::Counter snapshot_receive_success;
  base::Counter snapshot_receive_failures;  // also of those refused before they started
};
using Stats = std::vector<std::shared_ptr<const PeerStats>>;  // ascending by id

// Where durations go. Called in jobs of the transport's lane.
class Observer {
 public:
  virtual ~Observer() = default;
  // peer_round_trip_time_seconds: smoothed, each 30 s for a peer that answers, each 5 s else.
  virtual void on_round_trip(raft::NodeId id, base::Duration smoothed) = 0;
  // snapshot_send_total_duration_seconds and snapshot_receive_..., of those that succeeded.
  virtual void on_snapshot_send(raft::NodeId to, base::Duration took) = 0;
  virtual void on_snapshot_receive(raft::NodeId from, base::Duration took) = 0;
};

}  // namespace keelson::peer
