// When a loop gives way to other threads (L6). The clock stands still but for the test, and yields
// are counted; what a job sees of them does not depend on who runs when.
#include "env/posix/loop.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <future>

namespace keelson::env::posix {
namespace {

using std::chrono::microseconds;

std::atomic<int> yields;

int count_yield() { return ++yields, 0; }

class StillClock final : public Clock {
 public:
  base::TimePoint now() const override { return base::TimePoint(base::Duration(now_.load())); }
  base::WallTime wall_now() const override { return {}; }
  void advance(base::Duration time) { now_ += time.count(); }

 private:
  std::atomic<base::Duration::rep> now_ = base::Duration(std::chrono::hours(1)).count();
};

class GivingWay : public ::testing::Test {
 protected:
  GivingWay() { yields = 0; }
  ~GivingWay() override {
    loop_.stop();
    while (loop_.discard()) continue;
  }

  // The yields before it, as a job sees them.
  int yields_before_a_job() {
    std::promise<int> seen;
    lane_.post([&] { seen.set_value(yields); });
    return seen.get_future().get();
  }
  // The yields before each of so many jobs, each in a turn of its own, posted by the one before it.
  std::vector<int> yields_before_jobs(std::size_t jobs) {
    std::vector<int> seen;
    std::promise<void> done;
    std::function<void()> job = [&] {
      seen.push_back(yields);
      clock_.advance(2 * Loop::kTurnMax);
      seen.size() < jobs ? lane_.post(job) : done.set_value();
    };
    lane_.post(job);
    done.get_future().get();
    return seen;
  }

