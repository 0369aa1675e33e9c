// Server: the connections of one io lane. Sniffs each: HTTP/2 preface -> gRPC, else HTTP/1.1
// (operations.md 3.1).
//
// One Server per io lane and listening port; it owns its connections, and they their calls. It
// knows no sockets: whoever accepts hands it connected streams. TLS is a Stream over a Stream: the
// stream handed in is then the decrypted one, and the Peer says what the handshake showed.
//
// What is bounded, and the answer beyond
//   calls of a connection (SETTINGS, and in any case)           RST_STREAM(REFUSED_STREAM)
//   header list of a call                                       RST_STREAM(FRAME_SIZE_ERROR)
//   one message, from its prefix; when inflating, by its bytes  kResourceExhausted
//   bytes of requests not yet whole, per connection and server  kResourceExhausted
//   bytes of answers not yet sent, per connection               new calls: kResourceExhausted
//   ... per server                                              the same, and large answers of open
//                                                               calls but for bidi streams; only on
//                                                               connections beyond their share
//   bytes given to the socket and not taken                     no more are made until it drains
//   frames waiting that the peer provokes (acks, resets)        the connection is closed
//   pings                                                       GOAWAY(ENHANCE_YOUR_CALM)
//
// Keepalive: the server pings a connection that was silent for `keepalive_interval` and closes it
// when nothing at all comes within `keepalive_timeout`.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>

#include "base/function.h"
#include "base/time.h"
#include "env/lane.h"
#include "env/stream.h"
#include "http/grpc.h"
#include "http/http1.h"

namespace keelson::http {

struct ServerOptions {
  // operations.md 1.6
  // ---------------------------------------------------------------------------------
  std::uint32_t max_concurrent_streams = std::numeric_limits<std::uint32_t>::max();
  std::size_t message_bytes_max = (1536 + 512) << 10;  // max-request-bytes + 512 KiB
  base::Duration keepalive_min_time = base::Seconds(5);
  base::Duration keepalive_interval = base::Seconds(7200);  // 0: the server never pings
  base::Duration keepalive_timeout = base::Seconds(20);
  AccessPolicy access;
  Http1Limits http1;

  // Ours
  // ----------------------------------------------------------------------------------------------
  std::int32_t stream_window_bytes = 1 << 20;
  std::int32_t connection_window_bytes = 4 << 20;
  std::size_t header_list_bytes_max = 256 << 10;
  std::size_t calls_per_connection_max = 100'000;
  std::size_t request_bytes_per_connection_max = 64 << 20;
  std::size_t request_bytes_max = 256 << 20;
  std::size_t answer_bytes_per_connection_max = 64 << 20;
  std::size_t answer_bytes_max = 512 << 20;
  // A connection's, whatever others hold: who reads what it asked for is served beside those who do
  // not.
  std::size_t answer_bytes_share = 256 << 10;
  std::size_t socket_bytes_max = 512 << 10;  // not taken by the kernel
};

// Plain counters, read from the server's lane.
struct ServerStats {
  std::uint64_t connections_accepted = 0;
  std::uint64_t connections_open = 0;
  std::uint64_t calls_started = 0;
  std::uint64_t calls_open = 0;
  std::uint64_t calls_cancelled = 0;
  std::uint64_t calls_refused = 0;    // answered here, before a service was asked
  std::uint64_t requests = 0;         // HTTP/1.1
  std::uint64_t request_bytes = 0;    // of messages not yet whole, now
  std::uint64_t answer_bytes = 0;     // of answers not yet sent, now
  std::uint64_t protocol_errors = 0;  // connections closed for breaking HTTP/2
  std::uint64_t pings_refused = 0;    // connections closed for pinging too much
  std::uint64_t bytes_received = 0;
  std::uint64_t bytes_sent = 0;
};

class Server {
 public:
  // Either may be nullptr: a port for one protocol only closes a connection of the other. Both must
  // outlive the server.
  Server(env::Lane& lane, const ServerOptions& options, const Router* grpc, RequestRouter* http1);
  // Breaks what is open: handlers are cancelled with kServerStopping.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Takes a connected stream of this lane.
  void accept(std::unique_ptr<env::Stream> stream);
  // The same when more is known of the peer (TLS).
  void accept(std::unique_ptr<env::Stream> stream, Peer peer);

  // Graceful end: clients are told (GOAWAY, Connection: close), open calls may finish until
  // `patience` is over, then they are cancelled and the rest is closed. `done` runs as a job of the
  // lane when no connection is left; accept() closes what comes meanwhile. Once.
  void stop(base::Duration patience, base::Job done);

  const ServerStats& stats() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace keelson::http
