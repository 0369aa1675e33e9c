// The Cluster service: MemberList, MemberAdd, MemberRemove, MemberUpdate, MemberPromote.
// api.md 9.1.
#pragma once

#include "api/context.h"

namespace keelson::api {

void add_cluster(http::Router& router, Context& context);

}  // namespace keelson::api
