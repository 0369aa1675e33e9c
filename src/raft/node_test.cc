// A node alone, against what others might tell it. Histories with peers are scripts
// (script_test.cc) and random clusters (cluster_test.cc).
#include "raft/node.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>

#include "base/random.h"
#include "raft/describe.h"
#include "raft/invariants.h"
#include "raft/sync_adapter.h"
#include "raft/wire.h"

namespace keelson::raft {
namespace {

Config config_of(NodeId id) {
  return {.id = id, .election_tick = 10, .heartbeat_tick = 1, .seed = id};
}

// One node whose jobs are done at once.
struct Alone {
  explicit Alone(std::vector<NodeId> voters, Config config = config_of(1)) {
    storage.set_conf_state({.voters = std::move(voters)});
    node = std::make_unique<Node>(config, storage);
  }
  // Sees to everything; what it says to others gathers in `sent`, what it applies in `applied`.
  void settle() {
    while (node->has_ready()) {
      Ready ready = node->take_ready();
      for (Message& message : ready.messages) sent.push_back(std::move(message));
      if (ready.append) persist(*std::move(ready.append));
      if (ready.apply) {
        for (const Entry& entry : ready.apply->entries) applied.push_back(entry);
        EXPECT_TRUE(node->step(std::move(*ready.apply).response()).ok());
      }
      check();
    }
  }
  void persist(AppendJob job) {
    if (job.hard_state) storage.set_hard_state(*job.hard_state);
    if (job.snapshot) EXPECT_TRUE(storage.apply_snapshot(*job.snapshot).ok());
    storage.append(job.entries);
    for (Message& response : job.responses) {
      if (response.to != node->id()) {
        sent.push_back(std::move(response));
      } else {
        EXPECT_TRUE(node->step(std::move(response)).ok());
      }
    }
  }
  void check() {
    const auto broken = watcher.observe(*node);
    EXPECT_FALSE(broken) << *broken;
  }
  Result<> step(Message message) {
    message.to = node->id();
    auto result = node->step(std::move(message));
    check();
    return result;
  }
  // Elected by the votes of all.
  void lead() {
    EXPECT_TRUE(node->campaign().ok());
    settle();
    for (const NodeId voter : node->configuration().voters.ids()) {
      if (voter == node->id() || node->role() == Role::kLeader) continue;
      if (node->role() == Role::kPreCandidate) {
        EXPECT_TRUE(
            step({.type = MessageType::kPreVoteResp, .from = voter, .term = node->term() + 1})
                .ok());
        settle();
      }
      EXPECT_TRUE(step({.type = MessageType::kVoteResp, .from = voter, .term = node->term()}).ok());
    }
    settle();
    EXPECT_EQ(node->role(), Role::kLeader);
    sent.clear();
  }

