// RangeStream: a range in chunks, so that neither side holds the whole of it.
#pragma once

#include <memory>

#include "client/client.h"

namespace keelson::client {

// `on_chunk` hears each part in order; `done` the end, once. Put together (MergeFrom) the parts are
// what Range would have answered. Not begun again after a break: another view of the data would not
// fit what was told.
std::unique_ptr<Call> range_stream(Client& client, const etcdserverpb::RangeRequest& request,
                                   CallOptions options,
                                   base::Function<void(etcdserverpb::RangeResponse chunk)> on_chunk,
                                   base::Function<void(http::Status status)> done);

}  // namespace keelson::client
