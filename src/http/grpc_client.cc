#include "http/grpc_client.h"

#include <fmt/format.h>
#include <nghttp2/nghttp2.h>

#include <array>
#include <charconv>
#include <utility>

#include "base/check.h"
#include "base/containers.h"
#include "http/deadline_queue.h"
#include "http/grpc_wire.h"
#include "http/message_reader.h"
#include "http/output_buffer.h"
#include "http/send_queue.h"

namespace keelson::http {
namespace {

constexpr base::Duration kLinger = base::Seconds(1);

std::string_view view(const std::uint8_t* data, std::size_t length) {
  return {reinterpret_cast<const char*>(data), length};
}

nghttp2_nv field(std::string_view name, std::string_view value) {
  const auto bytes = [](std::string_view text) {
    return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text.data()));
  };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

// What an answer means that is not gRPC's (a proxy, another server): the mapping of gRPC's document
// http-grpc-status-mapping.
Status status_of_http(int http_status) {
  const auto code = [&] {
    switch (http_status) {
      case 400:
        return StatusCode::kInternal;
      case 401:
        return StatusCode::kUnauthenticated;
      case 403:
        return StatusCode::kPermissionDenied;
      case 404:
        return StatusCode::kUnimplemented;
      case 429:
      case 502:
      case 503:
      case 504:
        return StatusCode::kUnavailable;
      default:
        return StatusCode::kUnknown;
    }
  }();
  return {code, fmt::format("unexpected HTTP status code received from server: {}", http_status)};
}

// PROTOCOL-HTTP2, "Errors".
StatusCode code_of_reset(std::uint32_t error_code) {
  switch (error_code) {
    case NGHTTP2_REFUSED_STREAM:
      return StatusCode::kUnavailable;
    case NGHTTP2_CANCEL:
      return StatusCode::kCancelled;
    case NGHTTP2_ENHANCE_YOUR_CALM:
      return StatusCode::kResourceExhausted;
    case NGHTTP2_INADEQUATE_SECURITY:
      return StatusCode::kPermissionDenied;
    default:
      return StatusCode::kInternal;
  }
}

int number_or(std::string_view text, int fallback) {
  int value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  return parsed.ec == std::errc() && parsed.ptr == text.data() + text.size() ? value : fallback;
}

const Status kDeadlineExceeded{StatusCode::kDeadlineExceeded, "context deadline exceeded"};
const Status kConnectionLost{StatusCode::kUnavailable, "the connection to the server was lost"};

}  // namespace

class GrpcClient::Impl final : public env::StreamHandler {
 public:
  class Face;

  // The connection's side of a call. It stays until its stream is closed, though its end has been
  // told or its Face is gone.
  struct Open final : DeadlineQueue::Entry {
    Open(Impl& the_client, ClientCallHandler& the_handler)
        : client(the_client), handler(&the_handler) {}
    void on_deadline() override {
      client.cancel_stream(*this);
      client.tell_end(*this, {kDeadlineExceeded});
    }

    Impl& client;
    ClientCallHandler* handler;  // nullptr once it has heard the end, or has gone
    Face* face = nullptr;
    std::int32_t stream_id = 0;
    SendQueue queue;
    MessageReader reader;
    std::string held;  // came while paused
    std::size_t held_window_bytes = 0;
    int http_status = 0;
    std::optional<int> grpc_status;
    std::string grpc_message;
    bool gzip = false;
    bool head_seen = false;
    bool half_closed = false;
    bool deferred = false;
    bool paused = false;
    bool drain_wanted = false;
    bool stream_open = true;  // nghttp2 has not closed it
    bool reset_sent = false;
    bool sent = false;           // its HEADERS left
    bool end_sent = false;       // so did our END_STREAM
    bool ended_by_peer = false;  // END_STREAM came
  };

