// Front alone: a lane, a View, and a raft lane that is played by the test. F1 to F4, the barrier's
// rounds and every timeout, by virtual time.
#include "member/front.h"

#include <gtest/gtest.h>

#include <map>

#include "env/simulated/world.h"

namespace keelson::member {
namespace {

using base::Milliseconds;
using base::Seconds;

constexpr std::uint64_t kSelf = 7;
constexpr std::uint32_t kPutField = etcdserverpb::InternalRaftRequest::kPutFieldNumber;

class FrontTest : public ::testing::Test {
 protected:
  FrontTest() : lane_(world_.host("n1").lane("io0")) {
    shared_.clock = &world_.host("n1").clock();
    shared_.identity.member_id = kSelf;
    shared_.workers = {&world_.host("n1").lane("worker0")};
    shared_.log_lane = &world_.host("n1").lane("log");
    shared_.to_raft = std::make_unique<env::Channel<FrontRequest>>(
        world_.host("n1").lane("raft"), 200'000, [this](std::vector<FrontRequest> requests) {
          for (auto& one : requests) requests_.push_back(std::move(one));
        });
    publish(0, false);
    shared_.fronts.push_back(std::make_unique<Front>(lane_, 0, shared_));
  }
  ~FrontTest() override {
    front().abandon();
    shared_.views.publish(nullptr);
  }

  Front& front() { return *shared_.fronts.front(); }

  void publish(raft::Index applied, bool linearizable) {
    auto view = std::make_shared<View>();
    view->applied_index = applied;
    view->linearizable = linearizable;
    view->roster = roster_;
    shared_.progress.applied = applied;
    shared_.views.publish(std::move(view));
  }
  // A batch was applied, by someone else's wish.
  void apply(raft::Index applied) {
    publish(applied, false);
    front().inbox().push_always(AppliedBatch{});
  }
  void leader(raft::NodeId id) {
    front().inbox().push_always(LeaderNotice{.leader = id, .term = 2});
    settle();
  }
  void settle() { ASSERT_TRUE(world_.run_until_idle()); }
  // Runs `job` on the lane and notes whether `done` was touched within it (F3).
  void on_lane(base::Job job) {
    lane_.post([this, job = std::move(job)]() mutable {
      const auto before = heard_.size();
      job();
      EXPECT_EQ(heard_.size(), before) << "F3: a continuation ran inside the call";
    });
  }

  Front::ReplyJob reply() {
    return [this](base::Result<Reply, Failure> reply) {
      heard_.push_back(reply ? "reply" : text(reply.error()));
    };
  }
  Front::ViewJob view() {
    return [this](base::Result<std::shared_ptr<const View>, Errc> view) {
      heard_.push_back(view ? "view " + std::to_string((*view)->applied_index)
                            : text(view.error()));
    };
  }
  static std::string text(const Failure& failure) {
    const auto* errc = std::get_if<Errc>(&failure);
    return errc == nullptr ? "apply's" : "errc " + std::to_string(static_cast<int>(*errc));
  }
  static std::string text(Errc errc) { return text(Failure(errc)); }

  Ticket propose(std::string_view request = "x") {
    Ticket ticket = 0;
    on_lane([&] { ticket = front().propose(kPutField, request, reply()); });
    settle();
    return ticket;
  }
  void answer(Ticket ticket, raft::Index applied = 1) {
    publish(applied, true);
    AppliedBatch batch;
    batch.outcomes.push_back({.request_id = ticket, .answer = apply::Answer(apply::DoneAnswer{})});
    front().inbox().push_always(std::move(batch));
    settle();
  }
  template <class T>
  std::vector<T> asked() const {
    std::vector<T> out;
    for (const FrontRequest& one : requests_) {
      if (const auto* request = std::get_if<T>(&one)) out.push_back(*request);
    }
    return out;
  }

