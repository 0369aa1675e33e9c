// What a member that does not lead asks of this one about leases. formats.md 6.1,
// operations.md 3.5.
//
//   POST /leases             LeaseKeepAliveRequest -> LeaseKeepAliveResponse (id and TTL)
//   POST /leases/internal    LeaseInternalRequest -> LeaseInternalResponse (how long it lives)
//
// 404 no such lease, 408 apply lags for more than a second, 413 beyond 64 KiB; 400 (renewing) and
// 500 on a member that does not lead: it passes nothing on.
#pragma once

#include "http/http1.h"
#include "member/front.h"

namespace keelson::member {

inline constexpr std::string_view kLeasesPath = "/leases";
inline constexpr std::string_view kLeasesInternalPath = "/leases/internal";

// No handler for any other path. `front` is of the lane of the port and outlives the request.
http::Route route_leases(Front& front, const http::Request& head);

}  // namespace keelson::member
