#include "client/blocking.h"

#include "client/server_stream.h"

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

base::Result<void, Status> Blocking::snapshot(
    base::Function<bool(const etcdserverpb::SnapshotResponse& piece)> on_piece, Timeout timeout) {
  using etcdserverpb::SnapshotResponse;
  auto over = std::make_shared<base::Function<void(base::Result<void, Status>)>>();
  const auto finish = [over](Status status) {
    if (auto done = std::exchange(*over, nullptr)) {
      status.ok() ? done({}) : done(base::fail(std::move(status)));
    }
  };
  return wait<void>([&](auto done) {
    *over = std::move(done);
    auto stream = std::make_unique<ServerStream<SnapshotResponse>>(
        [&on_piece, over, finish](const SnapshotResponse& piece) {
          if (*over && !on_piece(piece)) finish({http::StatusCode::kCancelled, "given up"});
        },
        finish);
    stream->begin(*client_, kSnapshotPath, "", {.deadline = deadline(timeout)});
    return stream;
  });
}

base::Result<etcdserverpb::LeaseKeepAliveResponse, Status> Blocking::keep_alive_once(
    std::int64_t id, Timeout timeout) {
  return wait<etcdserverpb::LeaseKeepAliveResponse>([&](auto done) {
    return client::keep_alive_once(*client_, id, {.deadline = deadline(timeout)}, std::move(done));
  });
}

}  // namespace keelson::client
