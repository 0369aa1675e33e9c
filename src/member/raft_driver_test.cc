// RaftDriver alone: one voter, a log lane and an apply lane that are played by the test.
#include "member/raft_driver.h"

#include <gtest/gtest.h>

#include "env/simulated/world.h"
#include "member/front.h"

namespace keelson::member {
namespace {

using base::Milliseconds;
using base::Seconds;

constexpr std::uint64_t kSelf = 7;
constexpr std::uint64_t kLeader = 8;  // where there is another

class RaftDriverTest : public ::testing::Test {
 protected:
  RaftDriverTest()
      : host_(world_.host("n1")),
        raft_lane_(host_.lane("raft")),
        log_(host_.lane("log"), 1000, [this](auto works) { on_append(std::move(works)); }),
        apply_(host_.lane("apply"), 1000, [this](auto works) { on_apply(std::move(works)); }) {
    shared_.clock = &host_.clock();
    shared_.identity.member_id = kSelf;
    shared_.log_lane = &host_.lane("log");
    shared_.workers = {&host_.lane("worker0")};
    shared_.config.snapshot_catchup_entries = 50;
    auto view = std::make_shared<View>();
    view->alarms = std::make_shared<const std::vector<apply::AlarmMember>>();
    view->roster = std::make_shared<const membership::Roster>();
    shared_.views.publish(std::move(view));
    shared_.fronts.push_back(std::make_unique<Front>(host_.lane("io0"), 0, shared_));
  }
  ~RaftDriverTest() override {
    shared_.fronts.front()->abandon();
    shared_.views.publish(nullptr);
  }

  void start(std::vector<raft::NodeId> voters = {kSelf}) {
    driver_ = std::make_unique<RaftDriver>(
        raft_lane_, shared_,
        RaftDriver::Start{.snapshot = {.conf_state = {.voters = std::move(voters)}}, .seed = 3});
    driver_->connect(&log_, &apply_, nullptr);
    shared_.to_raft = std::make_unique<env::Channel<FrontRequest>>(
        raft_lane_, 1000, [this](auto requests) { driver_->on_requests(std::move(requests)); });
    shared_.to_raft_events = std::make_unique<env::Channel<RaftEvent>>(
        raft_lane_, 1000, [this](auto events) { driver_->on_events(std::move(events)); });
    raft_lane_.post([this] { driver_->start(); });
    settle();
  }
  void settle() { ASSERT_TRUE(world_.run_until_idle()); }

  void on_append(std::vector<AppendWork> works) {
    for (AppendWork& work : works) {
      if (hold_syncs_) {
        held_++;
      } else {
        shared_.to_raft_events->push_always(Persisted{std::move(work.responses), 1});
      }
      appends_.push_back(std::move(work));
    }
  }
  void on_apply(std::vector<ApplyWork> works) {
    for (ApplyWork& work : works) {
      AppliedNotice notice{.responses = std::move(work.responses),
                           .lease_changes = std::exchange(lease_changes_, {}),
                           .applied = work.entries.back().index};
      for (const raft::Entry& entry : work.entries) {
        if (entry.data.empty()) notice.new_leader_term = entry.term;
        applied_.push_back(entry);
      }
      shared_.to_raft_events->push_always(std::move(notice));
    }
  }
  void sync_held() {
    hold_syncs_ = false;
    for (; held_ > 0; held_--) {
      AppendWork& work = appends_[appends_.size() - held_];
      shared_.to_raft_events->push_always(Persisted{std::move(work.responses), 1});
    }
    settle();
  }

