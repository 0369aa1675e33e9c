#include "http/http2_call.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/check.h"
#include "base/go_text.h"
#include "http/grpc_wire.h"
#include "http/gzip.h"
#include "http/http2_connection.h"

namespace keelson::http {
namespace {

std::string_view view(nghttp2_rcbuf* buffer) {
  const nghttp2_vec bytes = nghttp2_rcbuf_get_buf(buffer);
  return {reinterpret_cast<const char*>(bytes.base), bytes.len};
}

// A field whose name is a literal and whose value outlives the frame.
nghttp2_nv field(std::string_view name, std::string_view value,
                 std::uint8_t flags = NGHTTP2_NV_FLAG_NO_COPY_VALUE) {
  const auto bytes = [](std::string_view text) {
    return const_cast<std::uint8_t*>(reinterpret_cast<const std::uint8_t*>(text.data()));
  };
  return {bytes(name), bytes(value), name.size(), value.size(),
          static_cast<std::uint8_t>(flags | NGHTTP2_NV_FLAG_NO_COPY_NAME)};
}

constexpr std::array<std::string_view, kStatusCodeCount> kCodeTexts = {
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16"};

// Answers up to this size are never too much: what they are about costs more.
constexpr std::uint64_t kSmallAnswerBytes = 4096;

// A deadline this near has passed before any handler could answer.
constexpr base::Duration kShortestTimeout = std::chrono::microseconds(1);

constexpr std::uint8_t kCopied = NGHTTP2_NV_FLAG_NONE;
// A text of an error is seldom seen twice: it must not push better fields out of the HPACK table.
constexpr std::uint8_t kCopiedOnce = NGHTTP2_NV_FLAG_NO_INDEX;

const Status kNoMessage{
    StatusCode::kInternal,
    "cardinality violation: received no request message from non-client-streaming RPC"};
const Status kManyMessages{
    StatusCode::kInternal,
    "cardinality violation: received multiple request messages for non-client-streaming RPC"};
const Status kTooManyAnswers{StatusCode::kResourceExhausted, "too many answers wait to be read"};
const Status kDeadlineExceeded{StatusCode::kDeadlineExceeded, "context deadline exceeded"};

}  // namespace

Http2Call::~Http2Call() { CHECK(connection_ == nullptr); }

void Http2Call::open(Http2Connection& connection, std::int32_t stream_id) {
  connection_ = &connection;
  stream_id_ = stream_id;
  method_ = nullptr;
  method_name_ = path_ = content_type_ = subtype_ = encoding_ = {};
  header_bytes_ = held_window_bytes_ = 0;
  http_status_ = 200;
  pseudo_seen_ = hosts_seen_ = 0;
  header_error_.reset();
  timeout_.reset();
  deadline_.reset();
  status_ = {};
  grpc_ = regular_seen_ = malformed_ = truncated_ = gzip_ = paused_ = message_seen_ = false;
  reading_done_ = half_closed_ = half_close_told_ = in_handler_ = answering_ = false;
  deferred_ = ended_ = settle_wanted_ = drain_wanted_ = counted_ = false;
}

void Http2Call::close(CancelReason reason) {
  cancel(reason);
  handler_.reset();
  for (const Field& kept : fields_) {
    nghttp2_rcbuf_decref(kept.name);
    nghttp2_rcbuf_decref(kept.value);
  }
  fields_.clear();
  decoded_.clear();
  held_ = {};
  first_message_ = {};
  reader_.reset(0, false);
  queue_.clear();
  count_request_bytes();
  count_answer_bytes();
  connection_ = nullptr;
}

const Peer& Http2Call::peer() const { return connection_->peer(); }

std::optional<std::string_view> Http2Call::metadata(std::string_view name) const {
  if (name.starts_with(':') && name != ":authority") return std::nullopt;
  for (const Field& kept : fields_) {
    if (view(kept.name) != name) continue;
    return kept.decoded >= 0 ? std::string_view(decoded_[kept.decoded]) : view(kept.value);
  }
  return std::nullopt;
}

// The request's head
// --------------------------------------------------------------------------------

void Http2Call::keep(nghttp2_rcbuf* name, nghttp2_rcbuf* value, std::int32_t decoded) {
  nghttp2_rcbuf_incref(name);
  nghttp2_rcbuf_incref(value);
  fields_.push_back({name, value, decoded});
}

void Http2Call::on_header(nghttp2_rcbuf* name_buffer, nghttp2_rcbuf* value_buffer) {
  const std::string_view name = view(name_buffer), value = view(value_buffer);
  header_bytes_ += name.size() + value.size() + 32;  // RFC 9113 6.5.2
  if (header_bytes_ > connection_->context().options.header_list_bytes_max) truncated_ = true;
  if (truncated_ || malformed_) return;
  const bool pseudo = name.starts_with(':');
  if (!valid_header_value(value) || (pseudo ? regular_seen_ : !valid_header_name(name))) {
    malformed_ = true;
    return;
  }
  keep(name_buffer, value_buffer);  // what is only looked at here is dropped again below
  if (pseudo) {
    on_pseudo_header(name, value);
  } else {
    regular_seen_ = true;
    on_regular_header(name, value);
  }
}

void Http2Call::on_pseudo_header(std::string_view name, std::string_view value) {
  unsigned bit = 0;
  if (name == ":method") {
    bit = 1;
    method_name_ = value;
  } else if (name == ":path") {
    bit = 2;
    path_ = value;
  } else if (name == ":scheme") {
    bit = 4;
  } else if (name == ":authority") {
    bit = 8;
  } else if (name == ":protocol") {
    bit = 16;
  }
  if (bit == 0 || (pseudo_seen_ & bit) != 0) malformed_ = true;
  pseudo_seen_ |= bit;
}

void Http2Call::on_regular_header(std::string_view name, std::string_view value) {
  switch (name.size()) {
    case 4:
      if (name == "host") ++hosts_seen_;
      break;
    case 10:
      if (name == "connection") malformed_ = true;
      break;
    case 12:
      if (name == "content-type") {
        content_type_ = value;
        if (const auto subtype = content_subtype(value)) {
          subtype_ = *subtype;
          grpc_ = true;
        }
        return;
      }
      if (name == "grpc-timeout") {
        auto timeout = parse_timeout(value);
        if (timeout) {
          timeout_ = *timeout;
        } else {
          header_error_ = {StatusCode::kInternal, "malformed grpc-timeout: " + timeout.error()};
        }
        return;
      }
      break;
    case 13:
      if (name == "grpc-encoding") {
        encoding_ = value;
        return;
      }
      break;
    default:
      break;
  }
  if (!name.ends_with("-bin")) return;
  auto decoded = decode_binary_header(value);
  if (!decoded) {
    header_error_ = {StatusCode::kInternal,
                     fmt::format("malformed binary metadata {} in header {}: {}",
                                 base::quote(value), base::quote(name), decoded.error())};
    return;
  }
  fields_.back().decoded = static_cast<std::int32_t>(decoded_.size());
  decoded_.push_back(*std::move(decoded));
}

// What grpc-go refuses, in its order; nullopt if the call may go to its method.
std::optional<Http2Call::Refusal> Http2Call::refusal() {
  const ServerContext& context = connection_->context();
  if (hosts_seen_ > 1) {
    return Refusal{400,
                   {StatusCode::kInternal,
                    fmt::format("num values of :authority: {}, num values of host: {}, both must "
                                "only have 1 value as per HTTP/2 spec",
                                (pseudo_seen_ & 8) != 0 ? 1 : 0, hosts_seen_)}};
  }
  if (!grpc_) {
    return Refusal{415,
                   {StatusCode::kInvalidArgument,
                    "invalid gRPC request content-type " + base::quote(content_type_)}};
  }
  if (header_error_) return Refusal{400, *std::move(header_error_)};
  if (method_name_ != "POST") {
    return Refusal{405,
                   {StatusCode::kInternal,
                    fmt::format("Received a HEADERS frame with :method {} which should be POST",
                                base::quote(method_name_))}};
  }
  if (timeout_ && *timeout_ < kShortestTimeout) return Refusal{200, kDeadlineExceeded};
  method_ = context.router->find(path_);
  if (method_ == nullptr) return Refusal{200, context.router->refusal(path_)};
  gzip_ = encoding_ == "gzip";
  if (!gzip_ && !encoding_.empty() && encoding_ != "identity") {
    return Refusal{
        200,
        {StatusCode::kUnimplemented,
         "grpc: Decompressor is not installed for grpc-encoding " + base::quote(encoding_)}};
  }
  if (connection_->answer_bytes_exhausted()) {
    return Refusal{200, kTooManyAnswers};
  }
  return std::nullopt;
}

void Http2Call::on_headers_end() {
  if (truncated_) return reset_stream(NGHTTP2_FRAME_SIZE_ERROR);
  if (malformed_) return reset_stream(NGHTTP2_PROTOCOL_ERROR);
  if (auto refused = refusal()) {
    ++connection_->context().stats.calls_refused;
    http_status_ = refused->http_status;
    return finish(std::move(refused->status));
  }
  ServerContext& context = connection_->context();
  if (timeout_) {
    const base::TimePoint now = context.now();
    const bool never = *timeout_ > base::TimePoint::max() - now;
    deadline_ = never ? base::TimePoint::max() : now + *timeout_;
    context.deadlines.add(*this, *deadline_);
  }
  reader_.reset(context.options.message_bytes_max, gzip_);
  if (method_->kind == MethodKind::kBidiStream) make_handler();
}

// The request's messages
// ----------------------------------------------------------------------------

bool Http2Call::on_data(std::string_view bytes) {
  if (!reading()) return true;
  if (paused_) {
    held_.append(bytes);
    held_window_bytes_ += bytes.size();
    count_request_bytes();
    return false;
  }
  feed(bytes);
  return true;
}

// What remains when the handler has paused stays in held_; the stream's window was given back for
// it, so at most one piece more than a window is held.
void Http2Call::feed(std::string_view bytes) {
  while (!bytes.empty() && reading()) {
    if (paused_) {
      held_.append(bytes);
      break;
    }
    auto whole = reader_.read(bytes);
    if (!whole) {
      fail(std::move(whole).error());
      break;
    }
    if (*whole) deliver(reader_.message());
  }
  count_request_bytes();
  if (reading() && connection_->request_bytes_exhausted() && counted_request_bytes_ > 0) {
    fail({StatusCode::kResourceExhausted, "too many bytes of unfinished requests"});
  }
}

void Http2Call::deliver(Message message) {
  switch (method_->kind) {
    case MethodKind::kUnary:
      message_seen_ = true;
      reading_done_ = true;  // a second message is ignored, as grpc-go does
      make_handler();
      break;
    case MethodKind::kServerStream:
      if (message_seen_) return fail(kManyMessages);
      message_seen_ = true;
      first_message_ = std::move(message).take();
      return;
    case MethodKind::kBidiStream:
      message_seen_ = true;
      break;
  }
  hand_over(std::move(message));
}

void Http2Call::hand_over(Message message) {
  if (!handler_) return;
  method_->stats->received.add();
  method_->stats->received_bytes.add(message.view().size());
  tell([&](CallHandler& handler) { handler.on_message(std::move(message)); });
}

void Http2Call::on_half_close() {
  if (half_closed_) return;
  half_closed_ = true;
  tell_half_close();
}

void Http2Call::tell_half_close() {
  if (!half_closed_ || half_close_told_ || ended_ || paused_) return;
  half_close_told_ = true;
  if (!reading_done_ && !reader_.at_boundary()) {
    // grpc-go takes an end within a prefix for the end of messages.
    const bool unary = method_->kind == MethodKind::kUnary;
    if (!reader_.in_prefix()) {
      return fail({unary ? StatusCode::kUnknown : StatusCode::kInternal, "unexpected EOF"});
    }
    if (unary) return fail({StatusCode::kUnknown, "EOF"});
  }
  if (method_->kind != MethodKind::kBidiStream && !message_seen_) return fail(kNoMessage);
  if (method_->kind == MethodKind::kServerStream) {
    std::string message = std::exchange(first_message_, {});
    count_request_bytes();
    make_handler();
    hand_over(Message(&message));
  }
  reading_done_ = true;
  tell([](CallHandler& handler) { handler.on_half_close(); });
}

void Http2Call::make_handler() {
  in_handler_ = true;
  handler_ = method_->make(*this);
  in_handler_ = false;
  if (!handler_) {
    // The factory has answered; one that has not would leave the client waiting for ever.
    if (!ended_) finish({StatusCode::kInternal, "the method has no handler"});
    return;
  }
  counted_ = true;
  method_->stats->started.add();
  if (!ended_) return;
  method_->stats->handled[static_cast<std::size_t>(status_.code)].add();
  handler_.reset();
}

template <class F>
void Http2Call::tell(F&& f) {
  if (!handler_) return;
  in_handler_ = true;
  f(*handler_);
  in_handler_ = false;
  if (ended_) handler_.reset();
}

void Http2Call::resume_reading() {
  if (!paused_) return;
  paused_ = false;
  want_settle();
}

void Http2Call::want_settle() {
  if (settle_wanted_ || connection_ == nullptr) return;
  settle_wanted_ = true;
  connection_->want_settle(stream_id_);
}

void Http2Call::settle() {
  settle_wanted_ = false;
  if (ended_) {
    handler_.reset();
    return;
  }
  if (paused_) return;
  if (!held_.empty()) {
    const std::string held = std::exchange(held_, {});
    connection_->consume(stream_id_, std::exchange(held_window_bytes_, 0));
    feed(held);
  }
  tell_half_close();
}

// The answer
// ----------------------------------------------------------------------------------------

void Http2Call::send(std::string message) {
  if (ended_) return;
  if (is_too_much(message.size())) return finish(kTooManyAnswers);
  if (message.size() > kSendMessageBytesMax) return refuse_to_send(message.size());
  count_sent(message.size());
  if (gzip_) {
    queue_.add_message(http::gzip(message), SendQueue::Compressed::kYes);
  } else {
    queue_.add_message(std::move(message), SendQueue::Compressed::kNo);
  }
  begin_answer();
}

void Http2Call::send(std::string_view head, std::span<const base::SharedBytes> parts) {
  if (ended_) return;
  std::uint64_t length = head.size();
  for (const auto& part : parts) length += part.size();
  if (length > kSendMessageBytesMax) return refuse_to_send(length);
  if (is_too_much(length)) return finish(kTooManyAnswers);
  if (gzip_) {
    std::string whole(head);
    whole.reserve(length);
    for (const auto& part : parts) whole.append(part.view());
    return send(std::move(whole));
  }
  count_sent(length);
  queue_.add_message(head, parts);
  begin_answer();
}

void Http2Call::send_streamed(std::uint64_t length, std::unique_ptr<BodySource> source) {
  CHECK(!gzip_);
  if (ended_) return;
  if (length > kSendMessageBytesMax) return refuse_to_send(length);
  count_sent(length);
  queue_.add_message(length, std::move(source));
  begin_answer();
}

// Calls are admitted by what waits then, and may be many before the first of them is answered. A
// bidi stream is not ended for what others do not read: it looks at unsent_bytes() itself.
bool Http2Call::is_too_much(std::uint64_t bytes) const {
  return bytes > kSmallAnswerBytes && method_->kind != MethodKind::kBidiStream &&
         connection_->answer_share_exhausted(bytes);
}

void Http2Call::count_sent(std::uint64_t bytes) {
  method_->stats->sent.add();
  method_->stats->sent_bytes.add(bytes);
}

void Http2Call::refuse_to_send(std::uint64_t length) {
  finish({StatusCode::kResourceExhausted,
          fmt::format("trying to send message larger than max ({} vs. {})", length,
                      kSendMessageBytesMax)});
}

void Http2Call::resume() {
  if (connection_ != nullptr) wake();
}

void Http2Call::begin_answer() {
  drain_wanted_ = true;
  count_answer_bytes();
  if (answering_) return wake();
  answering_ = true;
  std::string composed;
  const std::array fields = {
      field(":status", "200"),
      content_type_field(composed),
      field("grpc-encoding", "gzip"),
  };
  connection_->submit_answer(stream_id_, std::span(fields).first(gzip_ ? 3 : 2), true);
  connection_->want_turn();
}

// `composed` holds the value until the fields are submitted, if it is not the usual one.
nghttp2_nv Http2Call::content_type_field(std::string& composed) const {
  constexpr std::string_view kUsual = "application/grpc";
  if (subtype_.empty()) return field("content-type", kUsual);
  ((composed = kUsual) += '+') += subtype_;
  return field("content-type", composed, kCopiedOnce);
}

void Http2Call::wake() {
  if (deferred_) {
    deferred_ = false;
    nghttp2_session_resume_data(connection_->session(), stream_id_);
  }
  connection_->want_turn();
}

void Http2Call::finish(Status status) {
  if (ended_) return;
  end(status.code);
  status_ = std::move(status);
  if (answering_) return wake();  // trailers follow what is queued
  answering_ = true;
  const std::string http_status = fmt::format("{}", http_status_);
  const std::string message = encode_grpc_message(status_.message);
  std::string composed;
  const std::array fields = {
      field(":status", http_status, kCopied),
      content_type_field(composed),
      field("grpc-status", code_text()),
      field("grpc-message", message, message.empty() ? kCopied : kCopiedOnce),
  };
  connection_->submit_answer(stream_id_, fields, false);
  connection_->want_turn();
}

void Http2Call::abandon() {
  if (connection_ == nullptr) return;
  if (!ended_) {
    ++connection_->context().stats.calls_cancelled;
    end(StatusCode::kResourceExhausted);
  }
  reset_stream(NGHTTP2_ENHANCE_YOUR_CALM);
}

void Http2Call::submit_trailers() {
  const std::string message = encode_grpc_message(status_.message);
  const std::array fields = {
      field("grpc-status", code_text()),
      field("grpc-message", message, message.empty() ? kCopied : kCopiedOnce),
  };
  nghttp2_submit_trailer(connection_->session(), stream_id_, fields.data(), fields.size());
}

std::string_view Http2Call::code_text() const {
  return kCodeTexts[static_cast<std::size_t>(status_.code)];
}

ssize_t Http2Call::produce(std::size_t bytes_max, std::uint32_t* flags) {
  OutputBuffer& out = connection_->out();
  const SendQueue::Outcome outcome = queue_.take(bytes_max, out);
  count_answer_bytes();
  if (outcome == SendQueue::Outcome::kFailed) {
    Status failure = queue_.take_failure();
    cancel(CancelReason::kFailed);
    status_ = std::move(failure);
  }
  if (queue_.empty() && ended_) {
    *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
    submit_trailers();
    return static_cast<ssize_t>(out.frame_bytes());
  }
  if (drain_wanted_ && queue_.bytes() == 0) {
    drain_wanted_ = false;
    connection_->want_drained(stream_id_);
  }
  if (out.frame_bytes() > 0) return static_cast<ssize_t>(out.frame_bytes());
  deferred_ = true;
  return NGHTTP2_ERR_DEFERRED;
}

void Http2Call::tell_drained() {
  if (ended_ || queue_.bytes() > 0) return;
  tell([](CallHandler& handler) { handler.on_drained(); });
}

// The end
// -------------------------------------------------------------------------------------------

void Http2Call::end(StatusCode code) {
  ended_ = true;
  if (counted_) method_->stats->handled[static_cast<std::size_t>(code)].add();
  connection_->context().deadlines.remove(*this);
  held_ = {};
  first_message_ = {};
  count_request_bytes();
  if (handler_ && !in_handler_) want_settle();  // the handler may be what called
}

void Http2Call::cancel(CancelReason reason) {
  if (ended_) return;
  ++connection_->context().stats.calls_cancelled;
  end(status_code(reason));
  if (handler_) {
    in_handler_ = true;
    handler_->on_cancelled(reason);
    in_handler_ = false;
  }
}

void Http2Call::fail(Status status) {
  if (ended_) return;
  // Ended only after the handler has heard of it, and so that it cannot answer in between.
  std::unique_ptr<CallHandler> handler = std::move(handler_);
  finish(std::move(status));
  if (handler) {
    ++connection_->context().stats.calls_cancelled;
    handler->on_cancelled(CancelReason::kFailed);
  }
}

void Http2Call::on_deadline() {
  if (ended_) return;
  const bool untouched = !answering_;
  ++connection_->context().stats.calls_cancelled;
  std::unique_ptr<CallHandler> handler = std::move(handler_);
  if (method_->kind == MethodKind::kUnary && untouched) {
    finish(kDeadlineExceeded);
  } else {
    end(StatusCode::kDeadlineExceeded);
    reset_stream(NGHTTP2_CANCEL);
  }
  if (handler) handler->on_cancelled(CancelReason::kDeadline);
}

void Http2Call::reset_stream(std::uint32_t error_code) {
  ended_ = true;
  queue_.clear();
  count_answer_bytes();
  nghttp2_submit_rst_stream(connection_->session(), NGHTTP2_FLAG_NONE, stream_id_, error_code);
  connection_->want_turn();
}

void Http2Call::count_request_bytes() {
  const std::size_t bytes = reader_.held_bytes() + held_.size() + first_message_.size();
  if (bytes == counted_request_bytes_) return;
  connection_->add_request_bytes(static_cast<std::ptrdiff_t>(bytes) -
                                 static_cast<std::ptrdiff_t>(counted_request_bytes_));
  counted_request_bytes_ = bytes;
}

void Http2Call::count_answer_bytes() {
  const std::size_t bytes = queue_.bytes();
  if (bytes == counted_answer_bytes_) return;
  connection_->add_answer_bytes(static_cast<std::ptrdiff_t>(bytes) -
                                static_cast<std::ptrdiff_t>(counted_answer_bytes_));
  counted_answer_bytes_ = bytes;
}

}  // namespace keelson::http
