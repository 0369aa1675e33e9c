// The HTTP/1.1 endpoints of the peer port. operations.md 3.5, formats.md 6.1.
//
//   GET /version              as on the client port
//   GET /members              JSON of the members as this one knows them, X-Etcd-Cluster-ID
//   GET /downgrade/enabled    true or false, after a linearizable read, X-Etcd-Cluster-ID
//   POST /members/promote/ID  makes a learner a voter, if this member leads
//   GET /members/hashkv       to compare the members' data (member/hash_endpoint.h)
//   /raft, /raft/...          the transport's (peer/transport.h)
//   /leases, /leases/internal for members that do not lead (member/lease_endpoints.h)
//
// Anything else is 404. On the transport's lane.
#pragma once

#include "http/http1.h"
#include "member/front.h"

namespace keelson::api {

class PeerEndpoints : public http::RequestRouter {
 public:
  // `front` outlives it.
  explicit PeerEndpoints(member::Front& front) : front_(front) {}
  http::Route route(const http::Request& head) override;

 private:
  member::Front& front_;
};

}  // namespace keelson::api
