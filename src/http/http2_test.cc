// The server's HTTP/2 side, told as scripts (testdata/http2/*.txt): what a bare client sends, and
// every frame it gets.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "http/fake_env.h"
#include "http/gzip.h"
#include "http/raw_client.h"
#include "http/server.h"
#include "http/test_services.h"
#include "testing/script.h"

namespace keelson::http {
namespace {

using fake::Frame;
using fake::RawClient;

class World {
 public:
  std::string run(const testing::Directive& directive) {
    const std::string out = act(directive);
    return out.empty() ? "ok" : out;
  }
  ~World() {
    server_.reset();
    EXPECT_EQ(lane_.timers(), 0u);
  }

 private:
  std::string act(const testing::Directive& d) {
    const auto stream = static_cast<std::int32_t>(
        d.bare(0).empty() ? 0 : std::strtol(d.bare(0).c_str(), nullptr, 10));
    if (d.command == "connect") return connect(d);
    if (d.command == "connect-another") return connect_to_same(d);
    if (d.command == "headers") return feed(headers(stream, d));
    if (d.command ==
        "call") {  // headers and a whole message in one piece, half-closed unless "open"
      const std::string body = fake::grpc_message(d.text("message"));
      return feed(headers(stream, d) + RawClient::data(stream, body, !d.has("open")));
    }
    if (d.command == "message") {
      const auto flag = static_cast<char>(d.number("flag", 0));
      const std::string body =
          d.has("bytes") ? std::string(d.number("bytes"), 'a') : d.text("message");
      return feed(RawClient::data(stream, fake::grpc_message(body, flag), d.has("end")));
    }
    if (d.command == "prefix") {  // a prefix announcing `bytes`, and nothing behind it
      const std::string prefix =
          std::string(1, '\0') + fake::big_endian(static_cast<std::uint32_t>(d.number("bytes")));
      return feed(RawClient::data(stream, prefix, d.has("end")));
    }
    if (d.command == "data") {
      const std::string bytes =
          d.has("bytes") ? std::string(d.number("bytes"), 'a') : d.text("text");
      return feed(RawClient::data(stream, bytes, d.has("end")));
    }
    if (d.command == "reset") return feed(RawClient::reset(stream, NGHTTP2_CANCEL));
    if (d.command == "window") {
      return feed(RawClient::window(stream, static_cast<std::uint32_t>(d.number("bytes"))));
    }
    if (d.command == "ping") return feed(RawClient::ping("12345678"));
    if (d.command == "ack") return feed(RawClient::ping(last_ping_, true));
    if (d.command == "frame") {
      return feed(fake::frame_bytes(static_cast<std::uint8_t>(d.number("type")),
                                    static_cast<std::uint8_t>(d.number("flags")), stream,
                                    std::string(d.number("bytes"), '\0')));
    }
    if (d.command == "advance") {
      lane_.advance(base::Milliseconds(d.number("ms")));
      return results();
    }
    const bool needs_call = d.command == "send" || d.command == "finish" || d.command == "pause" ||
                            d.command == "resume";
    if (needs_call && !services_.calls.contains(stream)) return "no such call";
    if (d.command == "send") {
      Call& call = *services_.calls.at(stream);
      const std::string body =
          d.has("bytes") ? std::string(d.number("bytes"), 'a') : d.text("message");
      if (d.has("shared")) {
        const base::SharedBytes part(body);
        call.send("", {&part, 1});
      } else {
        call.send(body);
      }
      lane_.run();
      return results();
    }
    if (d.command == "finish") {
      services_.calls.at(stream)->finish(
          {static_cast<StatusCode>(d.number("code")), d.text("text")});
      lane_.run();
      return results();
    }
    if (d.command == "pause") {
      services_.calls.at(stream)->pause_reading();
      return "";
    }
    if (d.command == "resume") {
      services_.calls.at(stream)->resume_reading();
      lane_.run();
      return results();
    }
    if (d.command == "source") return set_source(d);
    if (d.command == "abandon") return abandon(stream);
    if (d.command == "counts") return counts(d.bare(0));
    if (d.command == "client-end") {
      wire_->end();
      lane_.run();
      return results();
    }
    if (d.command == "lose") {
      wire_->break_off();
      lane_.run();
      return results();
    }
    if (d.command == "capacity") {
      wire_->capacity = static_cast<std::size_t>(d.number("bytes"));
      return "";
    }
    if (d.command == "read") return results();
    if (d.command == "stop") {
      server_->stop(base::Milliseconds(d.number("patience")), [this] { stopped_ = true; });
      lane_.run();
      return results();
    }
    if (d.command == "stats") {
      const ServerStats& s = server_->stats();
      return fmt::format(
          "connections={} calls={}/{} cancelled={} refused={} request_bytes={} answer_bytes={}",
          s.connections_open, s.calls_open, s.calls_started, s.calls_cancelled, s.calls_refused,
          s.request_bytes, s.answer_bytes);
    }
    return "unknown command";
  }

