#include "apply/state_machine.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "mvcc/memory_store_test.h"

namespace keelson::apply {
namespace {

constexpr std::uint64_t kMember = 0xABCD;

// A state machine over a store in memory. Each request is an entry of its own, proposed here.
class StateMachineTest : public ::testing::Test {
 protected:
  StateMachineTest() { recover(); }

  // A new state machine, from what is stored.
  void recover() {
    state_ = std::make_unique<StateMachine>(StateMachine::Options{.member_id = kMember});
    for (const auto& [bucket, entries] : store_.buckets()) {
      for (const auto& [key, value] : entries) {
        ASSERT_TRUE(state_->recover_bucket(bucket, key, value));
      }
    }
    ASSERT_TRUE(state_->finish_recovery(1));
  }

  base::Result<Answer, Errc> apply(etcdserverpb::InternalRaftRequest request) {
    request.mutable_header()->set_id(kMember << 48 | ++index_);
    base::Batch batch;
    state_->begin(batch, store_, 0);
    state_->apply(
        {.term = 2, .index = index_, .data = base::SharedBytes(request.SerializeAsString())});
    auto result = state_->finish();
    store_.append(batch);
    MAYBE(state_->publish_keys().revision > 1);
    CHECK_EQ(result.outcomes.size(), 1u);
    return std::move(result.outcomes.front().answer);
  }

  base::Result<Answer, Errc> read_at_in_a_txn(std::int64_t revision) {
    etcdserverpb::InternalRaftRequest request;
    auto* range = request.mutable_txn()->add_success()->mutable_request_range();
    range->set_key("a");
    range->set_revision(revision);
    return apply(std::move(request));
  }

  mvcc::MemoryStore store_;
  std::unique_ptr<StateMachine> state_;
  std::uint64_t index_ = 0;
};

// "Never compacted" is -1, so a txn's check of a range's revision lets -1 pass, and nothing below.
TEST_F(StateMachineTest, NegativeRevisionsInATxnOfAStoreNeverCompacted) {
  EXPECT_TRUE(read_at_in_a_txn(-1).ok());
  EXPECT_EQ(read_at_in_a_txn(-2).error(), Errc::kCompacted);
  recover();
  EXPECT_TRUE(read_at_in_a_txn(-1).ok());
}

// etcd writes it when it makes the bucket, without an entry of the log, and Maintenance.Hash covers
// it.
TEST_F(StateMachineTest, ANewStoreBeginsAtAuthRevisionOne) {
  EXPECT_FALSE(store_.buckets().contains(base::Bucket::kAuth));
  MAYBE(read_at_in_a_txn(0).ok());
  EXPECT_EQ(store_.buckets().at(base::Bucket::kAuth).at("authRevision"),
            std::string("\0\0\0\0\0\0\0\1", 8));
}

// {1: 7, 2: "PUT", 3: "/0/version", 4: "3.5.0"}: a member that goes on would be another state's.
TEST_F(StateMachineTest, WhatMembersOfEtcd35WriteEndsIt) {
  base::Batch batch;
  state_->begin(batch, store_, 0);
  const std::string request =
      "\x08\x07\x12\x03PUT\x1a\x0a/0/version\x22\x05"
      "3.5.0";
  const auto apply = [&](std::string_view data) {
    MAYBE(state_->apply({.term = 1, .index = 1, .data = base::SharedBytes(std::string(data))}));
  };
  EXPECT_DEATH(apply(request), "entry 1 of term 1 was written by a member of etcd 3.5 or older");
  EXPECT_DEATH(apply("\x22\x01\xff"), "entry 1 of term 1 does not parse");
}

}  // namespace
}  // namespace keelson::apply
