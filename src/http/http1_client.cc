#include "http/http1_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "http/http1_body.h"
#include "http/output_buffer.h"

namespace keelson::http {
namespace {

namespace beast = boost::beast::http;
using Parser = beast::response_parser<SinkBody>;

// A final CR, LF or NUL inside a field would let a value forge further fields.
void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ");
  std::ranges::copy_if(value, std::back_inserter(out),
                       [](char c) { return c != '\r' && c != '\n' && c != '\0'; });
  out.append("\r\n");
}

base::Error error_of(const boost::beast::error_code& ec) {
  return base::make_error(std::errc::protocol_error, "answer: " + ec.message());
}

}  // namespace

class Http1Client::Impl final : public env::StreamHandler,
                                public std::enable_shared_from_this<Impl>,
                                private BodySink {
 public:
  Impl(env::Lane& lane, std::unique_ptr<env::Stream> stream, std::size_t head_bytes_max)
      : lane_(lane),
        stream_(std::move(stream)),
        head_bytes_max_(head_bytes_max),
        idle_since_(lane.clock().now()) {}

  void open() { stream_->start(*this); }

  void start(ClientRequest request, ResponseHandler& handler) {
    CHECK(idle());
    handler_ = &handler;
    timeouts_ = request.timeouts;
    head_request_ = request.method == "HEAD";
    body_given_ = !request.streamed;
    answered_ = head_told_ = paused_ = false;
    told_drained_ = true;
    begin_answer();
    progress_at_ = lane_.clock().now();
    out_.append(head_of(request));
    out_.append(request.body);
    flush();
  }

  void write(const base::SharedBytes& bytes) {
    if (handler_ == nullptr || body_given_ || bytes.empty()) return;
    out_.append(fmt::format("{:x}\r\n", bytes.size()));
    out_.append(bytes);
    out_.append("\r\n");
    flush();
  }

  void end_body() {
    if (handler_ == nullptr || body_given_) return;
    body_given_ = true;
    progress_at_ = lane_.clock().now();
    out_.append("0\r\n\r\n");
    flush();
  }

  std::size_t unsent_bytes() const { return stream_ ? stream_->unsent() : 0; }

  void pause_reading() {
    paused_ = true;
    if (stream_) stream_->pause_reading();
  }

  void resume_reading() {
    if (!std::exchange(paused_, false) || !stream_) return;
    progress_at_ = lane_.clock().now();
    stream_->resume_reading();
    watch();
    lane_.post([self = shared_from_this()] { self->go_on(); });
  }

  bool idle() const { return stream_ && handler_ == nullptr; }
  bool closed() const { return stream_ == nullptr; }
  base::TimePoint idle_since() const { return idle_since_; }

  // Nothing is heard any more. The parser stays: it may be what calls.
  void close() {
    handler_ = nullptr;
    stream_.reset();
    if (timer_ != 0) lane_.cancel(std::exchange(timer_, 0));
  }

 private:
  // Stream
  // ---------------------------------------------------------------------------------------------

  void on_bytes(std::string_view bytes) override {
    const auto self = shared_from_this();
    // A server has nothing to say unasked, except why it is about to close.
    if (handler_ == nullptr) return close();
    answered_ = true;
    progress_at_ = lane_.clock().now();
    input_.append(bytes);
    parse();
  }

  void on_end() override {
    const auto self = shared_from_this();
    if (handler_ == nullptr) return close();
    end_came_ = true;
    if (!paused_) finish_by_end();
  }

  void on_drained() override {
    const auto self = shared_from_this();
    note_taken();
    watch();
    if (handler_ != nullptr && !std::exchange(told_drained_, true)) handler_->on_drained();
  }

  void on_closed(const base::Error& error) override {
    const auto self = shared_from_this();
    fail(error);
  }

  void go_on() {
    if (paused_ || handler_ == nullptr) return;
    if (const std::string held = std::exchange(held_body_, {}); !held.empty()) take_body(held);
    parse();
    if (end_came_ && handler_ != nullptr && !paused_) finish_by_end();
  }

  // Reading
  // --------------------------------------------------------------------------------------------

  void begin_answer() {
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(head_bytes_max_));
    parser_->body_limit(boost::none);  // whoever reads counts
    parser_->get().body() = this;
    parser_->eager(false);
    if (head_request_) parser_->skip(true);
    chunk_cut_ = false;
  }

  void parse() {
    while (handler_ != nullptr && !paused_ && step()) {
    }
    if (handler_ == nullptr || paused_) return;
    // What does not become a head, or the line before a chunk, within the bound never will.
    if (input_.size() > head_bytes_max_) {
      fail(base::make_error(std::errc::message_size, "answer: too long"));
    }
  }

  // Whether there may be more to do.
  bool step() {
    if (head_told_ && parser_->is_done()) return finish(), false;
    if (input_.empty() || (chunk_cut_ && input_.size() < kChunkBytesMin)) return false;
    boost::beast::error_code ec;
    const std::size_t used =
        parser_->put(boost::asio::const_buffer(input_.data(), input_.size()), ec);
    input_.erase(0, used);
    if (handler_ == nullptr) return false;
    const bool need_more = ec == beast::error::need_more;
    chunk_cut_ = need_more && head_told_ && parser_->chunked();
    if (ec && !need_more) return fail(error_of(ec)), false;
    if (!head_told_ && parser_->is_header_done()) return take_head(), true;
    return !need_more && (used > 0 || parser_->is_done());
  }

  void take_head() {
    const auto& head = parser_->get();
    const int status = static_cast<int>(head.result_int());
    if (status == 101) {
      return fail(base::make_error(std::errc::protocol_error, "answer: unasked upgrade"));
    }
    if (status < 200) return begin_answer();  // 100 Continue and its like: the answer follows
    head_told_ = true;
    // Bytes of the body follow with the next put(); is_done() needs one even where there are none.
    parser_->eager(true);
    ResponseHead told{.status = status, .headers = {}};
    for (const auto& field : head) {
      told.headers.add(std::string(view(field.name_string())), std::string(view(field.value())));
    }
    watch();
    handler_->on_head(told);
  }

  void take_body(std::string_view bytes) override {
    if (paused_) {
      held_body_.append(bytes);
    } else if (handler_ != nullptr) {
      handler_->on_body(bytes);
    }
  }

  // The answer is whole.
  void finish() {
    ResponseHandler* const handler = std::exchange(handler_, nullptr);
    const bool keep = body_given_ && parser_->keep_alive() && input_.empty() && !end_came_ &&
                      stream_ && stream_->unsent() == 0;
    if (timer_ != 0) lane_.cancel(std::exchange(timer_, 0));
    input_.clear();
    held_body_.clear();
    idle_since_ = lane_.clock().now();
    if (!keep) close();
    handler->on_end();
  }

  // An answer without a length lasts to the end of the connection; any other is torn.
  void finish_by_end() {
    if (head_told_ && parser_->need_eof()) {
      boost::beast::error_code ec;
      parser_->put_eof(ec);
      if (!ec) return finish();
    }
    fail(base::make_error(std::errc::connection_reset, "answer: unexpected EOF"));
  }

  void fail(const base::Error& error) {
    ResponseHandler* const handler = std::exchange(handler_, nullptr);
    close();
    if (handler != nullptr) handler->on_failed({.error = error, .unanswered = !answered_});
  }

  // Writing
  // --------------------------------------------------------------------------------------------

  std::string head_of(const ClientRequest& request) const {
    std::string head = fmt::format("{} {} HTTP/1.1\r\n", request.method, request.target);
    append_field(head, "Host", request.host.empty() ? stream_->peer_address() : request.host);
    for (const auto& [name, value] : request.headers.fields()) append_field(head, name, value);
    const bool has_body = request.method != "GET" && request.method != "HEAD";
    if (request.streamed) {
      append_field(head, "Transfer-Encoding", "chunked");
    } else if (has_body || !request.body.empty()) {
      append_field(head, "Content-Length", fmt::to_string(request.body.size()));
    }
    return head + "\r\n";
  }

  void flush() {
    if (unsent_bytes() == 0) progress_at_ = lane_.clock().now();
    written_ += out_.size();
    out_.write_to(*stream_);
    note_taken();
    if (stream_->unsent() > 0) told_drained_ = false;
    watch();
  }

  // Time
  // -----------------------------------------------------------------------------------------------

  // Bytes that the kernel took are progress; it says so only when all are.
  void note_taken() {
    const std::uint64_t taken = written_ - unsent_bytes();
    if (taken > std::exchange(taken_seen_, taken)) progress_at_ = lane_.clock().now();
  }

  // How long what is waited for now may take (RequestTimeouts). Zero: as long as it likes, or
  // nothing is waited for: no request is under way, its body is the caller's to bring, reading is
  // paused.
  base::Duration patience() const {
    if (handler_ == nullptr) return {};
    if (unsent_bytes() > 0) return timeouts_.send;
    if (!head_told_) return body_given_ ? timeouts_.head : base::Duration::zero();
    return paused_ ? base::Duration::zero() : timeouts_.body;
  }

  // The timer stands at or before the end of the patience and looks again when it fires, so that a
  // stream in flow touches no timer.
  void watch() {
    const base::Duration longest = patience();
    if (longest == base::Duration::zero()) return;
    const base::TimePoint due = progress_at_ + longest;
    if (timer_ != 0 && timer_due_ <= due) return;
    if (timer_ != 0) lane_.cancel(timer_);
    timer_due_ = due;
    timer_ = lane_.at(due, [self = shared_from_this()] { self->on_timer(); });
  }

  void on_timer() {
    timer_ = 0;
    if (handler_ == nullptr) return;
    note_taken();
    const base::Duration longest = patience();
    if (longest != base::Duration::zero() && lane_.clock().now() >= progress_at_ + longest) {
      return fail(base::make_error(std::errc::timed_out, unsent_bytes() > 0
                                                             ? "request: i/o timeout"
                                                             : "answer: i/o timeout"));
    }
    watch();
  }

  env::Lane& lane_;
  std::unique_ptr<env::Stream> stream_;  // nullptr: closed
  const std::size_t head_bytes_max_;
  ResponseHandler* handler_ = nullptr;  // of the request under way
  RequestTimeouts timeouts_;
  OutputBuffer out_;
  std::optional<Parser> parser_;
  std::string input_;      // not parsed yet
  std::string held_body_;  // parsed, but reading is paused

  bool head_request_ = false;
  bool body_given_ = false;  // the request is whole
  bool answered_ = false;    // a byte came
  bool head_told_ = false;
  bool chunk_cut_ = false;  // what input_ begins with
  bool paused_ = false;
  bool end_came_ = false;
  bool told_drained_ = true;

  base::TimePoint idle_since_;
  base::TimePoint progress_at_;
  std::uint64_t written_ = 0;     // given to the stream
  std::uint64_t taken_seen_ = 0;  // of that, taken by the kernel when last looked at
  env::TimerId timer_ = 0;
  base::TimePoint timer_due_;
};

Http1Client::Http1Client(env::Lane& lane, std::unique_ptr<env::Stream> stream,
                         std::size_t head_bytes_max)
    : impl_(std::make_shared<Impl>(lane, std::move(stream), head_bytes_max)) {
  impl_->open();
}
Http1Client::~Http1Client() { impl_->close(); }

void Http1Client::start(ClientRequest request, ResponseHandler& handler) {
  impl_->start(std::move(request), handler);
}
void Http1Client::write(base::SharedBytes bytes) { impl_->write(bytes); }
void Http1Client::end_body() { impl_->end_body(); }
std::size_t Http1Client::unsent_bytes() const { return impl_->unsent_bytes(); }
void Http1Client::pause_reading() { impl_->pause_reading(); }
void Http1Client::resume_reading() { impl_->resume_reading(); }
bool Http1Client::idle() const { return impl_->idle(); }
bool Http1Client::closed() const { return impl_->closed(); }
base::TimePoint Http1Client::idle_since() const { return impl_->idle_since(); }

}  // namespace keelson::http
