// GET /members/hashkv: what another member asks of this one to compare their data
// (member/peer_hashes.h). formats.md 6.1.
//
// 400 for a body that is no such JSON, and for a hash that there is none of; 405; 412 for a member
// of another cluster.
#pragma once

#include "http/http1.h"
#include "member/front.h"

namespace keelson::member {

// No handler for any other path. `front` is of the lane of the port and outlives the request.
http::Route route_hash(Front& front, const http::Request& head);

}  // namespace keelson::member
