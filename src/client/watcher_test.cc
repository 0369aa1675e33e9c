// Watches: every event once and in order, whatever happens to the connection.
#include "client/watcher.h"

#include <gtest/gtest.h>

#include "client/fake_cluster_test.h"

namespace keelson::client {
namespace {

using fake::Cluster;
using http::Status;
using http::StatusCode;

struct Heard final : WatchHandler {
  void on_created(const pb::WatchResponse& response) override {
    EXPECT_EQ(created, 0);
    EXPECT_TRUE(revisions.empty());
    ++created;
    created_at = response.header().revision();
  }
  void on_response(pb::WatchResponse response) override {
    EXPECT_EQ(created, 1);
    EXPECT_FALSE(end.has_value());
    if (response.events_size() == 0) progress.push_back(response.header().revision());
    for (const auto& event : response.events()) revisions.push_back(event.kv().mod_revision());
  }
  void on_end(WatchEnd the_end) override {
    EXPECT_FALSE(end.has_value());
    end = std::move(the_end);
  }

  int created = 0;
  std::int64_t created_at = 0;
  std::vector<std::int64_t> revisions, progress;
  std::optional<WatchEnd> end;
};

class WatcherTest : public ::testing::Test {
 protected:
  void begin(std::uint64_t seed, std::size_t members = 1,
             env::simulated::WorldOptions options = {}) {
    cluster.emplace(seed, members, options);
    cluster->start_all();
    cluster->connect();
    cluster->in_lane([&] { watcher.emplace(*cluster->client); });
  }
  void TearDown() override {
    if (!cluster) return;
    cluster->in_lane([&] {
      watches.clear();
      watcher.reset();
    });
    cluster.reset();
  }
  Watch& watch(Heard& heard, std::int64_t start = 0, const std::string& key = "",
               bool fragment = false) {
    pb::WatchCreateRequest request;
    request.set_key(key);
    request.set_start_revision(start);
    request.set_fragment(fragment);
    cluster->in_lane([&] { watches.push_back(watcher->watch(request, heard)); });
    return *watches.back();
  }
  void put(int times, const std::string& key = "k") {
    for (int i = 0; i < times; ++i) {
      cluster->history.put(key, "v");
    }
  }
  static std::vector<std::int64_t> range(std::int64_t first, std::int64_t last) {
    std::vector<std::int64_t> all;
    for (std::int64_t r = first; r <= last; ++r) all.push_back(r);
    return all;
  }

