#include "http/http2_connection.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace keelson::http {
namespace {

constexpr std::size_t kSpareCallsMax = 256;
// Frames waiting beyond those of open calls: acks, resets, window updates that a peer provokes
// faster than it reads.
constexpr std::size_t kQueuedFramesMax = 10'000;
constexpr int kPingStrikesMax = 2;
constexpr base::Duration kIdlePingMinTime = base::Seconds(7200);
constexpr base::Duration kDefaultPingMinTime = base::Seconds(300);  // for a minimum of 0
// Marks the ping that tells when a client has seen the first GOAWAY.
constexpr std::uint8_t kGoodbyePing[8] = {'g', 'o', 'o', 'd', 'b', 'y', 'e', '!'};
constexpr std::uint8_t kKeepalivePing[8] = {};

std::string_view view(const std::uint8_t* data, std::size_t length) {
  return {reinterpret_cast<const char*>(data), length};
}

}  // namespace

struct Http2Connection::Callbacks {
  static Http2Connection& self(void* user_data) {
    return *static_cast<Http2Connection*>(user_data);
  }

  static int on_begin_headers(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    Http2Connection& connection = self(user_data);
    connection.heading_ = nullptr;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    const std::int32_t id = frame->hd.stream_id;
    const auto& options = connection.context_.options;
    if (connection.open_calls_ >=
        std::min<std::size_t>(options.max_concurrent_streams, options.calls_per_connection_max)) {
      ++connection.context_.stats.calls_refused;
      return nghttp2_submit_rst_stream(connection.session_, NGHTTP2_FLAG_NONE, id,
                                       NGHTTP2_REFUSED_STREAM);
    }
    connection.heading_ = &connection.open_call(id);
    return 0;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, nghttp2_rcbuf* name,
                       nghttp2_rcbuf* value, std::uint8_t, void* user_data) {
    Http2Call* call = self(user_data).heading_;
    if (call != nullptr && call->stream_id() == frame->hd.stream_id) call->on_header(name, value);
    return 0;
  }

