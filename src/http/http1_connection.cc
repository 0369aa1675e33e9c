// HTTP/1.1 on one connection: Beast parses, this keeps order.
//
//   Head --complete, routed--> Body --complete--> Done --answer ended, kept alive--> Head
//        --malformed--> answered, closed           \--answer ended, not kept--> closed
//   any --upgrade()--> Raw
//
// One request is in hand at a time; what is pipelined behind it stays unparsed in input_, and the
// stream is not read beyond Http1Limits::pipelined_bytes_max. Handlers are called from on_bytes()
// and on_turn_end() only, and destroyed in the latter.
#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/http/status.hpp>
#include <ctime>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/go_text.h"
#include "http/connection.h"
#include "http/grpc_wire.h"
#include "http/http1_body.h"
#include "http/output_buffer.h"

namespace keelson::http {
namespace {

namespace beast = boost::beast::http;

using Parser = beast::request_parser<SinkBody>;

std::string reason(int status) {
  // Go has no words for it, and says so.
  if (status == 499) return "status code 499";
  return std::string(view(beast::obsolete_reason(static_cast<beast::status>(status))));
}

std::string date(base::WallTime now) {
  const std::time_t seconds =
      std::chrono::duration_cast<base::Seconds>(now.time_since_epoch()).count();
  std::tm time{};
  gmtime_r(&seconds, &time);
  constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  return fmt::format("{}, {:02} {} {} {:02}:{:02}:{:02} GMT", kDays[time.tm_wday], time.tm_mday,
                     kMonths[time.tm_mon], time.tm_year + 1900, time.tm_hour, time.tm_min,
                     time.tm_sec);
}

bool valid_host(std::string_view host) {
  constexpr std::string_view kSigns = "!$%&'()*+,-.:;=@[]_~";
  return std::ranges::all_of(host, [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           kSigns.contains(c);
  });
}

std::string_view without_port(std::string_view host) {
  if (host.starts_with('[')) return host.substr(1, std::min(host.find(']'), host.size()) - 1);
  return host.substr(0, std::min(host.rfind(':'), host.size()));
}

bool listed(const std::vector<std::string>& list, std::string_view name) {
  return list.empty() || std::ranges::any_of(list, [&](const std::string& entry) {
           return entry == "*" || entry == name;
         });
}

bool bodiless(int status) { return status < 200 || status == 204 || status == 304; }

// A final CR, LF or NUL inside a field would let a value forge further fields.
void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ");
  for (const char c : value) {
    if (c != '\r' && c != '\n' && c != '\0') out += c;
  }
  out.append("\r\n");
}

class Http1Connection final : public Protocol, private Exchange, private BodySink {
 public:
  Http1Connection(ServerContext& context, Connection& connection)
      : context_(context), connection_(connection) {
    begin_request();
  }
  ~Http1Connection() override {
    cancel_all(CancelReason::kConnectionLost);
    set_timer(Wait::kNone);
  }

  // Protocol
  // -------------------------------------------------------------------------------------------

  void on_bytes(std::string_view bytes) override {
    input_.append(bytes);
    if (context_.options.http1.each_read && timer_for_ == Wait::kHead) set_timer(Wait::kNone);
    process();
  }

  // What was asked for whole is answered (etcd cancels it, and /health says so): `nc` and scripts
  // close their side early.
  void on_end() override {
    const bool endless = in_hand() && body_mode_ == BodyMode::kStreamed;
    if (reading_ == Reading::kRaw || reading_ == Reading::kBody || endless) {
      return connection_.abandon();
    }
    peer_ended_ = true;
    connection_.want_turn();
  }

  void on_drained() override { connection_.want_turn(); }

  void on_turn_end() override {
    // What handlers ask for while they hear of something is done in the same turn, a few times
    // over.
    for (int round = 0; round < kRoundsMax; ++round) {
      process();
      if (answer_ != Answer::kEnded) {
        // All that came was answered, and no more comes.
        if (peer_ended_ && reading_ == Reading::kHead) closing_ = true;
        break;
      }
      end_answer();
      if (closing_) break;
    }
    if (answer_ == Answer::kEnded) connection_.want_turn();
    flush();
    tell_drained();
    if (closing_ && out_.empty()) connection_.finish();
  }

  void begin_shutdown() override {
    close_after_answer_ = true;
    if (reading_ == Reading::kHead && input_.empty()) {
      answer_ = Answer::kEnded;
      connection_.want_turn();
    }
  }

