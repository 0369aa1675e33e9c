#include "peer/protocol.h"

#include <gtest/gtest.h>

namespace keelson::peer {
namespace {

const Options kOptions{
    .member_id = 0xa, .cluster_id = 0xc1, .peer_urls = {"http://a:2380", "http://b:2380"}};

TEST(Protocol, SaysWhoAsks) {
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"X-Server-From", "a"},
      {"X-Server-Version", "3.7.1"},
      {"X-Min-Cluster-Version", "3.0.0"},
      {"X-Etcd-Cluster-Id", "c1"},
      {"X-Peerurls", "http://a:2380,http://b:2380"}};
  EXPECT_EQ(request_headers(kOptions).fields(), expected);
  const Sender sender = sender_of(request_headers(kOptions));
  EXPECT_EQ(sender.id, 0xau);
  EXPECT_EQ(sender.peer_urls, kOptions.peer_urls);
  EXPECT_FALSE(sender_of({{"X-Server-From", "xyz"}, {"X-PeerURLs", ""}}).id.has_value());
  EXPECT_TRUE(sender_of({{"X-PeerURLs", ""}}).peer_urls.empty());
}

TEST(Protocol, RefusesOtherClustersAndVersionsThatDoNotFit) {
  const struct {
    std::string_view what, server, min_cluster, cluster;
    std::optional<std::string_view> refused;
  } rows[] = {
      {"the same version", "3.7.1", "3.0.0", "c1", std::nullopt},
      {"3.5", "3.5.21", "3.0.0", "c1", std::nullopt},
      {"the oldest", "3.0.0", "3.0.0", "c1", std::nullopt},
      {"a newer one that takes ours", "3.8.0", "3.7.0", "c1", std::nullopt},
      {"its patch does not count", "3.8.0", "3.7.9", "c1", std::nullopt},
      {"a pre-release", "3.7.0-rc.1", "3.0.0", "c1", std::nullopt},
      {"one that wants more than ours", "3.8.0", "3.8.0", "c1", kIncompatibleVersion},
      {"one that is too old", "2.3.8", "2.1.0", "c1", kIncompatibleVersion},
      {"one that does not say", "", "", "c1", kIncompatibleVersion},
      {"one that says nothing of the cluster", "3.7.1", "", "c1", std::nullopt},
      {"no version", "three", "3.0.0", "c1", kIncompatibleVersion},
      {"no version of the cluster", "3.7.1", "3", "c1", kIncompatibleVersion},
      {"another cluster", "3.7.1", "3.0.0", "c2", kClusterIdMismatch},
      {"the same id otherwise written", "3.7.1", "3.0.0", "0c1", kClusterIdMismatch},
      {"no cluster", "3.7.1", "3.0.0", "", kClusterIdMismatch},
      {"both: the version is told", "2.0.0", "2.0.0", "c2", kIncompatibleVersion},
  };
  for (const auto& row : rows) {
    const http::Headers headers{{"x-server-version", std::string(row.server)},
                                {"x-min-cluster-version", std::string(row.min_cluster)},
                                {"x-etcd-cluster-id", std::string(row.cluster)}};
    EXPECT_EQ(refusal(kOptions, headers), row.refused) << row.what;
  }
  EXPECT_EQ(refusal(kOptions, {}), kIncompatibleVersion);
}

TEST(Protocol, KnowsWhoServesStreams) {
  const struct {
    std::string version;
    std::optional<bool> serves;
  } rows[] = {{"", false},     {"2.0.5", false}, {"2.1.0", true},       {"3.5.0", true},
              {"3.7.1", true}, {"4.0.0", true},  {"nope", std::nullopt}};
  for (const auto& row : rows) {
    EXPECT_EQ(serves_streams(kOptions, {{"X-Server-Version", row.version}}), row.serves)
        << row.version;
  }
}

