// Messages on their way in and out: MessageReader, SendQueue, OutputBuffer, gzip.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/random.h"
#include "http/deadline_queue.h"
#include "http/fake_env.h"
#include "http/gzip.h"
#include "http/message_reader.h"
#include "http/raw_client.h"
#include "http/send_queue.h"
#include "http/test_services.h"

namespace keelson::http {
namespace {

TEST(Gzip, ComesBack) {
  base::Random random(3);
  for (const std::size_t size : {0u, 1u, 100u, 16'384u, 16'385u, 1'000'000u}) {
    const std::string bytes = size % 2 == 0 ? std::string(size, 'z') : random.bytes(size);
    EXPECT_EQ(*gunzip(gzip(bytes), size), bytes);
  }
  EXPECT_EQ(*gunzip(gzip("two ") + gzip("members"), 100), "two members");
}

TEST(Gzip, RefusesWhatIsNoGzip) {
  constexpr std::size_t kHeaderBytes = 10;
  const std::string good = gzip("hello hello hello");
  EXPECT_EQ(gunzip("", 100).error(), GzipErrc::kNothing);
  EXPECT_EQ(gunzip("plain", 100).error(), GzipErrc::kHeader);
  EXPECT_EQ(gunzip("\x1f\x8b\x09 another method", 100).error(), GzipErrc::kHeader);
  for (std::size_t size = 1; size < good.size(); ++size) {
    const auto expected = size < kHeaderBytes ? GzipErrc::kHeaderCut : GzipErrc::kCut;
    EXPECT_EQ(gunzip(good.substr(0, size), 100).error(), expected) << size;
  }
  EXPECT_EQ(gunzip(good + "tail", 100).error(), GzipErrc::kCorrupt);
  EXPECT_EQ(gunzip(good + good.substr(0, 4), 100).error(), GzipErrc::kCut);
  EXPECT_EQ(gunzip(good.substr(0, kHeaderBytes) + "\7\7\7\7\7", 100).error(), GzipErrc::kCorrupt);
  std::string wrong = good;
  wrong[wrong.size() - 6] ^= 1;  // of the checksum
  EXPECT_EQ(gunzip(wrong, 100).error(), GzipErrc::kCorrupt);
}

// A hundred megabytes of zeros in a hundred kilobytes.
TEST(Gzip, RefusesBombsEarly) {
  const std::string bomb = gzip(std::string(100 << 20, '\0'));
  EXPECT_LT(bomb.size(), std::size_t{200} << 10);
  EXPECT_EQ(gunzip(bomb, 2 << 20).error(), GzipErrc::kTooLarge);
  EXPECT_EQ(gunzip(gzip("12345"), 4).error(), GzipErrc::kTooLarge);
  EXPECT_TRUE(gunzip(gzip("12345"), 5));
}

// The same messages, whatever the pieces.
TEST(MessageReader, AnyPieces) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    base::Random random(seed);
    std::vector<std::string> sent, got;
    std::string bytes;
    for (int i = 0; i < 8; ++i) {
      sent.push_back(random.bytes(random.one_in(3) ? 0 : random.below(5000)));
      bytes += random.one_in(3) ? fake::grpc_message(gzip(sent.back()), 1)
                                : fake::grpc_message(sent.back());
    }
    MessageReader reader;
    reader.reset(1 << 20, true);
    for (std::string_view rest = bytes; !rest.empty();) {
      std::string_view piece = rest.substr(0, 1 + random.below(3000));
      rest.remove_prefix(piece.size());
      while (!piece.empty()) {
        const auto whole = reader.read(piece);
        ASSERT_TRUE(whole);
        if (!*whole) continue;
        got.push_back(random.one_in(2) ? reader.message().take()
                                       : std::string(reader.message().view()));
      }
    }
    EXPECT_EQ(got, sent) << "seed " << seed;
    EXPECT_TRUE(reader.at_boundary());
  }
}

