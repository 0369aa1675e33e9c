#include "client/range_stream.h"

#include <utility>

namespace keelson::client {
namespace {

using etcdserverpb::RangeResponse;
using http::Status;
using http::StatusCode;

class Chunks final : public Call, private http::ClientCallHandler {
 public:
  Chunks(base::Function<void(RangeResponse)> on_chunk, base::Function<void(Status)> done)
      : on_chunk_(std::move(on_chunk)), done_(std::move(done)) {}

  void begin(Client& client, std::string request, CallOptions options) {
    stream_ = client.start({.path = std::string(kRangeStreamPath),
                            .metadata = std::move(options.metadata),
                            .deadline = options.deadline},
                           *this);
    stream_->send(std::move(request));
    stream_->half_close();
  }

 private:
  void on_message(http::Message message) override {
    etcdserverpb::RangeStreamResponse response;
    const std::string_view bytes = message.view();
    if (!response.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      stream_.reset();
      return finish({StatusCode::kInternal, "the server sent what is no RangeStreamResponse"});
    }
    on_chunk_(std::move(*response.mutable_range_response()));
  }
  void on_end(http::CallEnd end) override { finish(std::move(end.status)); }
  // May destroy this.
  void finish(Status status) {
    auto done = std::move(done_);
    done(std::move(status));
  }

  base::Function<void(RangeResponse)> on_chunk_;
  base::Function<void(Status)> done_;
  std::unique_ptr<http::ClientCall> stream_;
};

}  // namespace

std::unique_ptr<Call> range_stream(Client& client, const etcdserverpb::RangeRequest& request,
                                   CallOptions options,
                                   base::Function<void(RangeResponse)> on_chunk,
                                   base::Function<void(Status)> done) {
  auto chunks = std::make_unique<Chunks>(std::move(on_chunk), std::move(done));
  chunks->begin(client, request.SerializeAsString(), std::move(options));
  return chunks;
}

}  // namespace keelson::client
