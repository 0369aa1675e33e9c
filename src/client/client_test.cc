// Unary calls: waiting, failing over, sending again and, above all, not sending again.
#include "client/client.h"

#include <gtest/gtest.h>

#include "client/fake_cluster_test.h"
#include "client/range_stream.h"
#include "client/status_text.h"

namespace keelson::client {
namespace {

using fake::Cluster;
using http::Status;
using http::StatusCode;

const Status kUnavailable{StatusCode::kUnavailable, "etcdserver: leader changed"};

// A call and what came of it.
template <class Method>
struct Asked {
  Asked(Cluster& the_cluster, const Method& rpc, typename Method::Request request = {},
        std::optional<base::Duration> timeout = std::nullopt)
      : cluster(the_cluster), begun(cluster.world.now()) {
    cluster.in_lane([&] {
      CallOptions options;
      if (timeout) options.deadline = cluster.client->now() + *timeout;
      handle = cluster.client->call(rpc, request, options, [this](auto result) {
        EXPECT_FALSE(answer.has_value()) << "answered twice";
        answer = std::move(result);
        took = cluster.world.now() - begun;
      });
      EXPECT_FALSE(answer.has_value()) << "from inside call()";
    });
  }
  ~Asked() {
    cluster.in_lane([&] { handle.reset(); });
  }
  bool wait() {
    return cluster.until([&] { return answer.has_value(); });
  }
  Status status() {
    EXPECT_TRUE(wait());
    return answer->ok() ? Status{} : answer->error();
  }