  env::simulated::World world_{1};
  env::Lane& lane_;
  // This member, two others, and a learner.
  const std::shared_ptr<const membership::Roster> roster_ = [] {
    auto roster = std::make_shared<membership::Roster>();
    for (const raft::NodeId id : {kSelf, std::uint64_t{8}, std::uint64_t{9}, std::uint64_t{10}}) {
      roster->members.push_back({.id = id, .is_learner = id == 10});
    }
    return roster;
  }();
  Shared shared_;
  std::vector<FrontRequest> requests_;  // that reached the raft lane
  std::vector<std::string> heard_;
};

TEST_F(FrontTest, AProposalIsAnsweredOnceByItsOutcome) {
  leader(kSelf);
  const Ticket ticket = propose();
  ASSERT_EQ(asked<Proposal>().size(), 1u);
  EXPECT_EQ(asked<Proposal>()[0].ticket, ticket);
  EXPECT_EQ(Front::number_of(ticket), 0u);
  EXPECT_TRUE(heard_.empty());
  answer(ticket);
  answer(ticket);
  EXPECT_EQ(heard_, std::vector<std::string>{"reply"});
  world_.run_for(Seconds(60));
  EXPECT_EQ(heard_.size(), 1u) << "F1: no timeout after the answer";
}

TEST_F(FrontTest, WhatIsForgottenIsNotHeardOf) {
  const Ticket proposal = propose();
  Ticket read = 0, condition = 0;
  on_lane([&] {
    read = front().barrier(view());
    condition =
        front().when([](const View& v) { return v.applied_index > 0; }, std::nullopt, view());
  });
  settle();
  for (const Ticket ticket : {proposal, read, condition, Ticket{0}, proposal})
    front().forget(ticket);
  answer(proposal);
  world_.run_for(Seconds(60));
  EXPECT_TRUE(heard_.empty());
}

TEST_F(FrontTest, TheViewOfAReplyCanBeHadWhenItComes) {
  leader(kSelf);
  Ticket ticket = 0;
  raft::Index seen = 0;
  on_lane([&] {
    ticket = front().propose(kPutField, "x", [&](base::Result<Reply, Failure> reply) {
      EXPECT_TRUE(reply.ok());
      seen = front().view()->applied_index;
    });
  });
  settle();
  answer(ticket, 5);
  EXPECT_EQ(seen, 5u) << "F4";
}

TEST_F(FrontTest, TooManyAndTooLargeAreRefusedAtOnce) {
  shared_.config.request_bytes_max = 1000;
  propose(std::string(2000, 'x'));
  EXPECT_EQ(heard_, std::vector{text(Errc::kRequestTooLarge)});
  EXPECT_TRUE(requests_.empty());
  heard_.clear();
  on_lane([&] {
    for (int i = 0; i < 100'001; i++) front().propose(kPutField, "x", reply());
  });
  settle();
  EXPECT_EQ(heard_, std::vector{text(Errc::kTooManyRequests)}) << "F2";
  EXPECT_EQ(asked<Proposal>().size(), 100'000u);
}

TEST_F(FrontTest, ApplyThatLagsRefusesProposals) {
  shared_.progress.committed = 5001;
  shared_.progress.applied = 1;
  propose();
  EXPECT_TRUE(heard_.empty());
  shared_.progress.committed = 5002;
  propose();
  EXPECT_EQ(heard_, std::vector{text(Errc::kTooManyRequests)});
}

TEST_F(FrontTest, ARefusedProposalSaysSo) {
  const Ticket ticket = propose();
  front().inbox().push_always(ProposalRefused{.ticket = ticket});
  settle();
  EXPECT_EQ(heard_, std::vector{text(Errc::kProposalDropped)});
}

// Request timeout: 5 s and two election timeouts of 1 s. api.md 7.3
TEST_F(FrontTest, AProposalTimesOutAndSaysWhy) {
  struct Row {
    const char* sentence;
    raft::NodeId before;
    raft::NodeId after;  // 3 s later
    Errc errc;
  };
  const Row rows[] = {
      {"nobody leads, so it was never handed to raft", raft::kNone, raft::kNone,
       Errc::kContextDeadline},
      {"another leads all the time", 9, 9, Errc::kTimeout},
      {"this member leads all the time", kSelf, kSelf, Errc::kTimeout},
      {"it became leader long after the request", 9, kSelf, Errc::kTimeout},
  };
  for (const Row& row : rows) {
    heard_.clear();
    leader(row.before);
    propose();
    world_.run_for(Seconds(3));
    leader(row.after);
    world_.run_for(Milliseconds(3900));
    EXPECT_TRUE(heard_.empty()) << row.sentence;
    world_.run_for(Milliseconds(200));
    EXPECT_EQ(heard_, std::vector{text(row.errc)}) << row.sentence;
    leader(raft::kNone);
  }
  heard_.clear();
  leader(9);
  propose();
  world_.run_for(Seconds(1));
  leader(kSelf);
  world_.run_for(Seconds(7));
  EXPECT_EQ(heard_, std::vector{text(Errc::kTimeoutLeaderFailure)})
      << "the leader before it may have lost the request";
}

// The members 7 (this one), 8 and 9, and a learner; `active`: since when each is. api.md 7.3
TEST_F(FrontTest, AProposalThatTimesOutSaysWhetherAConnectionWasLost) {
  using Active = std::map<raft::NodeId, Seconds>;  // after the request; negative: before it
  struct Row {
    const char* sentence;
    raft::NodeId leader;
    Active active;
    Errc errc;
  };
  const Row rows[] = {
      {"connected to the leader all the time", 9, {{9, Seconds(-3)}}, Errc::kTimeout},
      {"not connected to the leader", 9, {{8, Seconds(-3)}}, Errc::kTimeoutConnectionLost},
      {"connected to it again", 9, {{9, Seconds(1)}}, Errc::kTimeoutConnectionLost},
      {"leads, and was connected to a quorum: a learner counts as etcd counts it",
       kSelf,
       {{8, Seconds(-3)}, {10, Seconds(-3)}},
       Errc::kTimeout},
      {"leads, and was connected to less than a quorum of four",
       kSelf,
       {{8, Seconds(-3)}},
       Errc::kTimeoutConnectionLost},
      {"leads, and a quorum is there since after the request",
       kSelf,
       {{8, Seconds(-3)}, {9, Seconds(1)}},
       Errc::kTimeoutConnectionLost},
      {"nobody leads any more, so it says no more", raft::kNone, {}, Errc::kTimeout},
  };
  for (const Row& row : rows) {
    heard_.clear();
    leader(row.leader == raft::kNone ? 9 : row.leader);
    world_.run_for(Seconds(10));
    const auto asked_at = lane_.clock().now();
    shared_.active_since = [&](raft::NodeId id) -> std::optional<base::TimePoint> {
      const auto found = row.active.find(id);
      if (found == row.active.end()) return std::nullopt;
      return asked_at + found->second;
    };
    propose();
    world_.run_for(Seconds(3));
    if (row.leader == raft::kNone) leader(raft::kNone);
    world_.run_for(Seconds(5));
    EXPECT_EQ(heard_, std::vector{text(row.errc)}) << row.sentence;
    leader(raft::kNone);
  }
}

// Which leader lost it matters, not who leads at the end.
TEST_F(FrontTest, AFailureOfTheLeaderBeforeIsNamedThoughThisOneLedInVain) {
  leader(9);
  propose();
  world_.run_for(Seconds(1));
  leader(kSelf);
  world_.run_for(Seconds(1));
  leader(8);
  world_.run_for(Seconds(6));
  EXPECT_EQ(heard_, std::vector{text(Errc::kTimeoutLeaderFailure)});
}

TEST_F(FrontTest, WhatIsGivenUpOnIsNotProposedLater) {
  const Ticket forgotten = propose();
  const Ticket timed_out = propose();
  on_lane([&] { front().forget(forgotten); });
  world_.run_for(Seconds(8));
  const auto withdrawn = asked<Withdraw>();
  ASSERT_EQ(withdrawn.size(), 2u);
  EXPECT_EQ(withdrawn[0].ticket, forgotten);
  EXPECT_EQ(withdrawn[1].ticket, timed_out);
}

TEST_F(FrontTest, ABarrierOfALinearizableViewAsksNobody) {
  publish(3, true);
  on_lane([&] { front().barrier(view()); });
  settle();
  EXPECT_EQ(heard_, std::vector<std::string>{"view 3"});
  EXPECT_TRUE(requests_.empty());
}

TEST_F(FrontTest, BarriersShareOneReadIndexAndTheNextRoundWaits) {
  on_lane([&] { front().barrier(view()); });
  settle();
  on_lane([&] {
    front().barrier(view());
    front().barrier(view());
  });
  settle();
  ASSERT_EQ(asked<ReadIndexRequest>().size(), 1u) << "a round is under way";
  const auto first = asked<ReadIndexRequest>()[0].context;
  front().inbox().push_always(ReadIndexAnswer{.context = first + 9, .index = 0});
  front().inbox().push_always(ReadIndexAnswer{.context = first, .index = 2});
  settle();
  EXPECT_TRUE(heard_.empty()) << "not applied up to 2 yet";
  ASSERT_EQ(asked<ReadIndexRequest>().size(), 2u) << "the others' round has begun";
  apply(1);
  settle();
  EXPECT_TRUE(heard_.empty());
  apply(2);
  settle();
  EXPECT_EQ(heard_, std::vector<std::string>{"view 2"});
  front().inbox().push_always(
      ReadIndexAnswer{.context = asked<ReadIndexRequest>()[1].context, .index = 2});
  settle();
  EXPECT_EQ(heard_, (std::vector<std::string>{"view 2", "view 2", "view 2"}));
}

TEST_F(FrontTest, AReadIndexIsAskedAgainUnderTheSameName) {
  on_lane([&] { front().barrier(view()); });
  settle();
  world_.run_for(Milliseconds(1100));
  const auto asked_for = asked<ReadIndexRequest>();
  ASSERT_EQ(asked_for.size(), 3u) << "each 500 ms";
  EXPECT_EQ(asked_for[0].context, asked_for[2].context);
  front().inbox().push_always(ReadIndexAnswer{.context = asked_for[0].context, .index = 0});
  settle();
  EXPECT_EQ(heard_, std::vector<std::string>{"view 0"}) << "a late answer counts";
}

TEST_F(FrontTest, ANewLeaderFailsTheRoundUnderWayAndTheNextBegins) {
  leader(9);
  on_lane([&] { front().barrier(view()); });
  settle();
  on_lane([&] { front().barrier(view()); });
  settle();
  leader(raft::kNone);
  EXPECT_TRUE(heard_.empty()) << "a leader that is lost may come back";
  leader(8);
  EXPECT_EQ(heard_, std::vector{text(Errc::kLeaderChanged)});
  EXPECT_EQ(asked<ReadIndexRequest>().size(), 2u);
}

TEST_F(FrontTest, TheFirstLeaderIsAskedAtOnceForWhatWaitedForIt) {
  on_lane([&] { front().barrier(view()); });
  settle();
  leader(9);
  EXPECT_TRUE(heard_.empty()) << "nothing was lost with a leader before";
  const auto asked_for = asked<ReadIndexRequest>();
  ASSERT_EQ(asked_for.size(), 2u);
  EXPECT_EQ(asked_for[0].context, asked_for[1].context);
  front().inbox().push_always(ReadIndexAnswer{.context = asked_for[1].context, .index = 0});
  settle();
  EXPECT_EQ(heard_, std::vector<std::string>{"view 0"});
}

TEST_F(FrontTest, ABarrierTimesOut) {
  on_lane([&] { front().barrier(view()); });
  world_.run_for(Milliseconds(6900));
  EXPECT_TRUE(heard_.empty());
  world_.run_for(Milliseconds(200));
  EXPECT_EQ(heard_, std::vector{text(Errc::kTimeout)});
}

TEST_F(FrontTest, ABarrierThatOnlyWaitsForApplyKnowsNoTimeout) {
  on_lane([&] { front().barrier(view()); });
  settle();
  front().inbox().push_always(
      ReadIndexAnswer{.context = asked<ReadIndexRequest>()[0].context, .index = 2});
  world_.run_for(Seconds(60));
  EXPECT_TRUE(heard_.empty());
  apply(2);
  settle();
  EXPECT_EQ(heard_, std::vector<std::string>{"view 2"});
}

TEST_F(FrontTest, AConditionIsLookedAtAfterEveryBatchUntilItsPatienceEnds) {
  on_lane([&] {
    front().when([](const View& v) { return v.applied_index >= 2; }, Seconds(1), view());
    front().when([](const View& v) { return v.applied_index >= 9; }, Seconds(1), view());
    front().when([](const View&) { return true; }, std::nullopt, view());
  });
  settle();
  EXPECT_EQ(heard_, std::vector<std::string>{"view 0"});
  apply(2);
  settle();
  EXPECT_EQ(heard_.size(), 2u);
  world_.run_for(Seconds(2));
  EXPECT_EQ(heard_, (std::vector<std::string>{"view 0", "view 2", text(Errc::kTimeoutApplied)}));
}

TEST_F(FrontTest, ARenewalIsAnsweredByTheLeadersClock) {
  leader(kSelf);
  std::vector<std::int64_t> ttls;
  const auto renew = [&] {
    on_lane([&] {
      front().renew(5, [&](base::Result<Seconds, Errc> ttl) {
        ttls.push_back(ttl ? ttl->count() : -static_cast<int>(ttl.error()));
      });
    });
    settle();
    return asked<RenewLease>().back().ticket;
  };
  const auto answered = [&](Ticket ticket, std::variant<Seconds, Errc> answer,
                            bool pending = false) {
    front().inbox().push_always(
        RenewAnswer{.ticket = ticket, .answer = answer, .pending_revoke = pending});
    settle();
  };
  answered(renew(), Seconds(10));
  EXPECT_EQ(ttls, std::vector<std::int64_t>{10});
  answered(renew(), Errc::kNotPrimaryLessor);
  EXPECT_EQ(ttls.back(), -static_cast<int>(Errc::kNotPrimaryLessor));
  // Unknown, but a grant is committed and not applied: it is asked again when it is.
  shared_.progress.committed = 4;
  Ticket ticket = renew();
  answered(ticket, Seconds(0));
  EXPECT_EQ(ttls.size(), 2u);
  apply(4);
  settle();
  ASSERT_EQ(asked<RenewLease>().size(), 4u);
  answered(ticket, Seconds(7));
  EXPECT_EQ(ttls.back(), 7);
  // Unknown with everything applied: gone.
  answered(renew(), Seconds(0));
  EXPECT_EQ(ttls.back(), 0);
  EXPECT_EQ(ttls.size(), 4u);
}

TEST_F(FrontTest, WorkElsewhereComesBackAsAJobOfTheLane) {
  bool worked = false;
  on_lane([&] {
    front().on_worker([&]() -> base::Job {
      EXPECT_TRUE(shared_.workers[0]->is_current());
      worked = true;
      return [&] {
        EXPECT_TRUE(lane_.is_current());
        heard_.push_back("back");
      };
    });
  });
  settle();
  EXPECT_TRUE(worked);
  EXPECT_EQ(heard_, std::vector<std::string>{"back"});
}

TEST_F(FrontTest, TransfersHaveALaneOfTheirOwnWhereThereIsOne) {
  env::Lane& transfer = world_.host("n1").lane("transfer");
  for (env::Lane* const lane : {shared_.workers[0], &transfer}) {
    if (lane == &transfer) shared_.transfer = lane;
    bool worked = false;
    on_lane([&] {
      front().on_transfer([&, lane]() -> base::Job {
        worked = lane->is_current();
        return [&] { heard_.push_back("back"); };
      });
    });
    settle();
    EXPECT_TRUE(worked);
  }
  EXPECT_EQ(heard_.size(), 2u);
}

TEST_F(FrontTest, StopAnswersAllThatWaitsAndAllThatComes) {
  propose();
  on_lane([&] {
    front().barrier(view());
    front().when([](const View&) { return false; }, std::nullopt, view());
  });
  settle();
  lane_.post([&] { front().stop(); });
  settle();
  const std::string stopped = text(Errc::kStopped);
  EXPECT_EQ(heard_, (std::vector{stopped, stopped, stopped}));
  heard_.clear();
  on_lane([&] {
    front().propose(kPutField, "x", reply());
    front().barrier(view());
  });
  settle();
  EXPECT_EQ(heard_, (std::vector{stopped, stopped}));
}

}  // namespace
}  // namespace keelson::member
