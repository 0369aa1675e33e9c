// What peers ask of this member: the handlers of the paths at and below /raft, their checks and
// their refusals, in etcd's order and words. Internal to peer/. formats.md 6.1, 6.2.
//
//   POST /raft                       a message: 204
//   POST /raft/snapshot              a message and a file: 204 when it is durable and stepped
//   GET  /raft/stream/<kind>/<from>  messages to <from>, for ever: 200
//   GET  /raft/probing               the time here: 200
//
// A request belongs to the server of the peer port and may outlive the transport: it looks for it
// again in each of its calls.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "http/http1.h"
#include "peer/link.h"
#include "peer/peer.h"
#include "raft/types.h"

namespace keelson::peer {

// The transport as requests see it.
class Directory {
 public:
  virtual Context& context() = 0;
  // nullptr if it is none.
  virtual Peer* find_peer(raft::NodeId id) = 0;
  virtual bool is_cut(raft::NodeId id) const = 0;
  // From the fields of a request.
  virtual void note_sender(raft::NodeId id, std::vector<std::string> urls) = 0;
  // Bytes of messages that are coming by POST; false, and not added, if there would be too many.
  virtual bool add_post_bytes(std::uint64_t bytes) = 0;
  virtual void remove_post_bytes(std::uint64_t bytes) = 0;

 protected:
  ~Directory() = default;
};

// nullptr as handler for a path that is not served here.
http::Route route_request(const std::weak_ptr<Directory>& directory, const http::Request& head);

}  // namespace keelson::peer
