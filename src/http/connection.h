// Connection: one accepted stream and the protocol it turned out to speak.
//
//   Sniffing --preface--> HTTP/2      --finish()--> Closing --peer closes, or linger--> gone
//            --else-----> HTTP/1.1  --/
//   any --broken, abandon()--> gone
//
// All writing happens at the end of the lane's turn: whoever has something to say calls
// want_turn(), and the server calls on_turn_end() of each such connection once. Connections, and
// with them everything a protocol owns, are destroyed there too, never inside a callback of their
// stream or of a handler.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "env/stream.h"
#include "http/deadline_queue.h"
#include "http/output_buffer.h"
#include "http/server.h"

namespace keelson::http {

class Connection;

// What the connections of one server share.
struct ServerContext {
  ServerContext(env::Lane& the_lane, const ServerOptions& the_options, const Router* the_router,
                RequestRouter* the_requests)
      : lane(the_lane),
        options(the_options),
        router(the_router),
        requests(the_requests),
        deadlines(the_lane) {}
  virtual ~ServerContext() = default;

  // Asks for one on_turn_end() of the connection.
  virtual void want_turn(Connection& connection) = 0;
  base::TimePoint now() { return lane.clock().now(); }

  env::Lane& lane;
  const ServerOptions options;
  const Router* const router;     // nullptr: no gRPC here
  RequestRouter* const requests;  // nullptr: no HTTP/1.1 here
  ServerStats stats;
  DeadlineQueue deadlines;
  // What the turn's end of one HTTP/2 connection writes, then that of the next; empty in between.
  OutputBuffer output{kOutputBytesKept};

 private:
  static constexpr std::size_t kOutputBytesKept = std::size_t{256} << 10;
};

// What a connection speaks. Calls of its stream, passed on.
class Protocol {
 public:
  virtual ~Protocol() = default;
  virtual void on_bytes(std::string_view bytes) = 0;
  // The peer sends no more. What it has asked for whole is answered, then all is over; what would
  // go on without end ends, for nobody can tell such a peer from one that is gone.
  virtual void on_end() = 0;
  virtual void on_drained() = 0;
  // Write what there is, then say so if all is over (Connection::finish).
  virtual void on_turn_end() = 0;
  // Finish what is open, begin nothing new.
  virtual void begin_shutdown() = 0;
  // Handlers hear this reason, once, and are gone. Nothing is written any more.
  virtual void cancel_all(CancelReason reason) = 0;
};

class Connection final : public env::StreamHandler {
 public:
  Connection(ServerContext& context, std::uint64_t id, std::unique_ptr<env::Stream> stream,
             Peer peer);
  ~Connection() override;

  void start() { stream_->start(*this); }

  // For the protocol
  // -----------------------------------------------------------------------------------

  env::Stream& stream() { return *stream_; }
  const Peer& peer() const { return peer_; }
  void want_turn() {
    if (!turn_wanted_) {
      turn_wanted_ = true;
      context_.want_turn(*this);
    }
  }
  // Everything is written: close, leaving the peer a moment to read it.
  void finish();
  // Close at once.
  void abandon();

  // For the server
  // -------------------------------------------------------------------------------------

  std::uint64_t id() const { return id_; }
  void on_turn_end();
  void begin_shutdown();
  void cancel_all(CancelReason reason);
  bool gone() const { return state_ == State::kGone; }
  bool turn_wanted() const { return turn_wanted_; }

 private:
  enum class State { kSniffing, kOpen, kClosing, kGone };

  void on_bytes(std::string_view bytes) override;
  void on_end() override;
  void on_drained() override;
  void on_closed(const base::Error& error) override;

  void sniff(std::string_view bytes);

  ServerContext& context_;
  const std::uint64_t id_;
  std::unique_ptr<env::Stream> stream_;
  const Peer peer_;
  State state_ = State::kSniffing;
  bool turn_wanted_ = false;
  bool shutting_down_ = false;
  std::string sniffed_;     // a proper prefix of the preface
  env::TimerId timer_ = 0;  // of sniffing, then of a peer that has ended, then of closing
  std::unique_ptr<Protocol> protocol_;
};

std::unique_ptr<Protocol> make_http2_protocol(ServerContext& context, Connection& connection);
std::unique_ptr<Protocol> make_http1_protocol(ServerContext& context, Connection& connection);

}  // namespace keelson::http