  static raft::Entry entry(raft::Index index, std::string data) {
    return {.term = 1, .index = index, .data = base::SharedBytes(std::move(data))};
  }
  // An append of kLeader's, behind all entries it has sent.
  void hear(std::vector<raft::Entry> entries, raft::Index commit) {
    const raft::Index previous = std::exchange(heard_, heard_ + entries.size());
    std::vector<raft::Message> messages(1);
    messages[0] = {.type = raft::MessageType::kApp,
                   .to = kSelf,
                   .from = kLeader,
                   .term = 1,
                   .log_term = previous > 0 ? raft::Term{1} : raft::Term{0},
                   .index = previous,
                   .entries = std::move(entries),
                   .commit = commit};
    raft_lane_.post([this, messages = std::move(messages)]() mutable {
      driver_->on_messages(std::move(messages));
    });
    settle();
  }
  static std::size_t answers(const AppendWork& work) {
    return static_cast<std::size_t>(
        std::ranges::count(work.responses, raft::MessageType::kAppResp, &raft::Message::type));
  }

  void propose(std::string data, Ticket ticket = 0) {
    ASSERT_TRUE(shared_.to_raft->push(
        Proposal{.entry = {.data = base::SharedBytes(std::move(data))}, .ticket = ticket}));
  }
  std::size_t entries_appended() const {
    std::size_t count = 0;
    for (const AppendWork& work : appends_) count += work.entries.size();
    return count;
  }
  // Requests the driver proposed of itself.
  std::vector<etcdserverpb::InternalRaftRequest> own() const {
    std::vector<etcdserverpb::InternalRaftRequest> out;
    for (const raft::Entry& entry : applied_) {
      etcdserverpb::InternalRaftRequest request;
      if (!entry.data.empty() &&
          request.ParseFromArray(entry.data.data(), static_cast<int>(entry.data.size())) &&
          request.has_header()) {
        out.push_back(std::move(request));
      }
    }
    return out;
  }
  // A grant was applied, together with the next entry.
  void grant(lease::LeaseId id, std::int64_t ttl) {
    lease_changes_.push_back({apply::LeaseChange::Kind::kGranted, {.id = id, .ttl = Seconds(ttl)}});
    propose("grant");
    settle();
  }

