// The client against the real server, over streams in memory; and against servers that misbehave.
#include "http/grpc_client.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "http/fake_env.h"
#include "http/raw_client.h"
#include "http/server.h"
#include "http/test_services.h"

namespace keelson::http {
namespace {

// What a call hears.
struct Heard final : ClientCallHandler {
  void on_message(Message message) override {
    messages.emplace_back(message.view());
    if (on_each) on_each();
  }
  void on_end(CallEnd the_end) override {
    EXPECT_FALSE(end.has_value()) << "ended twice";
    end = std::move(the_end);
  }
  void on_drained() override { ++drained; }

  std::vector<std::string> messages;
  std::optional<CallEnd> end;
  int drained = 0;
  std::function<void()> on_each;
};

class ClientTest : public ::testing::Test {
 protected:
  ~ClientTest() override {
    client.reset();
    server.reset();
    EXPECT_EQ(lane.timers(), 0u);
  }

  void connect(ServerOptions server_options = {}, GrpcClientOptions options = {}) {
    server = std::make_unique<Server>(lane, server_options, &services.router, nullptr);
    auto to_server = std::make_unique<fake::FakeStream>(lane);
    server_wire = to_server->wire();
    server->accept(std::move(to_server));
    make_client(std::move(options));
    pump();
  }
  void make_client(GrpcClientOptions options) {
    auto to_client = std::make_unique<fake::FakeStream>(lane);
    client_wire = to_client->wire();
    client = std::make_unique<GrpcClient>(lane, std::move(to_client), std::move(options),
                                          [this] { ++unusable; });
  }
  // Carries bytes both ways until nothing moves.
  void pump() {
    lane.run();
    while (true) {
      const std::string up = client_wire->take(), down = server_wire->take();
      if (up.empty() && down.empty()) break;
      server_wire->feed(up);
      client_wire->feed(down);
      lane.run();
    }
    if (server_wire->closed && !client_wire->closed) client_wire->end();
    lane.run();
  }
  void advance(base::Duration duration) {
    lane.advance(duration);
    pump();
  }

