// Blocking: a Client on a thread of its own, for programs that do one thing after the other:
// command line tools and tests.
//
// Its calls wait for the answer. What is a stream is used as elsewhere, in the client's lane:
// run(). From one thread, not the lane's. Destroying it cancels what is under way.
#pragma once

#include <future>
#include <memory>
#include <optional>
#include <utility>

#include "base/result.h"
#include "client/client.h"
#include "client/lease_keeper.h"
#include "client/range_stream.h"
#include "env/posix/runtime.h"

namespace keelson::client {

class Blocking {
 public:
  explicit Blocking(Options options);
  ~Blocking();
  Blocking(const Blocking&) = delete;
  Blocking& operator=(const Blocking&) = delete;

  using Timeout = std::optional<base::Duration>;  // none: as long as it takes

  template <class Method>
  base::Result<typename Method::Response, http::Status> call(
      const Method& rpc, const typename Method::Request& request, Timeout timeout) {
    return wait<typename Method::Response>([&](auto done) {
      return client_->call(rpc, request, {.deadline = deadline(timeout)}, std::move(done));
    });
  }
  base::Result<etcdserverpb::RangeResponse, http::Status> range_stream(
      const etcdserverpb::RangeRequest& request, Timeout timeout);
  // `on_piece` runs in the lane, which takes nothing further meanwhile; when it says false the call
  // is given up, as kCancelled.
  base::Result<void, http::Status> snapshot(
      base::Function<bool(const etcdserverpb::SnapshotResponse& piece)> on_piece, Timeout timeout);
  base::Result<etcdserverpb::LeaseKeepAliveResponse, http::Status> keep_alive_once(std::int64_t id,
                                                                                   Timeout timeout);

  // Runs `job` in the lane, with the client, and waits until it has run.
  void run(base::Function<void(Client&)> job);

 private:
  std::optional<base::TimePoint> deadline(Timeout timeout);

  template <class Response>
  base::Result<Response, http::Status> wait(auto begin) {
    using Answer = base::Result<Response, http::Status>;
    auto promise = std::make_shared<std::promise<Answer>>();  // the lane may be the last to let go
    auto answered = promise->get_future();
    std::unique_ptr<Call> handle;
    run([&](Client&) {
      handle = begin([promise](Answer answer) { promise->set_value(std::move(answer)); });
    });
    Answer answer = answered.get();
    run([&](Client&) { handle.reset(); });
    return answer;
  }

  env::posix::Runtime runtime_;
  env::Lane& lane_;
  std::unique_ptr<Client> client_;  // of the lane
};

}  // namespace keelson::client
