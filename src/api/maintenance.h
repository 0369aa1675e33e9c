// The Maintenance service: Status, Alarm, Hash, HashKV, Defragment. api.md 7.8, 9.5, 9.6.
#pragma once

#include "api/context.h"

namespace keelson::api {

void add_maintenance(http::Router& router, Context& context);

}  // namespace keelson::api