  fake::FakeLane lane;
  fake::TestServices services;
  std::unique_ptr<Server> server;
  std::shared_ptr<fake::FakeStream::Wire> server_wire, client_wire;
  std::unique_ptr<GrpcClient> client;
  int unusable = 0;
};

TEST_F(ClientTest, UnaryCalls) {
  connect();
  std::optional<CallEnd> end;
  std::string answer;
  const auto done = [&](CallEnd e, std::string a) {
    end = std::move(e);
    answer = std::move(a);
  };
  auto call = client->unary({.path = "/test.T/Echo"}, "hello", done);
  pump();
  EXPECT_EQ(end->status, Status{});
  EXPECT_EQ(answer, "hello");

  // Through many frames, both ways.
  const std::string large(1'500'000, 'x');
  call = client->unary({.path = "/test.T/Echo"}, large, done);
  pump();
  EXPECT_EQ(answer, large);

  call = client->unary({.path = "/test.T/Deny"}, "x", done);
  pump();
  EXPECT_EQ(end->status.code, StatusCode::kFailedPrecondition);
  EXPECT_EQ(end->status.message, "etcdserver: rpc not supported for learner");
  EXPECT_EQ(answer, "");

  call = client->unary({.path = "/test.T/Nope"}, "x", done);
  pump();
  EXPECT_EQ(end->status.code, StatusCode::kUnimplemented);
  EXPECT_EQ(client->open_calls(), 0u);
  EXPECT_EQ(server->stats().calls_open, 0u);
  EXPECT_EQ(unusable, 0);
}

// A call whose end drops it sends no reset behind it: servers count resets.
TEST_F(ClientTest, AnsweredCallsAreNotReset) {
  connect();
  std::unique_ptr<ClientCall> call;
  int answers = 0;
  std::function<void()> next = [&] {
    call = client->unary({.path = "/test.T/Echo"}, "x", [&](CallEnd, std::string) {
      if (++answers < 100) next();
    });
  };
  next();
  pump();
  EXPECT_EQ(answers, 100);
  EXPECT_EQ(server->stats().calls_cancelled, 0u);
  EXPECT_EQ(client->open_calls(), 0u);
}

TEST_F(ClientTest, StreamsBothWays) {
  connect();
  Heard heard;
  auto call = client->start({.path = "/test.T/Chat"}, heard);
  call->send("one");
  pump();
  EXPECT_EQ(heard.messages, std::vector<std::string>{"one"});
  EXPECT_EQ(heard.drained, 1);
  call->send("two");
  call->send("three");
  call->half_close();
  pump();
  EXPECT_EQ(heard.messages, (std::vector<std::string>{"one", "two", "three"}));
  EXPECT_EQ(heard.end->status, Status{});
  call->send("late");  // nothing happens
  pump();
  EXPECT_EQ(client->open_calls(), 0u);
}

TEST_F(ClientTest, TheServerMayEndFirst) {
  connect();
  Heard heard;
  auto call = client->start({.path = "/test.T/Watch"}, heard);
  pump();
  services.calls.at(1)->send("event");
  services.calls.at(1)->finish(
      {StatusCode::kUnavailable, "etcdserver: no leader \xE2\x9C\x93 100%"});
  pump();
  EXPECT_EQ(heard.messages, std::vector<std::string>{"event"});
  EXPECT_EQ(heard.end->status.message, "etcdserver: no leader \xE2\x9C\x93 100%");
  EXPECT_EQ(client->open_calls(), 0u);
  EXPECT_EQ(server->stats().calls_open, 0u);
}

TEST_F(ClientTest, MetadataAndDeadlineReachTheServer) {
  connect();
  Heard heard;
  auto call = client->start({.path = "/test.T/Watch",
                             .metadata = {{"hasleader", "true"}, {"x-bin", std::string("\0\1", 2)}},
                             .deadline = lane.clock().now() + base::Seconds(2)},
                            heard);
  pump();
  const Call& seen = *services.calls.at(1);
  EXPECT_EQ(seen.metadata("hasleader"), "true");
  EXPECT_EQ(seen.metadata("x-bin"), std::string_view("\0\1", 2));
  EXPECT_EQ(seen.metadata("user-agent"), "keelson");
  EXPECT_EQ(seen.metadata("x"), std::nullopt);
  EXPECT_EQ(seen.deadline(), lane.clock().now() + base::Seconds(2));
  advance(base::Seconds(2));
  EXPECT_EQ(heard.end->status,
            (Status{StatusCode::kDeadlineExceeded, "context deadline exceeded"}));
  EXPECT_TRUE(services.calls.empty());
}

TEST_F(ClientTest, DestroyingTheCallCancelsIt) {
  connect();
  Heard heard;
  auto call = client->start({.path = "/test.T/Watch"}, heard);
  pump();
  ASSERT_EQ(services.calls.size(), 1u);
  call.reset();
  pump();
  EXPECT_TRUE(services.calls.empty());
  EXPECT_FALSE(heard.end);
  EXPECT_EQ(client->open_calls(), 0u);
  // Before it has left, as well.
  call = client->start({.path = "/test.T/Watch"}, heard);
  call.reset();
  pump();
  EXPECT_FALSE(heard.end);
  EXPECT_EQ(client->open_calls(), 0u);
  // And from inside its own message.
  heard.on_each = [&] { call.reset(); };
  call = client->start({.path = "/test.T/Chat"}, heard);
  call->send("a");
  call->send("b");
  pump();
  EXPECT_EQ(heard.messages, std::vector<std::string>{"a"});
  EXPECT_EQ(server->stats().calls_open, 0u);
}

TEST_F(ClientTest, PausingHoldsMessagesAndTheEnd) {
  connect();
  Heard heard;
  auto call = client->start({.path = "/test.T/Chat"}, heard);
  call->pause_reading();
  call->send("one");
  call->half_close();
  pump();
  EXPECT_TRUE(heard.messages.empty());
  EXPECT_FALSE(heard.end);
  call->resume_reading();
  EXPECT_TRUE(heard.messages.empty()) << "not inside the call";
  pump();
  EXPECT_EQ(heard.messages, std::vector<std::string>{"one"});
  EXPECT_TRUE(heard.end);
  EXPECT_EQ(client->open_calls(), 0u);
}

TEST_F(ClientTest, NothingOvertakesWhatWasHeldWhenReadingGoesOn) {
  connect();
  Heard heard;
  auto call = client->start({.path = "/test.T/Chat"}, heard);
  call->pause_reading();
  call->send("one");
  pump();
  call->send("two");
  lane.run();
  server_wire->feed(client_wire->take());
  lane.run();
  const std::string down = server_wire->take();
  ASSERT_FALSE(down.empty());
  call->resume_reading();
  client_wire->feed(down);  // within the same turn
  pump();
  EXPECT_EQ(heard.messages, (std::vector<std::string>{"one", "two"}));
}

TEST_F(ClientTest, WhatCameWhilePausedIsHeardThoughTheConnectionIsLost) {
  connect();
  Heard heard;
  auto call = client->start({.path = "/test.T/Chat"}, heard);
  call->pause_reading();
  call->send("one");
  call->half_close();
  pump();
  client_wire->break_off();
  pump();
  EXPECT_FALSE(heard.end) << "an OK without its message";
  call->resume_reading();
  pump();
  EXPECT_EQ(heard.messages, std::vector<std::string>{"one"});
  ASSERT_TRUE(heard.end);
  EXPECT_TRUE(heard.end->status.ok());
  EXPECT_EQ(client->open_calls(), 0u);
}

TEST_F(ClientTest, ALostConnectionEndsEveryCall) {
  connect();
  Heard first, second;
  auto a = client->start({.path = "/test.T/Watch"}, first);
  auto b = client->start({.path = "/test.T/Held"}, second);
  pump();
  auto never_sent = client->start({.path = "/test.T/Held"}, second);
  never_sent.reset();
  client_wire->break_off();
  pump();
  EXPECT_EQ(first.end->status.code, StatusCode::kUnavailable);
  EXPECT_FALSE(first.end->unprocessed) << "the server may have seen it";
  EXPECT_TRUE(second.end);
  EXPECT_EQ(unusable, 1);
  EXPECT_FALSE(client->usable());
  // A call on it fails later, not in start().
  Heard third;
  auto c = client->start({.path = "/test.T/Echo"}, third);
  EXPECT_FALSE(third.end);
  pump();
  EXPECT_EQ(third.end->status.code, StatusCode::kUnavailable);
  EXPECT_TRUE(third.end->unprocessed);
  EXPECT_EQ(client->open_calls(), 0u);
}

TEST_F(ClientTest, AStoppingServerLetsCallsFinish) {
  connect();
  Heard heard;
  auto call = client->start({.path = "/test.T/Held"}, heard);
  call->send("x");
  call->half_close();
  pump();
  server->stop(base::Seconds(10), [] {});
  pump();
  EXPECT_EQ(unusable, 1);
  EXPECT_FALSE(heard.end);
  services.calls.at(1)->send("answer");
  services.calls.at(1)->finish({});
  pump();
  EXPECT_EQ(heard.messages, std::vector<std::string>{"answer"});
  EXPECT_EQ(heard.end->status, Status{});
}

TEST_F(ClientTest, StreamsBeyondTheServersLimitWait) {
  connect({.max_concurrent_streams = 2});
  Heard heard[4];
  std::vector<std::unique_ptr<ClientCall>> calls;
  for (auto& h : heard) {
    calls.push_back(client->start({.path = "/test.T/Held"}, h));
    calls.back()->send("x");
    calls.back()->half_close();
  }
  pump();
  EXPECT_EQ(services.calls.size(), 2u);
  while (!services.calls.empty()) {
    services.calls.begin()->second->send("y");
    services.calls.begin()->second->finish({});
    pump();
  }
  for (const auto& h : heard) EXPECT_EQ(h.end->status, Status{});
}

TEST_F(ClientTest, ASilentServerIsPingedAndGivenUp) {
  connect({}, {.keepalive_time = base::Seconds(10), .keepalive_timeout = base::Seconds(3)});
  Heard heard;
  auto call = client->start({.path = "/test.T/Watch"}, heard);
  pump();
  advance(base::Seconds(11));  // pinged, and answered
  advance(base::Seconds(4));
  EXPECT_FALSE(heard.end);
  lane.advance(base::Seconds(14));  // nothing is carried any more
  EXPECT_EQ(heard.end->status.code, StatusCode::kUnavailable);
  EXPECT_EQ(unusable, 1);
}

// Servers played by hand.
class BadServerTest : public ClientTest {
 protected:
  void SetUp() override {
    make_client({.message_bytes_max = 1000});
    lane.run();
    call = client->start({.path = "/x.Y/Z"}, heard);
    lane.run();
    client_wire->feed(fake::frame_bytes(NGHTTP2_SETTINGS, 0, 0, ""));
  }
  void answer(const fake::Fields& fields, bool end, std::string_view body = {}) {
    client_wire->feed(peer.headers(1, fields, end));
    if (!body.empty()) client_wire->feed(RawData(body));
    lane.run();
  }
  static std::string RawData(std::string_view body) { return fake::RawClient::data(1, body, true); }

