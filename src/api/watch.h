// The Watch service: one bidi stream carries many watchers. api.md 3.
#pragma once

#include "api/context.h"
#include "api/watch_lane.h"

namespace keelson::api {

// `lane` outlives the calls.
void add_watch(http::Router& router, Context& context, WatchLane& lane);

}  // namespace keelson::api
