// Transport: messages of raft between this member and the others, over HTTP/1.1 as etcd 3.5 to 3.7
// speak it among members. formats.md 6.
//
//   send(batch) --[bounded]--> Peer --msgapp stream-------> peer's Transport --> its Handler
//                               |-----message stream------>
//                               |-----POST /raft (x4)----->
//                               \-----POST /raft/snapshot->
//
// Streams run backwards: a member dials two of each peer (GET /raft/stream/msgapp and /message) and
// READS them; what it sends goes into the answers to the requests that the peer has made here. So
// the transport has a client half, which dials by a Connector, and a server half, route(), to be
// mounted on the peer port beside the endpoints that tell about the member.
//
// Which way a message takes: kApp by the msgapp stream if the peer has it open; else anything but
// kSnap by the message stream; else, and kSnap, by POST /raft, four at a time. A stream that comes
// anew replaces the one before. A snapshot with its file goes by POST /raft/snapshot.
//
// Invariants
//   T1  send() never waits. Every queue is bounded in number and bytes (Limits); what does not fit
//       is dropped, and Handler::on_unreachable says of whom.
//   T2  Each stream, POST and transfer has its own connection and waits for nothing but that: a
//       peer that reads slowly delays only what goes to itself, a snapshot delays no message, and
//       log entries no heartbeat. Of one stream, small messages overtake appends and proposals, and
//       no more than Limits::socket_bytes_max lies in the socket before them.
//   T3  Messages may be lost, delayed and overtaken, and a POST that was cut off may arrive twice
//       (never one of kProp). They are not altered, and not merged.
//   T4  A stream that breaks or falls silent (read_timeout; link heartbeats come three times in
//       that) is dialled again, at most once each dial_retry, at the peer's next URL if one failed.
//   T5  410, at which a member stops for good, is answered to the stream of a removed member alone.
//       403 means the same to a sender of messages, and is never answered: etcd means it for
//       messages of removed members and for those that are for somebody else, but answers 500, and
//       a new member at the address of an old one would stop whoever has not heard of it yet. All
//       other trouble is another 4xx or 5xx, and is tried again.
//   T6  Bytes of a peer never make the process stop, nor hold more memory than Limits says.
//
// One lane for all peers: the raft lane wakes one other per turn, whatever the number of peers;
// members are few, jobs here only move bytes that others have made, and none waits for a disk. It
// may be an io lane, or one of its own where there are cores for it; the listener of the peer port
// is given this lane alone.
//
// It has no thread, clock or socket of its own: env/simulated runs it as it is.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/time.h"
#include "env/lane.h"
#include "http/http1.h"
#include "membership/version.h"
#include "peer/connector.h"
#include "peer/handler.h"
#include "peer/snapshot.h"
#include "peer/stats.h"
#include "raft/types.h"

namespace keelson::peer {

struct Limits {
  // etcd's numbers
  // -------------------------------------------------------------------------------
  std::size_t stream_messages_max = 4096;               // waiting for one stream
  std::size_t pipeline_messages_max = 64;               // waiting for one of the POSTs
  std::size_t posts_max = 4;                            // under way, per peer
  std::uint64_t message_bytes_max = 512 << 20;          // of one that comes
  std::uint64_t snapshot_message_bytes_max = 64 << 20;  // of one that comes, without the file

  // Ours
  // ----------------------------------------------------------------------------------------
  // Waiting for one stream. Entries are shared with the log, not copied; the core's limit of bytes
  // in flight should lie below, or what it sends at full speed is dropped.
  std::size_t stream_bytes_max = 128 << 20;
  std::size_t socket_bytes_max = 256 << 10;      // of a stream, not taken by the kernel
  std::size_t batches_max = 1024;                // from the raft lane, not yet looked at
  std::size_t batched_bytes_max = 256 << 20;     // ... the payload of their entries
  std::uint64_t post_bytes_max = 1 << 30;        // of messages that come by POST, not yet whole
  std::size_t remotes_max = 64;                  // senders that are no peers
  std::size_t snapshot_piece_bytes = 256 << 10;  // what a sink gets at once, at most
};

struct Options {
  raft::NodeId member_id = raft::kNone;
  std::uint64_t cluster_id = 0;
  std::vector<std::string> peer_urls;  // where this member is reached: X-PeerURLs
  membership::Version server_version{3, 7, 1};
  membership::Version min_cluster_version{3, 0, 0};

