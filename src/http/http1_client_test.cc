// The client's side of HTTP/1.1: what a server may answer, byte for byte, and what is made of it.
#include "http/http1_client.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "http/fake_env.h"

namespace keelson::http {
namespace {

using fake::FakeLane;
using fake::FakeStream;

// Notes what it hears; does what a test tells it to in the middle of it.
struct Listener final : ResponseHandler {
  void on_head(const ResponseHead& head) override {
    note(fmt::format("head {}", head.status));
    if (const auto field = head.headers.find("X-Test")) note(fmt::format("x-test={}", *field));
    if (in_head) in_head();
  }
  void on_body(std::string_view bytes) override {
    if (!said.empty() && said.back().starts_with("body ")) {
      said.back() += bytes;
    } else {
      note("body " + std::string(bytes));
    }
    if (in_body) in_body();
  }
  void on_end() override {
    note("end");
    if (in_end) in_end();
  }
  void on_failed(const RequestFailure& failure) override {
    note(fmt::format("failed{}: {}", failure.unanswered ? " unanswered" : "",
                     failure.error.message()));
    if (in_failed) in_failed();
  }
  void on_drained() override { note("drained"); }
  void note(std::string what) { said.push_back(std::move(what)); }

  std::string take() {
    std::string all;
    for (const auto& each : std::exchange(said, {})) all += (all.empty() ? "" : ", ") + each;
    return all;
  }

  std::vector<std::string> said;
  std::function<void()> in_head, in_body, in_end, in_failed;
};

struct World {
  World() {
    auto stream = std::make_unique<FakeStream>(lane);
    wire = stream->wire();
    client = std::make_unique<Http1Client>(lane, std::move(stream), 1024);
  }
  // What is made of an answer to a GET that comes in pieces of this size.
  std::string answer(std::string_view bytes, std::size_t piece = std::string::npos) {
    client->start({.target = "/x"}, listener);
    for (std::size_t at = 0; at < bytes.size(); at += std::min(piece, bytes.size() - at)) {
      wire->feed(bytes.substr(at, piece));
      lane.run();
    }
    return listener.take();
  }