  class Face final : public ClientCall {
   public:
    explicit Face(Open* open) : open_(open) {
      if (open_ != nullptr) open_->face = this;
    }
    ~Face() override {
      if (open_ == nullptr) return;
      open_->face = nullptr;
      open_->client.give_up(*open_);
    }
    void send(std::string message) override {
      if (open_ != nullptr) open_->client.send(*open_, std::move(message));
    }
    void half_close() override {
      if (open_ != nullptr) open_->client.half_close(*open_);
    }
    std::size_t unsent_bytes() const override {
      return open_ != nullptr ? open_->queue.bytes() : 0;
    }
    void pause_reading() override {
      if (open_ != nullptr) open_->paused = true;
    }
    void resume_reading() override {
      if (open_ != nullptr) open_->client.resume(*open_);
    }
    void forget() { open_ = nullptr; }
    // Of a unary call: goes with it.
    std::unique_ptr<ClientCallHandler> owned_handler;

   private:
    Open* open_;
  };

  Impl(env::Lane& lane, std::unique_ptr<env::Stream> stream, GrpcClientOptions options,
       base::Job on_unusable)
      : lane_(lane),
        stream_(std::move(stream)),
        options_(std::move(options)),
        on_unusable_(std::move(on_unusable)),
        deadlines_(lane),
        last_read_(lane.clock().now()) {
    if (options_.authority.empty()) options_.authority = stream_->peer_address();
    make_session();
    stream_->start(*this);
    if (options_.keepalive_time > base::Duration::zero()) {
      schedule_keepalive(last_read_ + options_.keepalive_time);
    }
    want_turn();
  }

  ~Impl() override {
    if (keepalive_timer_ != 0) lane_.cancel(keepalive_timer_);
    for (auto& [id, open] : calls_) {
      deadlines_.remove(*open);
      if (open->face != nullptr) open->face->forget();
    }
    nghttp2_session_del(session_);
  }

  std::unique_ptr<Face> start(CallHead head, ClientCallHandler& handler) {
    auto open = std::make_unique<Open>(*this, handler);
    auto face = std::make_unique<Face>(open.get());
    open->reader.reset(options_.message_bytes_max, false);
    const std::int32_t id = usable_ ? submit(head) : --last_failed_id_;
    open->stream_id = id;
    Open& started = *calls_.emplace(id, std::move(open)).first->second;
    if (id < 0) {  // told in a job of its own
      started.stream_open = false;
      failed_.push_back(id);
    } else if (head.deadline) {
      deadlines_.add(started, *head.deadline);
    }
    want_turn();
    return face;
  }

  bool usable() const { return usable_; }
  std::size_t open_calls() const { return calls_.size(); }

 private:
  // Calls
  // ----------------------------------------------------------------------------------------------