  MemoryStorage storage;
  std::unique_ptr<Node> node;
  StepWatcher watcher;
  std::vector<Message> sent;
  std::vector<Entry> applied;
};

Entry normal(std::string data) { return {.data = base::SharedBytes(std::move(data))}; }

// --- one voter

TEST(Node, OneVoterAppliesWhatItPersisted) {
  Alone alone({1});
  alone.lead();
  ASSERT_TRUE(alone.node->propose({normal("a"), normal("b")}).ok());
  Ready ready = alone.node->take_ready();
  EXPECT_FALSE(ready.apply) << "not durable yet";
  ASSERT_TRUE(ready.append);
  EXPECT_TRUE(ready.append->must_sync);
  alone.persist(*std::move(ready.append));
  alone.settle();
  ASSERT_EQ(alone.applied.size(), 3u);
  EXPECT_EQ(alone.applied[2].data.view(), "b");
  EXPECT_TRUE(alone.sent.empty());
}

// The proposer's bytes are handed on to log and state machine, not copied.
TEST(Node, PayloadIsShared) {
  Alone alone({1});
  alone.lead();
  const Entry entry = normal(std::string(1000, 'x'));
  ASSERT_TRUE(alone.node->propose({entry}).ok());
  alone.settle();
  EXPECT_EQ(alone.applied.back().data.data(), entry.data.data());
}

TEST(Node, BootstrapComesOutAsIfAgreedOn) {
  MemoryStorage storage;
  Node node(config_of(1), storage);
  EXPECT_FALSE(node.has_ready());
  node.bootstrap(std::vector<Peer>{{.id = 1, .context = "one"}, {.id = 2, .context = "two"}});
  EXPECT_EQ(describe(node.configuration()), "voters=(1 2)");
  Ready ready = node.take_ready();
  ASSERT_TRUE(ready.append && ready.append->hard_state);
  EXPECT_EQ(describe(*ready.append->hard_state), "Term:1 Commit:2");
  EXPECT_EQ(describe(ready.append->entries), "1/1 EntryConfChange v1\n1/2 EntryConfChange v2\n");
  EXPECT_FALSE(ready.apply) << "not durable yet";
  storage.append(ready.append->entries);
  for (Message& response : ready.append->responses) EXPECT_TRUE(node.step(response).ok());
  ready = node.take_ready();
  ASSERT_TRUE(ready.apply);
  for (const Entry& entry : ready.apply->entries) {
    const auto change = decode_conf_change(entry.data);
    EXPECT_FALSE(change->context.empty());
    EXPECT_TRUE(node.apply_conf_change(*change).ok());
  }
  EXPECT_EQ(describe(node.configuration()), "voters=(1 2)") << "applied twice, changed once";
}

TEST(Node, RestartFromWhatWasApplied) {
  Alone before({1});
  before.lead();
  ASSERT_TRUE(before.node->propose({normal("a")}).ok());
  before.settle();
  MemoryStorage storage = before.storage;
  // A commit index alone is not synced: the one on disk is behind.
  storage.set_hard_state({.term = 1, .vote = 1, .commit = 0});
  Config config = config_of(1);
  config.applied = 2;
  Node node(config, storage);
  EXPECT_EQ(node.hard_state().commit, 2u);
  EXPECT_EQ(node.log().applied(), 2u);
  EXPECT_TRUE(node.has_ready() == false) << "nothing to apply again, nothing new to store";
}

TEST(Node, ConfigsThatCannotRun) {
  const auto problem = [](auto change) {
    Config config = config_of(1);
    change(config);
    return config.problem().value_or("none");
  };
  EXPECT_EQ(problem([](Config&) {}), "none");
  EXPECT_EQ(problem([](Config& c) { c.id = 0; }), "cannot use none as id");
  EXPECT_EQ(problem([](Config& c) { c.id = kLocalApplyThread; }), "cannot use local target as id");
  EXPECT_EQ(problem([](Config& c) { c.heartbeat_tick = 0; }),
            "heartbeat tick must be greater than 0");
  EXPECT_EQ(problem([](Config& c) { c.election_tick = 1; }),
            "election tick must be greater than heartbeat tick");
  EXPECT_EQ(problem([](Config& c) { c.max_inflight_messages = 0; }),
            "max inflight messages must be greater than 0");
  EXPECT_EQ(problem([](Config& c) { c.max_inflight_bytes = 1; }),
            "max inflight bytes must be >= max message size");
  EXPECT_EQ(problem([](Config& c) { c.read_only = ReadOnlyMode::kLeaseBased; }),
            "CheckQuorum must be enabled when ReadOnlyOption is ReadOnlyLeaseBased");
}

TEST(Node, TimeoutsSpreadAndRepeat) {
  std::set<std::uint32_t> seen;
  for (std::uint64_t seed = 0; seed < 200; seed++) {
    Config config = config_of(1);
    config.seed = seed;
    const Alone alone({1, 2}, config), again({1, 2}, config);
    const auto ticks = alone.node->election_timeout_ticks();
    EXPECT_EQ(ticks, again.node->election_timeout_ticks()) << "same seed, same numbers";
    EXPECT_GE(ticks, 10u);
    EXPECT_LT(ticks, 20u);
    seen.insert(ticks);
  }
  EXPECT_EQ(seen.size(), 10u);
}

// --- what no correct peer says

TEST(Node, RefusesWhatOnlyItselfMaySay) {
  Alone alone({1, 2, 3});
  using enum MessageType;
  for (const auto type : {kHup, kBeat, kUnreachable, kSnapStatus, kCheckQuorum, kStorageAppend,
                          kStorageAppendResp, kStorageApply, kStorageApplyResp}) {
    EXPECT_EQ(alone.step({.type = type, .from = 2, .term = 1}).error(), Errc::kLocalMessage)
        << describe(type);
  }
  for (const auto type : {kAppResp, kVoteResp, kHeartbeatResp, kReadIndexResp, kPreVoteResp}) {
    EXPECT_EQ(alone.step({.type = type, .from = 9, .term = 1}).error(), Errc::kUnknownPeer)
        << describe(type);
  }
  EXPECT_FALSE(alone.node->has_ready()) << "nothing was done";
}

TEST(Node, RefusesWhatIsMalformed) {
  const ConfState conf{.voters = {1, 2, 3}};
  const auto app = [](Index index, Term log_term, std::vector<Entry> entries) {
    return Message{.type = MessageType::kApp,
                   .from = 2,
                   .term = 2,
                   .log_term = log_term,
                   .index = index,
                   .entries = std::move(entries)};
  };
  const std::pair<const char*, Message> rows[] = {
      {"an append of no term", {.type = MessageType::kApp, .from = 2}},
      {"a vote of no term", {.type = MessageType::kVote, .from = 2}},
      {"a gap before the entries", app(0, 0, {{.term = 1, .index = 2}})},
      {"a gap within", app(0, 0, {{.term = 1, .index = 1}, {.term = 1, .index = 3}})},
      {"terms that fall", app(0, 0, {{.term = 2, .index = 1}, {.term = 1, .index = 2}})},
      {"a term below the one before", app(1, 2, {{.term = 1, .index = 2}})},
      {"a term from the future", app(0, 0, {{.term = 3, .index = 1}})},
      {"a snapshot with a configuration that cannot be",
       {.type = MessageType::kSnap,
        .from = 2,
        .term = 2,
        .snapshot =
            Snapshot{.data = {},
                     .metadata = {.conf_state = {.learners = {1}}, .index = 5, .term = 1}}}},
      {"an empty proposal", {.type = MessageType::kProp, .from = 2}},
      {"a read without a context", {.type = MessageType::kReadIndex, .from = 2}},
  };
  for (const auto& [why, message] : rows) {
    Alone alone({1, 2, 3});
    EXPECT_EQ(alone.step(message).error(), Errc::kMalformed) << why;
    EXPECT_EQ(alone.node->term(), 0u) << why;
    EXPECT_FALSE(alone.node->has_ready()) << why;
  }
}

TEST(Node, LeaderRefusesWhatNobodyCanHave) {
  Alone alone({1, 2, 3});
  alone.lead();
  const auto answer = [&alone](Index index) {
    return alone.step({.type = MessageType::kAppResp, .from = 2, .term = 1, .index = index});
  };
  EXPECT_EQ(answer(2).error(), Errc::kMalformed) << "more of this term's log than its leader";
  EXPECT_TRUE(answer(1).ok());
  EXPECT_EQ(alone.node->hard_state().commit, 1u);
  EXPECT_EQ(alone.node
                ->propose({{.type = EntryType::kConfChange,
                            .data = base::SharedBytes(std::string("\xff"))}})
                .error(),
            Errc::kMalformed);
  // A hint far beyond the log costs nothing, and a context that is not ours means nothing.
  EXPECT_TRUE(alone
                  .step({.type = MessageType::kAppResp,
                         .from = 3,
                         .term = 1,
                         .log_term = 1,
                         .index = 1,
                         .reject = true,
                         .reject_hint = ~Index{0}})
                  .ok());
  EXPECT_TRUE(
      alone.step({.type = MessageType::kHeartbeatResp, .from = 3, .term = 1, .context = "short"})
          .ok());
}

TEST(Node, IgnoresASnapshotOfNothing) {
  Alone alone({1, 2, 3});
  ASSERT_TRUE(alone.step({.type = MessageType::kSnap, .from = 2}).ok());
  ASSERT_TRUE(alone.step({.type = MessageType::kSnap, .from = 2, .term = 2}).ok());
  alone.settle();
  ASSERT_EQ(alone.sent.size(), 2u);
  EXPECT_EQ(describe(alone.sent[0]), "1->2 MsgAppResp Term:0 Log:0/0");
  EXPECT_EQ(describe(alone.sent[1]), "1->2 MsgAppResp Term:2 Log:0/0");
}

// Whatever a peer makes up, as long as it does not speak of commits that cannot be: the node
// refuses it or takes it, and its own invariants hold. (An index that is committed elsewhere and
// missing here is a lost log, and stops the process; so does another entry in the place of a
// committed one.)
TEST(Node, TakesOrRefusesWhateverPeersMakeUp) {
  std::size_t taken = 0;
  for (std::uint64_t seed = 0; seed < 300; seed++) {
    SCOPED_TRACE(seed);
    base::Random random(seed);
    Config config = config_of(1);
    config.pre_vote = random.one_in(2);
    config.check_quorum = random.one_in(2);
    config.max_inflight_messages = 2;
    Alone alone({1, 2, 3}, config);
    if (random.one_in(2)) alone.lead();
    for (int i = 0; i < 60; i++) {
      Message message{.type = static_cast<MessageType>(random.below(24)),
                      .from = 1 + random.below(5),
                      .term = alone.node->term() + random.below(3),
                      .log_term = random.below(4),
                      .index = random.below(6),
                      .reject = random.one_in(2),
                      .reject_hint = random.below(8),
                      .context = random.bytes(random.below(10))};
      if (random.one_in(5)) message.term = random.below(3);
      message.index = std::max(message.index, alone.node->log().committed());
      for (auto left = random.below(3); left > 0; left--) {
        const Index index = message.index + 1 + message.entries.size();
        message.entries.push_back(
            {.type = random.one_in(6) ? EntryType::kConfChangeV2 : EntryType::kNormal,
             .term = std::max(message.log_term, random.below(4)),
             .index = random.one_in(9) ? random.below(9) : index});
      }
      if (message.type == MessageType::kSnap && !random.one_in(4)) {
        message.snapshot =
            Snapshot{.metadata = {.conf_state = {.voters = {1 + random.below(3)},
                                                 .learners = {1 + random.below(4)}},
                                  .index = alone.node->log().committed() + random.below(3),
                                  .term = random.below(3)}};
      }
      taken += alone.step(std::move(message)).ok();
      if (random.one_in(3)) alone.node->tick();
      if (random.one_in(3)) alone.settle();
      if (::testing::Test::HasFailure()) return;
    }
  }
  EXPECT_GT(taken, 5000u) << "or this showed nothing";
}

// Whose answer was lost asks again.
TEST(Node, AVoteIsGivenAgainToTheSame) {
  Alone alone({1, 2, 3});
  for (const NodeId candidate : {2, 2, 3}) {
    ASSERT_TRUE(alone.step({.type = MessageType::kVote, .from = candidate, .term = 5}).ok());
  }
  alone.settle();
  ASSERT_EQ(alone.sent.size(), 3u);
  EXPECT_EQ(describe(alone.sent[0]), "1->2 MsgVoteResp Term:5 Log:0/0");
  EXPECT_EQ(describe(alone.sent[1]), "1->2 MsgVoteResp Term:5 Log:0/0");
  EXPECT_EQ(describe(alone.sent[2]), "1->3 MsgVoteResp Term:5 Log:0/0 Rejected (Hint: 0)");
}

// A follower that lags one leadership behind asks its old leader, which follows another by now: the
// answer must find who asked.
TEST(Node, WhatWasForwardedIsForwardedAgainForWhoAsked) {
  Alone alone({1, 2, 3});
  ASSERT_TRUE(alone.step({.type = MessageType::kHeartbeat, .from = 2, .term = 1}).ok());
  alone.settle();
  alone.sent.clear();
  Message proposal{.type = MessageType::kProp, .from = 3, .entries = {normal("x")}};
  EXPECT_TRUE(alone.step(proposal).ok());
  EXPECT_TRUE(
      alone.step({.type = MessageType::kReadIndex, .from = 3, .entries = {normal("r")}}).ok());
  alone.settle();
  ASSERT_EQ(alone.sent.size(), 2u);
  EXPECT_EQ(describe(alone.sent[0]), "3->2 MsgProp Term:0 Log:0/0 Entries:[0/0 EntryNormal \"x\"]");
  EXPECT_EQ(describe(alone.sent[1]),
            "3->2 MsgReadIndex Term:0 Log:0/0 Entries:[0/0 EntryNormal \"r\"]");
}

TEST(Node, WhatIsForwardedIsCutToMessages) {
  Config config = config_of(1);
  config.max_size_per_message = 40;
  Alone alone({1, 2, 3}, config);
  ASSERT_TRUE(alone.step({.type = MessageType::kHeartbeat, .from = 2, .term = 1}).ok());
  alone.settle();
  alone.sent.clear();
  ASSERT_TRUE(alone.node
                  ->propose({normal("a"), normal("b"), normal(std::string(50, 'c')), normal("d"),
                             normal("e")})
                  .ok());
  alone.settle();
  ASSERT_EQ(alone.sent.size(), 3u);
  EXPECT_EQ(alone.sent[0].entries.size(), 2u);
  EXPECT_EQ(alone.sent[1].entries.size(), 1u) << "however large, one goes";
  EXPECT_EQ(alone.sent[2].entries.size(), 2u);
  EXPECT_EQ(alone.sent[2].entries[1].data.view(), "e");
}

// A log that was cut behind its newest snapshot cannot go on from it: nothing is sent until there
// is a newer one.
TEST(Node, NoSnapshotBehindTheLogIsSent) {
  Alone alone({1, 2, 3});
  alone.lead();
  ASSERT_TRUE(alone.node->propose({normal("a"), normal("b")}).ok());
  alone.settle();
  ASSERT_TRUE(alone.step({.type = MessageType::kAppResp, .from = 3, .term = 1, .index = 3}).ok());
  alone.settle();
  const ConfState voters{.voters = {1, 2, 3}};
  ASSERT_TRUE(alone.storage.create_snapshot(1, voters, {}).ok());
  ASSERT_TRUE(alone.storage.compact(3).ok());
  const Message heard{.type = MessageType::kHeartbeatResp, .from = 2, .term = 1};
  alone.sent.clear();
  ASSERT_TRUE(alone.step(heard).ok());
  alone.settle();
  EXPECT_TRUE(alone.sent.empty()) << describe(alone.sent[0]);
  ASSERT_TRUE(alone.storage.create_snapshot(3, voters, {}).ok());
  ASSERT_TRUE(alone.step(heard).ok());
  alone.settle();
  ASSERT_EQ(alone.sent.size(), 1u);
  EXPECT_EQ(alone.sent[0].type, MessageType::kSnap);
}

// Its `from` names whom to, so nothing could tell a circle of them.
TEST(Node, ATransferIsForwardedOnce) {
  Alone alone({1, 2, 3});
  ASSERT_TRUE(alone.step({.type = MessageType::kHeartbeat, .from = 2, .term = 1}).ok());
  alone.settle();
  alone.sent.clear();
  EXPECT_TRUE(alone.step({.type = MessageType::kTransferLeader, .from = 3, .term = 1}).ok());
  alone.settle();
  EXPECT_TRUE(alone.sent.empty());
  alone.node->transfer_leader(3);
  alone.settle();
  ASSERT_EQ(alone.sent.size(), 1u);
  EXPECT_EQ(describe(alone.sent[0]), "3->2 MsgTransferLeader Term:1 Log:0/0");
}

TEST(Node, WaitingReadsAreBounded) {
  Alone alone({1, 2, 3});
  alone.lead();
  ASSERT_TRUE(alone.step({.type = MessageType::kAppResp, .from = 2, .term = 1, .index = 1}).ok());
  alone.settle();
  for (int i = 0; i < 5000; i++) {
    ASSERT_TRUE(
        alone.step({.type = MessageType::kReadIndex, .from = 2, .entries = {normal("r")}}).ok());
    MAYBE(alone.node->take_ready().messages.empty());
  }
  ASSERT_TRUE(alone
                  .step({.type = MessageType::kHeartbeatResp,
                         .from = 3,
                         .term = 1,
                         .context = std::string("\x00\x10\x00\x00\x00\x00\x00\x00", 8)})
                  .ok());
  const Ready ready = alone.node->take_ready();
  EXPECT_EQ(std::ranges::count(ready.messages, MessageType::kReadIndexResp, &Message::type), 4096);
}

// --- reads

TEST(ReadOnly, AQuorumConfirmsWhatCameBefore) {
  ReadOnly reads;
  const JointConfig voters{{1, 2, 3}, {}};
  EXPECT_EQ(reads.heartbeat_context(), "") << "nothing waits";
  reads.add({.type = MessageType::kReadIndex}, 5, 1);
  const std::string first = reads.heartbeat_context();
  EXPECT_EQ(first, std::string("\x01\0\0\0\0\0\0\0", 8));
  reads.add({.type = MessageType::kReadIndex}, 7, 1);
  reads.acknowledge(2, first);
  auto confirmed = reads.take_confirmed(voters);
  ASSERT_EQ(confirmed.size(), 1u) << "the second came after that heartbeat";
  EXPECT_EQ(confirmed[0].commit, 5u);
  reads.acknowledge(3, first);
  EXPECT_TRUE(reads.take_confirmed(voters).empty()) << "an old answer confirms nothing new";
  reads.acknowledge(9, reads.heartbeat_context());
  EXPECT_TRUE(reads.take_confirmed(voters).empty()) << "an outsider";
  reads.acknowledge(3, std::string(8, '\xff'));
  EXPECT_EQ(reads.take_confirmed(voters).size(), 1u);
  reads.add({.type = MessageType::kReadIndex}, 8, 1);
  EXPECT_TRUE(reads.take_confirmed(voters).empty()) << "nobody confirms what was not asked yet";
}

TEST(ReadOnly, AJointConfigurationNeedsBothHalves) {
  ReadOnly reads;
  const JointConfig voters{{1, 2}, {3}};
  reads.add({.type = MessageType::kReadIndex}, 5, 1);
  reads.acknowledge(2, reads.heartbeat_context());
  EXPECT_TRUE(reads.take_confirmed(voters).empty());
  reads.acknowledge(3, reads.heartbeat_context());
  EXPECT_EQ(reads.take_confirmed(voters).size(), 1u);
}

// --- the checks themselves

TEST(Invariants, SeeAStepBack) {
  Alone later({1});
  later.lead();
  const Alone earlier({1});
  EXPECT_EQ(later.watcher.observe(*earlier.node), "the term never goes back");
  later.watcher.restarted();
  EXPECT_EQ(later.watcher.observe(*earlier.node), std::nullopt) << "nothing it promised differs";
}

TEST(Invariants, SeeAnotherEntryCommitted) {
  Alone one({1}), other({1});
  one.lead();
  other.lead();
  ASSERT_TRUE(one.node->propose({normal("a")}).ok());
  ASSERT_TRUE(other.node->propose({normal("b")}).ok());
  one.settle();
  other.settle();
  one.watcher.restarted();
  EXPECT_EQ(one.watcher.observe(*other.node), "committed entry 2 never changes");
}

TEST(Invariants, SeeAMatchGoBack) {
  Alone one({1, 2, 3}), other({1, 2, 3});
  one.lead();
  other.lead();
  ASSERT_TRUE(one.step({.type = MessageType::kAppResp, .from = 2, .term = 1, .index = 1}).ok());
  ASSERT_TRUE(other.step({.type = MessageType::kAppResp, .from = 3, .term = 1, .index = 1}).ok());
  EXPECT_EQ(one.watcher.observe(*other.node), "the match of 2 never goes back");
}

// Nodes that were told of votes nobody gave.
TEST(Invariants, SeeTwoLeadersOfATerm) {
  Alone one({1, 2, 3}), two({1, 2, 3}, config_of(2));
  one.lead();
  two.lead();
  ClusterWatcher cluster;
  EXPECT_EQ(cluster.observe(*one.node), std::nullopt);
  EXPECT_EQ(cluster.observe(*two.node), "one leader in term 1: 1 leads already");
}

TEST(Invariants, SeeLogsThatDoNotMatch) {
  Alone one({1, 2, 3}), two({1, 2, 3}, config_of(2));
  one.lead();
  ASSERT_TRUE(one.node->propose({normal("a")}).ok());
  ASSERT_TRUE(two.step({.type = MessageType::kApp,
                        .from = 3,
                        .term = 1,
                        .entries = {{.term = 1, .index = 1},
                                    {.term = 1, .index = 2, .data = base::SharedBytes("b")}}})
                  .ok());
  ClusterWatcher cluster;
  EXPECT_EQ(cluster.observe(*one.node), std::nullopt);
  EXPECT_EQ(cluster.observe(*two.node), "one entry of index 2 and term 1, and one before it");
}

TEST(Invariants, SeeALeaderWithoutWhatIsCommitted) {
  Alone one({1, 2, 3}), two({1, 2, 3}, config_of(2));
  one.lead();
  ASSERT_TRUE(one.step({.type = MessageType::kAppResp, .from = 3, .term = 1, .index = 1}).ok());
  ASSERT_TRUE(two.step({.type = MessageType::kHeartbeat, .from = 1, .term = 1}).ok());
  two.lead();
  ClusterWatcher cluster;
  EXPECT_EQ(cluster.observe(*one.node), std::nullopt);
  EXPECT_EQ(cluster.observe(*two.node), "a leader has all that is committed: not entry 1");
}

TEST(Invariants, SeeTwoEntriesCommittedAtOnePlace) {
  Alone one({1, 2, 3}), two({1, 2, 3}, config_of(2));
  one.lead();
  ASSERT_TRUE(one.step({.type = MessageType::kAppResp, .from = 3, .term = 1, .index = 1}).ok());
  ASSERT_TRUE(two.step({.type = MessageType::kApp,
                        .from = 3,
                        .term = 2,
                        .entries = {{.term = 2, .index = 1}},
                        .commit = 1})
                  .ok());
  ClusterWatcher cluster;
  EXPECT_EQ(cluster.observe(*one.node), std::nullopt);
  EXPECT_EQ(cluster.observe(*two.node),
            "one entry is committed at index 1: of term 2, and of 1 elsewhere");
}

TEST(Invariants, SeeAWordThatIsNotKept) {
  const Message campaigns{.type = MessageType::kVote, .to = 2, .from = 1, .term = 4};
  const Message votes{.type = MessageType::kVoteResp, .to = 3, .from = 1, .term = 1};
  const Message refuses{
      .type = MessageType::kVoteResp, .to = 2, .from = 1, .term = 1, .reject = true};
  Alone fresh({1, 2, 3}), leader({1, 2, 3});
  leader.lead();  // of term 1, by its own vote
  ClusterWatcher cluster;
  EXPECT_EQ(cluster.sent(refuses), std::nullopt);
  EXPECT_EQ(cluster.observe(*leader.node), std::nullopt);
  EXPECT_EQ(cluster.sent(votes), std::nullopt);
  EXPECT_EQ(cluster.sent({.type = MessageType::kVoteResp, .to = 2, .from = 1, .term = 1}),
            "one vote in term 1: for 3 before, now for 2");
  EXPECT_EQ(cluster.observe(*leader.node), "a vote others heard of is kept: for 3 in term 1");
  EXPECT_EQ(cluster.sent(campaigns), std::nullopt);
  cluster.restarted(1);
  EXPECT_EQ(cluster.observe(*fresh.node), "a term others heard of is kept: 4");
  EXPECT_EQ(cluster.sent(votes), std::nullopt) << "a message of before, told again";
}

// The old log of a node that starts anew is no step of it.
TEST(Invariants, LetANodeStartAnew) {
  Alone before({1, 2, 3}), after({1, 2, 3});
  before.lead();
  ASSERT_TRUE(before.node->propose({normal("not durable")}).ok());
  ClusterWatcher cluster;
  EXPECT_EQ(cluster.observe(*before.node), std::nullopt);
  cluster.restarted(1);
  EXPECT_EQ(cluster.observe(*after.node), std::nullopt);
}

}  // namespace
}  // namespace keelson::raft