  FakeLane lane;
  std::shared_ptr<FakeStream::Wire> wire;
  Listener listener;
  std::unique_ptr<Http1Client> client;
};

TEST(Http1Client, WritesRequests) {
  World world;
  world.client->start({.method = "POST",
                       .target = "/raft",
                       .host = "m1:2380",
                       .headers = {{"X-A", "b"}, {"X-Bad", "a\r\nX-Forged: c"}},
                       .body = base::SharedBytes(std::string("body"))},
                      world.listener);
  EXPECT_EQ(world.wire->take(),
            "POST /raft HTTP/1.1\r\nHost: m1:2380\r\nX-A: b\r\nX-Bad: aX-Forged: c\r\n"
            "Content-Length: 4\r\n\r\nbody");
  world.wire->feed("HTTP/1.1 204 No Content\r\n\r\n");
  EXPECT_EQ(world.listener.take(), "head 204, end");
  ASSERT_TRUE(world.client->idle());

  world.client->start({.method = "POST", .target = "/s", .streamed = true}, world.listener);
  world.client->write(base::SharedBytes(std::string("0123456789abcdef")));
  world.client->write({});
  world.client->end_body();
  world.client->end_body();
  world.client->write(base::SharedBytes(std::string("too late")));
  EXPECT_EQ(world.wire->take(),
            "POST /s HTTP/1.1\r\nHost: 127.0.0.1:51234\r\nTransfer-Encoding: chunked\r\n\r\n"
            "10\r\n0123456789abcdef\r\n0\r\n\r\n");
}

struct Answer {
  std::string_view what;
  std::string_view bytes;
  std::string_view heard;
  bool kept = true;
};

TEST(Http1Client, ReadsAnswersHoweverTheyAreCut) {
  const Answer rows[] = {
      {"of a length", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Test: y\r\n\r\nhello",
       "head 200, x-test=y, body hello, end"},
      {"of no length", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "head 404, end"},
      {"in chunks",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
       "head 200, body hello!, end"},
      {"in chunks with trailers",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
       "head 200, body hello, end"},
      {"without a body by its status", "HTTP/1.1 204 No Content\r\n\r\n", "head 204, end"},
      {"after a 100", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!",
       "head 200, body !, end"},
      {"to the end of a connection that closes",
       "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n!",
       "head 200, body !, end", false},
      {"of HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n!", "head 200, body !, end",
       false},
  };
  for (const auto& row : rows) {
    for (const std::size_t piece : {1000u, 1u, 2u, 3u, 7u}) {
      World world;
      EXPECT_EQ(world.answer(row.bytes, piece), row.heard) << row.what << " by " << piece;
      EXPECT_EQ(world.client->idle(), row.kept) << row.what;
      EXPECT_EQ(world.client->closed(), !row.kept) << row.what;
      EXPECT_EQ(world.lane.timers(), 0u) << row.what;
    }
  }
}

TEST(Http1Client, AnAnswerWithoutALengthLastsToTheEndOfTheConnection) {
  World world;
  EXPECT_EQ(world.answer("HTTP/1.1 200 OK\r\n\r\nsome"), "head 200, body some");
  world.wire->feed(" more");
  world.wire->end();
  EXPECT_EQ(world.listener.take(), "body  more, end");
  EXPECT_TRUE(world.client->closed());
}

TEST(Http1Client, RefusesWhatIsNoAnswer) {
  const std::string long_field(2000, 'x');
  const struct {
    std::string what, bytes, heard;
  } rows[] = {
      {"other words", "SSH-2.0-OpenSSH\r\n\r\n", "failed: answer: bad version: Protocol error"},
      {"a bad status", "HTTP/1.1 2x0 OK\r\n\r\n", "failed: answer: bad status: Protocol error"},
      {"a head too long", "HTTP/1.1 200 OK\r\nX: " + long_field,
       "failed: answer: header limit exceeded: Protocol error"},
      {"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
       "failed: answer: multiple Content-Length: Protocol error"},
      {"a bad chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz!!\r\n",
       "head 200, failed: answer: bad chunk: Protocol error"},
      {"a chunk's line without an end",
       "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + long_field,
       "head 200, failed: answer: too long: Message too long"},
      {"an upgrade nobody asked for",
       "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
       "failed: answer: unasked upgrade: Protocol error"},
  };
  for (const auto& row : rows) {
    for (const std::size_t piece : {100'000u, 1u}) {
      World world;
      EXPECT_EQ(world.answer(row.bytes, piece), row.heard) << row.what << " by " << piece;
      EXPECT_TRUE(world.client->closed()) << row.what;
      EXPECT_TRUE(world.wire->closed) << row.what;
    }
  }
}

TEST(Http1Client, ATornAnswerFails) {
  const struct {
    std::string_view bytes, heard;
  } rows[] = {
      {"", "failed unanswered: answer: unexpected EOF: Connection reset by peer"},
      {"HTTP/1.1 2", "failed: answer: unexpected EOF: Connection reset by peer"},
      {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n!",
       "head 200, body !, failed: answer: unexpected EOF: Connection reset by peer"},
      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n!\r\n",
       "head 200, body !, failed: answer: unexpected EOF: Connection reset by peer"},
  };
  for (const auto& row : rows) {
    World world;
    std::string heard = world.answer(row.bytes);
    world.wire->end();
    const std::string rest = world.listener.take();
    EXPECT_EQ(heard + (heard.empty() ? "" : ", ") + rest, row.heard) << row.bytes;
  }
  World world;
  world.answer("");
  world.wire->break_off();
  EXPECT_EQ(world.listener.take(), "failed unanswered: read: Connection reset by peer");
}

TEST(Http1Client, AConnectionIsKeptOnlyWhenBothSidesAreDone) {
  World early;  // an answer before the request is whole
  early.client->start({.method = "POST", .streamed = true}, early.listener);
  early.client->write(base::SharedBytes(std::string("half")));
  early.wire->feed("HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n");
  EXPECT_EQ(early.listener.take(), "head 412, end");
  EXPECT_TRUE(early.client->closed());
  early.client->write(base::SharedBytes(std::string("nobody hears")));

  World talkative;  // more than the answer
  EXPECT_EQ(talkative.answer("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!and more"),
            "head 200, body !, end");
  EXPECT_TRUE(talkative.client->closed());

  for (const bool by_end : {true, false}) {  // closed while it was idle
    World idle;
    EXPECT_EQ(idle.answer("HTTP/1.1 204 No Content\r\n\r\n"), "head 204, end");
    by_end ? idle.wire->end() : idle.wire->feed("HTTP/1.1 408 Request Timeout\r\n\r\n");
    EXPECT_TRUE(idle.client->closed());
    EXPECT_EQ(idle.listener.take(), "");
  }
}

TEST(Http1Client, WaitsNoLongerThanItWasTold) {
  const RequestTimeouts timeouts{
      .send = base::Seconds(3), .head = base::Seconds(10), .body = base::Seconds(5)};
  World head;
  head.client->start({.timeouts = timeouts}, head.listener);
  head.lane.advance(base::Milliseconds(9'999));
  EXPECT_EQ(head.listener.take(), "");
  head.lane.advance(base::Milliseconds(1));
  EXPECT_EQ(head.listener.take(), "failed unanswered: answer: i/o timeout: Connection timed out");

  World body;  // a piece each four seconds, then silence
  body.client->start({.timeouts = timeouts}, body.listener);
  body.wire->feed("HTTP/1.1 200 OK\r\n\r\n");
  for (int i = 0; i < 5; ++i) {
    body.lane.advance(base::Seconds(4));
    body.wire->feed(".");
  }
  EXPECT_EQ(body.listener.take(), "head 200, body .....");
  body.lane.advance(base::Milliseconds(4'999));
  EXPECT_EQ(body.listener.take(), "");
  body.lane.advance(base::Milliseconds(1));
  EXPECT_EQ(body.listener.take(), "failed: answer: i/o timeout: Connection timed out");

  World paused;  // it is we who do not read
  paused.client->start({.timeouts = timeouts}, paused.listener);
  paused.wire->feed("HTTP/1.1 200 OK\r\n\r\n");
  paused.client->pause_reading();
  paused.lane.advance(base::Seconds(100));
  EXPECT_EQ(paused.listener.take(), "head 200");
  paused.client->resume_reading();
  paused.lane.advance(base::Seconds(5));
  EXPECT_EQ(paused.listener.take(), "failed: answer: i/o timeout: Connection timed out");

  World own;  // the request is not whole: it is our turn
  own.client->start({.method = "POST", .streamed = true, .timeouts = timeouts}, own.listener);
  own.lane.advance(base::Seconds(100));
  own.client->end_body();
  own.lane.advance(base::Milliseconds(9'999));
  EXPECT_EQ(own.listener.take(), "");
  own.lane.advance(base::Milliseconds(1));
  EXPECT_EQ(own.listener.take(), "failed unanswered: answer: i/o timeout: Connection timed out");
}

TEST(Http1Client, ARequestThatIsNotTakenFails) {
  World world;
  world.wire->capacity = 100;
  world.client->start({.method = "POST", .streamed = true, .timeouts = {.send = base::Seconds(3)}},
                      world.listener);
  world.client->write(base::SharedBytes(std::string(500, 'x')));
  EXPECT_GT(world.client->unsent_bytes(), 400u);
  for (int i = 0; i < 4; ++i) {  // slow is fine
    world.lane.advance(base::Seconds(2));
    world.wire->take(50);
    EXPECT_EQ(world.listener.take(), "");
  }
  world.lane.advance(base::Seconds(6));
  EXPECT_EQ(world.listener.take(), "failed unanswered: request: i/o timeout: Connection timed out");
}

TEST(Http1Client, TellsWhenThereIsRoomAgain) {
  World world;
  world.wire->capacity = 100;
  world.client->start({.method = "POST", .streamed = true}, world.listener);
  world.client->write(base::SharedBytes(std::string(200, 'x')));
  world.wire->take();
  world.wire->take();
  world.wire->take();
  world.lane.run();
  EXPECT_EQ(world.listener.take(), "drained");
  EXPECT_EQ(world.client->unsent_bytes(), 0u);
}

TEST(Http1Client, PausesInTheMiddleOfWhatItHas) {
  World world;
  world.listener.in_body = [&] { world.client->pause_reading(); };
  EXPECT_EQ(world.answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"),
            "head 200, body a");
  EXPECT_TRUE(world.wire->paused);
  world.client->resume_reading();
  EXPECT_EQ(world.listener.take(), "") << "not from within the call";
  world.lane.run();
  EXPECT_EQ(world.listener.take(), "body bc");
  world.client->resume_reading();
  world.lane.run();
  EXPECT_EQ(world.listener.take(), "end");
  EXPECT_TRUE(world.client->idle());
}

TEST(Http1Client, AnEndThatComesWhilePausedIsHeardAfterwards) {
  World world;
  world.listener.in_body = [&] { world.client->pause_reading(); };
  EXPECT_EQ(world.answer("HTTP/1.1 200 OK\r\n\r\nall"), "head 200, body all");
  world.wire->end();
  EXPECT_EQ(world.listener.take(), "");
  world.client->resume_reading();
  world.lane.run();
  EXPECT_EQ(world.listener.take(), "end");
}

TEST(Http1Client, MayGoInAnyOfItsCalls) {
  const std::string_view answer =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n";
  const struct {
    std::function<void()> Listener::* where;
    std::string_view heard;
  } rows[] = {{&Listener::in_head, "head 200"},
              {&Listener::in_body, "head 200, body a"},
              {&Listener::in_end, "head 200, body ab, end"}};
  for (const auto& row : rows) {
    World world;
    world.listener.*row.where = [&] { world.client.reset(); };
    EXPECT_EQ(world.answer(answer), row.heard);
    EXPECT_TRUE(world.wire->closed);
    EXPECT_EQ(world.lane.timers(), 0u);
  }
  World world;
  world.listener.in_failed = [&] { world.client.reset(); };
  world.answer("");
  world.wire->break_off();
  EXPECT_EQ(world.listener.take(), "failed unanswered: read: Connection reset by peer");
}

TEST(Http1Client, TheNextRequestMayBeginInTheEndOfOne) {
  World world;
  world.listener.in_end = [&] {
    world.listener.in_end = nullptr;
    world.client->start({.target = "/second"}, world.listener);
  };
  world.answer("HTTP/1.1 204 No Content\r\n\r\n");
  world.wire->take();
  world.wire->feed("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n!");
  EXPECT_EQ(world.listener.take(), "head 200, body !, end");
  world.lane.advance(base::Seconds(100));
  EXPECT_TRUE(world.client->idle());
}

}  // namespace
}  // namespace keelson::http