  // The held call of this number, or the one whose body is streaming.
  std::string abandon(int call) {
    (call != 0 ? services_.calls.at(call) : services_.streaming)->abandon();
    lane_.run();
    return results();
  }

  std::string counts(const std::string& path) {
    const MethodStats& stats = *services_.router.find(path)->stats;
    std::string out =
        fmt::format("started={} received={} ({} bytes) sent={} ({} bytes)", stats.started.value(),
                    stats.received.value(), stats.received_bytes.value(), stats.sent.value(),
                    stats.sent_bytes.value());
    for (std::size_t i = 0; i < kStatusCodeCount; i++) {
      const std::uint64_t count = stats.handled[i].value();
      if (count == 0) continue;
      out += fmt::format(" {}={}", status_code_name(static_cast<StatusCode>(i)), count);
    }
    return out;
  }

  std::string connect(const testing::Directive& d) {
    ServerOptions options;
    options.max_concurrent_streams = static_cast<std::uint32_t>(
        d.number("max-streams", std::numeric_limits<std::uint32_t>::max()));
    options.message_bytes_max = static_cast<std::size_t>(d.number("message-max", 2 << 20));
    options.request_bytes_per_connection_max =
        static_cast<std::size_t>(d.number("request-bytes", 64 << 20));
    options.answer_bytes_per_connection_max =
        static_cast<std::size_t>(d.number("answer-bytes", 64 << 20));
    options.answer_bytes_max = static_cast<std::size_t>(d.number("server-answer-bytes", 512 << 20));
    options.answer_bytes_share = static_cast<std::size_t>(d.number("answer-share", 256 << 10));
    options.socket_bytes_max = static_cast<std::size_t>(d.number("socket-bytes", 512 << 10));
    server_ = std::make_unique<Server>(lane_, options, &services_.router, nullptr);
    return connect_to_same(d);
  }

  // From now on commands are of this connection; those before it stay as they are.
  std::string connect_to_same(const testing::Directive& d) {
    auto accepted = std::make_unique<fake::FakeStream>(lane_);
    wire_ = accepted->wire();
    client_ = std::make_unique<RawClient>();
    closed_told_ = false;
    server_->accept(std::move(accepted));
    std::string preface = NGHTTP2_CLIENT_MAGIC;
    std::string settings;
    if (d.has("window")) {
      settings =
          std::string("\0\4", 2) + fake::big_endian(static_cast<std::uint32_t>(d.number("window")));
    }
    return feed(
        preface + fake::frame_bytes(NGHTTP2_SETTINGS, 0, 0, settings) +
        (d.has("no-ack") ? "" : fake::frame_bytes(NGHTTP2_SETTINGS, NGHTTP2_FLAG_ACK, 0, "")));
  }

