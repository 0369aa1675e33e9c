#include "client/range_stream.h"

#include <utility>

#include "client/server_stream.h"

namespace keelson::client {

using etcdserverpb::RangeResponse;
using etcdserverpb::RangeStreamResponse;

std::unique_ptr<Call> range_stream(Client& client, const etcdserverpb::RangeRequest& request,
                                   CallOptions options,
                                   base::Function<void(RangeResponse)> on_chunk,
                                   base::Function<void(http::Status)> done) {
  auto stream = std::make_unique<ServerStream<RangeStreamResponse>>(
      [on_chunk = std::move(on_chunk)](RangeStreamResponse response) mutable {
        on_chunk(std::move(*response.mutable_range_response()));
      },
      std::move(done));
  stream->begin(client, kRangeStreamPath, request.SerializeAsString(), std::move(options));
  return stream;
}

}  // namespace keelson::client
