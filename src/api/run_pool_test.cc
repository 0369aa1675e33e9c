#include "api/run_pool.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "api/one_member_test.h"
#include "base/random.h"
#include "proto/rpc.pb.h"

namespace keelson::api {
namespace {

struct TestHolder : RunPool::Holder {
  void drop_run() override { dropped++; }
  int dropped = 0;
};

TEST(RunPool, DropsWhatWasNotSentFromForLongest) {
  RunPool pool(100);
  TestHolder a, b, c, d;
  pool.hold(a, 40);
  pool.hold(b, 40);
  pool.touch(a);
  pool.hold(c, 40);
  EXPECT_EQ(pool.bytes(), 80u);
  EXPECT_EQ(b.dropped, 1);
  EXPECT_EQ(a.dropped, 0);
  pool.hold(a, 10);  // the next run, in the place of the last
  EXPECT_EQ(pool.bytes(), 50u);
  pool.release(b);     // has none
  pool.hold(d, 1000);  // one too large is held alone
  EXPECT_EQ(pool.bytes(), 1000u);
  EXPECT_EQ(a.dropped + c.dropped, 2);
  pool.release(d);
  EXPECT_EQ(pool.bytes(), 0u);
}

TEST(RunPool, ManyGetShorterRuns) {
  RunPool pool(1 << 30);
  std::vector<TestHolder> holders(200);
  EXPECT_EQ(pool.run_bytes(), 1u << 20);
  for (TestHolder& one : holders) pool.hold(one, 1);
  EXPECT_EQ(pool.run_bytes(), 64u << 10);
  for (TestHolder& one : holders) pool.release(one);
}

// --- in a server

constexpr int kKeys = 400;

std::string key_of(int i) { return fmt::format("key{:05}", i); }
std::string value_of(int i) { return fmt::format("{}", i) + std::string(100 + i * 37 % 3000, 'v'); }

std::unique_ptr<OneMember::Stream> ask(OneMember& member, const etcdserverpb::RangeRequest& request,
                                       const std::string& method = "Range") {
  auto stream = member.open("/etcdserverpb.KV/" + method);
  member.on_client([&] {
    stream->call->send(request.SerializeAsString());
    stream->call->half_close();
  });
  return stream;
}

etcdserverpb::RangeRequest everything() {
  etcdserverpb::RangeRequest request;
  request.set_key(std::string(1, '\0'));
  request.set_range_end(std::string(1, '\0'));
  return request;
}

void put(OneMember& member, const std::string& key, const std::string& value) {
  etcdserverpb::PutRequest request;
  request.set_key(key);
  request.set_value(value);
  ASSERT_TRUE(member.call("/etcdserverpb.KV/Put", request.SerializeAsString()).status.ok());
}

// Twenty long answers side by side, with room for the runs of one or two: each drops its run again
// and again, and all are right. Each asks for something else, so that none finds another's run.
TEST(RunPool, WhatWasDroppedIsSentOnFromWhereItWas) {
  for (const std::uint64_t cold_one_in : {0, 3}) {
    OneMember member([](member::Config& config) { config.run_bytes_max = 100'000; });
    for (int i = 0; i < kKeys; i++) put(member, key_of(i), value_of(i));
    member.world().run_for(base::Seconds(3));  // past a checkpoint: nothing is pending
    if (cold_one_in != 0) member.disk().set_cold_one_in(cold_one_in);
    std::vector<std::unique_ptr<OneMember::Stream>> streams;
    for (int n = 0; n < 20; n++) {
      auto request = everything();
      request.set_key(key_of(n));
      streams.push_back(ask(member, request));
    }
    for (int n = 0; n < 20; n++) {
      ASSERT_TRUE(member.run_until([&] { return streams[n]->end.has_value(); }));
      ASSERT_TRUE(streams[n]->end->ok()) << streams[n]->end->message;
      etcdserverpb::RangeResponse answer;
      ASSERT_TRUE(answer.ParseFromString(streams[n]->messages.at(0)));
      ASSERT_EQ(answer.kvs_size(), kKeys - n);
      for (int i = n; i < kKeys; i++) {
        ASSERT_EQ(answer.kvs(i - n).key(), key_of(i));
        ASSERT_EQ(answer.kvs(i - n).value(), value_of(i));
      }
    }
  }
}

// Chunks of a stream are sized by the keys before; those that follow may be a thousand times
// larger.
TEST(RangeStream, LargeKeysBehindManySmallOnes) {
  OneMember member;
  for (int i = 0; i < 3000; i++) put(member, fmt::format("a{:05}", i), "v");
  for (int i = 0; i < 80; i++) put(member, fmt::format("b{:05}", i), std::string(1'000'000, 'v'));
  auto stream = ask(member, everything(), "RangeStream");
  ASSERT_TRUE(member.run_until([&] { return stream->end.has_value(); }));
  EXPECT_TRUE(stream->end->ok()) << stream->end->message;
  int keys = 0;
  for (const std::string& message : stream->messages) {
    etcdserverpb::RangeStreamResponse chunk;
    ASSERT_TRUE(chunk.ParseFromString(message));
    keys += chunk.range_response().kvs_size();
  }
  EXPECT_EQ(keys, 3080);
}

}  // namespace
}  // namespace keelson::api
