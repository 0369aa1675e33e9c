// The Lease service: LeaseGrant, LeaseRevoke, LeaseKeepAlive, LeaseTimeToLive, LeaseLeases.
// api.md 4.
#pragma once

#include "api/context.h"

namespace keelson::api {

void add_lease(http::Router& router, Context& context);

}  // namespace keelson::api