TEST(MessageReader, RefusesABombByItsSize) {
  MessageReader reader;
  reader.reset(1000, true);
  const std::string bytes = fake::grpc_message(gzip(std::string(100'000, 'x')), 1);
  std::string_view rest = bytes;
  const auto whole = reader.read(rest);
  ASSERT_FALSE(whole);
  EXPECT_EQ(whole.error(),
            (Status{StatusCode::kResourceExhausted,
                    "grpc: received message after decompression larger than max 1000"}));
}

// What a prefix announces is not reserved: a thousand of them cost nothing.
TEST(MessageReader, ReservesNothingAhead) {
  MessageReader reader;
  reader.reset(std::size_t{1} << 31, false);
  std::string_view prefix("\0\x7F\xFF\xFF\xFF", 5);
  EXPECT_FALSE(*reader.read(prefix));
  EXPECT_EQ(reader.held_bytes(), 0u);
}

// SendQueue and OutputBuffer against a plain string: random messages of every kind, taken in frames
// of random size, each with its header in its place.
TEST(SendQueue, TwinOfAString) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    base::Random random(seed);
    fake::FakeLane lane;
    fake::FakeStream stream(lane);
    SendQueue queue;
    OutputBuffer out;
    std::string expected, got;
    std::size_t frames = 0;
    int waits = 0;
    auto open = std::make_shared<bool>(true);
    for (int step = 0; step < 60; ++step) {
      const std::size_t size = random.one_in(3) ? random.below(20'000) : random.below(300);
      const std::string body = random.bytes(size);
      switch (random.below(5)) {
        case 0:
          queue.add_message(body, SendQueue::Compressed::kNo);
          expected += fake::grpc_message(body);
          break;
        case 1:
          queue.add_message(body, SendQueue::Compressed::kYes);
          expected += fake::grpc_message(body, 1);
          break;
        case 2:
          queue.add_message("head", std::vector(2, base::SharedBytes(body)));
          expected += fake::grpc_message("head" + body + body);
          break;
        case 3: {
          auto source = std::make_unique<fake::TestSource>();
          source->step = 1 + random.below(5000);
          source->open = open;
          queue.add_message(size, std::move(source));
          expected += fake::grpc_message(std::string(size, 'b'));
          break;
        }
        default: {
          *open = !random.one_in(4);
          out.begin_frame();
          const auto outcome = queue.take(1 + random.below(16'384), out);
          const std::size_t bytes = out.frame_bytes();
          EXPECT_TRUE(bytes == 0 || outcome == SendQueue::Outcome::kTaken);
          if (bytes == 0) {
            out.cancel_frame();
            waits += outcome == SendQueue::Outcome::kWait;
          } else {
            const std::string header = fake::frame_bytes(0, 0, 1, std::string(bytes, ' '));
            out.end_frame(reinterpret_cast<const unsigned char*>(header.data()));
            ++frames;
          }
          if (random.one_in(3) && !out.empty()) out.write_to(stream);
        }
      }
    }
    *open = true;
    while (!queue.empty()) {
      out.begin_frame();
      EXPECT_EQ(queue.take(16'384, out), SendQueue::Outcome::kTaken);
      const std::string header = fake::frame_bytes(0, 0, 1, std::string(out.frame_bytes(), ' '));
      out.end_frame(reinterpret_cast<const unsigned char*>(header.data()));
      ++frames;
    }
    out.write_to(stream);
    EXPECT_EQ(queue.bytes(), 0u);
    EXPECT_FALSE(queue.inside_message());
    fake::RawClient client;
    const auto received = client.receive(stream.wire()->take());
    EXPECT_EQ(received.size(), frames);
    for (const auto& frame : received) got += frame.payload;
    ASSERT_EQ(got, expected) << "seed " << seed;
    MAYBE(waits > 0);
  }
}

// Bytes that go to many calls are not copied for each.
TEST(SendQueue, ReferencesLargeParts) {
  auto owner = std::make_shared<const std::string>(std::string(100'000, 'e'));
  const base::SharedBytes event(owner, *owner);
  SendQueue queues[10];
  for (auto& queue : queues) queue.add_message("id", {&event, 1});
  EXPECT_EQ(owner.use_count(), 12);
  OutputBuffer out;
  queues[0].take(50'000, out);
  EXPECT_EQ(owner.use_count(), 13);
  for (auto& queue : queues) queue.clear();
  EXPECT_EQ(owner.use_count(), 3);
}

// An event goes to many calls: it is copied for each when it leaves, not when it is queued.
TEST(SendQueue, ReferencesEventsUntilTheyLeave) {
  auto owner = std::make_shared<const std::string>(std::string(600, 'e'));
  const base::SharedBytes event(owner, *owner), small(owner, std::string_view(*owner).substr(100));
  SendQueue queue;
  for (int i = 0; i < 3; ++i) queue.add_message("id", {&event, 1});
  queue.add_message("id", {&small, 1});
  EXPECT_EQ(owner.use_count(), 6);
  OutputBuffer out;
  queue.take(607 + 300, out);
  EXPECT_EQ(owner.use_count(), 5);
  queue.take(100'000, out);
  EXPECT_EQ(owner.use_count(), 3);
  EXPECT_EQ(out.size(), 3 * 607u + 507);
}

// Beyond some bytes taken they are cut off, though the queue is never empty.
TEST(SendQueue, GoesOnWithoutEverBeingEmpty) {
  base::Random random(1);
  fake::FakeLane lane;
  fake::FakeStream stream(lane);
  SendQueue queue;
  OutputBuffer out;
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    const std::string body = random.bytes(40 + random.below(40));
    queue.add_message(body, SendQueue::Compressed::kNo);
    expected += fake::grpc_message(body);
    if (i > 10) queue.take(65, out);
    ASSERT_FALSE(queue.empty());
  }
  queue.take(expected.size(), out);
  out.write_to(stream);
  EXPECT_EQ(stream.wire()->take(), expected);
}

TEST(OutputBuffer, WritesEachByteOnceWhateverRoomItKeeps) {
  fake::FakeLane lane;
  fake::FakeStream stream(lane);
  OutputBuffer out(100);
  const base::SharedBytes large(std::string(5000, 'l'));
  std::string expected;
  for (const std::size_t bytes : {10u, 90u, 0u, 500u, 20u}) {
    out.append(std::string(bytes, 'a'));
    if (bytes == 500) out.append(large);
    expected += std::string(bytes, 'a') + (bytes == 500 ? std::string(large.view()) : "");
    out.write_to(stream);
    EXPECT_TRUE(out.empty());
    EXPECT_EQ(stream.wire()->sent, expected);
  }
}

TEST(SendQueue, AFailingSourceFirstGivesWhatItHas) {
  SendQueue queue;
  auto source = std::make_unique<fake::TestSource>();
  source->fails_at = 10;
  queue.add_message(100, std::move(source));
  OutputBuffer out;
  EXPECT_EQ(queue.take(1000, out), SendQueue::Outcome::kTaken);
  EXPECT_EQ(out.size(), 15u);
  EXPECT_TRUE(queue.inside_message());
  EXPECT_EQ(queue.take(1000, out), SendQueue::Outcome::kFailed);
  EXPECT_EQ(queue.take_failure().code, StatusCode::kDataLoss);
  EXPECT_TRUE(queue.empty());
}

struct Due final : DeadlineQueue::Entry {
  void on_deadline() override { ++told; }
  int told = 0;
};

TEST(DeadlineQueue, OneTimerForAll) {
  fake::FakeLane lane;
  DeadlineQueue queue(lane);
  std::vector<Due> calls(100);
  const base::TimePoint start = lane.clock().now();
  for (int i = 0; i < 100; ++i) queue.add(calls[i], start + base::Milliseconds(1000 - i));
  EXPECT_EQ(lane.timers(), 1u);
  for (int i = 0; i < 50; ++i) queue.remove(calls[2 * i]);
  queue.remove(calls[0]);  // not there
  lane.advance(base::Milliseconds(950));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(calls[i].told, i % 2 == 1 && i >= 50 ? 1 : 0) << i;
  lane.advance(base::Milliseconds(100));
  EXPECT_EQ(std::ranges::count(calls, 1, &Due::told), 50);
  EXPECT_EQ(queue.size(), 0u);
  EXPECT_EQ(lane.timers(), 0u);
}

struct Noted final : DeadlineQueue::Entry {
  void on_deadline() override { told->push_back(number); }
  std::vector<int>* told = nullptr;
  int number = 0;
};

// Against an ordered map: entries come and go at random, some for deadlines that are equal.
TEST(DeadlineQueue, TwinOfAnOrderedMap) {
  constexpr int kEntries = 60;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    base::Random random(seed);
    fake::FakeLane lane;
    DeadlineQueue queue(lane);
    std::vector<int> told, expected;
    std::vector<Noted> entries(kEntries);
    for (int i = 0; i < kEntries; ++i) {
      entries[i].told = &told;
      entries[i].number = i;
    }
    std::map<std::pair<base::TimePoint, int>, int> twin;  // by deadline and order of adding
    std::vector<std::optional<std::pair<base::TimePoint, int>>> at(kEntries);
    for (int step = 0; step < 400; ++step) {
      const auto number = static_cast<std::size_t>(random.below(kEntries));
      if (at[number]) {
        queue.remove(entries[number]);
        twin.erase(*std::exchange(at[number], std::nullopt));
      } else {
        const base::TimePoint due = lane.clock().now() + base::Milliseconds(random.below(40));
        queue.add(entries[number], due);
        at[number] = std::pair(due, step);
        twin.emplace(*at[number], static_cast<int>(number));
      }
      if (!random.one_in(10)) continue;
      lane.advance(base::Milliseconds(random.below(15)));
      while (!twin.empty() && twin.begin()->first.first <= lane.clock().now()) {
        expected.push_back(twin.begin()->second);
        at[static_cast<std::size_t>(twin.begin()->second)].reset();
        twin.erase(twin.begin());
      }
      ASSERT_EQ(told, expected) << "seed " << seed;
      ASSERT_EQ(queue.size(), twin.size());
    }
    for (auto& entry : entries) queue.remove(entry);
  }
}

}  // namespace
}  // namespace keelson::http
