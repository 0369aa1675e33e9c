// Stream: a connected byte stream. Listener: where they come from. Both belong to one io lane and are
// touched, and call back, in its jobs only. TLS will be a Stream over a Stream.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/function.h"
#include "base/result.h"
#include "env/lane.h"

namespace keelson::env {

// What a stream tells its owner. No call comes after on_closed, nor after the Stream is destroyed, which
// may happen inside any of these calls.
class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  // Bytes came; the view ends with the call.
  virtual void on_bytes(std::string_view bytes) = 0;
  // The peer will send no more. The other direction stays open until close().
  virtual void on_end() = 0;
  // All bytes given to write() so far were taken by the kernel.
  virtual void on_drained() = 0;
  // The connection broke (reset, timed out).
  virtual void on_closed(const base::Error& error) = 0;
};

// A piece to be written: either copied from `bytes` before write() returns (small ones) or referenced until
// it is sent (large ones, via `shared`).
class Stream {
 public:
  virtual ~Stream() = default;  // closes at once

  // Begins to read. Once, before anything else.
  virtual void start(StreamHandler& handler) = 0;
  // Queues bytes; tries to send at once. What the kernel does not take is kept and sent later; the caller
  // bounds it by looking at unsent().
  virtual void write(std::string bytes) = 0;
  // The same for several pieces in one system call; each is kept alive until sent.
  virtual void write(std::vector<base::SharedBytes> pieces) = 0;
  // Bytes given to write() and not yet taken by the kernel.
  virtual std::size_t unsent() const = 0;
  // Stops and resumes reading, to push back on the peer.
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
  // Sends what is queued, then closes both directions; gives up after `linger`.
  virtual void close_gracefully(base::Duration linger) = 0;
  virtual const std::string& peer_address() const = 0;   // "127.0.0.1:51234"
  virtual const std::string& local_address() const = 0;
  virtual Lane& lane() = 0;
};

class Listener {
 public:
  virtual ~Listener() = default;  // stops accepting, frees the address
  virtual const std::string& address() const = 0;  // with the real port if 0 was asked for
};

struct ListenOptions {
  bool reuse_port = false;
  bool reuse_address = false;
};

class Network {
 public:
  virtual ~Network() = default;
  // `address` is "host:port" (host an IP or localhost) or "unix:/path". Accepted streams belong to one of
  // `lanes`, in turn; `on_accept` runs there. Listening begins when this returns.
  virtual base::Result<std::unique_ptr<Listener>> listen(
      const std::string& address, ListenOptions options, std::vector<Lane*> lanes,
      std::function<void(std::unique_ptr<Stream>)> on_accept) = 0;
  // Connects from `lane`; the answer comes as a job of it.
  virtual void connect(Lane& lane, const std::string& address, base::Duration timeout,
                       base::Function<void(base::Result<std::unique_ptr<Stream>>)> done) = 0;
};

}  // namespace keelson::env
