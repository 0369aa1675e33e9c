// The server's HTTP/1.1 side, told as scripts (testdata/http1/*.txt): what a client sends, byte for
// byte, and what it gets. A line "." is an empty line; a line that ends with a backslash has no
// line end.
#include "http/http1.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "http/fake_env.h"
#include "http/server.h"
#include "testing/script.h"

namespace keelson::http {
namespace {

// /echo    whole body        /stream  streamed body, noted as it comes      /later  answered by the
// script /chunks  answer in pieces  /up      upgrades and echoes                   /small  at most
// 10 bytes
class TestRouter final : public RequestRouter {
 public:
  struct Handler final : RequestHandler {
    Handler(TestRouter& the_router, std::string the_path)
        : router(the_router), path(std::move(the_path)) {}
    ~Handler() override {
      router.note(path + " gone");
      if (router.later == exchange) router.later = nullptr;
    }
    void on_request(Exchange& e) override {
      exchange = &e;
      const Request& request = e.request();
      if (path == "/echo" || path == "/small") {
        e.respond({.headers = {{"Content-Type", "text/plain"}},
                   .body = fmt::format("{} {} ?{} host={} body={}", request.method, request.path,
                                       request.query, request.host, request.body)});
      } else if (path == "/chunks") {
        e.start(200, {});
        e.write("one");
        e.write("two");
        e.end();
      } else if (path == "/length") {
        e.start(200, {{"Content-Length", "6"}});
        e.write("sixsix");
        e.end();
      } else if (path == "/abort") {
        e.start(200, {});
        e.write("half");
        e.abort();
      } else if (path == "/up") {
        e.upgrade({{"Connection", "Upgrade"}, {"Upgrade", "echo"}});
      } else if (path == "/status") {
        e.respond({.status = std::stoi(request.query), .body = "body"});
      } else {
        router.later = &e;
        router.note(path + " asked");
      }
    }
    void on_body(std::string_view bytes) override {
      router.note(fmt::format("{} body [{}]", path, bytes));
      if (path == "/up") bytes == "bye" ? exchange->end() : exchange->write(std::string(bytes));
    }
    void on_body_end() override {
      router.note(path + " body end");
      if (path == "/stream") exchange->respond({.body = "done"});
    }
    void on_cancelled() override { router.note(path + " cancelled"); }
    void on_drained() override { router.note(path + " drained"); }

    TestRouter& router;
    std::string path;
    Exchange* exchange = nullptr;
  };

  Route route(const Request& head) override {
    static const std::vector<std::string> kPaths = {"/echo",  "/stream", "/later", "/chunks", "/up",
                                                    "/small", "/length", "/abort", "/status"};
    if (std::ranges::find(kPaths, head.path) == kPaths.end()) return {};
    return {.handler = std::make_unique<Handler>(*this, head.path),
            .body = head.path == "/stream" ? BodyMode::kStreamed : BodyMode::kWhole,
            .body_bytes_max = head.path == "/small" ? std::size_t{10} : std::size_t{1} << 20};
  }
  void note(std::string event) { events.push_back(std::move(event)); }