  static int on_frame_recv(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    Http2Connection& connection = self(user_data);
    const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS: {
        Http2Call* call = connection.find(frame->hd.stream_id);
        if (call == nullptr) break;
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
          call->on_headers_end();
        } else if (!end) {  // a second head
          nghttp2_submit_rst_stream(connection.session_, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                    NGHTTP2_PROTOCOL_ERROR);
          break;
        }
        if (end) call->on_half_close();
        break;
      }
      case NGHTTP2_DATA:
        if (!end) break;
        if (Http2Call* call = connection.find(frame->hd.stream_id)) call->on_half_close();
        break;
      case NGHTTP2_PING:
        connection.on_ping(*frame);
        break;
      default:
        break;
    }
    return 0;
  }

  static int on_data_chunk(nghttp2_session*, std::uint8_t, std::int32_t stream_id,
                           const std::uint8_t* data, std::size_t length, void* user_data) {
    Http2Connection& connection = self(user_data);
    const int rv = nghttp2_session_consume_connection(connection.session_, length);
    if (rv != 0) return NGHTTP2_ERR_CALLBACK_FAILURE;
    Http2Call* call = connection.find(stream_id);
    if (call == nullptr || call->on_data(view(data, length))) {
      connection.consume(stream_id, length);
    }
    return 0;
  }

  static int on_stream_close(nghttp2_session*, std::int32_t stream_id, std::uint32_t,
                             void* user_data) {
    Http2Connection& connection = self(user_data);
    if (Http2Call* call = connection.find(stream_id)) {
      connection.release(*call, CancelReason::kReset);
    }
    return 0;
  }

  static int on_frame_send(nghttp2_session* session, const nghttp2_frame* frame, void* user_data) {
    Http2Connection& connection = self(user_data);
    const std::int32_t id = frame->hd.stream_id;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        connection.sent_since_ping_ = true;
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
            nghttp2_session_get_stream_remote_close(session, id) == 0) {
          // The answer is whole and the client may still be sending: it need not.
          nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
        }
        break;
      case NGHTTP2_DATA:
        connection.sent_since_ping_ = true;
        break;
      case NGHTTP2_GOAWAY:
        if (frame->goaway.error_code != NGHTTP2_NO_ERROR &&
            frame->goaway.error_code != NGHTTP2_ENHANCE_YOUR_CALM) {
          ++connection.context_.stats.protocol_errors;
        }
        break;
      default:
        break;
    }
    return 0;
  }

  // nghttp2 asks for payload and right after it hands over the frame's header (send_data): between
  // the two nothing else can be written, so the payload may lie in the output already.
  static ssize_t read_data(nghttp2_session*, std::int32_t stream_id, std::uint8_t*,
                           std::size_t length, std::uint32_t* flags, nghttp2_data_source*,
                           void* user_data) {
    Http2Connection& connection = self(user_data);
    Http2Call* call = connection.find(stream_id);
    if (call == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    connection.out().begin_frame();
    const ssize_t result = call->produce(length, flags);
    if (result <= 0) connection.out().cancel_frame();
    return result;
  }

  static int send_data(nghttp2_session*, nghttp2_frame*, const std::uint8_t* header,
                       std::size_t length, nghttp2_data_source*, void* user_data) {
    Http2Connection& connection = self(user_data);
    CHECK_EQ(connection.out().frame_bytes(), length);
    connection.out().end_frame(header);
    return connection.room() ? 0 : NGHTTP2_ERR_PAUSE;  // the frame counts as sent either way
  }

  // Made once: nghttp2 copies both into each session.
  struct Shared {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_option* option = nullptr;
    Shared() {
      CHECK_EQ(nghttp2_session_callbacks_new(&callbacks), 0);
      nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
      nghttp2_session_callbacks_set_on_header_callback2(callbacks, on_header);
      nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
      nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
      nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
      nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
      CHECK_EQ(nghttp2_option_new(&option), 0);
      nghttp2_option_set_no_auto_window_update(option, 1);
      nghttp2_option_set_no_http_messaging(option, 1);
      nghttp2_option_set_no_closed_streams(option, 1);
      // A reset costs us no more than a call, and a busy client may cancel many: nghttp2's own
      // limit (1,000 and 33 a second) would end its connection. What is left stops storms.
      nghttp2_option_set_stream_reset_rate_limit(option, 10'000, 1'000);
    }
    ~Shared() {
      nghttp2_session_callbacks_del(callbacks);
      nghttp2_option_del(option);
    }
  };
  static const Shared& shared() {
    static const Shared instance;
    return instance;
  }
};

Http2Connection::Http2Connection(ServerContext& context, Connection& connection)
    : context_(context), connection_(connection), last_read_(context.now()) {
  const auto& shared = Callbacks::shared();
  CHECK_EQ(nghttp2_session_server_new2(&session_, shared.callbacks, this, shared.option), 0);
  const auto& options = context_.options;
  nghttp2_settings_entry settings[3] = {
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 16384},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
       static_cast<std::uint32_t>(options.stream_window_bytes)},
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options.max_concurrent_streams}};
  const bool limited = options.max_concurrent_streams != std::numeric_limits<std::uint32_t>::max();
  CHECK_EQ(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, limited ? 3 : 2), 0);
  CHECK_EQ(nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                                 options.connection_window_bytes),
           0);
  if (options.keepalive_interval > base::Duration::zero()) {
    schedule_keepalive(last_read_ + options.keepalive_interval);
  }
  connection_.want_turn();
}

Http2Connection::~Http2Connection() {
  cancel_all(CancelReason::kConnectionLost);
  if (keepalive_timer_ != 0) context_.lane.cancel(keepalive_timer_);
  nghttp2_session_del(session_);
}

void Http2Connection::on_bytes(std::string_view bytes) {
  last_read_ = context_.now();
  ping_unanswered_ = false;  // whatever came shows that the peer lives
  if (broken_ || ending_ == Ending::kNow) return;
  const ssize_t rv = nghttp2_session_mem_recv(
      session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (rv < 0) {  // flooding, or out of memory; what breaks the protocol ends by GOAWAY instead
    ++context_.stats.protocol_errors;
    broken_ = true;
  }
  connection_.want_turn();
}

void Http2Connection::on_end() {
  peer_ended_ = true;
  for (Http2Call* call = first_call_; call != nullptr;) {
    Http2Call& one = *std::exchange(call, call->next);
    if (one.may_outlast_peer()) continue;
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, one.stream_id(), NGHTTP2_CANCEL);
    release(one, CancelReason::kConnectionLost);
  }
  connection_.want_turn();
}