  std::optional<Cluster> cluster;
  std::optional<Watcher> watcher;
  std::vector<std::unique_ptr<Watch>> watches;
};

TEST_F(WatcherTest, FromNowAndFromThePast) {
  begin(1);
  put(3);
  Heard now, past, other;
  watch(now);
  watch(past, 2);
  watch(other, 2, "other");
  ASSERT_TRUE(cluster->until([&] { return now.created && past.created && other.created; }));
  EXPECT_EQ(now.created_at, 4);
  put(2);
  put(1, "other");
  ASSERT_TRUE(cluster->until([&] { return now.revisions.size() == 3; }));
  cluster->world.run_for(base::Seconds(1));
  EXPECT_EQ(now.revisions, range(5, 7));
  EXPECT_EQ(past.revisions, range(2, 7));
  EXPECT_EQ(other.revisions, range(7, 7));
  EXPECT_EQ(cluster->members[0]->heard.size(), 1u) << "one stream for all";
  EXPECT_EQ(cluster->members[0]->last_metadata_hasleader, "true");
}

TEST_F(WatcherTest, ResumesWhereItWas) {
  begin(2, 2);
  Heard all, quiet;
  watch(all);
  watch(quiet, 0, "never");
  ASSERT_TRUE(cluster->until([&] { return all.created && quiet.created; }));
  put(5);
  ASSERT_TRUE(cluster->until([&] { return all.revisions.size() == 5; }));
  for (auto& member : cluster->members) member->kill();
  put(5);  // while nobody is there
  for (auto& member : cluster->members) member->start();
  ASSERT_TRUE(cluster->until([&] { return all.revisions.size() == 10; }));
  EXPECT_EQ(all.revisions, range(2, 11));
  // The quiet one starts where it was created, not at "now": its event came while it was away.
  for (auto& member : cluster->members) member->kill();
  put(1, "never");
  for (auto& member : cluster->members) member->start();
  ASSERT_TRUE(cluster->until([&] { return !quiet.revisions.empty(); }));
  EXPECT_EQ(quiet.revisions, range(12, 12));
}

TEST_F(WatcherTest, ProgressMovesTheStart) {
  begin(3);
  Heard heard;
  Watch& one = watch(heard, 0, "never");
  ASSERT_TRUE(cluster->until([&] { return heard.created == 1; }));
  EXPECT_EQ(one.next_revision(), 2);
  put(5);
  cluster->in_lane([&] { watcher->request_progress(); });
  ASSERT_TRUE(cluster->until([&] { return heard.progress.size() == 1; }));
  EXPECT_EQ(heard.progress[0], 6);
  EXPECT_EQ(one.next_revision(), 7);
}

TEST_F(WatcherTest, FragmentsArePutTogether) {
  begin(4);
  put(5);
  Heard heard;
  Watch& one = watch(heard, 2, "", true);
  ASSERT_TRUE(cluster->until([&] { return !heard.revisions.empty(); }));
  EXPECT_EQ(heard.revisions, range(2, 6));
  EXPECT_EQ(one.next_revision(), 7);
}

TEST_F(WatcherTest, CompactedIsTheEnd) {
  begin(5);
  put(9);
  cluster->history.compacted = 5;
  Heard heard;
  watch(heard, 3);
  ASSERT_TRUE(cluster->until([&] { return heard.end.has_value(); }));
  EXPECT_EQ(heard.created, 1);
  EXPECT_EQ(heard.end->response.compact_revision(), 5);
  EXPECT_EQ(heard.end->status.message, "etcdserver: mvcc: required revision has been compacted");
}

// As after a break during which more was compacted than the watch had seen.
TEST_F(WatcherTest, CompactedWhileAway) {
  begin(6);
  Heard heard;
  watch(heard);
  ASSERT_TRUE(cluster->until([&] { return heard.created == 1; }));
  cluster->members[0]->kill();
  put(9);
  cluster->history.compacted = 8;
  cluster->members[0]->start();
  ASSERT_TRUE(cluster->until([&] { return heard.end.has_value(); }));
  EXPECT_EQ(heard.end->response.compact_revision(), 8);
  EXPECT_TRUE(heard.revisions.empty());
}

TEST_F(WatcherTest, WhatCannotPassEndsAllWatches) {
  begin(7);
  cluster->members[0]->next_statuses = {{StatusCode::kUnavailable, "etcdserver: no leader"},
                                        {StatusCode::kPermissionDenied, "etcdserver: denied"}};
  Heard first, second;
  watch(first);
  watch(second);
  ASSERT_TRUE(cluster->until([&] { return first.end && second.end; }));
  EXPECT_EQ(first.end->status.message, "etcdserver: denied");
  EXPECT_EQ(cluster->members[0]->heard.size(), 2u);
}

TEST_F(WatcherTest, ADroppedWatchIsCancelledAndSilent) {
  begin(8);
  Heard kept, dropped, at_once;
  watch(kept);
  watch(dropped);
  ASSERT_TRUE(cluster->until([&] { return dropped.created == 1; }));
  EXPECT_EQ(cluster->members[0]->watches_open(), 2u);
  watch(at_once);
  cluster->in_lane([&] {
    watches.pop_back();  // before it is created
    watches.pop_back();
  });
  cluster->world.run_for(base::Seconds(1));
  EXPECT_EQ(cluster->members[0]->watches_open(), 1u);
  put(2);
  ASSERT_TRUE(cluster->until([&] { return kept.revisions.size() == 2; }));
  EXPECT_TRUE(dropped.revisions.empty());
  EXPECT_EQ(at_once.created, 0);
}

TEST_F(WatcherTest, BreakingConnections) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    begin(seed, 3, {.reset_one_in = 15});
    Heard heard, fragmented;
    watch(heard);
    watch(fragmented, 2, "", true);
    ASSERT_TRUE(cluster->until([&] { return heard.created == 1; }));
    const std::int64_t first = heard.created_at + 1;
    for (int i = 0; i < 200; ++i) {
      put(1 + static_cast<int>(cluster->world.random().below(3)));
      cluster->world.run_for(base::Milliseconds(20));
    }
    const std::int64_t last = cluster->history.revision;
    ASSERT_TRUE(cluster->until([&] {
      return !heard.revisions.empty() && heard.revisions.back() == last &&
             !fragmented.revisions.empty() && fragmented.revisions.back() == last;
    })) << seed;
    EXPECT_EQ(heard.revisions, range(first, last)) << seed;
    EXPECT_EQ(fragmented.revisions, range(2, last)) << seed;
    EXPECT_GT(cluster->members[0]->heard.size(), 1u) << "nothing broke";
    TearDown();
  }
}

}  // namespace
}  // namespace keelson::client