  Cluster& cluster;
  const base::TimePoint begun;
  std::unique_ptr<Call> handle;
  std::optional<base::Result<typename Method::Response, Status>> answer;
  base::Duration took{};
};

TEST(Client, AnswersAndErrorsComeThrough) {
  Cluster cluster(1);
  cluster.start_all();
  cluster.connect();
  pb::PutRequest put;
  put.set_key("a");
  Asked asked(cluster, kPut, put);
  EXPECT_EQ(asked.status(), Status{});
  EXPECT_EQ((**asked.answer).header().revision(), 2);

  Asked unknown(cluster, kHash);
  EXPECT_EQ(unknown.status().code, StatusCode::kUnimplemented);
}

TEST(Client, WaitsForAMemberThatIsNotThereYet) {
  Cluster cluster(2);
  cluster.connect();
  Asked patient(cluster, kRange);
  Asked hurried(cluster, kRange, {}, base::Milliseconds(700));
  cluster.world.run_for(base::Seconds(30));
  EXPECT_FALSE(patient.answer.has_value());
  EXPECT_EQ(hurried.status().code, StatusCode::kDeadlineExceeded);
  EXPECT_LE(hurried.took, base::Milliseconds(701));
  EXPECT_NE(cluster.client->connection_error(), "");

  cluster.start_all();
  EXPECT_EQ(patient.status(), Status{});
  EXPECT_LE(patient.took, base::Seconds(30) + Connections::kBackoffMax * 2);
}

TEST(Client, WithoutEndpointsNothingCanBeAsked) {
  Cluster cluster(3, 0);
  cluster.connect();
  Asked asked(cluster, kRange);
  EXPECT_EQ(asked.status().message, "etcdclient: no available endpoints");
}

TEST(Client, MembersAreAskedInTurn) {
  Cluster cluster(4, 3);
  cluster.start_all();
  cluster.connect();
  EXPECT_EQ(Asked(cluster, kRange).status(), Status{});
  cluster.world.run_for(base::Seconds(1));
  for (auto& member : cluster.members) member->heard.clear();
  for (int i = 0; i < 9; ++i) EXPECT_EQ(Asked(cluster, kRange).status(), Status{});
  for (auto& member : cluster.members) EXPECT_EQ(member->heard.size(), 3u);
}

TEST(Client, WhatMayBeDoneTwiceIsSentAgain) {
  Cluster cluster(5, 2);
  cluster.start_all();
  cluster.connect();
  for (auto& member : cluster.members) member->next_statuses = {kUnavailable, kUnavailable};
  EXPECT_EQ(Asked(cluster, kRange).status(), Status{});
  for (auto& member : cluster.members) member->next_statuses.clear();

  // Other errors are final.
  for (auto& member : cluster.members) {
    member->next_statuses = {{StatusCode::kOutOfRange, "etcdserver: mvcc: required revision ..."}};
  }
  EXPECT_EQ(Asked(cluster, kRange).status().code, StatusCode::kOutOfRange);
}

TEST(Client, AWriteThatFailedIsNot) {
  Cluster cluster(6, 2);
  cluster.start_all();
  cluster.connect();
  for (auto& member : cluster.members) member->next_statuses = {kUnavailable};
  EXPECT_EQ(Asked(cluster, kPut).status(), kUnavailable);
  EXPECT_EQ(cluster.members[0]->heard.size() + cluster.members[1]->heard.size(), 1u);
}

// The member dies with the Put in its hands: whether it was done nobody knows, so it is not done
// again.
TEST(Client, AWriteWhoseMemberDiedEndsUnavailable) {
  Cluster cluster(7, 2);
  cluster.start_all();
  cluster.connect();
  for (auto& member : cluster.members) member->hold = true;
  Asked put(cluster, kPut);
  const auto holder = [&]() -> fake::FakeMember* {
    for (auto& member : cluster.members) {
      if (!member->held.empty()) return member.get();
    }
    return nullptr;
  };
  ASSERT_TRUE(cluster.until([&] { return holder() != nullptr; }));
  holder()->kill();
  EXPECT_EQ(put.status().code, StatusCode::kUnavailable);
  EXPECT_EQ(cluster.members[0]->heard.size() + cluster.members[1]->heard.size(), 1u);
}

TEST(Client, ReadsGoOnElsewhere) {
  Cluster cluster(8, 3);
  cluster.start_all();
  cluster.connect();
  EXPECT_EQ(Asked(cluster, kRange).status(), Status{});
  cluster.members[0]->kill();
  cluster.members[1]->kill();
  for (int i = 0; i < 10; ++i) {
    Asked asked(cluster, kRange, {}, base::Seconds(5));
    EXPECT_EQ(asked.status(), Status{});
  }
  cluster.members[0]->start();
  cluster.members[2]->kill();
  Asked asked(cluster, kRange, {}, base::Seconds(10));
  EXPECT_EQ(asked.status(), Status{});
}

// GOAWAY: what is under way is answered, what is new goes elsewhere.
TEST(Client, AMemberThatStopsAnswersWhatItHas) {
  Cluster cluster(9, 2);
  cluster.start_all();
  cluster.connect();
  for (auto& member : cluster.members) member->hold = true;
  Asked put(cluster, kPut);
  ASSERT_TRUE(cluster.until(
      [&] { return !cluster.members[0]->held.empty() || !cluster.members[1]->held.empty(); }));
  fake::FakeMember& holder = *cluster.members[cluster.members[0]->held.empty() ? 1 : 0];
  fake::FakeMember& other = *cluster.members[cluster.members[0]->held.empty() ? 0 : 1];
  other.hold = false;
  holder.stop_gracefully(base::Seconds(30));
  cluster.world.run_for(base::Seconds(1));
  EXPECT_EQ(Asked(cluster, kRange).status(), Status{});
  EXPECT_EQ(other.heard.size(), 1u);
  holder.held[0]->send(pb::PutResponse().SerializeAsString());
  holder.held[0]->finish({});
  EXPECT_EQ(put.status(), Status{});
}

TEST(Client, ADroppedCallIsSilent) {
  Cluster cluster(10);
  cluster.start_all();
  cluster.connect();
  cluster.members[0]->hold = true;
  {
    Asked put(cluster, kPut);
    ASSERT_TRUE(cluster.until([&] { return !cluster.members[0]->held.empty(); }));
    cluster.in_lane([&] { put.handle.reset(); });
    cluster.world.run_for(base::Seconds(5));
    EXPECT_FALSE(put.answer.has_value());
  }
  EXPECT_EQ(cluster.client->open_calls(), 0u);
  // And one that still waits.
  cluster.members[0]->kill();
  cluster.world.run_for(base::Seconds(1));
  {
    Asked range(cluster, kRange, {}, base::Seconds(1));
    cluster.in_lane([&] { range.handle.reset(); });
    cluster.world.run_for(base::Seconds(5));
    EXPECT_FALSE(range.answer.has_value());
  }
  EXPECT_EQ(cluster.client->open_calls(), 0u);
}

TEST(Client, Bounds) {
  Cluster cluster(11);
  Options options = cluster.options();
  options.request_bytes_max = 1000;
  options.waiting_calls_max = 1;
  cluster.members[0]->start();
  cluster.connect(std::move(options));
  pb::PutRequest large;
  large.set_value(std::string(1000, 'x'));
  EXPECT_EQ(Asked(cluster, kPut, large).status().message,
            "trying to send message larger than max (1003 vs. 1000)");
  cluster.world.run_for(base::Seconds(1));
  EXPECT_EQ(cluster.members[0]->heard.size(), 0u);
  cluster.members[0]->kill();
  cluster.world.run_for(base::Seconds(1));
  Asked first(cluster, kRange);
  EXPECT_EQ(Asked(cluster, kRange).status().code, StatusCode::kResourceExhausted);
  EXPECT_FALSE(first.answer.has_value());
}

TEST(Client, FailedAttemptsAreTold) {
  Cluster cluster(12);
  cluster.start_all();
  std::vector<std::string> told;
  Options options = cluster.options();
  options.on_failed_attempt = [&](const FailedAttempt& failed) {
    told.push_back(failed.path + " " + std::to_string(failed.attempt) + " " + failed.peer + " " +
                   rpc_error_text(failed.status));
  };
  cluster.connect(std::move(options));
  cluster.members[0]->next_statuses = {kUnavailable, {StatusCode::kNotFound, "etcdserver: gone"}};
  EXPECT_EQ(error_text(Asked(cluster, kRange).status()), "etcdserver: gone");
  EXPECT_EQ(told, (std::vector<std::string>{
                      "/etcdserverpb.KV/Range 0 m1:2379 rpc error: code = Unavailable desc = "
                      "etcdserver: leader changed",
                      "/etcdserverpb.KV/Range 1 m1:2379 rpc error: code = NotFound desc = "
                      "etcdserver: gone"}));
}

TEST(Client, ErrorTexts) {
  EXPECT_EQ(error_text({StatusCode::kNotFound, "etcdserver: requested lease not found"}),
            "etcdserver: requested lease not found");
  EXPECT_EQ(error_text({StatusCode::kDeadlineExceeded, "whatever"}), "context deadline exceeded");
  EXPECT_EQ(error_text({StatusCode::kUnimplemented, "unknown service x"}),
            "rpc error: code = Unimplemented desc = unknown service x");
}

// Under connections that break at any moment every call ends, and no write is done more often than
// it was asked for.
TEST(Client, BreakingConnections) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Cluster cluster(seed, 3, {.reset_one_in = 20});
    cluster.start_all();
    cluster.connect();
    std::int64_t known = 0, unknown = 0;
    for (int i = 0; i < 100; ++i) {
      Asked put(cluster, kPut, {}, base::Seconds(5));
      put.status().ok() ? ++known : ++unknown;
      EXPECT_EQ(Asked(cluster, kRange, {}, base::Seconds(20)).status(), Status{}) << seed;
    }
    EXPECT_GE(cluster.history.revision - 1, known) << seed;
    EXPECT_LE(cluster.history.revision - 1, known + unknown) << seed;
    EXPECT_GT(known, 0) << seed;
    EXPECT_EQ(cluster.client->open_calls(), 0u);
  }
}

TEST(RangeStream, ChunksAndEnd) {
  Cluster cluster(13);
  cluster.start_all();
  cluster.connect();
  for (const char* key : {"a", "b", "c"}) cluster.history.put(key, "v");
  const auto fetch = [&](Status* end) {
    pb::RangeResponse whole;
    std::unique_ptr<Call> handle;
    bool ended = false;
    cluster.in_lane([&] {
      handle = range_stream(
          *cluster.client, {}, {}, [&](pb::RangeResponse chunk) { whole.MergeFrom(chunk); },
          [&](Status status) {
            *end = status;
            ended = true;
          });
    });
    EXPECT_TRUE(cluster.until([&] { return ended; }));
    cluster.in_lane([&] { handle.reset(); });
    return whole;
  };
  Status end;
  EXPECT_EQ(fetch(&end).kvs_size(), 3);
  EXPECT_EQ(end, Status{});
  cluster.members[0]->next_statuses = {kUnavailable};
  EXPECT_EQ(fetch(&end).kvs_size(), 3);
  EXPECT_EQ(end, kUnavailable);
}

}  // namespace
}  // namespace keelson::client