  StillClock clock_;
  Crowd crowd_;
  Loop loop_{"loop", clock_, crowd_, count_yield};
  LoopLane lane_{loop_, "lane", clock_};
};

TEST(CrowdWatch, ACrowdIsThereUntilItWasNotSeenForAWhile) {
  CrowdWatch watch;
  EXPECT_FALSE(watch.is_there());
  watch.saw(1);
  EXPECT_FALSE(watch.is_there() || watch.saw_several());
  watch.saw(CrowdWatch::kCrowd - 1);
  EXPECT_FALSE(watch.is_there()) << "those who answer one write";
  EXPECT_TRUE(watch.saw_several());
  watch.saw(CrowdWatch::kCrowd);
  EXPECT_TRUE(watch.is_there() && watch.saw_several());
  for (std::uint32_t i = 1; i < CrowdWatch::kLooks; i++) {
    watch.saw(i % 2);
    EXPECT_TRUE(watch.is_there() && !watch.saw_several()) << i;
  }
  watch.saw(1);
  EXPECT_FALSE(watch.is_there());
  watch.saw(7);
  watch.saw(0);
  EXPECT_TRUE(watch.is_there());
}

TEST_F(GivingWay, InACrowdOnceNothingIsLeftToDo) {
  loop_.run_in_foreground();
  loop_.start();
  EXPECT_EQ(yields_before_a_job(), 0) << "clients come one by one";
  crowd_.tell(true);
  EXPECT_GE(yields_before_a_job(), 1);
  const int before = yields_before_a_job();
  EXPECT_GT(yields_before_a_job(), before);
}

TEST_F(GivingWay, NotWhileThereIsSomethingToDo) {
  loop_.run_in_foreground();
  crowd_.tell(true);
  loop_.start();
  const auto seen = yields_before_jobs(20);
  EXPECT_GE(seen.front(), 1);
  EXPECT_EQ(seen.back(), seen.front());
}

std::atomic<bool> idle;
base::Duration waited;
const OwnScheduling kScheduling{
    .may_come_back = [] { return true; },
    .set_idle = [](bool is) { return idle = is, true; },
    .waited = [] { return std::optional(waited); },
};

// Of a loop that is patient always, and of one that is not, whose work nobody waits for.
TEST_F(GivingWay, WhatIsDonePatientlyTakesWhatIsLeftAsLongAsThatIsSomething) {
  for (const bool always : {false, true}) {
    SCOPED_TRACE(always);
    Loop loop("loop", clock_, crowd_, count_yield);
    LoopLane lane(loop, "lane", clock_);
    idle = false;
    if (always) loop.be_patient(kScheduling);
    loop.start();
    std::vector<bool> seen;
    std::promise<void> done;
    lane.post([&] {
      loop.patiently(
          [&](Lane::Breathe& breathe) {
            seen.push_back(idle);
            for (const int percent : {80, 100}) {
              clock_.advance(Patience::kLook);
              waited += Patience::kLook * percent / 100;
              breathe();
              seen.push_back(idle);
              clock_.advance(Patience::kAwayMin);
              breathe();
              seen.push_back(idle);
            }
          },
          kScheduling);
      seen.push_back(idle);
      done.set_value();
    });
    done.get_future().get();
    loop.stop();
    while (loop.discard()) continue;
    EXPECT_EQ(seen, (std::vector<bool>{true, !always, true, false, true, always}));
  }
}

TEST_F(GivingWay, ALoopThatWatchesDescriptorsSeesTheCrowds) {
  loop_.run_in_foreground();
  // As events that are ready.
  for (std::size_t i = 0; i < CrowdWatch::kCrowd; i++) boost::asio::post(loop_.io(), [] {});
  std::vector<bool> there;
  std::promise<void> done;
  std::function<void()> job = [&] {
    there.push_back(crowd_.is_there());
    clock_.advance(2 * Loop::kTurnMax);
    there.size() < CrowdWatch::kLooks + 2 ? lane_.post(job) : done.set_value();
  };
  lane_.post(job);
  loop_.start();
  done.get_future().get();
  std::vector<bool> expected(CrowdWatch::kLooks, true);
  expected.resize(CrowdWatch::kLooks + 2, false);
  EXPECT_EQ(there, expected) << "a look before each of these jobs";
  EXPECT_EQ(yields, 0) << "something was always to do";
}

TEST_F(GivingWay, ALoopThatWatchesDescriptorsDoesSoToo) {
  loop_.run_in_foreground();
  for (std::size_t i = 0; i < CrowdWatch::kCrowd; i++) boost::asio::post(loop_.io(), [] {});
  std::promise<int> first;
  lane_.post([&] { first.set_value(yields); });
  loop_.start();
  EXPECT_EQ(first.get_future().get(), 0) << "it had not looked yet";
  EXPECT_GE(yields_before_a_job(), 1);
}

// It gives way by time instead.
TEST_F(GivingWay, TheBackgroundDoesSoAfterEachBurst) {
  crowd_.tell(true);
  loop_.start();
  yields_before_a_job();
  const int before = yields_before_a_job();
  EXPECT_EQ(yields_before_a_job(), before) << "no time has passed";
  std::promise<void> done;
  lane_.post([&] {
    clock_.advance(microseconds(100));
    lane_.post([&] { done.set_value(); });
  });
  done.get_future().get();
  EXPECT_EQ(yields, before + 1);
}

// A patient one has no need to: whoever wakes has its core.
TEST_F(GivingWay, ThePatientDoesNot) {
  static const OwnScheduling kAllowed{.may_come_back = [] { return true; },
                                      .set_idle = [](bool) { return true; },
                                      .waited = [] { return std::optional(base::Duration(0)); }};
  loop_.be_patient(kAllowed);
  EXPECT_FALSE(lane_.gives_way());
  loop_.start();
  std::promise<bool> gives_way;
  lane_.post([&] {
    clock_.advance(2 * Loop::kTurnMax);
    lane_.post([&] { gives_way.set_value(lane_.gives_way()); });
  });
  EXPECT_TRUE(gives_way.get_future().get());
  EXPECT_EQ(yields, 0);
}

}  // namespace
}  // namespace keelson::env::posix