TEST(Protocol, JudgesAnswersToPosts) {
  const struct {
    int status;
    std::string_view body;
    PostOutcome outcome;
  } rows[] = {
      {204, "", PostOutcome::kOk},
      {403, "{\"message\":\"cannot process message from removed member\"}",
       PostOutcome::kMemberRemoved},
      {410, "removed member\n", PostOutcome::kOther},
      {412, "incompatible version\n", PostOutcome::kIncompatibleVersion},
      {412, "cluster ID mismatch\n", PostOutcome::kClusterIdMismatch},
      {412, "cluster ID mismatch", PostOutcome::kClusterIdMismatch},
      {412, "something else\n", PostOutcome::kOther},
      {200, "", PostOutcome::kOther},
      {500, "error processing raft message\n", PostOutcome::kOther},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(post_outcome(row.status, row.body), row.outcome) << row.status << row.body;
  }
}

TEST(Protocol, MessagesThatOnlyTravelWithinAMember) {
  const auto local = [](raft::MessageType type, raft::NodeId from) {
    return is_local({.type = type, .from = from});
  };
  EXPECT_FALSE(local(raft::MessageType::kApp, 1));
  EXPECT_FALSE(local(raft::MessageType::kForgetLeader, 1));
  EXPECT_TRUE(local(raft::MessageType::kApp, raft::kNone));
  EXPECT_TRUE(local(raft::MessageType::kApp, raft::kLocalAppendThread));
  EXPECT_TRUE(local(raft::MessageType::kApp, raft::kLocalApplyThread));
  EXPECT_TRUE(local(raft::MessageType::kHup, 1));
  EXPECT_TRUE(local(raft::MessageType::kStorageAppendResp, 1));
  EXPECT_TRUE(local(raft::MessageType::kSnapStatus, 1));
}

TEST(Protocol, TimesAsGoWritesThem) {
  const struct {
    std::string_view text;
    std::int64_t nanoseconds;
  } rows[] = {
      {"2023-11-14T22:13:20Z", 1'700'000'000'000'000'000},
      {"2023-11-14T22:13:20.5Z", 1'700'000'000'500'000'000},
      {"2023-11-14T22:13:20.000000001Z", 1'700'000'000'000'000'001},
      {"1970-01-01T00:00:00Z", 0},
      {"2024-02-29T12:00:00.25Z", 1'709'208'000'250'000'000},
  };
  for (const auto& row : rows) {
    const base::WallTime time{base::Duration(row.nanoseconds)};
    EXPECT_EQ(go_time(time), row.text);
    EXPECT_EQ(parse_go_time(row.text), time);
  }
  EXPECT_EQ(parse_go_time("2023-11-15T00:13:20+02:00"),
            base::WallTime(base::Seconds(1'700'000'000)));
  EXPECT_EQ(parse_go_time("2023-11-14T17:43:20.0-04:30"),
            base::WallTime(base::Seconds(1'700'000'000)));
  for (const std::string_view text :
       {"", "2023", "2023-13-01T00:00:00Z", "2023-02-30T00:00:00Z", "2023-11-14T22:13:20",
        "2023-11-14 22:13:20Z", "2023-11-14T22:13:20.Z", "2023-11-14T22:13:20.1234567890Z",
        "2023-11-14T22:13:20Zx", "2023-11-14T-1:13:20Z", "9999-11-14T22:13:20Z"}) {
    EXPECT_EQ(parse_go_time(text), std::nullopt) << text;
  }
}

TEST(Protocol, Probing) {
  const base::WallTime now{base::Seconds(1'700'000'000)};
  EXPECT_EQ(probing_body(now), "{\"OK\":true,\"Now\":\"2023-11-14T22:13:20Z\"}\n");
  EXPECT_EQ(parse_probing(probing_body(now)), now);
  for (const std::string_view body :
       {"", "[]", "{\"OK\":false,\"Now\":\"2023-11-14T22:13:20Z\"}", "{\"OK\":true}",
        "{\"OK\":true,\"Now\":7}", "{\"OK\":1,\"Now\":\"2023-11-14T22:13:20Z\"}"}) {
    EXPECT_EQ(parse_probing(body), std::nullopt) << body;
  }
}

}  // namespace
}  // namespace keelson::peer
