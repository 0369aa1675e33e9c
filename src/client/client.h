// Client: calls to a cluster, over whichever of its endpoints answers.
//
// What it adds to http::GrpcClient: it dials and dials again (connections.h), a call waits for a
// connection until its deadline, and a unary call that failed before anything can have come of it,
// or may be done twice, is sent again.
//
// Life of a unary call
//
//   call() -> Waiting --connection--> Sent --answer--> done(response)
//                ^                      | \--error--> done(status)
//                \------- pause --------/ unprocessed, or unavailable and Repeat::kSafely
//
// The pause is 25 ms with jitter after each round over a majority of the endpoints, as in etcd's
// client: the others are asked at once.
//
// Invariants   C1  `done`, or a stream's on_end, comes once for every call whose handle lives, and
//                  nothing after it; never from inside the function that began the call
//              C2  a Repeat::kNever call reaches a server's handler at most once
//              C3  without a deadline a call waits for a connection for ever
//
// Belongs to one lane. A callback may destroy handles and begin calls, but not destroy the Client.
// All handles go before the Client: CHECKed.
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "base/result.h"
#include "client/connections.h"
#include "client/options.h"
#include "client/rpc.h"
#include "env/lane.h"
#include "env/stream.h"
#include "http/deadline_queue.h"
#include "http/grpc_client.h"

namespace keelson::client {

struct CallOptions {
  std::optional<base::TimePoint> deadline = std::nullopt;
  std::vector<std::pair<std::string, std::string>> metadata = {};
};

// A unary call under way. Destroying it cancels the call, silently.
class Call {
 public:
  virtual ~Call() = default;
};

class Client {
 public:
  static constexpr unsigned kAttemptsMax = 100;
  static constexpr base::Duration kRetryPause = base::Milliseconds(25);

  Client(env::Lane& lane, env::Network& network, Options options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  template <class Method>
  using Done = base::Function<void(base::Result<typename Method::Response, http::Status> response)>;

  template <class Method>
  std::unique_ptr<Call> call(const Method& rpc, const typename Method::Request& request,
                             CallOptions options, Done<Method> done) {
    return unary(rpc.path, rpc.repeat, request.SerializeAsString(), std::move(options),
                 [done = std::move(done)](base::Result<std::string, http::Status> answer) mutable {
                   done(decode<typename Method::Response>(std::move(answer)));
                 });
  }

  // The same with encoded messages.
  using RawDone = base::Function<void(base::Result<std::string, http::Status> answer)>;
  std::unique_ptr<Call> unary(std::string path, Repeat repeat, std::string message,
                              CallOptions options, RawDone done);

  // Begins a call of any kind once there is a connection; as http::GrpcClient::start. Never sent
  // twice. `handler` outlives the handle.
  std::unique_ptr<http::ClientCall> start(http::CallHead head, http::ClientCallHandler& handler);

  env::Lane& lane() { return lane_; }
  base::TimePoint now() const { return lane_.clock().now(); }
  const Options& options() const { return options_; }
  std::size_t open_calls() const { return open_calls_; }
  // Why the last dial that failed did; empty if none has.
  const std::string& connection_error() const { return connections_.last_error(); }

  // kInternal for bytes that are no such message.
  template <class Response>
  static base::Result<Response, http::Status> decode(
      base::Result<std::string, http::Status> answer) {
    if (!answer) return base::fail(std::move(answer).error());
    Response response;
    if (!response.ParseFromString(*answer)) return base::fail(unparsable());
    return response;
  }

 private:
  class Stream;
  class Unary;

  static http::Status unparsable();
  void on_ready();
  // Before the next attempt, the first being number 0.
  base::Duration pause_before(unsigned attempt);
  void tell_failed(FailedAttempt failed);

  env::Lane& lane_;
  const Options options_;
  base::Random random_;
  std::size_t open_calls_ = 0;  // handles
  http::DeadlineQueue deadlines_;
  std::list<Stream*> waiting_;  // for a connection, oldest first
  Connections connections_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();  // for jobs that outlive this
};

}  // namespace keelson::client
