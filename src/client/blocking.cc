#include "client/blocking.h"

namespace keelson::client {

using http::Status;

Blocking::Blocking(Options options)
    : runtime_({{"client", "client"}}),
      lane_(runtime_.lane("client")),
      client_(std::make_unique<Client>(lane_, runtime_.network(), std::move(options))) {
  runtime_.start();
}

Blocking::~Blocking() {
  run([this](Client&) { client_.reset(); });
  runtime_.stop();
}

void Blocking::run(base::Function<void(Client&)> job) {
  auto promise = std::make_shared<std::promise<void>>();  // the lane may be the last to let go
  auto ran = promise->get_future();
  lane_.post([&job, this, promise] {
    job(*client_);
    promise->set_value();
  });
  ran.wait();
}

std::optional<base::TimePoint> Blocking::deadline(Timeout timeout) {
  if (!timeout) return std::nullopt;
  return runtime_.clock().now() + *timeout;
}

base::Result<etcdserverpb::RangeResponse, Status> Blocking::range_stream(
    const etcdserverpb::RangeRequest& request, Timeout timeout) {
  etcdserverpb::RangeResponse whole;
  return wait<etcdserverpb::RangeResponse>([&](auto done) {
    return client::range_stream(
        *client_, request, {.deadline = deadline(timeout)},
        [&whole](etcdserverpb::RangeResponse chunk) { whole.MergeFrom(chunk); },
        [&whole, done = std::move(done)](Status status) mutable {
          if (!status.ok()) return done(base::fail(std::move(status)));
          done(std::move(whole));
        });
  });
}

base::Result<etcdserverpb::LeaseKeepAliveResponse, Status> Blocking::keep_alive_once(
    std::int64_t id, Timeout timeout) {
  return wait<etcdserverpb::LeaseKeepAliveResponse>([&](auto done) {
    return client::keep_alive_once(*client_, id, {.deadline = deadline(timeout)}, std::move(done));
  });
}

}  // namespace keelson::client
