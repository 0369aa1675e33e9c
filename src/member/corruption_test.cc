// What members that hash differently are told, and how they ask each other.
#include "member/corruption.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keelson::member {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr membership::MemberId kSelf = 1;

PeerHash says(membership::MemberId id, std::uint32_t hash, std::int64_t compact_revision = 3,
              std::int64_t revision = 9) {
  return {.id = id,
          .urls = {},
          .told = ToldHash{.revision = revision,
                           .hash = hash,
                           .compact_revision = compact_revision,
                           .hash_revision = 9}};
}
PeerHash silent(membership::MemberId id, NoHash::Why why = NoHash::Why::kOther) {
  return {.id = id, .urls = {}, .told = base::fail(NoHash{why, "why"})};
}

TEST(Corruption, AMemberThatStarts) {
  const OwnHash own{.revision = 9, .compact_revision = 3, .hash = 7};
  struct Row {
    const char* what;
    std::vector<PeerHash> peers;
    bool disagrees;
  };
  const Row rows[] = {
      {"alone", {}, false},
      {"all alike", {says(2, 7), says(3, 7)}, false},
      {"one differs", {says(2, 7), says(3, 8)}, true},
      {"another floor is another hash", {says(2, 8, 4)}, false},
      {"it says so whatever it has written since", {says(2, 8, 3, 20)}, true},
      {"behind, ahead, of another cluster, away",
       {silent(2, NoHash::Why::kFutureRevision), silent(3, NoHash::Why::kCompacted),
        silent(4, NoHash::Why::kOtherCluster), silent(5)},
       false},
  };
  for (const Row& row : rows)
    EXPECT_EQ(disagrees(kSelf, own, row.peers), row.disagrees) << row.what;
  const OwnHash ambiguous{.revision = 9, .compact_revision = 3, .hash = 7, .hash_of_compaction = 8};
  EXPECT_FALSE(disagrees(kSelf, ambiguous, {says(2, 7), says(3, 8)}));
  EXPECT_TRUE(disagrees(kSelf, ambiguous, {says(2, 7), says(3, 9)}));
}

TEST(Corruption, TheLeaderFromTimeToTime) {
  const OwnHash before{.revision = 9, .compact_revision = 3, .hash = 7};
  struct Row {
    const char* what;
    OwnHash after;
    std::vector<PeerHash> peers;
    std::optional<membership::MemberId> corrupt;
  };
  const OwnHash same = before;
  const OwnHash later{.revision = 12, .compact_revision = 3, .hash = 8};
  const OwnHash compacted{.revision = 12, .compact_revision = 5, .hash = 8};
  const Row rows[] = {
      {"alone", same, {}, std::nullopt},
      {"all alike", same, {says(2, 7), says(3, 7)}, std::nullopt},
      {"one differs", same, {says(2, 7), says(3, 8)}, 3},
      {"the first of two that differ", same, {says(2, 8), says(3, 8)}, 2},
      {"the same revision, another hash", {9, 3, 8}, {says(2, 7)}, kSelf},
      {"itself first", {9, 3, 8}, {says(2, 8)}, kSelf},
      {"written since", later, {says(2, 7, 3, 11)}, std::nullopt},
      {"more than there is", later, {says(2, 7, 3, 13)}, 2},
      {"compacted since, there sooner", compacted, {says(2, 6, 5)}, std::nullopt},
      {"compacted since, there later", compacted, {says(2, 6, 3)}, 2},
      {"compacted further than here", compacted, {says(2, 6, 6)}, 2},
      {"compacted at that revision: its hash may have been made another way",
       {12, 9, 8},
       {says(2, 6, 3)},
       std::nullopt},
      {"and further since", {12, 11, 8}, {says(2, 6, 3)}, std::nullopt},
      {"who cannot say, disagrees with nobody", same, {silent(2), says(3, 7)}, std::nullopt},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(corrupt_of(kSelf, before, row.after, row.peers), row.corrupt) << row.what;
  }
}

