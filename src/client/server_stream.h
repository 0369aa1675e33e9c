// A call with one request and many answers.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "client/client.h"

namespace keelson::client {

// `on_response` hears each answer in order; `done` the end, once. Not begun again after a break:
// another view of the data would not fit what was told.
template <class Response>
class ServerStream final : public Call, private http::ClientCallHandler {
 public:
  ServerStream(base::Function<void(Response)> on_response, base::Function<void(http::Status)> done)
      : on_response_(std::move(on_response)), done_(std::move(done)) {}

  void begin(Client& client, std::string_view path, std::string request, CallOptions options) {
    stream_ = client.start({.path = std::string(path),
                            .metadata = std::move(options.metadata),
                            .deadline = options.deadline},
                           *this);
    stream_->send(std::move(request));
    stream_->half_close();
  }

 private:
  void on_message(http::Message message) override {
    auto response = Client::decode<Response>(std::move(message).take());
    if (!response) {
      stream_.reset();
      return finish(std::move(response).error());
    }
    on_response_(*std::move(response));
  }
  void on_end(http::CallEnd end) override { finish(std::move(end.status)); }
  // May destroy this.
  void finish(http::Status status) {
    auto done = std::move(done_);
    done(std::move(status));
  }

  base::Function<void(Response)> on_response_;
  base::Function<void(http::Status)> done_;
  std::unique_ptr<http::ClientCall> stream_;
};

}  // namespace keelson::client