void Http2Connection::on_turn_end() {
  if (broken_) return connection_.abandon();
  settle_calls();
  produce();
  for (const std::int32_t id : std::exchange(drained_, {})) {
    if (Http2Call* call = find(id)) call->tell_drained();
  }
  if (broken_) return connection_.abandon();
  if (ending_ == Ending::kDraining && open_calls_ == 0) ending_ = Ending::kNow;
  const bool over =
      nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
  // The queue is of frames other than DATA: when it is empty the GOAWAY has been written.
  const bool said =
      ending_ == Ending::kNow && nghttp2_session_get_outbound_queue_size(session_) == 0;
  const bool alone = peer_ended_ && open_calls_ == 0;
  if (over || said || alone) connection_.finish();
}

void Http2Connection::settle_calls() {
  for (const std::int32_t id : std::exchange(settling_, {})) {
    if (Http2Call* call = find(id)) call->settle();
  }
}

bool Http2Connection::room() const {
  return out().size() + connection_.stream().unsent() < context_.options.socket_bytes_max;
}

// What can leave now of the answers, at most: no need to grow the buffer step by step.
void Http2Connection::reserve_output() {
  const auto window = nghttp2_session_get_remote_window_size(session_);
  const std::size_t bytes = std::min({answer_bytes_, context_.options.socket_bytes_max,
                                      static_cast<std::size_t>(std::max(window, 0))});
  constexpr std::size_t kSmall = 4096;
  if (bytes > kSmall) out().reserve(bytes + bytes / 64);
}

void Http2Connection::produce() {
  CHECK(out().empty());
  if (room()) reserve_output();
  while (room()) {
    const std::uint8_t* data = nullptr;
    const ssize_t count = nghttp2_session_mem_send(session_, &data);
    if (count < 0) broken_ = true;
    if (count <= 0) break;
    out().append(view(data, static_cast<std::size_t>(count)));
  }
  const bool full = !room();
  if (!out().empty()) {
    context_.stats.bytes_sent += out().size();
    out().write_to(connection_.stream());
  }
  // The socket took all of it, so it will not tell when it has drained; others have their turn
  // before the rest.
  if (full && room()) connection_.want_turn();
  if (nghttp2_session_get_outbound_queue_size(session_) > kQueuedFramesMax + open_calls_ * 3) {
    ++context_.stats.protocol_errors;
    broken_ = true;
  }
}

Http2Call* Http2Connection::find(std::int32_t stream_id) const {
  return static_cast<Http2Call*>(nghttp2_session_get_stream_user_data(session_, stream_id));
}

Http2Call& Http2Connection::open_call(std::int32_t stream_id) {
  std::unique_ptr<Http2Call> call;
  if (spare_calls_.empty()) {
    call = std::make_unique<Http2Call>();
  } else {
    call = std::move(spare_calls_.back());
    spare_calls_.pop_back();
  }
  call->open(*this, stream_id);
  call->previous = nullptr;
  call->next = first_call_;
  if (first_call_ != nullptr) first_call_->previous = call.get();
  first_call_ = call.get();
  ++open_calls_;
  ++context_.stats.calls_started;
  ++context_.stats.calls_open;
  nghttp2_session_set_stream_user_data(session_, stream_id, call.get());
  return *call.release();  // in the list of open calls until release()
}

void Http2Connection::release(Http2Call& call, CancelReason reason) {
  std::unique_ptr<Http2Call> owner(&call);
  nghttp2_session_set_stream_user_data(session_, call.stream_id(), nullptr);
  if (heading_ == &call) heading_ = nullptr;
  call.close(reason);
  (call.previous != nullptr ? call.previous->next : first_call_) = call.next;
  if (call.next != nullptr) call.next->previous = call.previous;
  --open_calls_;
  --context_.stats.calls_open;
  if (spare_calls_.size() < kSpareCallsMax) spare_calls_.push_back(std::move(owner));
}

void Http2Connection::submit_answer(std::int32_t stream_id, std::span<const nghttp2_nv> fields,
                                    bool body) {
  const nghttp2_data_provider provider{.read_callback = Callbacks::read_data};
  nghttp2_submit_response(session_, stream_id, fields.data(), fields.size(),
                          body ? &provider : nullptr);
}