  void cancel_all(CancelReason) override {
    if (handler_ && answer_ != Answer::kEnded) {
      answer_ = Answer::kEnded;
      handler_->on_cancelled();
    }
    handler_.reset();
    closing_ = true;
  }

 private:
  enum class Reading { kHead, kBody, kDone, kRaw };
  enum class Answer { kNone, kStarted, kEnded };
  enum class Framing { kLength, kChunked, kToTheEnd };
  enum class Wait { kNone, kHead, kNextRequest };

  static constexpr int kRoundsMax = 16;
  // Of a request that is refused: so much is read and thrown away before the answer.
  static constexpr std::size_t kUnaskedBodyBytes = 256 << 10;

  // Reading
  // --------------------------------------------------------------------------------------------

  void begin_request() {
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(context_.options.http1.head_bytes_max));
    parser_->body_limit(boost::none);  // counted here
    parser_->get().body() = this;
    parser_->eager(false);
    request_ = {};
    handler_.reset();
    reading_ = Reading::kHead;
    answer_ = Answer::kNone;
    paused_ = chunk_cut_ = false;
    keep_alive_ = head_request_ = body_dropped_ = false;
    told_drained_ = true;
  }

  bool in_hand() const { return handler_ != nullptr && answer_ != Answer::kEnded; }

  void process() {
    while (!closing_ && step()) {
    }
    if (closing_) input_.clear();
    set_timer(awaited());
    const std::size_t allowed = reading_ == Reading::kHead
                                    ? context_.options.http1.head_bytes_max
                                    : context_.options.http1.pipelined_bytes_max;
    const bool full = input_.size() + held_body_.size() > allowed;
    if (full != stream_paused_) {
      stream_paused_ = full;
      full ? connection_.stream().pause_reading() : connection_.stream().resume_reading();
    }
  }

  // Whether anything was done.
  bool step() {
    switch (reading_) {
      case Reading::kHead:
        return !input_.empty() && answer_ == Answer::kNone && parse();
      case Reading::kBody:
        if (deliver_held()) return true;
        return !paused_ && !input_.empty() && parse();
      case Reading::kDone:
        return deliver_held() || tell_body_end();
      case Reading::kRaw:
        if (deliver_held()) return true;
        if (paused_ || input_.empty()) return false;
        if (handler_) handler_->on_body(std::exchange(input_, {}));
        return true;
    }
    return false;
  }

  bool parse() {
    if (chunk_cut_ && input_.size() < kChunkBytesMin) return false;
    boost::beast::error_code ec;
    const std::size_t used =
        parser_->put(boost::asio::const_buffer(input_.data(), input_.size()), ec);
    input_.erase(0, used);
    const bool need_more = ec == beast::error::need_more;
    chunk_cut_ = need_more && reading_ == Reading::kBody && parser_->chunked();
    if (ec && !need_more) {
      on_malformed(ec);
      return true;
    }
    if (reading_ == Reading::kHead && parser_->is_header_done()) {
      on_head();
      return true;
    }
    if (reading_ == Reading::kBody && parser_->is_done()) {
      on_body_whole();
      return true;
    }
    return used > 0 && !need_more;
  }

  void on_malformed(boost::beast::error_code ec) {
    const bool start_line = ec == beast::error::bad_method || ec == beast::error::bad_version ||
                            ec == beast::error::bad_line_ending || ec == beast::error::bad_target;
    // What does not begin like HTTP/1 is not answered at all.
    if (start_line && !any_request_) return give_up();
    if (ec == beast::error::header_limit) return refuse(431, "Request Header Fields Too Large");
    if (ec == beast::error::bad_chunk || ec == beast::error::bad_chunk_extension ||
        reading_ == Reading::kBody) {
      if (handler_) handler_->on_cancelled();
    }
    refuse(400, "Bad Request");
  }

  // The few words Go answers itself, and the end of the connection.
  void refuse(int status, std::string_view words, std::string_view body = {}) {
    if (answer_ != Answer::kNone) return give_up();
    const std::string line = fmt::format("{} {}", status, words);
    out_.append(
        fmt::format("HTTP/1.1 {}\r\nContent-Type: text/plain; charset=utf-8\r\n"
                    "Connection: close\r\n\r\n{}",
                    line, body.empty() ? std::string_view(line) : body));
    give_up();
  }

  void give_up() {
    close_after_answer_ = true;
    answer_ = Answer::kEnded;
    closing_ = true;
    connection_.want_turn();
  }