TEST(Corruption, TheLeaderOfACompaction) {
  const CompactionHash own{.revision = 9, .compact_revision = 3, .hash = 7};
  struct Row {
    const char* what;
    std::vector<PeerHash> peers;
    bool settled, agreed;
    std::vector<membership::MemberId> corrupt;
  };
  const Row rows[] = {
      {"all alike", {says(2, 7), says(3, 7)}, true, true, {}},
      {"one is not there: an older one may tell", {says(2, 7), silent(3)}, false, false, {}},
      {"one has another floor", {says(2, 7), says(3, 7, 4)}, false, false, {}},
      {"one differs", {says(2, 7), says(3, 8)}, true, false, {3}},
      {"the leader differs", {says(2, 8), says(3, 8)}, true, false, {kSelf}},
      {"three of five are right",
       {says(2, 8), says(3, 7), says(4, 9), says(5, 7)},
       true,
       false,
       {2, 4}},
      {"two differ, and one is away", {says(2, 8), silent(3)}, true, false, {0}},
      {"all differ", {says(2, 8), says(3, 9)}, true, false, {0}},
      {"one of two", {says(2, 8)}, true, false, {0}},
      {"who cannot say, disagrees with nobody", {silent(2), silent(3)}, false, false, {}},
  };
  for (const Row& row : rows) {
    const auto verdict = judge_compaction(kSelf, own, row.peers);
    EXPECT_EQ(verdict.settled, row.settled) << row.what;
    EXPECT_EQ(verdict.agreed, row.agreed) << row.what;
    EXPECT_EQ(verdict.corrupt, row.corrupt) << row.what;
  }
  CompactionHash ambiguous = own;
  ambiguous.is_ambiguous = true;
  const auto verdict = judge_compaction(kSelf, ambiguous, {says(2, 7), says(3, 8)});
  EXPECT_FALSE(verdict.settled) << "who differs may not have compacted yet";
  EXPECT_TRUE(verdict.corrupt.empty());
}

TEST(PeerHashes, AsGoWritesAndReadsThem) {
  EXPECT_EQ(hash_request_json(0), "{}");
  EXPECT_EQ(hash_request_json(5), R"({"revision":5})");
  EXPECT_EQ(
      hash_json({.revision = 9, .hash = 4294967295, .compact_revision = -1, .hash_revision = 5}),
      R"({"header":{"revision":9},"hash":4294967295,"compact_revision":-1,"hash_revision":5})");
  EXPECT_EQ(hash_json({}), R"({"header":{}})");

  struct Row {
    const char* json;
    std::optional<std::int64_t> revision;
  };
  const Row requests[] = {
      {"{}", 0},
      {"null", 0},
      {R"({"revision":7,"more":"x"})", 7},
      {R"({"revision":null})", 0},
      {R"({"revision":-7})", -7},
      {R"({"revision":9223372036854775807})", std::numeric_limits<std::int64_t>::max()},
      {R"({"revision":9223372036854775808})", std::nullopt},
      {R"({"revision":1.5})", std::nullopt},
      {R"({"revision":"7"})", std::nullopt},
      {"", std::nullopt},
      {"[]", std::nullopt},
      {"7", std::nullopt},
      {R"({"revision":7)", std::nullopt},
  };
  for (const Row& row : requests) EXPECT_EQ(parse_hash_request(row.json), row.revision) << row.json;

  const ToldHash told{.revision = 9, .hash = 5, .compact_revision = -1, .hash_revision = 8};
  EXPECT_EQ(parse_hash(hash_json(told)), told);
  EXPECT_EQ(parse_hash(R"({"header":{"cluster_id":1,"revision":9}})"), ToldHash{.revision = 9});
  EXPECT_EQ(parse_hash("{}"), ToldHash{});
  EXPECT_EQ(parse_hash(R"({"hash":4294967296})"), std::nullopt);
  EXPECT_EQ(parse_hash(R"({"hash":-1})"), std::nullopt);
  EXPECT_EQ(parse_hash(R"({"header":7})"), std::nullopt);
}

TEST(PeerHashes, WhatAnAnswerSays) {
  struct Row {
    int status;
    const char* body;
    std::optional<NoHash::Why> why;
  };
  using enum NoHash::Why;
  const Row rows[] = {
      {200, R"({"header":{"revision":9},"hash":5})", std::nullopt},
      {200, "<html>", kOther},
      {400, "mvcc: required revision has been compacted\n", kCompacted},
      {400, "mvcc: required revision is a future revision\n", kFutureRevision},
      {400, "keelson: a stored record cannot be read on this member\n", kOther},
      {412, "cluster ID mismatch\n", kOtherCluster},
      {404, "404 page not found\n", kOther},
  };
  for (const Row& row : rows) {
    const auto told =
        read_hash(peer::Answered{.status = row.status, .headers = {}, .body = row.body});
    EXPECT_EQ(told.ok(), !row.why.has_value()) << row.body;
    if (row.why && !told) EXPECT_EQ(told.error().why, *row.why) << row.body;
  }
  const auto away = read_hash(base::fail(base::make_error(std::errc::timed_out, "ask")));
  ASSERT_FALSE(away.ok());
  EXPECT_EQ(away.error().why, kOther);
}

}  // namespace
}  // namespace keelson::member
