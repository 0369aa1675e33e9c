// GrpcClient: calls over one HTTP/2 connection to a server, the other half of grpc.h.
//
// It takes a connected stream and makes calls until the connection is over; finding servers,
// dialling, choosing one and trying again are the business of whoever owns it. Calls are many at a
// time; what the server's limit of streams does not admit waits here.
//
// Life of a call
//
//   start() -> ClientCall --send()*--half_close()-->
//           <- handler: on_message*, then on_end(end) once; or the ClientCall is destroyed:
//           cancelled, silent
//
// Invariants   N1  on_end comes once for every call whose ClientCall lives, and nothing after it
//              N2  no handler is called from inside start(), a method of ClientCall or its
//              destructor N3  CallEnd::unprocessed only where the server cannot have seen the call:
//              it may be sent
//                  again, elsewhere, whatever it does
//
// Belongs to one lane. A handler may destroy its ClientCall and start others at any time, but not
// the GrpcClient.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/function.h"
#include "base/time.h"
#include "env/lane.h"
#include "env/stream.h"
#include "http/grpc.h"

namespace keelson::http {

struct GrpcClientOptions {
  std::string scheme = "http";  // "https" over TLS
  std::string authority;        // empty: the stream's peer address
  std::string user_agent = "keelson";
  std::size_t message_bytes_max = kSendMessageBytesMax;  // of one answer
  std::int32_t stream_window_bytes = 4 << 20;
  std::int32_t connection_window_bytes = 16 << 20;
  // A connection on which nothing came for so long is pinged; 0: never. Servers object to less than
  // 5 s.
  base::Duration keepalive_time = base::Duration::zero();
  base::Duration keepalive_timeout = base::Seconds(20);
  bool keepalive_without_calls = false;
  std::size_t socket_bytes_max = 512 << 10;  // not taken by the kernel
};

// What a call is started with.
struct CallHead {
  std::string path;                                                // "/etcdserverpb.KV/Range"
  std::vector<std::pair<std::string, std::string>> metadata = {};  // "-bin" values raw
  std::optional<base::TimePoint> deadline = std::nullopt;          // the server is told as well
};

struct CallEnd {
  Status status;
  bool unprocessed = false;
};

class ClientCallHandler {
 public:
  virtual ~ClientCallHandler() = default;
  virtual void on_message(Message message) = 0;
  virtual void on_end(CallEnd end) = 0;
  // unsent_bytes() has fallen to zero after it was not.
  virtual void on_drained() {}
};

// One call, in the hands of who made it. Its destructor cancels it if it has not ended.
class ClientCall {
 public:
  virtual ~ClientCall() = default;
  // One encoded message. Nothing after half_close(), and nothing once the call has ended.
  virtual void send(std::string message) = 0;
  virtual void half_close() = 0;
  virtual std::size_t unsent_bytes() const = 0;
  // No on_message until resumed; the server may send one window more.
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
};

class GrpcClient {
 public:
  // `on_unusable` is called once, when no new call can be made any more: the server said GOAWAY, or
  // the connection is gone. Calls under way go on if they can.
  GrpcClient(env::Lane& lane, std::unique_ptr<env::Stream> stream, GrpcClientOptions options,
             base::Job on_unusable);
  // Ends what is open, silently. No ClientCall of it may be used after, only destroyed.
  ~GrpcClient();
  GrpcClient(const GrpcClient&) = delete;
  GrpcClient& operator=(const GrpcClient&) = delete;

  // Begins a call of any kind. `handler` outlives the ClientCall.
  std::unique_ptr<ClientCall> start(CallHead head, ClientCallHandler& handler);

  // A unary call: `done` hears its end, with the answer if the status is OK (an OK without a
  // message counts as kInternal). Destroying the ClientCall before that cancels it, and `done` is
  // not called.
  using UnaryDone = base::Function<void(CallEnd end, std::string answer)>;
  std::unique_ptr<ClientCall> unary(CallHead head, std::string message, UnaryDone done);

  bool usable() const;
  std::size_t open_calls() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace keelson::http
