// gRPC's standard health service. This member is one service, "", and serves from its start.
// api.md 1.1.
#pragma once

#include "api/context.h"

namespace keelson::api {

void add_health(http::Router& router, Context& context);

}  // namespace keelson::api
