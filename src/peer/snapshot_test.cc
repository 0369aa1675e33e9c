// Snapshots between members, over a simulated network.
#include "peer/snapshot.h"

#include <gtest/gtest.h>

#include "peer/world_test.h"
#include "raft/wire.h"

namespace keelson::peer {
namespace {

using namespace testing;  // NOLINT
using env::simulated::World;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;

class SnapshotTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const NodeId id : {1, 2}) members[id] = std::make_unique<Member>(world, id);
    member(1).know(2);
    member(2).know(1);
    world.run_for(1s);
  }
  Member& member(NodeId id) { return *members.at(id); }
  std::shared_ptr<TestSource::State> send(std::uint64_t size, NodeId to = 2,
                                          std::uint64_t fails_at = ~std::uint64_t{0}) {
    auto state = std::make_shared<TestSource::State>();
    state->size = size;
    state->fails_at = fails_at;
    member(1).transport->send_snapshot(snapshot_message(1, to, 7),
                                       std::make_unique<TestSource>(member(1).lane, state));
    return state;
  }
  bool sent(std::string_view outcome) {
    return world.run_until(
        [&] { return member(1).heard(fmt::format("snapshot to 2 {}", outcome)); }, 400s);
  }

  World world{9};
  std::map<NodeId, std::unique_ptr<Member>> members;
};

TEST_F(SnapshotTest, TheFileThenTheMessage) {
  for (const std::uint64_t size : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{3} << 20}) {
    const auto state = send(size);
    ASSERT_TRUE(sent("finished"));
    EXPECT_EQ(member(2).take(),
              fmt::format("snapshot 7 opens, sink 7 whole: {}, MsgSnap from 1, sink 7 gone", size));
    EXPECT_EQ(member(1).take(), "snapshot to 2 finished");
    EXPECT_TRUE(state->gone);
    EXPECT_EQ(state->given, size);
  }
  const auto& stats = member(1).stats(2);
  EXPECT_EQ(stats.snapshot_sends_started.value(), 3u);
  EXPECT_EQ(stats.snapshot_sends_ended.value(), 3u);
  EXPECT_EQ(stats.snapshot_send_success.value(), 3u);
  EXPECT_EQ(stats.snapshot_send_failures.value(), 0u);
  EXPECT_EQ(member(2).stats(1).snapshot_receive_success.value(), 3u);
  EXPECT_EQ(member(2).stats(1).snapshot_receives_started.value(), 3u);
  EXPECT_EQ(member(2).stats(1).snapshot_receives_ended.value(), 3u);
  EXPECT_GT(member(1).sent_took, base::Duration::zero());
  EXPECT_GT(member(2).received_took, base::Duration::zero());
}