  // Defaults of a gRPC request; "name: value" lines add, "name=" arguments replace, "-name"
  // removes.
  std::string headers(std::int32_t stream, const testing::Directive& d) {
    fake::Fields fields;
    const auto add = [&](std::string name, std::string fallback) {
      if (d.has("no-" + name)) return;
      const std::string value = d.has(name) ? d.text(name) : std::move(fallback);
      fields.emplace_back(
          (name == "method" || name == "path" || name == "scheme" ? ":" : "") + name, value);
    };
    add("method", "POST");
    add("scheme", "http");
    add("path", "/test.T/Echo");
    add("content-type", "application/grpc");
    add("te", "trailers");
    if (d.has("timeout")) fields.emplace_back("grpc-timeout", d.text("timeout"));
    std::string_view input = d.input;
    while (!input.empty()) {
      const std::string_view line = input.substr(0, input.find('\n'));
      input.remove_prefix(std::min(input.size(), line.size() + 1));
      const auto colon = line.find(": ");
      CHECK(colon != std::string_view::npos);
      fields.emplace_back(line.substr(0, colon), line.substr(colon + 2));
    }
    for (std::int64_t i = 0; i < d.number("repeat"); ++i) {
      fields.emplace_back("fat", std::string(4000, 'f'));  // fits HPACK's table: small on the wire
    }
    return client_->headers(stream, fields, d.has("end"));
  }

  std::string set_source(const testing::Directive& d) {
    if (d.has("step")) services_.source_step = static_cast<std::uint64_t>(d.number("step"));
    if (d.has("fails-at"))
      services_.source_fails_at = static_cast<std::uint64_t>(d.number("fails-at"));
    if (d.has("wait")) *services_.source_open = false;
    if (d.has("go")) {
      *services_.source_open = true;
      services_.streaming->resume();
      lane_.run();
    }
    return results();
  }

  std::string feed(std::string_view bytes) {
    wire_->feed(bytes);
    lane_.run();
    return results();
  }

  // Everything the client can see, then what handlers heard.
  std::string results() {
    std::vector<std::string> lines;
    for (const Frame& frame : client_->receive(wire_->take())) lines.push_back(line(frame));
    lane_.run();
    if (wire_->closed && !closed_told_) {
      closed_told_ = true;
      lines.push_back("closed");
    }
    if (std::exchange(stopped_, false)) lines.push_back("stopped");
    for (auto& event : std::exchange(services_.events, {})) lines.push_back(std::move(event));
    return fmt::format("{}", fmt::join(lines, "\n"));
  }

  std::string line(const Frame& frame) {
    if (frame.type == NGHTTP2_PING && (frame.flags & NGHTTP2_FLAG_ACK) == 0) {
      last_ping_ = frame.payload;
    }
    std::string out = fake::describe(frame);
    if (frame.type == NGHTTP2_DATA && frame.payload.size() < 64) {
      for (std::string_view rest = frame.payload; rest.size() >= 5;) {
        const auto length = static_cast<unsigned char>(rest[4]);
        const std::string body(rest.substr(5, length));
        out += rest[0] == 1 ? fmt::format(" gzip[{}]", gunzip(body, 1000).value())
                            : fmt::format(" [{}]", body);
        rest.remove_prefix(std::min(rest.size(), std::size_t{5} + length));
      }
    }
    return out;
  }

  fake::FakeLane lane_;
  fake::TestServices services_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<fake::FakeStream::Wire> wire_;
  std::unique_ptr<RawClient> client_;
  std::string last_ping_ = "12345678";
  bool closed_told_ = false;
  bool stopped_ = false;
};

TEST(Http2, Scripts) {
  testing::run_scripts(KEELSON_TEST_DIR "/testdata/http2", [] {
    auto world = std::make_shared<World>();
    return [world](const testing::Directive& directive) { return world->run(directive); };
  });
}

}  // namespace
}  // namespace keelson::http