  base::Duration dial_timeout = base::Seconds(2);  // etcd: 1 s and the election timeout
  base::Duration dial_retry = base::Milliseconds(100);
  base::Duration read_timeout = base::Seconds(5);   // --raft-read-timeout
  base::Duration write_timeout = base::Seconds(5);  // --raft-write-timeout
  Limits limits;
};

class Transport {
 public:
  // All of them outlive it. Made before the lanes run, or in a job of `lane`; destroyed in a job of
  // it after stop() is done, or when the lanes have stopped. `observer` may be nullptr.
  Transport(env::Lane& lane, Connector& connector, Options options, Handler& handler,
            Observer* observer);
  ~Transport();
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;

  // Who there is. From any lane; what one lane calls takes effect in the order of its calls, those
  // of send() included.
  // -----------------------------------------------------------------------------------------------

  // A member of the cluster: its streams are dialled, and it may open its own here. Nothing for one
  // that is a peer already. URLs that etcd would not accept are logged and left out; a peer that
  // has none is never dialled.
  void add_peer(raft::NodeId id, std::vector<std::string> urls);
  // Closes all of its connections; what waits is dropped in silence. A snapshot under way to it has
  // failed.
  void remove_peer(raft::NodeId id);
  void remove_all_peers();
  void update_peer(raft::NodeId id, std::vector<std::string> urls);
  // Somebody who may be sent messages (by POST only) though he is no peer yet. Whoever talks to
  // this member first is added so by its headers.
  void add_remote(raft::NodeId id, std::vector<std::string> urls);

  // Sending. From any lane.
  // -------------------------------------------------------------------------------------

  // Messages by their `to`; those to kNone and to nobody known are dropped in silence, as in etcd.
  // False, and the batch untouched, if as much waits already as Limits allows: then none of it is
  // sent, and the caller reports each `to` unreachable itself.
  [[nodiscard]] bool send(std::vector<raft::Message>&& messages);
  // `message` is a kSnap of the core whose metadata and data the member has set to what `source`
  // holds. Handler::on_snapshot_sent follows, also if there is no such peer.
  void send_snapshot(raft::Message message, std::unique_ptr<SnapshotSource> source);

  // Serving. On the lane.
  // ----------------------------------------------------------------------------------------

  // The handler for a path at or below /raft; none for any other. The server of the peer port gives
  // a connection five seconds for a head, and between two requests (http::Http1Limits), as etcd's.
  http::Route route(const http::Request& head);

  // Asking. From any lane; as of a moment ago.
  // -------------------------------------------------------------------

  // Since when messages to or from this peer got through; nullopt if they do not, or it is no peer.
  std::optional<base::TimePoint> active_since(raft::NodeId id) const;
  std::size_t active_peers() const;
  Stats stats() const;

  // For tests. From any lane.
  // ------------------------------------------------------------------------------------

  // From now on all messages to and from this peer (all peers) are dropped in silence, until
  // mended; connections stay.
  void cut_peer(raft::NodeId id);
  void mend_peer(raft::NodeId id);
  void pause();
  void resume();

  // The end. Closes everything; sources and sinks go, and the handler hears nothing more. Requests
  // are refused (503) from then on, and messages dropped. On the lane, or when the lanes have
  // stopped; once.
  void stop();

 private:
  class Impl;
  const std::shared_ptr<Impl> impl_;
};

}  // namespace keelson::peer
