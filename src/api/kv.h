// The KV service: Range, RangeStream, Put, DeleteRange, Txn, Compact. api.md 2.
#pragma once

#include "api/context.h"

namespace keelson::api {

void add_kv(http::Router& router, Context& context);

}  // namespace keelson::api