TEST_F(SnapshotTest, AFailedSourceTearsTheTransfer) {
  const auto state = send(1 << 20, 2, 200'000);
  ASSERT_TRUE(sent("failed"));
  EXPECT_TRUE(state->gone);
  world.run_for(1s);
  EXPECT_EQ(member(2).take(), "snapshot 7 opens, sink 7 gone") << "never whole";
  EXPECT_EQ(member(1).take(), "snapshot to 2 failed, unreachable 2");
  EXPECT_TRUE(member(1).transport->active_since(2)) << "its streams are there";
  EXPECT_EQ(member(1).stats(2).snapshot_send_failures.value(), 1u);
  EXPECT_EQ(member(2).stats(1).snapshot_receive_failures.value(), 1u);
  EXPECT_EQ(member(2).stats(1).snapshot_receives_ended.value(), 1u);
}

TEST_F(SnapshotTest, WhatTheReceiverRefuses) {
  member(2).open_error = "no room";
  send(1000);
  ASSERT_TRUE(sent("failed"));
  EXPECT_EQ(member(2).take(), "");
  member(2).open_error.clear();
  member(1).take();

  member(2).write_error = "disk";
  send(5 << 20);
  ASSERT_TRUE(sent("failed"));
  world.run_for(1s);
  EXPECT_EQ(member(2).take(), "snapshot 7 opens, sink 7 gone");
  member(2).write_error.clear();
  member(1).take();

  member(2).finish_error = "sync";
  send(1000);
  ASSERT_TRUE(sent("failed"));
  EXPECT_EQ(member(2).take(), "snapshot 7 opens, sink 7 whole: 1000, sink 7 gone");
  member(2).finish_error.clear();
  member(1).take();

  member(2).full = true;
  send(1000);
  ASSERT_TRUE(sent("failed"));
  EXPECT_EQ(member(2).take(), "snapshot 7 opens, sink 7 whole: 1000, sink 7 gone");
  EXPECT_EQ(member(2).stats(1).snapshot_receive_failures.value(), 4u);
  EXPECT_EQ(member(2).stats(1).snapshot_receive_success.value(), 0u);
}

TEST_F(SnapshotTest, ARemovedMembersSnapshotIsNotTaken) {
  member(2).removed.insert(1);
  send(1000);
  ASSERT_TRUE(sent("failed"));
  EXPECT_FALSE(member(1).heard("removed, says 2")) << "that is for streams to say";
  EXPECT_EQ(member(2).take(), "");
}

TEST_F(SnapshotTest, NobodyToSendItTo) {
  const auto state = send(1000, 5);
  world.run_for(1s);
  EXPECT_TRUE(state->gone);
  EXPECT_EQ(member(1).take(), "unreachable 5, snapshot to 5 failed");

  const auto under_way = send(1 << 30);
  world.run_for(50ms);
  member(1).transport->remove_peer(2);
  ASSERT_TRUE(sent("failed"));
  EXPECT_TRUE(under_way->gone);
}

TEST_F(SnapshotTest, ASlowSinkHoldsThePeerAndNoMemory) {
  member(2).hold_writes = true;
  const auto state = send(64 << 20);
  world.run_for(20s);
  EXPECT_LT(state->given, 2u << 20) << "what lies in sockets, and one piece";
  EXPECT_EQ(member(2).held.size(), 1u) << "one question at a time";
  EXPECT_FALSE(member(1).heard("snapshot to 2 failed")) << "the peer waits";
  EXPECT_TRUE(world.run_until(
      [&] {
        while (!member(2).held.empty()) {
          member(2).lane.post(std::move(member(2).held.front()));
          member(2).held.pop_front();
        }
        return member(1).heard("snapshot to 2 finished");
      },
      400s));
  EXPECT_EQ(member(2).sink_bytes, 64u << 20);
  EXPECT_LE(member(2).largest_write, 512u << 10);
}

TEST_F(SnapshotTest, MessagesPassMeanwhile) {
  member(2).hold_writes = true;
  send(64 << 20);
  world.run_for(2s);
  member(2).take();
  ASSERT_TRUE(member(1).send(heartbeat(1, 2)));
  ASSERT_TRUE(member(1).send(append(1, 2, 1)));
  ASSERT_TRUE(world.run_until([&] { return member(2).events.size() == 2; }, 100ms));
}

TEST_F(SnapshotTest, ABrokenTransferFails) {
  send(1 << 30);
  world.run_for(50ms);
  world.reset_connections("n1", "n2");
  ASSERT_TRUE(sent("failed"));
  ASSERT_TRUE(world.run_until([&] { return member(2).heard("sink 7 gone"); }, 10s));
}

TEST_F(SnapshotTest, ATransferThatStallsIsGivenUpByBothEnds) {
  send(1 << 30);
  world.run_for(50ms);
  world.cut_both("n1", "n2");
  ASSERT_TRUE(world.run_until([&] { return member(2).heard("sink 7 gone"); }, 7s));
  ASSERT_TRUE(sent("failed"));
}

TEST_F(SnapshotTest, OfTheWrongKindOrTorn) {
  const auto framed = [](const Message& message, std::string file, std::size_t cut = 0) {
    std::string bytes;
    raft::encode(message, bytes);
    std::string body(8, '\0');
    body[7] = static_cast<char>(bytes.size());
    body += bytes;
    body += file;
    body.resize(body.size() - cut);
    return body;
  };
  Message empty = snapshot_message(1, 2, 0);
  Message other = snapshot_message(1, 3, 7);
  Stranger stranger(world, "n9");
  const struct {
    std::string what, body, answer;
  } rows[] = {
      {"another kind", framed(heartbeat(1, 2), "file"), "400 wrong raft message type"},
      {"no snapshot in it", framed(empty, "file"),
       "400 failed to decode raft message (no snapshot)"},
      {"torn message", framed(other, "", 3), "400 failed to decode raft message (unexpected EOF)"},
      {"for somebody else", framed(other, "file"),
       "500 failed to process raft message (cannot process message to mismatch member)"},
      {"of this member itself", framed(snapshot_message(2, 2, 7), "file"),
       "500 failed to process raft message (ignored)"},
      {"in order", framed(snapshot_message(1, 2, 7), "file"), "204"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(stranger.ask(2, {.method = "POST",
                               .target = "/raft/snapshot",
                               .headers = Stranger::good(1),
                               .body = base::SharedBytes(row.body)}),
              row.answer)
        << row.what;
  }
  EXPECT_EQ(member(2).take(), "snapshot 7 opens, sink 7 whole: 4, MsgSnap from 1, sink 7 gone");
}

TEST_F(SnapshotTest, ASenderThatGoesLeavesNoSink) {
  Stranger stranger(world, "n9");
  std::string bytes;
  raft::encode(snapshot_message(1, 2, 7), bytes);
  std::string body(8, '\0');
  body[7] = static_cast<char>(bytes.size());
  stranger.begin(2, {.method = "POST",
                     .target = "/raft/snapshot",
                     .headers = Stranger::good(1),
                     .streamed = true});
  ASSERT_TRUE(world.run_until([&] { return stranger.client != nullptr; }, 1s));
  stranger.client->write(base::SharedBytes(body + bytes + "some"));
  ASSERT_TRUE(world.run_until([&] { return member(2).sink_bytes == 4; }, 1s));
  stranger.client.reset();
  ASSERT_TRUE(world.run_until([&] { return member(2).heard("sink 7 gone"); }, 1s));
  EXPECT_FALSE(member(2).heard("MsgSnap from 1"));
}

}  // namespace
}  // namespace keelson::peer
