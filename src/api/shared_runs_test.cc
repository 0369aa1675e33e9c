#include "api/shared_runs.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <optional>

#include "api/one_member_test.h"
#include "base/random.h"
#include "proto/rpc.pb.h"

namespace keelson::api {
namespace {

using base::Revision;

std::vector<Revision> from(std::int64_t first, int n) {
  std::vector<Revision> revisions;
  for (int i = 0; i < n; i++) revisions.push_back({first + i, 0});
  return revisions;
}
base::SharedBytes text(std::string bytes) { return base::SharedBytes(std::move(bytes)); }

TEST(SharedRuns, KeepWhatTheSameRevisionsGave) {
  SharedRuns runs(1 << 20);
  std::optional<SharedRuns::Party> one(runs), other(runs);
  runs.keep(from(5, 3), text("five to seven"));
  EXPECT_EQ(runs.find(from(5, 3)).view(), "five to seven");
  EXPECT_TRUE(runs.find(from(5, 2)).empty());
  EXPECT_TRUE(runs.find(from(6, 2)).empty());
  EXPECT_TRUE(runs.find({}).empty());
  runs.keep(from(5, 2), text("five, six"));  // of two that begin alike, the newer is found
  EXPECT_TRUE(runs.find(from(5, 3)).empty());
  EXPECT_EQ(runs.find(from(5, 2)).view(), "five, six");
}

TEST(SharedRuns, KeepNothingForOneAlone) {
  SharedRuns runs(1 << 20);
  EXPECT_FALSE(runs.wanted());
  std::optional<SharedRuns::Party> one(runs);
  EXPECT_FALSE(runs.wanted());
  std::optional<SharedRuns::Party> other(runs);
  EXPECT_TRUE(runs.wanted());
  runs.keep(from(1, 1), text("one"));
  EXPECT_GT(runs.bytes(), 0u);
  one.reset();
  EXPECT_FALSE(runs.wanted());
  EXPECT_EQ(runs.bytes(), 0u);
  EXPECT_TRUE(runs.find(from(1, 1)).empty());
}

TEST(SharedRuns, DropTheOldestBeyondTheirBound) {
  SharedRuns runs(1000);
  const SharedRuns::Party one(runs), other(runs);
  for (int i = 0; i < 10; i++) {
    runs.keep(from(i, 1), text(std::string(284, 'x')));  // and 16 for the revision
    EXPECT_LE(runs.bytes(), 1000u);
  }
  for (int i = 0; i < 10; i++) EXPECT_EQ(runs.find(from(i, 1)).empty(), i < 7) << i;
  runs.keep(from(20, 1), text(std::string(2000, 'x')));  // larger than all that may be kept
  EXPECT_TRUE(runs.find(from(20, 1)).empty());
  EXPECT_FALSE(runs.find(from(9, 1)).empty());
  // One that began like a newer one goes without it.
  runs.keep(from(9, 2), text("x"));
  runs.keep(from(30, 1), text(std::string(284, 'x')));
  runs.keep(from(31, 1), text(std::string(284, 'x')));
  runs.keep(from(32, 1), text(std::string(284, 'x')));
  EXPECT_EQ(runs.find(from(9, 2)).view(), "x");
}

// --- in a server

constexpr int kKeys = 1500;

std::string key_of(int i) { return fmt::format("key{:05}", i); }

void put_all(OneMember& member, const std::vector<int>& keys, char fill) {
  for (std::size_t at = 0; at < keys.size(); at += 100) {
    etcdserverpb::TxnRequest txn;
    for (std::size_t i = at; i < std::min(at + 100, keys.size()); i++) {
      auto* put = txn.add_success()->mutable_request_put();
      put->set_key(key_of(keys[i]));
      put->set_value(std::string(700, fill));
    }
    EXPECT_TRUE(member.call("/etcdserverpb.KV/Txn", txn.SerializeAsString()).status.ok());
  }
}

std::unique_ptr<OneMember::Stream> ask_for_all(OneMember& member) {
  etcdserverpb::RangeRequest request;
  request.set_key(std::string(1, '\0'));
  request.set_range_end(std::string(1, '\0'));
  auto stream = member.open("/etcdserverpb.KV/Range");
  member.on_client([&] {
    stream->call->send(request.SerializeAsString());
    stream->call->half_close();
  });
  return stream;
}

etcdserverpb::RangeResponse answer_of(OneMember& member, OneMember::Stream& stream) {
  EXPECT_TRUE(member.run_until([&] { return stream.end.has_value(); }));
  EXPECT_TRUE(stream.end->ok()) << stream.end->message;
  EXPECT_EQ(stream.messages.size(), 1u);
  etcdserverpb::RangeResponse answer;
  EXPECT_TRUE(!stream.messages.empty() && answer.ParseFromString(stream.messages.front()));
  return answer;
}

// Many at once, some at a newer revision than others, get what each would get alone.
TEST(SharedRuns, AnswerEachFromItsOwnView) {
  OneMember member;
  std::vector<int> keys(kKeys);
  base::Random random(1);
  for (int i = 0; i < kKeys; i++) {
    keys[i] = i;
    std::swap(keys[i], keys[random.below(i + 1)]);
  }
  put_all(member, keys, 'a');
  auto alone = ask_for_all(member);
  const auto before = answer_of(member, *alone);
  ASSERT_EQ(before.kvs_size(), kKeys);

  std::vector<std::unique_ptr<OneMember::Stream>> early, late;
  for (int i = 0; i < 3; i++) early.push_back(ask_for_all(member));
  member.run_until([&] { return !early[0]->messages.empty(); });
  put_all(member, {700, 20, 1200}, 'b');
  for (int i = 0; i < 3; i++) late.push_back(ask_for_all(member));
  for (auto& stream : early) {
    EXPECT_EQ(answer_of(member, *stream).SerializeAsString(), before.SerializeAsString());
  }
  for (auto& stream : late) {
    const auto after = answer_of(member, *stream);
    EXPECT_EQ(after.header().revision(), before.header().revision() + 1);
    ASSERT_EQ(after.kvs_size(), kKeys);
    for (int i = 0; i < kKeys; i++) {
      EXPECT_EQ(after.kvs(i).key(), key_of(i));
      EXPECT_EQ(after.kvs(i).value()[0], i == 700 || i == 20 || i == 1200 ? 'b' : 'a') << i;
    }
  }
}

}  // namespace
}  // namespace keelson::api