  std::int32_t submit(const CallHead& head) {
    std::vector<nghttp2_nv> fields = {
        field(":method", "POST"),
        field(":scheme", options_.scheme),
        field(":path", head.path),
        field(":authority", options_.authority),
        field("content-type", "application/grpc"),
        field("user-agent", options_.user_agent),
        field("te", "trailers"),
    };
    std::string timeout;
    if (head.deadline) {
      timeout = format_timeout(*head.deadline - lane_.clock().now());
      fields.push_back(field("grpc-timeout", timeout));
      fields.back().flags = NGHTTP2_NV_FLAG_NO_INDEX;  // never the same twice
    }
    std::vector<std::string> encoded;
    encoded.reserve(head.metadata.size());
    for (const auto& [name, value] : head.metadata) {
      encoded.push_back(name.ends_with("-bin") ? encode_binary_header(value) : value);
      fields.push_back(field(name, encoded.back()));
    }
    const nghttp2_data_provider provider{.read_callback = read_data};
    const std::int32_t id =
        nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), &provider, nullptr);
    // Negative when stream ids have run out: another connection has to be made.
    if (id < 0) become_unusable();
    return id < 0 ? --last_failed_id_ : id;
  }

  Open* find(std::int32_t id) {
    const auto it = calls_.find(id);
    return it == calls_.end() ? nullptr : it->second.get();
  }

  void send(Open& open, std::string message) {
    if (open.half_closed || open.handler == nullptr || !open.stream_open) return;
    if (message.size() > kSendMessageBytesMax) {
      oversized_.emplace_back(open.stream_id, message.size());
      return want_turn();
    }
    open.queue.add_message(std::move(message), SendQueue::Compressed::kNo);
    open.drain_wanted = true;
    wake(open);
  }

  void half_close(Open& open) {
    if (open.half_closed) return;
    open.half_closed = true;
    wake(open);
  }

  void wake(Open& open) {
    if (open.stream_open && std::exchange(open.deferred, false)) {
      nghttp2_session_resume_data(session_, open.stream_id);
    }
    want_turn();
  }

  void resume(Open& open) {
    if (!std::exchange(open.paused, false)) return;
    resumed_.push_back(open.stream_id);
    want_turn();
  }

  // The caller is no longer interested.
  void give_up(Open& open) {
    open.handler = nullptr;
    deadlines_.remove(open);
    cancel_stream(open);
    if (!open.stream_open) forget_later(open.stream_id);
  }

  void cancel_stream(Open& open) {
    open.queue.clear();
    open.held = {};
    if (!open.stream_open) return;
    if (open.end_sent && open.ended_by_peer) return;  // it closes by itself
    if (std::exchange(open.reset_sent, true)) return;
    nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, open.stream_id, NGHTTP2_CANCEL);
    want_turn();
  }

  // The handler may destroy the Face, and with it `open`'s last use.
  void tell_end(Open& open, CallEnd end) {
    deadlines_.remove(open);
    ClientCallHandler* handler = std::exchange(open.handler, nullptr);
    if (handler != nullptr) handler->on_end(std::move(end));
    if (!open.stream_open) forget_later(open.stream_id);
  }

  void fail(Open& open, Status status) {
    cancel_stream(open);
    tell_end(open, {std::move(status)});
  }

  void forget_later(std::int32_t id) {
    forgotten_.push_back(id);
    want_turn();
  }

  // Reading
  // --------------------------------------------------------------------------------------------

  void on_bytes(std::string_view bytes) override {
    last_read_ = lane_.clock().now();
    ping_unanswered_ = false;
    if (lost_) return;
    const ssize_t rv = nghttp2_session_mem_recv(
        session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
    if (rv < 0) lost_ = true;
    want_turn();
  }
  void on_end() override { lose(); }
  void on_drained() override { want_turn(); }
  void on_closed(const base::Error&) override { lose(); }

  void lose() {
    lost_ = true;
    want_turn();
  }

  void on_header(Open& open, std::string_view name, std::string_view value) {
    if (name == ":status") {
      open.http_status = number_or(value, 0);
    } else if (name == "grpc-status") {
      open.grpc_status = number_or(value, static_cast<int>(StatusCode::kUnknown));
    } else if (name == "grpc-message") {
      open.grpc_message = decode_grpc_message(value);
    } else if (name == "grpc-encoding") {
      open.gzip = value == "gzip";
    }
  }

  void on_head_end(Open& open) {
    if (open.head_seen) return;
    open.head_seen = true;
    open.reader.reset(options_.message_bytes_max, open.gzip);
    // An informational head (1xx) comes before the one that counts.
    if (open.http_status >= 100 && open.http_status < 200) open.head_seen = false;
  }

  // Whether the bytes were used up.
  bool on_data(Open& open, std::string_view bytes) {
    if (open.handler == nullptr) return true;
    // Held, too, while what was held before waits for the end of the turn to be fed: nothing may
    // overtake it.
    if (open.paused || !open.held.empty()) {
      open.held.append(bytes);
      open.held_window_bytes += bytes.size();
      return false;
    }
    feed(open, bytes);
    return true;
  }

  void feed(Open& open, std::string_view bytes) {
    if (open.http_status != 200) return;  // what another kind of server says is no message
    while (!bytes.empty() && open.handler != nullptr) {
      if (open.paused) {
        open.held.append(bytes);
        return;
      }
      auto whole = open.reader.read(bytes);
      if (!whole) return fail(open, std::move(whole).error());
      if (*whole) open.handler->on_message(open.reader.message());
    }
  }

  void on_end_stream(Open& open) {
    open.ended_by_peer = true;
    if (!open.paused && open.held.empty()) finish_by_peer(open);
  }

  void finish_by_peer(Open& open) {
    Status status = final_status(open);
    // The server has said all: it need not hear the rest of ours.
    if (!open.end_sent && open.stream_open && !std::exchange(open.reset_sent, true)) {
      nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, open.stream_id, NGHTTP2_NO_ERROR);
    }
    tell_end(open, {std::move(status)});
  }

  Status final_status(const Open& open) const {
    if (open.grpc_status) {
      const int code = *open.grpc_status;
      const bool known = code >= 0 && code < static_cast<int>(kStatusCodeCount);
      return {known ? static_cast<StatusCode>(code) : StatusCode::kUnknown, open.grpc_message};
    }
    if (open.http_status != 200) return status_of_http(open.http_status);
    return {StatusCode::kInternal, "server closed the stream without sending trailers"};
  }

  // nghttp2's last word on a stream.
  void on_stream_close(Open& open, std::uint32_t error_code) {
    open.stream_open = false;
    open.queue.clear();
    if (open.handler != nullptr && !open.ended_by_peer) {
      tell_end(open, {{code_of_reset(error_code),
                       fmt::format("stream terminated by RST_STREAM with error code: {}",
                                   nghttp2_http2_strerror(error_code))},
                      error_code == NGHTTP2_REFUSED_STREAM});
    }
    if (open.handler == nullptr) forget_later(open.stream_id);
  }

  // Callbacks of nghttp2
  // -------------------------------------------------------------------------------

  static Impl& self(void* user_data) { return *static_cast<Impl*>(user_data); }

  static int header_callback(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name,
                             std::size_t name_length, const std::uint8_t* value,
                             std::size_t value_length, std::uint8_t, void* user_data) {
    if (Open* open = self(user_data).find(frame->hd.stream_id)) {
      self(user_data).on_header(*open, view(name, name_length), view(value, value_length));
    }
    return 0;
  }

  static int frame_recv_callback(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    Impl& impl = self(user_data);
    if (frame->hd.type == NGHTTP2_GOAWAY) impl.become_unusable();
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    Open* open = impl.find(frame->hd.stream_id);
    if (open == nullptr) return 0;
    if (frame->hd.type == NGHTTP2_HEADERS) impl.on_head_end(*open);
    if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) impl.on_end_stream(*open);
    return 0;
  }

  static int data_chunk_callback(nghttp2_session* session, std::uint8_t, std::int32_t id,
                                 const std::uint8_t* data, std::size_t length, void* user_data) {
    Impl& impl = self(user_data);
    if (nghttp2_session_consume_connection(session, length) != 0) {
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    Open* open = impl.find(id);
    if (open == nullptr || impl.on_data(*open, view(data, length))) {
      nghttp2_session_consume_stream(session, id, length);
    }
    return 0;
  }

  static int stream_close_callback(nghttp2_session*, std::int32_t id, std::uint32_t error_code,
                                   void* user_data) {
    if (Open* open = self(user_data).find(id)) self(user_data).on_stream_close(*open, error_code);
    return 0;
  }

  static int frame_send_callback(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    if (Open* open = self(user_data).find(frame->hd.stream_id)) open->sent = true;
    return 0;
  }

  // A request that could not leave: the connection takes no more, or it was cancelled first.
  static int frame_not_send_callback(nghttp2_session*, const nghttp2_frame* frame, int,
                                     void* user_data) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    Open* open = self(user_data).find(frame->hd.stream_id);
    if (open != nullptr && open->stream_open) {
      self(user_data).on_stream_close(*open, NGHTTP2_REFUSED_STREAM);
    }
    return 0;
  }

  static ssize_t read_data(nghttp2_session*, std::int32_t id, std::uint8_t*, std::size_t length,
                           std::uint32_t* flags, nghttp2_data_source*, void* user_data) {
    Impl& impl = self(user_data);
    Open* open = impl.find(id);
    if (open == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    impl.out_.begin_frame();
    open->queue.take(length, impl.out_);
    const std::size_t bytes = impl.out_.frame_bytes();
    if (open->queue.empty()) {
      if (std::exchange(open->drain_wanted, false)) impl.drained_.push_back(id);
      if (open->half_closed) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        open->end_sent = true;
        return static_cast<ssize_t>(bytes);  // of none: an empty frame that ends the stream
      }
    }
    if (bytes > 0) return static_cast<ssize_t>(bytes);
    impl.out_.cancel_frame();
    open->deferred = true;
    return NGHTTP2_ERR_DEFERRED;
  }

  static int send_data_callback(nghttp2_session*, nghttp2_frame*, const std::uint8_t* header,
                                std::size_t length, nghttp2_data_source*, void* user_data) {
    Impl& impl = self(user_data);
    CHECK_EQ(impl.out_.frame_bytes(), length);
    impl.out_.end_frame(header);
    return impl.room() ? 0 : NGHTTP2_ERR_PAUSE;
  }

  void make_session() {
    nghttp2_session_callbacks* callbacks = nullptr;
    CHECK_EQ(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, header_callback);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, frame_recv_callback);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, data_chunk_callback);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, stream_close_callback);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, frame_send_callback);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, frame_not_send_callback);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data_callback);
    nghttp2_option* option = nullptr;
    CHECK_EQ(nghttp2_option_new(&option), 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_http_messaging(option, 1);
    CHECK_EQ(nghttp2_session_client_new2(&session_, callbacks, this, option), 0);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
         static_cast<std::uint32_t>(options_.stream_window_bytes)}};
    CHECK_EQ(nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings)),
             0);
    CHECK_EQ(nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                                   options_.connection_window_bytes),
             0);
  }

  // The turn
  // -------------------------------------------------------------------------------------------

  void want_turn() {
    if (std::exchange(turn_wanted_, true)) return;
    auto job = [this, alive = std::weak_ptr(alive_)] {
      if (!alive.expired()) run_turn();
    };
    in_turn_ ? lane_.post(std::move(job)) : lane_.at_turn_end(std::move(job));
  }

  void run_turn() {
    turn_wanted_ = false;
    in_turn_ = true;
    settle();
    if (!lost_) write();
    if (!lost_ && nghttp2_session_want_read(session_) == 0 &&
        nghttp2_session_want_write(session_) == 0) {
      lost_ = true;
    }
    if (lost_) end_all();
    for (const std::int32_t id : std::exchange(drained_, {})) {
      Open* open = find(id);
      if (open != nullptr && open->handler != nullptr && open->queue.empty()) {
        open->handler->on_drained();
      }
    }
    drop_forgotten();
    in_turn_ = false;
    if (!usable_ && on_unusable_) std::exchange(on_unusable_, nullptr)();
  }

  // What was put off so that no handler is called from its own calls.
  void settle() {
    for (const std::int32_t id : std::exchange(failed_, {})) {
      if (Open* open = find(id)) {
        tell_end(*open, {kConnectionLost, true});
      }
    }
    for (const auto& [id, bytes] : std::exchange(oversized_, {})) {
      if (Open* open = find(id)) {
        fail(*open, {StatusCode::kResourceExhausted,
                     fmt::format("trying to send message larger than max ({} vs. {})", bytes,
                                 kSendMessageBytesMax)});
      }
    }
    for (const std::int32_t id : std::exchange(resumed_, {})) {
      Open* open = find(id);
      if (open == nullptr || open->paused) continue;
      const std::string held = std::exchange(open->held, {});
      if (open->stream_open) {
        nghttp2_session_consume_stream(session_, id, open->held_window_bytes);
      }
      open->held_window_bytes = 0;
      feed(*open, held);
      if (open->ended_by_peer && open->handler != nullptr && !open->paused) finish_by_peer(*open);
    }
  }

  bool room() const { return out_.size() + stream_->unsent() < options_.socket_bytes_max; }

  void write() {
    while (room()) {
      const std::uint8_t* data = nullptr;
      const ssize_t count = nghttp2_session_mem_send(session_, &data);
      if (count < 0) lost_ = true;
      if (count <= 0) break;
      out_.append(view(data, static_cast<std::size_t>(count)));
    }
    const bool full = !room();
    if (!out_.empty()) out_.write_to(*stream_);
    if (full && room()) want_turn();  // the socket took all of it and will not say that it drained
  }

  void become_unusable() {
    if (std::exchange(usable_, false)) want_turn();
  }

  void end_all() {
    become_unusable();
    if (std::exchange(ended_, true)) return;
    stream_->close_gracefully(kLinger);
    std::vector<std::int32_t> ids;
    for (const auto& [id, open] : calls_) ids.push_back(id);
    for (const std::int32_t id : ids) {
      Open& open = *find(id);
      open.stream_open = false;
      // All of it has come, though its reader pauses: it hears the rest when it goes on.
      if (open.ended_by_peer && open.paused) continue;
      tell_end(open, open.ended_by_peer ? CallEnd{final_status(open)}
                                        : CallEnd{kConnectionLost, !open.sent});
    }
  }

  void drop_forgotten() {
    for (const std::int32_t id : std::exchange(forgotten_, {})) {
      const auto it = calls_.find(id);
      if (it == calls_.end()) continue;
      if (it->second->face != nullptr) it->second->face->forget();
      deadlines_.remove(*it->second);
      calls_.erase(it);
    }
  }

  // Keepalive
  // ------------------------------------------------------------------------------------------

  void schedule_keepalive(base::TimePoint due) {
    keepalive_timer_ = lane_.at(due, [this] {
      keepalive_timer_ = 0;
      on_keepalive_due();
    });
  }

  void on_keepalive_due() {
    if (ping_unanswered_) return lose();
    const base::TimePoint now = lane_.clock().now();
    const bool wanted = options_.keepalive_without_calls || !calls_.empty();
    if (now - last_read_ < options_.keepalive_time) {
      schedule_keepalive(last_read_ + options_.keepalive_time);
    } else if (wanted) {
      nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr);
      ping_unanswered_ = true;
      want_turn();
      schedule_keepalive(now + options_.keepalive_timeout);
    } else {
      schedule_keepalive(now + options_.keepalive_time);
    }
  }

  env::Lane& lane_;
  std::unique_ptr<env::Stream> stream_;
  GrpcClientOptions options_;
  base::Job on_unusable_;
  nghttp2_session* session_ = nullptr;
  OutputBuffer out_;
  DeadlineQueue deadlines_;
  base::OrderedMap<std::int32_t, std::unique_ptr<Open>> calls_;  // negative ids never left
  std::int32_t last_failed_id_ = 0;

  std::vector<std::int32_t> failed_, resumed_, drained_, forgotten_;
  std::vector<std::pair<std::int32_t, std::size_t>> oversized_;

  base::TimePoint last_read_;
  env::TimerId keepalive_timer_ = 0;
  bool ping_unanswered_ = false;
  bool usable_ = true;
  bool lost_ = false;   // nothing more is read or written
  bool ended_ = false;  // and every call knows
  bool turn_wanted_ = false;
  bool in_turn_ = false;
  std::shared_ptr<int> alive_ = std::make_shared<int>();  // for jobs that outlive this
};

