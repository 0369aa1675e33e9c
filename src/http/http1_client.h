// Http1Client: requests over one HTTP/1.1 connection to a server, one at a time; the other half of
// http1.h.
//
// It takes a connected stream and asks until the connection is over; finding servers, dialling,
// keeping connections for later and trying again are the business of whoever owns it.
//
// Life of a request
//
//   start(request, handler) --write()*--end_body()-->
//                           <-- on_head, on_body*, on_end    or, at any time, on_failed
//   Idle --start()--> Busy --on_end--> Idle, or closed     Busy --on_failed--> closed
//
// An answer may come before the request is whole; then, as after an answer that says so or lasts to
// the end of the connection, the connection is closed with on_end.
//
// Invariants   C1  each request ends with one on_end or one on_failed, and nothing after it, or
// with
//                  the client's destruction, and nothing at all
//              C2  no handler is called from inside a method of the client
//              C3  what is held of an answer is bounded: its head by head_bytes_max, its body by
//              one
//                  read of the socket, but for what arrives while reading is paused (one more read)
//
// Belongs to the stream's lane. A handler may do anything to the client in any of its calls,
// destroy it too; from on_end on it may start the next request.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"
#include "env/lane.h"
#include "env/stream.h"
#include "http/http1.h"

namespace keelson::http {

// How long each part may make no progress; zero: for ever.
struct RequestTimeouts {
  base::Duration send = base::Seconds(5);  // bytes given to the socket and none of them taken
  base::Duration head =
      base::Seconds(5);  // the request is whole and taken, and no answer has begun
  base::Duration body = base::Seconds(5);  // between two pieces of the answer, while they are read
};

struct ClientRequest {
  std::string method = "GET";
  std::string target = "/";
  std::string host;  // the Host field; empty: the stream's peer address
  // Host, Content-Length and Transfer-Encoding are added.
  Headers headers = {};
  base::SharedBytes body = {};
  // The body is not `body` but what write() and end_body() bring, sent in chunks.
  bool streamed = false;
  RequestTimeouts timeouts = {};
};

struct ResponseHead {
  int status = 0;
  Headers headers;
};

struct RequestFailure {
  base::Error error;
  // Not a byte of an answer came. On a connection that has served before, this may be a server that
  // closed it for being idle, and the request the first thing to hear of it.
  bool unanswered = false;
};

class ResponseHandler {
 public:
  virtual ~ResponseHandler() = default;
  virtual void on_head(const ResponseHead& head) = 0;
  virtual void on_body(std::string_view bytes) = 0;
  virtual void on_end() = 0;
  virtual void on_failed(const RequestFailure& failure) = 0;
  // unsent_bytes() has fallen to zero after it was not.
  virtual void on_drained() {}
};

class Http1Client {
 public:
  Http1Client(env::Lane& lane, std::unique_ptr<env::Stream> stream,
              std::size_t head_bytes_max = 64 << 10);
  // Closes at once: a server sees a request that was not whole as broken off.
  ~Http1Client();
  Http1Client(const Http1Client&) = delete;
  Http1Client& operator=(const Http1Client&) = delete;

  // Only if idle(). `handler` lives until the request has ended or the client is gone.
  void start(ClientRequest request, ResponseHandler& handler);
  // The body of a streamed request: dropped once the request has ended.
  void write(base::SharedBytes bytes);
  void end_body();
  // Given to the stream and not taken.
  std::size_t unsent_bytes() const;

  // No on_body until resumed. Time stands still for the answer meanwhile.
  void pause_reading();
  void resume_reading();

  // Open, and no request under way.
  bool idle() const;
  // No request can be started ever again.
  bool closed() const;
  // Since when it is idle.
  base::TimePoint idle_since() const;

 private:
  class Impl;
  const std::shared_ptr<Impl> impl_;
};

}  // namespace keelson::http