  env::simulated::World world_{1};
  env::simulated::Host& host_;
  env::Lane& raft_lane_;
  Shared shared_;
  env::Channel<AppendWork> log_;
  env::Channel<ApplyWork> apply_;
  std::unique_ptr<RaftDriver> driver_;
  raft::Index heard_ = 0;  // the last entry of kLeader's
  bool hold_syncs_ = false;
  std::size_t held_ = 0;  // of appends_, the last ones: not durable yet
  std::vector<AppendWork> appends_;
  std::vector<raft::Entry> applied_;
  std::vector<apply::LeaseChange> lease_changes_;
};

TEST_F(RaftDriverTest, AloneItLeadsAtOnceWithoutWaitingForATick) {
  const auto before = world_.now();
  start();
  EXPECT_EQ(shared_.progress.leader, kSelf);
  EXPECT_EQ(shared_.progress.term, 1u);
  EXPECT_LT(world_.now() - before, Milliseconds(100));
  ASSERT_EQ(applied_.size(), 1u);
  EXPECT_TRUE(applied_[0].data.empty()) << "the first entry of its term";
  EXPECT_EQ(shared_.progress.committed, 1u);
}

TEST_F(RaftDriverTest, AloneWhatIsDurableIsCommitted) {
  start();
  propose("a");
  settle();
  ASSERT_FALSE(appends_.back().entries.empty());
  EXPECT_TRUE(appends_.back().commits);
}

TEST_F(RaftDriverTest, NothingIsAppliedBeforeItIsDurable) {
  start();
  hold_syncs_ = true;
  propose("a");
  settle();
  EXPECT_EQ(entries_appended(), 2u);
  EXPECT_EQ(applied_.size(), 1u);
  EXPECT_EQ(shared_.progress.committed, 1u);
  sync_held();
  ASSERT_EQ(applied_.size(), 2u);
  EXPECT_EQ(applied_[1].data.view(), "a");
}

TEST_F(RaftDriverTest, ProposalsWaitForALeaderInTheirOrder) {
  hold_syncs_ = true;
  start();
  propose("a");
  propose("b");
  settle();
  EXPECT_EQ(shared_.progress.leader, raft::kNone) << "its vote is not durable yet";
  sync_held();
  ASSERT_EQ(applied_.size(), 3u);
  EXPECT_EQ(applied_[1].data.view(), "a");
  EXPECT_EQ(applied_[2].data.view(), "b");
}

TEST_F(RaftDriverTest, AProposalThatIsWithdrawnIsNotMadeOnceThereIsALeader) {
  hold_syncs_ = true;
  start();
  propose("a", 1);
  propose("b", 2);
  ASSERT_TRUE(shared_.to_raft->push(Withdraw{1}));
  settle();
  sync_held();
  ASSERT_EQ(applied_.size(), 2u);
  EXPECT_EQ(applied_[1].data.view(), "b");
}

TEST_F(RaftDriverTest, ACommitThatMovesAloneRidesWithTheNextAppend) {
  start();
  propose("a");
  settle();
  const std::size_t before = appends_.size();
  world_.run_for(Seconds(1));
  EXPECT_EQ(appends_.size(), before) << "the log lane is not woken for it";
  propose("b");
  settle();
  ASSERT_EQ(appends_.size(), before + 1);
  EXPECT_EQ(appends_.back().hard_state.commit, 2u);
}

// D5: an append without entries is answered, and nothing of the answer needs to be made durable.
TEST_F(RaftDriverTest, AnswersAloneDoNotWakeTheLog) {
  start({kSelf, kLeader});
  hear({entry(1, "a")}, 0);
  const std::size_t before = appends_.size();
  ASSERT_EQ(entries_appended(), 1u);
  hear({}, 1);
  EXPECT_EQ(appends_.size(), before);
  EXPECT_EQ(applied_.size(), 1u) << "what it commits is applied all the same";
}

TEST_F(RaftDriverTest, AnswersAloneStayBehindAppendsUnderWay) {
  start({kSelf, kLeader});
  hear({}, 0);
  hold_syncs_ = true;
  hear({entry(1, "a")}, 0);
  hear({}, 0);
  ASSERT_EQ(answers(appends_.back()), 1u) << "its own";
  const std::size_t before = appends_.size();
  hear({entry(2, "b")}, 0);
  ASSERT_EQ(appends_.size(), before + 1);
  EXPECT_EQ(answers(appends_.back()), 2u) << "the one that was held goes with the next append";
  sync_held();
  hear({}, 2);
  EXPECT_EQ(appends_.size(), before + 1) << "nothing is under way any more";
  EXPECT_EQ(applied_.size(), 2u);
}

// What a process that is killed leaves to --force-new-cluster.
TEST_F(RaftDriverTest, InAClusterACommitThatMovedAloneIsWrittenByTheNextTick) {
  start({kSelf, kLeader});
  hear({entry(1, "a")}, 0);
  hear({}, 1);
  const std::size_t before = appends_.size();
  world_.run_for(Milliseconds(300));
  ASSERT_EQ(appends_.size(), before + 1) << "once";
  EXPECT_EQ(appends_.back().hard_state.commit, 1u);
  EXPECT_TRUE(appends_.back().entries.empty());
}

// ready.h, D10
TEST_F(RaftDriverTest, ACandidatesOwnVoteIsDurableBeforeItAsksForOthers) {
  std::vector<raft::Message> sent;
  shared_.on_send = [&](const raft::Message& message) { sent.push_back(message); };
  shared_.config.pre_vote = false;
  hold_syncs_ = true;
  start({kSelf, kLeader, 9});
  ASSERT_TRUE(world_.run_until([&] { return held_ > 0; }, Seconds(3)));
  settle();
  EXPECT_EQ(appends_.back().hard_state.vote, kSelf);
  EXPECT_TRUE(sent.empty());
  sync_held();
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(sent[0].type, raft::MessageType::kVote);
  EXPECT_EQ(sent[0].term, appends_.back().hard_state.term);
}

TEST_F(RaftDriverTest, StopHandsTheLastCommitToTheLog) {
  start();
  propose("a");
  settle();
  raft_lane_.post([this] { driver_->stop(); });
  settle();
  EXPECT_EQ(appends_.back().hard_state.commit, 2u);
  EXPECT_TRUE(appends_.back().entries.empty());
  const std::size_t appended = appends_.size();
  propose("b");
  world_.run_for(Seconds(5));
  EXPECT_EQ(appends_.size(), appended) << "nothing is proposed afterwards";
}

// D3
TEST_F(RaftDriverTest, TheLogInMemoryIsTrimmedByCount) {
  start();
  for (int i = 0; i < 500; i++) {
    propose("x");
    if (i % 50 == 0) settle();
  }
  settle();
  const auto& log = driver_->log();
  EXPECT_EQ(log.last_index(), 501u);
  EXPECT_LE(log.last_index() - log.first_index(), 50u + 100u);
  EXPECT_GE(log.last_index() - log.first_index(), 50u);
}

TEST_F(RaftDriverTest, TheLogInMemoryIsTrimmedByBytes) {
  shared_.config.snapshot_catchup_entries = 5000;
  shared_.config.raft_log_bytes_max = 100'000;
  start();
  for (int i = 0; i < 100; i++) {
    propose(std::string(10'000, 'x'));
    settle();
    ASSERT_LE(driver_->log().bytes_held(), 120'000u);
  }
  EXPECT_GT(driver_->log().bytes_held(), 20'000u) << "not more than is needed";
}

TEST_F(RaftDriverTest, WhatCouldNotBeDecidedIsGivenToNobody) {
  start();
  for (int i = 0; i < 10; i++) propose("x");
  settle();
  ASSERT_EQ(driver_->log().first_index(), 1u);
  shared_.to_raft_events->push_always(AppliedNotice{.applied = 11, .undecided = 7});
  settle();
  EXPECT_EQ(driver_->log().first_index(), 8u);
  propose("y");
  settle();
  EXPECT_EQ(driver_->log().first_index(), 8u);
  EXPECT_EQ(applied_.back().data.view(), "y");
}

TEST_F(RaftDriverTest, ASnapshotThatTrimmingHasOvertakenIsLetGo) {
  start();
  for (int i = 0; i < 300; i++) propose("x");
  settle();
  ASSERT_GT(driver_->log().first_index(), 20u);
  shared_.to_raft_events->push_always(
      SnapshotSaved{{.metadata = {.conf_state = {.voters = {kSelf}}, .index = 10, .term = 1}}});
  settle();
  propose("y");
  settle();
  EXPECT_EQ(applied_.back().data.view(), "y");
}

// --- leases

TEST_F(RaftDriverTest, ALeaseEndsByARevokeAndARenewalPutsItOff) {
  start();
  grant(5, 10);
  world_.run_for(Seconds(6));
  ASSERT_TRUE(shared_.to_raft->push(RenewLease{.ticket = 1, .id = 5}));
  world_.run_for(Seconds(6));
  EXPECT_TRUE(own().empty()) << "12 s, but renewed at 6";
  world_.run_for(Seconds(5));
  ASSERT_EQ(own().size(), 1u);
  EXPECT_EQ(own()[0].lease_revoke().id(), 5);
  EXPECT_EQ(RequestIds::lane_of(own()[0].header().id()), kNoWaitingLane);
}

TEST_F(RaftDriverTest, ALeaseIsRevokedOnceHoweverLongThatTakes) {
  start();
  grant(5, 10);
  hold_syncs_ = true;
  world_.run_for(Seconds(60));
  sync_held();
  ASSERT_EQ(own().size(), 1u) << "a second one would end a lease that took the id meanwhile";
  EXPECT_EQ(own()[0].lease_revoke().id(), 5);
}

// Somebody has revoked it, and taken the id for a new one, in entries that nobody has applied: a
// revoke behind them would end the new one.
TEST_F(RaftDriverTest, ALeaseThatTheLogRevokesOrGrantsIsNotRevoked) {
  start();
  for (const lease::LeaseId id : {5, 6, 7}) grant(id, 10);
  hold_syncs_ = true;
  etcdserverpb::InternalRaftRequest revokes, grants;
  revokes.mutable_lease_revoke()->set_id(5);
  grants.mutable_lease_grant()->set_id(6);
  propose(revokes.SerializeAsString());
  propose(grants.SerializeAsString());
  world_.run_for(Seconds(60));
  for (const lease::LeaseId id : {5, 6}) {
    lease_changes_.push_back({apply::LeaseChange::Kind::kRevoked, {.id = id}});
  }
  lease_changes_.push_back({apply::LeaseChange::Kind::kGranted, {.id = 6, .ttl = Seconds(100)}});
  sync_held();
  hold_syncs_ = false;
  world_.run_for(Seconds(20));
  ASSERT_EQ(own().size(), 1u);
  EXPECT_EQ(own()[0].lease_revoke().id(), 7);
}

TEST_F(RaftDriverTest, ARevokedLeaseIsForgotten) {
  start();
  grant(5, 10);
  lease_changes_.push_back({apply::LeaseChange::Kind::kRevoked, {.id = 5}});
  propose("revoke");
  world_.run_for(Seconds(30));
  EXPECT_TRUE(own().empty());
}

TEST_F(RaftDriverTest, LeasesOfAFormerLeaderBeginAnew) {
  auto view = std::make_shared<View>();
  view->alarms = std::make_shared<const std::vector<apply::AlarmMember>>();
  view->roster = std::make_shared<const membership::Roster>();
  lease::Lessor lessor({});
  base::Batch batch;
  ASSERT_TRUE(lessor.grant(batch, 9, Seconds(10)).ok());
  view->leases = lessor.snapshot();
  shared_.views.publish(std::move(view));
  start();
  world_.run_for(Seconds(9));
  EXPECT_TRUE(own().empty());
  world_.run_for(Seconds(4));
  ASSERT_EQ(own().size(), 1u) << "its time, and an election timeout";
  EXPECT_EQ(own()[0].lease_revoke().id(), 9);
}

TEST_F(RaftDriverTest, WithoutLeadingItKnowsNoLease) {
  hold_syncs_ = true;
  start();
  std::optional<Errc> errc;
  Front& front = *shared_.fronts.front();
  front.lane().post(
      [&] { front.renew(5, [&](base::Result<Seconds, Errc> ttl) { errc = ttl.error(); }); });
  settle();
  EXPECT_EQ(errc, Errc::kNotPrimaryLessor);
}

// --- space

TEST_F(RaftDriverTest, OutOfSpaceRaisesTheAlarm) {
  start();
  shared_.to_raft_events->push_always(OutOfSpace{});
  settle();
  ASSERT_EQ(own().size(), 1u);
  EXPECT_EQ(own()[0].alarm().action(), etcdserverpb::AlarmRequest::ACTIVATE);
  EXPECT_EQ(own()[0].alarm().alarm(), etcdserverpb::NOSPACE);
  EXPECT_EQ(own()[0].alarm().memberid(), kSelf);
}

// --- reads

TEST_F(RaftDriverTest, AReadIndexComesBackUnderItsContext) {
  start();
  propose("a");
  settle();
  std::optional<raft::Index> seen;
  Front& front = *shared_.fronts.front();
  auto view = std::make_shared<View>();
  view->applied_index = 2;
  view->alarms = std::make_shared<const std::vector<apply::AlarmMember>>();
  shared_.views.publish(std::move(view));
  front.lane().post([&] {
    front.barrier([&](base::Result<std::shared_ptr<const View>, Errc> got) {
      ASSERT_TRUE(got.ok());
      seen = (*got)->applied_index;
    });
  });
  settle();
  EXPECT_EQ(seen, 2u);
}

}  // namespace
}  // namespace keelson::member
