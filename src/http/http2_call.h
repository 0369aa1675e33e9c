// Http2Call: one gRPC call on one HTTP/2 stream of the server.
//
//   HEADERS -> refused: trailers only
//           -> open --message*, half-close--> handler ... finish() -> ending --queue empty-->
//           trailers
//              any --RST_STREAM, connection lost--> closed;   --deadline--> status 4, or
//              RST_STREAM(CANCEL)
//
// A unary method's handler is made when its message is whole, a server stream's when the client has
// half-closed as well (grpc-go's order, and nothing has to be undone when a client leaves before),
// a bidi stream's with the headers.
//
// Owned by its Http2Connection; used again for another stream once closed.
#pragma once

#include <nghttp2/nghttp2.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/deadline_queue.h"
#include "http/grpc.h"
#include "http/message_reader.h"
#include "http/send_queue.h"

namespace keelson::http {

class Http2Connection;

class Http2Call final : public Call, private DeadlineQueue::Entry {
 public:
  Http2Call() = default;
  ~Http2Call() override;
  Http2Call(const Http2Call&) = delete;
  Http2Call& operator=(const Http2Call&) = delete;

  // Call
  // -----------------------------------------------------------------------------------------------

  std::string_view path() const override { return path_; }
  std::optional<std::string_view> metadata(std::string_view name) const override;
  std::optional<base::TimePoint> deadline() const override { return deadline_; }
  const Peer& peer() const override;
  bool gzip() const override { return gzip_; }
  void send(std::string message) override;
  void send(std::string_view head, std::span<const base::SharedBytes> parts) override;
  void send_streamed(std::uint64_t length, std::unique_ptr<BodySource> source) override;
  void resume() override;
  std::size_t unsent_bytes() const override { return queue_.bytes(); }
  void finish(Status status) override;
  void abandon() override;
  void pause_reading() override { paused_ = true; }
  void resume_reading() override;

  // For the connection
  // ---------------------------------------------------------------------------------

  void open(Http2Connection& connection, std::int32_t stream_id);
  // Frees everything; the handler is gone already or hears `reason`.
  void close(CancelReason reason);

  std::int32_t stream_id() const { return stream_id_; }
  void on_header(nghttp2_rcbuf* name, nghttp2_rcbuf* value);
  void on_headers_end();
  // Returns whether the bytes were used up; if not they are held until reading resumes.
  bool on_data(std::string_view bytes);
  void on_half_close();
  // Ends the call with an error of the wire; the handler hears kFailed.
  void fail(Status status);
  // What was put off until no handler is running: reads what was held, drops a handler that is
  // done.
  void settle();
  void tell_drained();
  // nghttp2's read callback: lays bytes at the end of the connection's output.
  ssize_t produce(std::size_t bytes_max, std::uint32_t* flags);
  bool ended() const { return ended_; }
  // Its request is whole and its answer comes to an end by itself.
  bool may_outlast_peer() const {
    return ended_ ||
           (half_closed_ && method_ != nullptr && method_->kind != MethodKind::kBidiStream);
  }

  // Links of the connection's list of open calls.
  Http2Call* previous = nullptr;
  Http2Call* next = nullptr;

 private:
  struct Field {
    nghttp2_rcbuf* name;
    nghttp2_rcbuf* value;
    std::int32_t decoded;  // index in decoded_, or -1
  };

  // A refusal before any service is asked: trailers only, with this HTTP status.
  struct Refusal {
    int http_status;
    Status status;
  };

  void on_deadline() override;
  void on_pseudo_header(std::string_view name, std::string_view value);
  void on_regular_header(std::string_view name, std::string_view value);
  void keep(nghttp2_rcbuf* name, nghttp2_rcbuf* value, std::int32_t decoded = -1);
  std::optional<Refusal> refusal();

  bool reading() const { return !ended_ && !reading_done_; }
  void feed(std::string_view bytes);
  void deliver(Message message);
  void tell_half_close();
  void make_handler();
  void hand_over(Message message);
  bool is_too_much(std::uint64_t bytes) const;
  void count_sent(std::uint64_t bytes);
  template <class F>
  void tell(F&& f);
  void want_settle();

  void begin_answer();
  void wake();
  void submit_trailers();
  void refuse_to_send(std::uint64_t length);
  nghttp2_nv content_type_field(std::string& composed) const;
  std::string_view code_text() const;

  // `code` is what the call counts as.
  void end(StatusCode code);
  void cancel(CancelReason reason);
  void reset_stream(std::uint32_t error_code);
  void count_request_bytes();
  void count_answer_bytes();

  Http2Connection* connection_ = nullptr;
  std::int32_t stream_id_ = 0;
  const Method* method_ = nullptr;
  std::unique_ptr<CallHandler> handler_;

  // The request's head.
  std::string_view method_name_;  // ":method"; views into fields_
  std::string_view path_;
  std::string_view content_type_;
  std::string_view subtype_;
  std::string_view encoding_;
  std::vector<Field> fields_;
  std::vector<std::string> decoded_;  // "-bin" values
  std::size_t header_bytes_ = 0;
  unsigned pseudo_seen_ = 0;  // a bit each, to find duplicates
  unsigned hosts_seen_ = 0;
  std::optional<Status> header_error_;
  std::optional<base::Duration> timeout_;
  std::optional<base::TimePoint> deadline_;

  // The request's messages.
  MessageReader reader_;
  std::string held_;                   // came while paused, not parsed
  std::size_t held_window_bytes_ = 0;  // of it, for which the stream's window was not given back
  std::string first_message_;          // of a server stream, until the half-close
  std::size_t counted_request_bytes_ = 0;

  // The answer.
  SendQueue queue_;
  std::size_t counted_answer_bytes_ = 0;
  Status status_;
  int http_status_ = 200;

  bool grpc_ : 1 = false;  // the content type says so
  bool regular_seen_ : 1 = false;
  bool malformed_ : 1 = false;
  bool truncated_ : 1 = false;
  bool gzip_ : 1 = false;
  bool paused_ : 1 = false;
  bool message_seen_ : 1 = false;
  bool reading_done_ : 1 = false;  // what else comes is ignored
  bool half_closed_ : 1 = false;
  bool half_close_told_ : 1 = false;
  bool in_handler_ : 1 = false;
  bool answering_ : 1 = false;  // response HEADERS were submitted
  bool deferred_ : 1 = false;   // nghttp2 waits for resume_data
  bool ended_ : 1 = false;      // finished, failed or cancelled
  bool settle_wanted_ : 1 = false;
  bool drain_wanted_ : 1 = false;
  bool counted_ : 1 = false;  // among the method's calls
};

}  // namespace keelson::http
