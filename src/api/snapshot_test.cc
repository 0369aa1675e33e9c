// Maintenance.Snapshot, from a client: its pieces, a client that does not read, one that goes.
#include "api/snapshot.h"

#include <gtest/gtest.h>
#include <openssl/sha.h>

#include "api/one_member_test.h"
#include "proto/rpc.pb.h"

namespace keelson::api {
namespace {

using base::Seconds;

constexpr const char* kPath = "/etcdserverpb.Maintenance/Snapshot";

void put(OneMember& member, const std::string& key, std::string value) {
  etcdserverpb::PutRequest request;
  request.set_key(key);
  request.set_value(std::move(value));
  ASSERT_EQ(member.call("/etcdserverpb.KV/Put", request.SerializeAsString()).status,
            http::Status{});
}

std::unique_ptr<OneMember::Stream> ask(OneMember& member, bool reads = true) {
  auto stream = member.open(kPath);
  member.on_client([&] {
    if (!reads) stream->call->pause_reading();
    stream->call->send("");
    stream->call->half_close();
  });
  return stream;
}

std::string sha256(const std::string& bytes) {
  std::string digest(32, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

TEST(Snapshot, ComesInPiecesWithItsSumBehind) {
  OneMember member;
  for (int i = 0; i < 40; i++) put(member, "k" + std::to_string(i), std::string(10'000, 'v'));
  const auto stream = ask(member);
  ASSERT_TRUE(member.run_until([&] { return stream->end.has_value(); }));
  EXPECT_EQ(*stream->end, http::Status{});
  std::vector<etcdserverpb::SnapshotResponse> pieces(stream->messages.size());
  std::string all;
  for (std::size_t i = 0; i < pieces.size(); i++) {
    ASSERT_TRUE(pieces[i].ParseFromString(stream->messages[i]));
    EXPECT_EQ(pieces[i].version(), "3.7.0");
    EXPECT_FALSE(pieces[i].has_header());
    if (i + 1 < pieces.size()) all += pieces[i].blob();
  }
  ASSERT_GT(pieces.size(), 10u);
  EXPECT_EQ(all.size() % 4096, 0u);
  EXPECT_EQ(pieces.back().blob(), sha256(all));
  EXPECT_EQ(pieces.back().remaining_bytes(), 0u);
  std::size_t left = all.size();
  for (std::size_t i = 0; i + 1 < pieces.size(); i++) {
    if (i + 2 < pieces.size()) EXPECT_EQ(pieces[i].blob().size(), 32u * 1024);
    left -= pieces[i].blob().size();
    EXPECT_EQ(pieces[i].remaining_bytes(), left);
  }
}

// A worker serves others, who would wait.
TEST(Snapshot, IsMadeOnTheLaneOfTransfers) {
  OneMember member;
  for (int i = 0; i < 40; i++) put(member, "k" + std::to_string(i), std::string(100'000, 'v'));
  member.world().run_for(Seconds(10));
  int read = 0, read_elsewhere = 0;
  member.disk().on_operation([&](const env::simulated::Disk::Step& step) {
    if (step.operation != env::simulated::Disk::Operation::kRead) return 0;
    (member.transfer().is_current() ? read : read_elsewhere)++;
    return 0;
  });
  const auto stream = ask(member);
  ASSERT_TRUE(member.run_until([&] { return stream->end.has_value(); }));
  member.disk().on_operation(nullptr);
  EXPECT_GT(read, 0);
  EXPECT_EQ(read_elsewhere, 0);
}

// What is made waits for the client; what it may hold of the past has an end.
TEST(Snapshot, AClientThatDoesNotReadIsEnded) {
  OneMember member([](member::Config& config) { config.held_views_age_max = Seconds(20); });
  for (int i = 0; i < 30; i++) put(member, "k" + std::to_string(i), std::string(1'000'000, 'v'));
  const auto stream = ask(member, false);
  member.world().run_for(Seconds(10));
  EXPECT_EQ(member.member().shared().oldest_views.held(), 0) << "only files are kept by then";
  member.world().run_for(Seconds(35));
  member.on_client([&] { stream->call->resume_reading(); });
  ASSERT_TRUE(member.run_until([&] { return stream->end.has_value(); }));
  EXPECT_EQ(stream->end->code, http::StatusCode::kResourceExhausted);
  EXPECT_LT(stream->messages.size(), 800u);
}

TEST(Snapshot, SoManyAtATimeAsThereIsMemoryFor) {
  OneMember member([](member::Config& config) { config.gathered_bytes_max = 40 << 20; });
  for (int i = 0; i < 10; i++) put(member, "k" + std::to_string(i), std::string(1'000'000, 'v'));
  std::vector<std::unique_ptr<OneMember::Stream>> streams;
  for (int i = 0; i < 3; i++) streams.push_back(ask(member, i == 2));
  ASSERT_TRUE(member.run_until([&] { return streams[2]->end.has_value(); }));
  EXPECT_EQ(streams[2]->end->code, http::StatusCode::kResourceExhausted);
  member.on_client([&] { streams[0]->call.reset(); });
  const auto next = ask(member);
  ASSERT_TRUE(member.run_until([&] { return next->end.has_value(); }));
  EXPECT_EQ(*next->end, http::Status{});
}

TEST(Snapshot, AClientThatGoesLeavesNothingBehind) {
  OneMember member;
  for (int i = 0; i < 30; i++) put(member, "k" + std::to_string(i), std::string(1'000'000, 'v'));
  for (int i = 0; i < 20; i++) {
    auto stream = ask(member, i % 2 == 0);
    member.world().run_for(base::Milliseconds(3 * i));
    member.on_client([&] { stream->call.reset(); });
  }
  member.world().run_for(Seconds(1));
  EXPECT_EQ(member.member().shared().oldest_views.held(), 0);
  const auto stream = ask(member);
  ASSERT_TRUE(member.run_until([&] { return stream->end.has_value(); })) << stream->messages.size();
  EXPECT_EQ(*stream->end, http::Status{});
}

}  // namespace
}  // namespace keelson::api