void Http2Connection::cancel_all(CancelReason reason) {
  while (first_call_ != nullptr) release(*first_call_, reason);
}

void Http2Connection::consume(std::int32_t stream_id, std::size_t bytes) {
  nghttp2_session_consume_stream(session_, stream_id, bytes);
}

void Http2Connection::add_request_bytes(std::ptrdiff_t change) {
  request_bytes_ += static_cast<std::size_t>(change);
  context_.stats.request_bytes += static_cast<std::uint64_t>(change);
}

void Http2Connection::add_answer_bytes(std::ptrdiff_t change) {
  answer_bytes_ += static_cast<std::size_t>(change);
  context_.stats.answer_bytes += static_cast<std::uint64_t>(change);
}

bool Http2Connection::request_bytes_exhausted() const {
  return request_bytes_ > context_.options.request_bytes_per_connection_max ||
         context_.stats.request_bytes > context_.options.request_bytes_max;
}

bool Http2Connection::answer_bytes_exhausted() const {
  return answer_bytes_ > context_.options.answer_bytes_per_connection_max ||
         answer_share_exhausted(0);
}

bool Http2Connection::answer_share_exhausted(std::uint64_t more) const {
  return context_.stats.answer_bytes > context_.options.answer_bytes_max &&
         answer_bytes_ + more > context_.options.answer_bytes_share;
}

// Keepalive
// ------------------------------------------------------------------------------------------

void Http2Connection::on_ping(const nghttp2_frame& frame) {
  if ((frame.hd.flags & NGHTTP2_FLAG_ACK) != 0) {
    if (std::memcmp(frame.ping.opaque_data, kGoodbyePing, 8) == 0 &&
        ending_ == Ending::kAnnounced) {
      ending_ = Ending::kDraining;
      nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                            nghttp2_session_get_last_proc_stream_id(session_), NGHTTP2_NO_ERROR,
                            nullptr, 0);
    }
    return;
  }
  const base::TimePoint now = context_.now();
  const auto minimum = context_.options.keepalive_min_time > base::Duration::zero()
                           ? context_.options.keepalive_min_time
                           : kDefaultPingMinTime;
  const auto wanted = open_calls_ == 0 ? kIdlePingMinTime : minimum;
  const bool too_soon = pinged_before_ && now - last_ping_ < wanted;
  pinged_before_ = true;
  last_ping_ = now;
  if (std::exchange(sent_since_ping_, false)) {
    ping_strikes_ = 0;
  } else if (too_soon && ++ping_strikes_ > kPingStrikesMax) {
    ++context_.stats.pings_refused;
    say_goodbye(NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
  }
}

// GOAWAY, then the end of the connection as soon as that is written.
void Http2Connection::say_goodbye(std::uint32_t error_code, std::string_view why) {
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE,
                        nghttp2_session_get_last_proc_stream_id(session_), error_code,
                        reinterpret_cast<const std::uint8_t*>(why.data()), why.size());
  ending_ = Ending::kNow;
}

void Http2Connection::schedule_keepalive(base::TimePoint due) {
  keepalive_timer_ = context_.lane.at(due, [this] {
    keepalive_timer_ = 0;
    on_keepalive_due();
  });
}

void Http2Connection::on_keepalive_due() {
  const auto& options = context_.options;
  const base::TimePoint now = context_.now();
  if (ping_unanswered_) return connection_.abandon();
  if (now - last_read_ >= options.keepalive_interval) {
    nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kKeepalivePing);
    ping_unanswered_ = true;
    connection_.want_turn();
    schedule_keepalive(now + options.keepalive_timeout);
  } else {
    schedule_keepalive(last_read_ + options.keepalive_interval);
  }
}

// The end
// --------------------------------------------------------------------------------------------

// A client may have sent requests that we have not seen yet. So the first GOAWAY allows any; when
// the client has answered the ping behind it, it has seen it, and the second one names the last.
void Http2Connection::begin_shutdown() {
  if (ending_ != Ending::kNo) return;
  ending_ = Ending::kAnnounced;
  nghttp2_submit_shutdown_notice(session_);
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kGoodbyePing);
  connection_.want_turn();
}

std::unique_ptr<Protocol> make_http2_protocol(ServerContext& context, Connection& connection) {
  return std::make_unique<Http2Connection>(context, connection);
}

}  // namespace keelson::http
