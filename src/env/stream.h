// Stream: a connected byte stream. Listener: where they come from. Both belong to one io lane and
// are touched, and call back, in its jobs only. TLS will be a Stream over a Stream.
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

// What a stream tells its owner. No call comes after on_closed, nor after the Stream is destroyed,
// which may happen inside any of these calls. None comes from within a call of Stream.
class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  // Bytes came; the view ends with the call.
  virtual void on_bytes(std::string_view bytes) = 0;
  // The peer will send no more. The other direction stays open until close().
  virtual void on_end() = 0;
  // All bytes given to write() so far were taken by the kernel. Comes only after some had to wait,
  // that is after unsent() was above zero when write() returned.
  virtual void on_drained() = 0;
  // The connection is gone: it broke (reset, timed out), or what close_gracefully() began is done
  // (then the error's code is zero if the peer closed its side too, std::errc::timed_out if it did
  // not in time).
  virtual void on_closed(const base::Error& error) = 0;
};

// Touched by jobs of its lane only, or by anyone once the lanes have stopped.
class Stream {
 public:
  virtual ~Stream() = default;  // closes at once

  // Begins to read. Once, before anything else.
  virtual void start(StreamHandler& handler) = 0;
  // Queues bytes; tries to send at once. What the kernel does not take is kept and sent later; the
  // caller bounds it by looking at unsent(). What is written to a broken or closing stream is
  // dropped. Bytes that are sent at once leave their buffer to the caller, to be filled again.
  virtual void write(std::string&& bytes) = 0;
  // The same for several pieces in one system call; each is kept alive until sent.
  virtual void write(std::vector<base::SharedBytes> pieces) = 0;
  // Bytes given to write() and not yet taken by the kernel.
  virtual std::size_t unsent() const = 0;
  // Stops and resumes reading, to push back on the peer.
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
  // Sends what is queued, then the end; waits until the peer ends too, so that no unread byte of
  // the peer turns our last ones into a reset; gives up after `linger`. What comes in is dropped.
  // on_closed follows.
  virtual void close_gracefully(base::Duration linger) = 0;
  virtual const std::string& peer_address() const = 0;  // "127.0.0.1:51234"
  virtual const std::string& local_address() const = 0;
  virtual Lane& lane() = 0;
};

class Listener {
 public:
  // Stops accepting and frees the address: at once on the first of its lanes or when the lanes have
  // stopped, elsewhere soon.
  virtual ~Listener() = default;
  virtual const std::string& address() const = 0;  // with the real port if 0 was asked for
};

struct ListenOptions {
  bool reuse_port = false;
  // For flags that name it; a TCP listener reuses an address in TIME_WAIT in any case, or a restart
  // would have to wait.
  bool reuse_address = false;
  // Open connections at a time; more wait in the kernel's queue. 0: no limit.
  std::size_t connections_max = 0;
};

class Network {
 public:
  virtual ~Network() = default;
  // `address` is "host:port" (host an IP or localhost) or "unix:/path". Accepted streams belong to
  // one of `lanes`, in turn; `on_accept` runs there, on several at a time if there are several.
  // Listening begins when this returns.
  virtual base::Result<std::unique_ptr<Listener>> listen(
      const std::string& address, ListenOptions options, std::vector<Lane*> lanes,
      std::function<void(std::unique_ptr<Stream>)> on_accept) = 0;
  // Connects from `lane` (in a job of it); the answer comes as another one. A host may be a name.
  virtual void connect(Lane& lane, const std::string& address, base::Duration timeout,
                       base::Function<void(base::Result<std::unique_ptr<Stream>>)> done) = 0;
};

}  // namespace keelson::env