  void on_head() {
    any_request_ = true;
    ++context_.stats.requests;
    const auto& head = parser_->get();
    keep_alive_ = head.keep_alive();
    version_minor_ = static_cast<int>(head.version() % 10);
    head_request_ = head.method() == beast::verb::head;
    request_.method = view(head.method_string());
    request_.target = view(head.target());
    for (const auto& field : head) {
      request_.headers.add(std::string(view(field.name_string())),
                           std::string(view(field.value())));
    }
    // Bytes of the body follow with the next put(); is_done() needs one even where there are none.
    parser_->eager(true);
    reading_ = Reading::kBody;
    take_head();
    // Whoever answered: a parser that is done must not be given another byte.
    if (reading_ == Reading::kBody && parser_->is_done()) on_body_whole();
  }

  void take_head() {
    if (!read_target()) return refuse(400, "Bad Request");
    if (!check_host()) return;
    if (request_.headers.contains("Transfer-Encoding") && !parser_->chunked()) {
      return refuse(501, "Not Implemented", "Unsupported transfer encoding");
    }
    if (const auto expect = request_.headers.find("Expect")) {
      if (*expect != "100-continue") return answer_here({.status = 417}, /*allowed=*/false);
      expects_continue_ = true;
    }
    route();
  }

  bool read_target() {
    std::string_view target = request_.target;
    for (const std::string_view scheme : {"http://", "https://"}) {
      if (!target.starts_with(scheme)) continue;
      target.remove_prefix(scheme.size());
      const auto slash = std::min(target.find_first_of("/?"), target.size());
      request_.host = target.substr(0, slash);
      target.remove_prefix(slash);
    }
    const auto mark = std::min(target.find('?'), target.size());
    if (mark < target.size()) request_.query = target.substr(mark + 1);
    auto path = percent_decode(target.substr(0, mark));
    if (!path) return false;
    request_.path = path->empty() ? "/" : *std::move(path);
    return request_.path.starts_with('/') || request_.path == "*" || request_.method == "CONNECT";
  }

  bool check_host() {
    std::size_t hosts = 0;
    for (const auto& field : parser_->get()) hosts += field.name() == beast::field::host;
    const auto host = request_.headers.find("Host");
    if (hosts > 1) {
      refuse(400, "Bad Request");
    } else if (!host && version_minor_ >= 1) {
      refuse(400, "Bad Request: missing required Host header");
    } else if (host && !valid_host(*host)) {
      refuse(400, "Bad Request: malformed Host header");
    } else {
      if (request_.host.empty() && host) request_.host = *host;
      return true;
    }
    return false;
  }

  // AccessPolicy, then whoever serves the path.
  void route() {
    if (request_.path == "*" && request_.method == "OPTIONS") return answer_here({}, false);
    const AccessPolicy& access = context_.options.access;
    const std::string_view name = without_port(request_.host);
    if (access.applies && !connection_.peer().tls && !listed(access.host_whitelist, name)) {
      return answer_here(misdirected(name), false);
    }
    if (access.applies && request_.method == "OPTIONS") return answer_here({}, true);
    Route route = context_.requests->route(request_);
    if (!route.handler) return answer_here(not_found_response(), true);
    handler_ = std::move(route.handler);
    body_mode_ = route.body;
    body_bytes_max_ = route.body_bytes_max;
    allowed_ = true;
    if (body_mode_ == BodyMode::kWhole && parser_->content_length_remaining() &&
        *parser_->content_length_remaining() > body_bytes_max_) {
      return body_too_large();
    }
    if (expects_continue_ && !parser_->is_done()) {
      out_.append("HTTP/1.1 100 Continue\r\n\r\n");
      connection_.want_turn();
    }
    expects_continue_ = false;
    if (body_mode_ == BodyMode::kStreamed) handler_->on_request(*this);
  }

  static Response misdirected(std::string_view host) {
    Response response = text_response(
        421,
        fmt::format("\nkeelson received your request, but the Host header was unrecognized.\n\n"
                    "To fix this, choose one of the following options:\n"
                    "- Enable TLS, then any HTTPS request will be allowed.\n"
                    "- Add the name you want to use to the server's list of host names:\n"
                    "  --host-whitelist {}\n\n"
                    "The list protects against DNS rebinding (CVE-2018-5702).\n",
                    base::quote(host)));
    return response;
  }

