// Http2Connection: gRPC over one HTTP/2 connection, server side. nghttp2 does the protocol; this
// glues it to the stream below and to the calls above.
//
// nghttp2 checks framing, HPACK, stream states and flow control. Its checks of HTTP semantics are
// off, because they refuse what etcd answers (a path without a slash, a missing :authority);
// Http2Call makes those that grpc.md 3 names. Window updates are ours: the connection's at once, so
// that one slow stream stops no other, a stream's as its call takes the bytes.
//
// Invariants   C1  nghttp2 is asked for frames only at the end of a turn, and only while the socket
// has
//                  room: unsent + gathered < socket_bytes_max, give or take a frame
//              C2  a stream has a call from its HEADERS until nghttp2 closes it, or has none and is
//              reset
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "http/connection.h"
#include "http/http2_call.h"
#include "http/output_buffer.h"

namespace keelson::http {

class Http2Connection final : public Protocol {
 public:
  Http2Connection(ServerContext& context, Connection& connection);
  ~Http2Connection() override;

  void on_bytes(std::string_view bytes) override;
  void on_end() override;
  void on_drained() override { connection_.want_turn(); }
  void on_turn_end() override;
  void begin_shutdown() override;
  void cancel_all(CancelReason reason) override;

  // For its calls
  // --------------------------------------------------------------------------------------

  ServerContext& context() { return context_; }
  const Peer& peer() const { return connection_.peer(); }
  nghttp2_session* session() { return session_; }
  // Within its turn's end only.
  OutputBuffer& out() const { return context_.output; }
  void submit_answer(std::int32_t stream_id, std::span<const nghttp2_nv> fields, bool body);
  void want_turn() { connection_.want_turn(); }
  void want_settle(std::int32_t stream_id) {
    settling_.push_back(stream_id);
    want_turn();
  }
  void want_drained(std::int32_t stream_id) { drained_.push_back(stream_id); }
  void consume(std::int32_t stream_id, std::size_t bytes);
  // Sums over the calls; the changes may be negative.
  void add_request_bytes(std::ptrdiff_t change);
  void add_answer_bytes(std::ptrdiff_t change);
  bool request_bytes_exhausted() const;
  bool answer_bytes_exhausted() const;
  // The server holds more than it may, and this connection more than its share, with so many more.
  bool answer_share_exhausted(std::uint64_t more) const;

 private:
  struct Callbacks;  // nghttp2's C functions

  Http2Call* find(std::int32_t stream_id) const;
  Http2Call& open_call(std::int32_t stream_id);
  void release(Http2Call& call, CancelReason reason);
  void settle_calls();
  void produce();
  void reserve_output();
  bool room() const;
  void on_ping(const nghttp2_frame& frame);
  void say_goodbye(std::uint32_t error_code, std::string_view why);
  void schedule_keepalive(base::TimePoint due);
  void on_keepalive_due();

  ServerContext& context_;
  Connection& connection_;
  nghttp2_session* session_ = nullptr;

  Http2Call* first_call_ = nullptr;  // list of open calls
  std::size_t open_calls_ = 0;
  Http2Call* heading_ = nullptr;  // whose header block is being read
  std::vector<std::unique_ptr<Http2Call>> spare_calls_;
  std::vector<std::int32_t> settling_;
  std::vector<std::int32_t> drained_;
  std::size_t request_bytes_ = 0;
  std::size_t answer_bytes_ = 0;

  // Keepalive, of the client's pings and of ours.
  base::TimePoint last_read_;
  base::TimePoint last_ping_{};
  bool pinged_before_ = false;
  int ping_strikes_ = 0;
  bool sent_since_ping_ = false;  // HEADERS or DATA: forgives
  bool ping_unanswered_ = false;
  env::TimerId keepalive_timer_ = 0;

  enum class Ending { kNo, kAnnounced, kDraining, kNow };
  Ending ending_ = Ending::kNo;
  bool peer_ended_ = false;
  bool broken_ = false;
};

}  // namespace keelson::http