  std::vector<std::string> events;
  Exchange* later = nullptr;
};

class World {
 public:
  std::string run(const testing::Directive& d) {
    if (d.command == "connect") {
      ServerOptions options;
      if (d.has("host")) options.access.host_whitelist = {d.text("host")};
      if (d.has("cors")) options.access.cors_origins = {d.text("cors")};
      options.access.applies = !d.has("no-policy");
      options.http1.head_bytes_max = static_cast<std::size_t>(d.number("head", 1 << 20));
      options.http1.pipelined_bytes_max = static_cast<std::size_t>(d.number("pipelined", 1000));
      options.http1.idle_timeout = base::Milliseconds(d.number("idle", 0));
      options.http1.head_timeout = base::Milliseconds(d.number("head-ms", 300'000));
      options.http1.each_read = d.has("each-read");
      server_ = std::make_unique<Server>(lane_, options, nullptr, &router_);
      auto stream = std::make_unique<fake::FakeStream>(lane_);
      wire_ = stream->wire();
      closed_told_ = false;
      server_->accept(std::move(stream));
      return "ok";
    }
    if (d.command == "feed") wire_->feed(bytes_of(d));
    if (d.command == "drip") {  // the same, byte by byte
      for (const char c : bytes_of(d)) {
        wire_->feed({&c, 1});
        lane_.run();
      }
    }
    if (d.command == "fill") wire_->feed(std::string(d.number("bytes"), 'x'));
    if (d.command == "respond") router_.later->respond({.body = d.text("body")});
    if (d.command == "start") router_.later->start(200, {});
    if (d.command == "write") router_.later->write(d.text("body"));
    if (d.command == "end") router_.later->end();
    if (d.command == "client-end") wire_->end();
    if (d.command == "advance") lane_.advance(base::Milliseconds(d.number("ms")));
    if (d.command == "stop") server_->stop(base::Milliseconds(d.number("patience")), [] {});
    lane_.run();
    return results();
  }
  ~World() {
    server_.reset();
    EXPECT_EQ(lane_.timers(), 0u);
  }

 private:
  static std::string bytes_of(const testing::Directive& d) {
    std::string out;
    std::string_view input = d.input;
    while (!input.empty()) {
      std::string_view line = input.substr(0, input.find('\n'));
      input.remove_prefix(std::min(input.size(), line.size() + 1));
      if (line.ends_with('\\')) {
        out += line.substr(0, line.size() - 1);
      } else {
        out += line == "." ? "\r\n" : fmt::format("{}\r\n", line);
      }
    }
    return out;
  }

  std::string results() {
    std::string out;
    std::string text = wire_->take();
    lane_.run();
    while (!text.empty()) {
      const auto end = text.find("\r\n");
      const std::string line = text.substr(0, end);
      text.erase(0, end == std::string::npos ? end : end + 2);
      std::string_view rest = line;
      do {
        const std::string_view part = rest.substr(0, rest.find('\n'));
        rest.remove_prefix(std::min(rest.size(), part.size() + 1));
        if (!part.starts_with("Date: ")) out += part.empty() ? ".\n" : fmt::format("{}\n", part);
      } while (!rest.empty());
    }
    for (const auto& event : std::exchange(router_.events, {})) out += fmt::format("# {}\n", event);
    if (wire_->paused != paused_told_) {
      paused_told_ = wire_->paused;
      out += paused_told_ ? "# not reading\n" : "# reading again\n";
    }
    if (wire_->closed && !std::exchange(closed_told_, true)) out += "# closed\n";
    return out.empty() ? "ok" : out;
  }

  fake::FakeLane lane_;
  TestRouter router_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<fake::FakeStream::Wire> wire_;
  bool closed_told_ = false;
  bool paused_told_ = false;
};

TEST(Http1, Scripts) {
  testing::run_scripts(KEELSON_TEST_DIR "/testdata/http1", [] {
    auto world = std::make_shared<World>();
    return [world](const testing::Directive& directive) { return world->run(directive); };
  });
}

TEST(Http1, QueriesDecodeAsGoDoes) {
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  const std::pair<std::string_view, Pairs> rows[] = {
      {"", {}},
      {"a=1&b=2", {{"a", "1"}, {"b", "2"}}},
      {"a&=b&a=", {{"a", ""}, {"", "b"}, {"a", ""}}},
      {"a=x+y%20z", {{"a", "x y z"}}},
      {"a=%zz&b=%4&c=1", {{"c", "1"}}},  // broken escapes are left out
      {"a=1;b=2&c=3", {{"c", "3"}}},     // so is what has a semicolon
      {"&&a=b=c", {{"a", "b=c"}}},
  };
  for (const auto& [query, expected] : rows) EXPECT_EQ(parse_query(query), expected) << query;
}

TEST(Http1, HeaderNamesCompareWithoutCase) {
  Headers headers{{"Content-Type", "a"}, {"X", "1"}, {"x", "2"}};
  EXPECT_EQ(headers.find("content-type"), "a");
  EXPECT_EQ(headers.find("x"), "1");
  headers.set("x", "3");
  EXPECT_EQ(headers.fields().size(), 2u);
  EXPECT_FALSE(headers.contains("y"));
}

// Wherever a body in chunks is cut on its way, it is the same body. (Beast asserts that it sees at
// least five bytes when it looks at a last chunk again.)
TEST(Http1, ChunksInAnyPieces) {
  const std::pair<std::string, std::string> rows[] = {
      {"0\r\n\r\n", ""},
      {"000\r\n\r\n", ""},
      {"0;x=y\r\n\r\n", ""},
      {"0\r\nTrailer: of it\r\n\r\n", ""},
      {"1\r\na\r\n0\r\n\r\n", "a"},
      {"3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: u\r\n\r\n", "abcde"},
  };
  for (const auto& [chunks, body] : rows) {
    for (std::size_t first = 0; first <= chunks.size(); ++first) {
      for (std::size_t second = first; second <= chunks.size(); ++second) {
        fake::FakeLane lane;
        TestRouter router;
        Server server(lane, {}, nullptr, &router);
        auto stream = std::make_unique<fake::FakeStream>(lane);
        auto wire = stream->wire();
        server.accept(std::move(stream));
        wire->feed("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        lane.run();
        std::size_t begin = 0;
        for (const std::size_t end : {first, second, chunks.size()}) {
          if (end > begin) wire->feed(chunks.substr(begin, end - begin));
          begin = end;
          lane.run();
        }
        const std::string answer = wire->take(1 << 20);
        EXPECT_TRUE(answer.ends_with("\r\n\r\nPOST /echo ? host=a body=" + body))
            << chunks << " cut at " << first << " and " << second << ": " << answer;
      }
    }
  }
}

// Whatever comes, nothing breaks and nothing is left.
TEST(Http1, RandomBytes) {
  std::uint64_t requests = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    base::Random random(seed);
    fake::FakeLane lane;
    TestRouter router;
    Server server(lane, {}, nullptr, &router);
    auto stream = std::make_unique<fake::FakeStream>(lane);
    auto wire = stream->wire();
    server.accept(std::move(stream));
    std::string bytes =
        "POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
        "chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        "GET /chunks?a=b HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.0\r\nContent-Length: "
        "3\r\n\r\nabc";
    for (std::uint64_t i = random.below(6); i > 0; --i) {
      bytes[random.below(bytes.size())] = static_cast<char>(random.next());
    }
    while (!bytes.empty()) {
      const std::size_t count = 1 + random.below(bytes.size());
      wire->feed(bytes.substr(0, count));
      bytes.erase(0, count);
      lane.run();
    }
    wire->end();
    lane.run();
    lane.advance(base::Seconds(600));
    EXPECT_EQ(server.stats().connections_open, 0u) << "seed " << seed;
    requests += server.stats().requests;
  }
  EXPECT_GT(requests, 300u);
}

}  // namespace
}  // namespace keelson::http