  // An answer without asking any handler. A short body is read first, so that the connection can go
  // on.
  void answer_here(Response response, bool allowed) {
    allowed_ = allowed;
    if (response.status == 417) close_after_answer_ = true;
    const auto length = parser_->content_length_remaining();
    const bool none = parser_->is_done() || (length && *length == 0);
    const bool short_body =
        !none && !expects_continue_ && (!length || *length <= kUnaskedBodyBytes);
    if (!short_body || close_after_answer_) return respond(std::move(response));
    handler_ =
        make_simple_handler([response = std::move(response)](const Request&) { return response; });
    body_mode_ = BodyMode::kWhole;
    body_bytes_max_ = kUnaskedBodyBytes;
  }

  void body_too_large() {
    handler_->on_cancelled();
    handler_.reset();
    respond(text_response(413, "Request Entity Too Large"));
  }

  void take_body(std::string_view bytes) override {
    if (!in_hand()) {
      body_dropped_ = true;
      return;
    }
    if (body_mode_ == BodyMode::kStreamed) {
      if (paused_ || !held_body_.empty()) {
        held_body_.append(bytes);
      } else {
        handler_->on_body(bytes);
      }
    } else if (bytes.size() > body_bytes_max_ - request_.body.size()) {
      body_too_large();
    } else {
      request_.body.append(bytes);
    }
  }

  bool deliver_held() {
    if (paused_ || held_body_.empty()) return false;
    const std::string held = std::exchange(held_body_, {});
    if (in_hand()) handler_->on_body(held);
    return true;
  }

  void on_body_whole() {
    reading_ = Reading::kDone;
    if (!in_hand()) return;
    if (body_mode_ == BodyMode::kWhole) {
      handler_->on_request(*this);
    } else {
      body_end_due_ = true;
    }
  }

  bool tell_body_end() {
    if (!body_end_due_ || paused_) return false;
    body_end_due_ = false;
    if (in_hand()) handler_->on_body_end();
    return true;
  }

  Wait awaited() const {
    if (reading_ != Reading::kHead || closing_) return Wait::kNone;
    if (!input_.empty() || parser_->got_some()) return Wait::kHead;
    const bool may_idle = context_.options.http1.idle_timeout == base::Duration::zero();
    return any_request_ && !may_idle ? Wait::kNextRequest : Wait::kNone;
  }

  void set_timer(Wait wait) {
    if (wait == timer_for_) return;
    timer_for_ = wait;
    if (timer_ != 0) context_.lane.cancel(std::exchange(timer_, 0));
    if (wait == Wait::kNone) return;
    const Http1Limits& limits = context_.options.http1;
    const bool head = wait == Wait::kHead;
    timer_ = context_.lane.after(head ? limits.head_timeout : limits.idle_timeout, [this] {
      timer_ = 0;
      connection_.abandon();
    });
  }

  // Exchange
  // -------------------------------------------------------------------------------------------

  const Request& request() const override { return request_; }
  const Peer& peer() const override { return connection_.peer(); }

  void respond(Response response) override {
    if (answer_ != Answer::kNone) return;
    write_head(response.status, response.headers, response.body.size());
    if (!head_request_ && !bodiless(response.status)) {
      out_.append(base::SharedBytes(std::move(response.body)));
    }
    answer_ended();
  }

  void start(int status, Headers headers) override {
    if (answer_ != Answer::kNone) return;
    const auto length = headers.find("Content-Length");
    framing_ = length                ? Framing::kLength
               : version_minor_ == 0 ? Framing::kToTheEnd
                                     : Framing::kChunked;
    write_head(status, headers, std::nullopt);
    answer_ = Answer::kStarted;
    connection_.want_turn();
  }

  void write(std::string bytes) override { write(base::SharedBytes(std::move(bytes))); }

  void write(base::SharedBytes bytes) override {
    if (answer_ != Answer::kStarted || bytes.empty()) return;
    told_drained_ = false;
    connection_.want_turn();
    if (head_request_) return;
    const bool chunked = framing_ == Framing::kChunked && reading_ != Reading::kRaw;
    if (chunked) out_.append(fmt::format("{:x}\r\n", bytes.size()));
    out_.append(bytes);
    if (chunked) out_.append("\r\n");
  }

  void end() override {
    if (answer_ != Answer::kStarted) return;
    if (reading_ == Reading::kRaw) {
      close_after_answer_ = true;
    } else if (framing_ == Framing::kChunked && !head_request_) {
      out_.append("0\r\n\r\n");
    }
    answer_ended();
  }

  void abort() override {
    if (answer_ == Answer::kEnded) return;
    close_after_answer_ = true;
    answer_ended();
  }

  std::size_t unsent_bytes() const override { return out_.size() + connection_.stream().unsent(); }