  fake::RawClient peer;
  Heard heard;
  std::unique_ptr<ClientCall> call;
};

TEST_F(BadServerTest, NoGrpc) {
  answer({{":status", "503"}, {"content-type", "text/html"}}, false, "<html>");
  EXPECT_EQ(heard.end->status.code, StatusCode::kUnavailable);
  EXPECT_TRUE(heard.messages.empty());
}
TEST_F(BadServerTest, NoTrailers) {
  answer({{":status", "200"}}, false, fake::grpc_message("x"));
  EXPECT_EQ(heard.messages, std::vector<std::string>{"x"});
  EXPECT_EQ(heard.end->status.code, StatusCode::kInternal);
}
TEST_F(BadServerTest, StrangeStatus) {
  answer({{":status", "200"}, {"grpc-status", "99"}, {"grpc-message", "what%zz"}}, true);
  EXPECT_EQ(heard.end->status, (Status{StatusCode::kUnknown, "what%zz"}));
}
TEST_F(BadServerTest, TooLargeAMessage) {
  answer({{":status", "200"}}, false, fake::grpc_message(std::string(1001, 'x')));
  EXPECT_EQ(heard.end->status.code, StatusCode::kResourceExhausted);
}
TEST_F(BadServerTest, Refused) {
  client_wire->feed(fake::RawClient::reset(1, NGHTTP2_REFUSED_STREAM));
  lane.run();
  EXPECT_EQ(heard.end->status.code, StatusCode::kUnavailable);
  EXPECT_TRUE(heard.end->unprocessed);
}
TEST_F(BadServerTest, GoesAwayBeforeTheCall) {
  client_wire->feed(fake::frame_bytes(NGHTTP2_GOAWAY, 0, 0, std::string(8, '\0')));
  lane.run();
  EXPECT_TRUE(heard.end->unprocessed);
  EXPECT_EQ(unusable, 1);
}
TEST_F(BadServerTest, RandomBytes) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    base::Random random(seed);
    Heard h;
    fake::RawClient other;
    make_client({});
    auto c = client->start({.path = "/x.Y/Z"}, h);
    lane.run();
    std::string bytes = fake::frame_bytes(NGHTTP2_SETTINGS, 0, 0, "") +
                        other.headers(1, {{":status", "200"}}, false) +
                        fake::RawClient::data(1, fake::grpc_message("abc"), false) +
                        other.headers(1, {{"grpc-status", "0"}}, true);
    for (std::uint64_t i = random.below(4); i > 0; --i) {
      bytes[random.below(bytes.size())] = static_cast<char>(random.next());
    }
    client_wire->feed(bytes);
    lane.run();
    client_wire->break_off();
    lane.run();
    EXPECT_TRUE(h.end) << "seed " << seed;
    EXPECT_EQ(client->open_calls(), 0u) << "seed " << seed;
    c.reset();
    call.reset();
  }
}

}  // namespace
}  // namespace keelson::http