namespace {

// Keeps the one answer until the end is known.
class UnaryHandler final : public ClientCallHandler {
 public:
  explicit UnaryHandler(GrpcClient::UnaryDone done) : done_(std::move(done)) {}
  void on_message(Message message) override { answer_ = std::move(message).take(); }
  void on_end(CallEnd end) override {
    if (end.status.ok() && !answer_) {
      end.status = {StatusCode::kInternal, "the server sent no message"};
    }
    std::string answer = end.status.ok() ? *std::move(answer_) : std::string();
    auto done = std::move(done_);  // may destroy this
    done(std::move(end), std::move(answer));
  }

 private:
  GrpcClient::UnaryDone done_;
  std::optional<std::string> answer_;
};

}  // namespace

GrpcClient::GrpcClient(env::Lane& lane, std::unique_ptr<env::Stream> stream,
                       GrpcClientOptions options, base::Job on_unusable)
    : impl_(std::make_unique<Impl>(lane, std::move(stream), std::move(options),
                                   std::move(on_unusable))) {}

GrpcClient::~GrpcClient() = default;

std::unique_ptr<ClientCall> GrpcClient::start(CallHead head, ClientCallHandler& handler) {
  return impl_->start(std::move(head), handler);
}

std::unique_ptr<ClientCall> GrpcClient::unary(CallHead head, std::string message, UnaryDone done) {
  auto handler = std::make_unique<UnaryHandler>(std::move(done));
  auto call = impl_->start(std::move(head), *handler);
  call->owned_handler = std::move(handler);
  call->send(std::move(message));
  call->half_close();
  return call;
}

bool GrpcClient::usable() const { return impl_->usable(); }
std::size_t GrpcClient::open_calls() const { return impl_->open_calls(); }

}  // namespace keelson::http