  void upgrade(Headers headers) override {
    if (answer_ != Answer::kNone) return;
    std::string head = "HTTP/1.1 101 Switching Protocols\r\n";
    for (const auto& [name, value] : headers.fields()) append_field(head, name, value);
    out_.append(head + "\r\n");
    answer_ = Answer::kStarted;
    framing_ = Framing::kToTheEnd;
    reading_ = Reading::kRaw;
    connection_.want_turn();
  }

  void pause_reading() override { paused_ = true; }
  void resume_reading() override {
    paused_ = false;
    connection_.want_turn();
  }

  // Answering
  // ------------------------------------------------------------------------------------------

  void write_head(int status, const Headers& headers, std::optional<std::size_t> length) {
    const bool unread_body = reading_ == Reading::kBody && !parser_->is_done();
    if (unread_body && length) close_after_answer_ = true;  // nobody will read the rest
    if (framing_ == Framing::kToTheEnd && !length) close_after_answer_ = true;
    std::string head = fmt::format("HTTP/1.{} {} {}\r\n", version_minor_, status, reason(status));
    if (allowed_) append_cors(head);
    for (const auto& [name, value] : headers.fields()) append_field(head, name, value);
    append_field(head, "Date", date(context_.lane.clock().wall_now()));
    if (length && !bodiless(status)) append_field(head, "Content-Length", fmt::to_string(*length));
    if (!length && framing_ == Framing::kChunked) {
      append_field(head, "Transfer-Encoding", "chunked");
    }
    const bool keep = keep_alive_ && !close_after_answer_;
    if (!keep && version_minor_ >= 1) append_field(head, "Connection", "close");
    if (keep && version_minor_ == 0) append_field(head, "Connection", "keep-alive");
    out_.append(head + "\r\n");
  }

  void append_cors(std::string& head) const {
    if (!context_.options.access.applies) return;
    const auto& origins = context_.options.access.cors_origins;
    const auto origin = request_.headers.find("Origin");
    const bool all = listed(origins, "*");
    if (!all && !(origin && listed(origins, *origin))) return;
    append_field(head, "Access-Control-Allow-Headers", "accept, content-type, authorization");
    append_field(head, "Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE");
    append_field(head, "Access-Control-Allow-Origin", all ? "*" : *origin);
  }

  void answer_ended() {
    answer_ = Answer::kEnded;
    connection_.want_turn();
  }

  // The answer is in out_: the handler goes, and the next request may begin.
  void end_answer() {
    handler_.reset();
    held_body_.clear();
    body_end_due_ = expects_continue_ = allowed_ = false;
    if (!keep_alive_ || close_after_answer_ || reading_ != Reading::kDone || body_dropped_) {
      closing_ = true;
    } else {
      begin_request();
    }
  }

  void flush() {
    if (out_.empty()) return;
    context_.stats.bytes_sent += out_.size();
    out_.write_to(connection_.stream());
  }

  void tell_drained() {
    if (told_drained_ || !in_hand() || unsent_bytes() > 0) return;
    told_drained_ = true;
    handler_->on_drained();
  }

  ServerContext& context_;
  Connection& connection_;
  std::string input_;      // not parsed yet
  std::string held_body_;  // parsed, but the handler has paused
  OutputBuffer out_;

  std::optional<Parser> parser_;
  Request request_;
  std::unique_ptr<RequestHandler> handler_;
  Reading reading_ = Reading::kHead;
  Answer answer_ = Answer::kNone;
  Framing framing_ = Framing::kChunked;
  BodyMode body_mode_ = BodyMode::kWhole;
  std::size_t body_bytes_max_ = 0;
  int version_minor_ = 1;
  env::TimerId timer_ = 0;
  Wait timer_for_ = Wait::kNone;

  bool any_request_ = false;
  bool keep_alive_ = false;
  bool head_request_ = false;
  bool allowed_ = false;  // by the AccessPolicy: the answer carries the CORS fields
  bool expects_continue_ = false;
  bool body_end_due_ = false;
  bool body_dropped_ = false;
  bool chunk_cut_ = false;      // what input_ begins with
  bool paused_ = false;         // by the handler
  bool stream_paused_ = false;  // by us
  bool told_drained_ = true;
  bool close_after_answer_ = false;
  bool closing_ = false;
  bool peer_ended_ = false;
};

}  // namespace

std::unique_ptr<Protocol> make_http1_protocol(ServerContext& context, Connection& connection) {
  return std::make_unique<Http1Connection>(context, connection);
}

}  // namespace keelson::http
