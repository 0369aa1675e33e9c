// What the scripts cannot tell: many streams one after the other, random bytes, a slow twin.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "http/fake_env.h"
#include "http/raw_client.h"
#include "http/server.h"
#include "http/test_services.h"

namespace keelson::http {
namespace {

using fake::RawClient;

const fake::Fields kEchoHead = {{":method", "POST"},
                                {":scheme", "http"},
                                {":path", "/test.T/Echo"},
                                {"content-type", "application/grpc"},
                                {"te", "trailers"}};

fake::Fields head_for(std::string path) {
  fake::Fields fields = kEchoHead;
  fields[2].second = std::move(path);
  return fields;
}

struct Connected {
  Connected() : server(lane, {}, &services.router, nullptr) {
    auto stream = std::make_unique<fake::FakeStream>(lane);
    wire = stream->wire();
    server.accept(std::move(stream));
    feed(RawClient::preface());
  }
  void feed(std::string_view bytes) {
    wire->feed(bytes);
    lane.run();
  }

  fake::FakeLane lane;
  fake::TestServices services;
  Server server;
  std::shared_ptr<fake::FakeStream::Wire> wire;
  RawClient client;
};

TEST(Http2, TenThousandStreamsLeaveNothingBehind) {
  Connected c;
  std::size_t answered = 0;
  for (std::int32_t i = 0; i < 10'000; ++i) {
    const std::int32_t id = 2 * i + 1;
    switch (i % 4) {
      case 0:
        c.feed(c.client.headers(id, kEchoHead, false) +
               RawClient::data(id, fake::grpc_message("hello"), true));
        break;
      case 1:  // given up before it is answered
        c.feed(c.client.headers(id, head_for("/test.T/Held"), false) +
               RawClient::data(id, fake::grpc_message("x"), true));
        c.feed(RawClient::reset(id, NGHTTP2_CANCEL));
        break;
      case 2:
        c.feed(c.client.headers(id, head_for("/test.T/Nope"), true));
        break;
      case 3:
        c.feed(c.client.headers(id, head_for("/test.T/Chat"), false) +
               RawClient::data(id, fake::grpc_message("one"), false));
        c.feed(RawClient::data(id, fake::grpc_message("two"), true));
        break;
    }
    for (const auto& frame : c.client.receive(c.wire->take())) {
      answered += frame.type == NGHTTP2_HEADERS && frame.end();
      if (frame.type == NGHTTP2_DATA) {
        c.feed(RawClient::window(0, static_cast<std::uint32_t>(frame.payload.size())));
      }
    }
  }
  const ServerStats& stats = c.server.stats();
  EXPECT_EQ(answered, 7'500u);
  EXPECT_EQ(stats.calls_open, 0u);
  EXPECT_EQ(stats.calls_started, 10'000u);
  EXPECT_EQ(stats.calls_cancelled, 2'500u);
  EXPECT_EQ(stats.request_bytes, 0u);
  EXPECT_EQ(stats.answer_bytes, 0u);
  EXPECT_TRUE(c.services.calls.empty());
}

// A request in one piece, and in any others, is answered alike.
TEST(Http2, AnyCutOfTheBytesIsTheSame) {
  std::string expected;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    base::Random random(seed);
    Connected c;
    std::string bytes;
    base::Random content(7);
    for (std::int32_t id = 1; id < 20; id += 2) {
      bytes += c.client.headers(id, head_for("/test.T/Chat"), false);
      for (int i = 0; i < 4; ++i) {
        bytes += RawClient::data(id, fake::grpc_message(content.bytes(content.below(300))), i == 3);
      }
    }
    while (!bytes.empty()) {
      const std::size_t count =
          seed == 0 ? bytes.size() : 1 + random.below(std::min<std::size_t>(200, bytes.size()));
      c.feed(bytes.substr(0, count));
      bytes.erase(0, count);
    }
    // Where frames are cut is ours to choose; what they carry is not.
    std::map<std::int32_t, std::string> bodies;
    for (const auto& frame : c.client.receive(c.wire->take())) {
      if (frame.type == NGHTTP2_DATA) bodies[frame.stream] += frame.payload;
      if (frame.type == NGHTTP2_HEADERS) bodies[frame.stream] += fake::describe(frame);
    }
    std::string all;
    for (const auto& [id, body] : bodies) all += fmt::format("{}: {}\n", id, body);
    if (seed == 0) expected = all;
    ASSERT_EQ(all, expected) << "seed " << seed;
  }
  EXPECT_GT(expected.size(), 5'000u);
}

// Frames with a few bytes changed, in random pieces, from clients that come and go.
TEST(Http2, RandomBytes) {
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    base::Random random(seed);
    Connected c;
    std::string bytes;
    for (std::int32_t id = 1; id < 12; id += 2) {
      const char* paths[] = {"/test.T/Echo",  "/test.T/Held",  "/test.T/Chat",
                             "/test.T/Watch", "/test.T/Count", "/x"};
      bytes += c.client.headers(id, head_for(paths[random.below(6)]), random.one_in(5));
      bytes +=
          RawClient::data(id, fake::grpc_message("5", random.one_in(6) ? 1 : 0), random.one_in(2));
      if (random.one_in(4))
        bytes += RawClient::reset(id, static_cast<std::uint32_t>(random.below(14)));
      if (random.one_in(4))
        bytes += RawClient::window(id, static_cast<std::uint32_t>(random.next()));
      if (random.one_in(4)) {
        bytes += fake::frame_bytes(
            static_cast<std::uint8_t>(random.below(11)), static_cast<std::uint8_t>(random.next()),
            static_cast<std::int32_t>(random.below(12)), random.bytes(random.below(20)));
      }
    }
    for (std::uint64_t i = random.below(4); i > 0; --i) {
      bytes[random.below(bytes.size())] = static_cast<char>(random.next());
    }
    while (!bytes.empty()) {
      const std::size_t count = 1 + random.below(bytes.size());
      c.feed(bytes.substr(0, count));
      bytes.erase(0, count);
      for (auto& [id, call] : std::map(c.services.calls)) {
        if (random.one_in(3)) call->send("answer");
        if (random.one_in(5)) call->finish({});
      }
      c.lane.run();
    }
    c.wire->break_off();
    c.lane.advance(base::Seconds(10));
    EXPECT_EQ(c.server.stats().connections_open, 0u) << "seed " << seed;
    EXPECT_EQ(c.server.stats().calls_open, 0u);
    EXPECT_EQ(c.server.stats().request_bytes, 0u);
    EXPECT_EQ(c.server.stats().answer_bytes, 0u);
    EXPECT_TRUE(c.services.calls.empty());
  }
}

// Acks that a client provokes and does not read are not gathered without bound.
TEST(Http2, FloodsEndTheConnection) {
  for (const bool settings : {false, true}) {
    Connected c;
    c.wire->take();
    c.wire->capacity = 0;
    const std::string flood =
        settings ? fake::frame_bytes(NGHTTP2_SETTINGS, 0, 0, "") : RawClient::ping("12345678");
    for (int i = 0; i < 100'000 && !c.wire->closed; ++i) c.feed(flood);
    EXPECT_TRUE(c.wire->closed);
    EXPECT_LT(c.wire->waiting.size(), std::size_t{2} << 20);
  }
}

// A reset storm (a request, and at once its reset) is cut off.
TEST(Http2, ResetStormsEndTheConnection) {
  Connected c;
  std::int32_t id = 1;
  for (; id < 200'000 && !c.wire->closed; id += 2) {
    c.feed(c.client.headers(id, head_for("/test.T/Watch"), false) +
           RawClient::reset(id, NGHTTP2_CANCEL));
    c.wire->take();
  }
  EXPECT_TRUE(c.wire->closed);
  EXPECT_EQ(c.server.stats().calls_open, 0u);
}

}  // namespace
}  // namespace keelson::http
