// When a thread takes what others leave, and when it goes away from that. Kernel and clock are the
// test's.
#include "env/posix/patience.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

#include "base/check.h"

namespace keelson::env::posix {
namespace {

using std::chrono::milliseconds;

bool may_come_back, idle, refuses;
std::optional<base::Duration> waited;

const OwnScheduling kScheduling{
    .may_come_back = [] { return may_come_back; },
    .set_idle =
        [](bool is) {
          if (refuses) return false;
          idle = is;
          return true;
        },
    .waited = [] { return waited; },
};

class PatienceTest : public ::testing::Test {
 protected:
  PatienceTest() {
    may_come_back = true;
    idle = refuses = false;
    waited = milliseconds(7);
  }
  ~PatienceTest() override { EXPECT_EQ(patience_.gives_way(), idle); }

  void begin() { patience_.begin(now_); }
  // The next look after one in which it waited so much of the time.
  void look_after(int percent) {
    now_ += Patience::kLook;
    *waited += Patience::kLook * percent / 100;
    patience_.look(now_);
  }
  // How long it stays away.
  base::Duration away() {
    const auto before = now_;
    while (!idle) patience_.look(now_ += milliseconds(10));
    return now_ - before;
  }

  base::TimePoint now_{std::chrono::hours(1)};
  Patience patience_{kScheduling};
};

TEST_F(PatienceTest, TakesWhatIsLeftAsLongAsThatIsSomething) {
  begin();
  EXPECT_TRUE(idle);
  for (const int percent : {0, 30, 59, 10}) {
    look_after(percent);
    EXPECT_TRUE(idle) << percent;
  }
  look_after(60);
  EXPECT_FALSE(idle);
}

TEST_F(PatienceTest, WhatNobodyWaitsForWaitsLonger) {
  Patience unhurried(kScheduling, Patience::kUnhurriedStarvedPercent);
  unhurried.begin(now_);
  const auto look_after = [&](int percent) {
    now_ += Patience::kLook;
    *waited += Patience::kLook * percent / 100;
    unhurried.look(now_);
  };
  look_after(92);
  EXPECT_TRUE(idle);
  look_after(93);
  EXPECT_FALSE(idle);
}

TEST_F(PatienceTest, OnlyEverySoOftenItLooks) {
  begin();
  *waited += Patience::kLook;
  patience_.look(now_ + Patience::kLook - milliseconds(1));
  EXPECT_TRUE(idle);
  patience_.look(now_ + Patience::kLook);
  EXPECT_FALSE(idle);
}

TEST_F(PatienceTest, ComesBackAndCountsAnew) {
  begin();
  look_after(80);
  *waited += std::chrono::seconds(1);  // away, which is no concern of its
  EXPECT_EQ(away(), Patience::kAwayMin);
  look_after(59);
  EXPECT_TRUE(idle);
}

TEST_F(PatienceTest, WhereNothingIsLeftItStaysAwayEverLonger) {
  begin();
  base::Duration expected = Patience::kAwayMin;
  for (int i = 0; i < 9; i++) {
    look_after(99);
    EXPECT_EQ(away(), expected) << i;
    expected = std::min(2 * expected, Patience::kAwayMax);
  }
  look_after(50);
  EXPECT_TRUE(idle);
  look_after(99);
  EXPECT_EQ(away(), Patience::kAwayMin) << "it was well in between";
  look_after(80);
  EXPECT_EQ(away(), 2 * Patience::kAwayMin) << "as it was sent away the last time";
  look_after(80);
  EXPECT_EQ(away(), Patience::kAwayMin);
}

TEST_F(PatienceTest, WhoCouldNotComeBackDoesNotGo) {
  may_come_back = false;
  begin();
  look_after(0);
  EXPECT_FALSE(idle);
}

TEST_F(PatienceTest, NorWhoCannotKnowHowLongItWaits) {
  waited.reset();
  begin();
  EXPECT_FALSE(idle);
}

TEST_F(PatienceTest, WhatCannotBeKnownAnyMoreSendsItAway) {
  begin();
  waited.reset();
  patience_.look(now_ + Patience::kLook);
  EXPECT_FALSE(idle);
}

TEST_F(PatienceTest, WhatIsRefusedOnceIsNotAskedAgain) {
  refuses = true;
  begin();
  refuses = false;
  look_after(0);
  EXPECT_FALSE(idle);
}

TEST_F(PatienceTest, OnceItHasEndedItIsLikeAnyOther) {
  begin();
  patience_.end();
  EXPECT_FALSE(idle);
  look_after(0);
  EXPECT_FALSE(idle);
}

// Of this machine: whatever it allows, a thread is afterwards what it was.
TEST(OwnScheduling, IsTriedByAnotherThread) {
  const int before = ::sched_getscheduler(0);
  MAYBE(kOwnScheduling.may_come_back());
  EXPECT_EQ(::sched_getscheduler(0), before);
}

TEST(OwnScheduling, GoesAndComesBackWhereItMay) {
  if (!kOwnScheduling.may_come_back()) GTEST_SKIP() << "no thread may come back from SCHED_IDLE";
  std::thread([] {
    EXPECT_TRUE(kOwnScheduling.set_idle(true));
    EXPECT_EQ(::sched_getscheduler(0), SCHED_IDLE);
    EXPECT_TRUE(kOwnScheduling.set_idle(false));
    EXPECT_EQ(::sched_getscheduler(0), SCHED_OTHER);
  }).join();
}

TEST(OwnScheduling, WaitingOnlyGrows) {
  const auto before = kOwnScheduling.waited();
  const auto after = kOwnScheduling.waited();
  EXPECT_EQ(before.has_value(), after.has_value());
  if (before) EXPECT_LE(*before, *after);
}

}  // namespace
}  // namespace keelson::env::posix
