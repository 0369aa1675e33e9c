#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <atomic>
#include <csignal>
#include <latch>
#include <thread>

#include "base/random.h"
#include "env/channel.h"
#include "env/posix/runtime.h"

namespace keelson::env::posix {
namespace {

using base::Milliseconds;

// Runs `work` in the lane and waits for it.
template <class Work>
void run_in(Lane& lane, Work work) {
  std::latch done(1);
  lane.post([&] {
    work();
    done.count_down();
  });
  done.wait();
}

class LaneTest : public ::testing::Test {
 protected:
  LaneTest() { runtime_.start(); }

  Runtime runtime_{{{"io", "front"}, {"raft", "front"}, {"log", "a thread with a long name"}}};
  Lane& io_ = runtime_.lane("io");
  Lane& raft_ = runtime_.lane("raft");
  Lane& log_ = runtime_.lane("log");
};

TEST_F(LaneTest, LanesOfOneNameOfThreadShareIt) {
  std::thread::id io, raft, log;
  char name[16];
  run_in(io_, [&] { io = std::this_thread::get_id(); });
  run_in(raft_, [&] { raft = std::this_thread::get_id(); });
  run_in(log_, [&] {
    log = std::this_thread::get_id();
    ::pthread_getname_np(::pthread_self(), name, sizeof name);
  });
  EXPECT_EQ(io, raft);
  EXPECT_NE(io, log);
  EXPECT_STREQ(name, "a thread with a");
  EXPECT_EQ(log_.name(), "log");
}

TEST_F(LaneTest, IsCurrentInItsOwnJobsOnly) {
  run_in(io_, [&] {
    EXPECT_TRUE(io_.is_current());
    EXPECT_FALSE(raft_.is_current()) << "the same thread, another lane";
    EXPECT_FALSE(log_.is_current());
  });
  EXPECT_FALSE(io_.is_current());
}

TEST_F(LaneTest, JobsFromManyThreadsArriveInTheOrderOfEach) {
  constexpr int kJobs = 20'000;
  std::vector<int> last(4, -1);
  bool in_order = true;
  std::latch done(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; t++) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kJobs; i++) {
        io_.post([&, t, i] {
          in_order &= last[t] == i - 1;
          last[t] = i;
          if (i == kJobs - 1) done.count_down();
        });
      }
    });
  }
  done.wait();
  for (auto& thread : threads) thread.join();
  EXPECT_TRUE(in_order);
}

TEST_F(LaneTest, ALaneThatSleepsIsWokenEachTime) {
  // Each job finds the other lane idle, most likely asleep; a lost wake-up would last a second
  // each.
  std::latch done(1);
  int hops = 0;
  std::function<void()> hop = [&] {
    if (++hops == 10'000) return done.count_down();
    (log_.is_current() ? io_ : log_).post([&] { hop(); });
  };
  const auto start = runtime_.clock().now();
  io_.post([&] { hop(); });
  done.wait();
  EXPECT_LT(runtime_.clock().now() - start, base::Seconds(30));
}

// The hint changes nothing but when: answers that come while the lane is still awake, answers that
// come later, and timers are all heard.
TEST_F(LaneTest, WhatIsExpectedSoonIsHeardSoonerOrLater) {
  constexpr int kRounds = 3000;
  std::latch done(2);
  int rounds = 0, ticks = 0;
  std::function<void()> ask = [&] {
    if (++rounds == kRounds) return done.count_down();
    io_.expect_soon();
    log_.post([&] {
      const auto answer = [&] { io_.post([&] { ask(); }); };
      if (rounds % 50 == 0) {
        log_.after(Milliseconds(1), answer);
      } else {
        answer();
      }
    });
  };
  std::function<void()> tick = [&] {
    if (++ticks == 5) return done.count_down();
    io_.expect_soon();  // in vain
    io_.after(Milliseconds(1), [&] { tick(); });
  };
  io_.post([&] { ask(); });
  io_.post([&] { tick(); });
  done.wait();
  EXPECT_EQ(rounds, kRounds);
}

TEST_F(LaneTest, ALaneThatWasRousedHearsWhatFollows) {
  constexpr int kRounds = 3000;
  std::latch done(1);
  int rounds = 0;
  std::function<void()> ask = [&] {
    if (++rounds == kRounds) return done.count_down();
    Lane* const self = log_.is_current() ? &log_ : &io_;
    Lane* const other = self == &log_ ? &io_ : &log_;
    other->rouse();
    // Now and then nothing follows for so long that it sleeps again.
    if (rounds % 50 == 0) {
      self->after(Milliseconds(1), [&, other] { other->post([&] { ask(); }); });
    } else {
      other->post([&] { ask(); });
    }
  };
  io_.post([&] { ask(); });
  done.wait();
  EXPECT_EQ(rounds, kRounds);
}

// Lets a lane fall asleep: nothing tells when it has, but a lane that is asked again and again has,
// some time.
class StandInTest : public LaneTest {
 protected:
  // The thread that ran a job of the log, posted by io which offered to stand in.
  std::thread::id who_ran() {
    std::thread::id ran;
    std::latch done(1);
    io_.post([&] {
      io_.stand_in_for(log_);
      log_.post([&] {
        EXPECT_TRUE(log_.is_current());
        EXPECT_FALSE(io_.is_current());
        ran = std::this_thread::get_id();
        log_.at_turn_end([&] { done.count_down(); });
      });
    });
    done.wait();
    run_in(io_, [] {});  // its turn has ended
    return ran;
  }
  bool await(const std::function<bool()>& is_so) {
    for (const auto end = runtime_.clock().now() + base::Seconds(60); !is_so();) {
      if (runtime_.clock().now() > end) return false;
    }
    return true;
  }
  std::thread::id thread_of(Lane& lane) {
    std::thread::id id;
    run_in(lane, [&] { id = std::this_thread::get_id(); });
    return id;
  }
};

TEST_F(StandInTest, ItsThreadDoesWhatASleepingLaneIsGiven) {
  const auto io = thread_of(io_), log = thread_of(log_);
  EXPECT_TRUE(await([&] { return who_ran() == io; }));
  EXPECT_EQ(thread_of(log_), log) << "afterwards it has its own again";
}

TEST_F(StandInTest, WhoKeepsOthersWaitingStopsAndTriesAgainLater) {
  const auto io = thread_of(io_);
  // Stands in for a job that lasts until somebody has posted to io.
  const auto keep_waiting = [&] {
    bool stood_in = false;
    std::latch began(1), posted(1), done(1);
    io_.post([&] {
      io_.stand_in_for(log_);
      log_.post([&] {
        stood_in = std::this_thread::get_id() == io;
        began.count_down();
        posted.wait();
        done.count_down();
      });
    });
    began.wait();
    io_.post([] {});
    posted.count_down();
    done.wait();
    run_in(io_, [] {});
    return stood_in;
  };
  ASSERT_TRUE(await(keep_waiting));
  EXPECT_NE(who_ran(), io) << "the next time it is left out";
  EXPECT_TRUE(await([&] { return who_ran() == io; }));
}

TEST_F(StandInTest, ALaneThatIsLentKeepsItsTimers) {
  const auto io = thread_of(io_);
  std::latch early(1), late(1);
  run_in(log_, [&] { log_.after(Milliseconds(20), [&] { late.count_down(); }); });
  ASSERT_TRUE(await([&] {
    bool stood_in = false;
    run_in(io_, [&] {
      io_.stand_in_for(log_);
      log_.post([&] {
        stood_in = std::this_thread::get_id() == io;
        if (stood_in) log_.after(Milliseconds(1), [&] { early.count_down(); });
      });
    });
    run_in(io_, [] {});
    run_in(log_, [] {});
    return stood_in;
  }));
  early.wait();
  late.wait();
}

TEST_F(StandInTest, NothingIsLostOrOvertakenWhoeverRunsIt) {
  constexpr int kJobs = 20'000;
  std::atomic<int> other_jobs = 0;
  std::vector<int> ran;
  std::latch done(1);
  std::jthread others([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      log_.post([&] { other_jobs++; });
      for (int i = 0; i < 200; i++) std::this_thread::yield();
    }
  });
  std::function<void(int)> ask = [&](int i) {
    io_.stand_in_for(log_);
    log_.post([&, i] {
      ran.push_back(i);
      if (i + 1 == kJobs) return done.count_down();
      io_.post([&, i] { ask(i + 1); });
    });
  };
  io_.post([&] { ask(0); });
  done.wait();
  others.request_stop();
  others.join();
  for (int i = 0; i < kJobs; i++) ASSERT_EQ(ran[i], i);
}

TEST_F(StandInTest, ALaneThatIsLentStopsWithTheOthers) {
  for (int i = 0; i < 200; i++) {
    Runtime runtime({{"a", "a"}, {"b", "b"}});
    Lane& a = runtime.lane("a");
    Lane& b = runtime.lane("b");
    runtime.start();
    std::atomic<int> ran = 0;
    a.post([&] {
      a.stand_in_for(b);
      b.post([&] { ran++; });
    });
    runtime.stop();
    EXPECT_EQ(ran, 1);
  }
}

TEST_F(LaneTest, AHookRunsOnceAfterTheJobsQueuedBeforeIt) {
  std::vector<std::string> trace;
  std::latch done(1);
  io_.post([&] {
    io_.post([&] { trace.push_back("queued before"); });
    io_.at_turn_end([&] {
      trace.push_back("hook");
      io_.post([&] {
        trace.push_back("posted by the hook");
        done.count_down();
      });
    });
    trace.push_back("job");
  });
  done.wait();
  EXPECT_EQ(trace,
            (std::vector<std::string>{"job", "queued before", "hook", "posted by the hook"}));
}

TEST_F(LaneTest, AHookWaitsForAQueueOfManyTurns) {
  constexpr int kJobs = 5000;  // far more than a turn takes
  int ran = 0, ran_at_hook = 0;
  std::latch done(1);
  io_.post([&] {
    for (int i = 0; i < kJobs; i++) io_.post([&] { ran++; });
    io_.at_turn_end([&] {
      ran_at_hook = ran;
      done.count_down();
    });
  });
  done.wait();
  EXPECT_EQ(ran_at_hook, kJobs);
}

// As a compaction does, one slice after the other: what another thread posts comes next but one.
TEST_F(LaneTest, LongWorkInSlicesLetsOthersInBetween) {
  std::atomic<int> slices = 0;
  std::atomic<int> posted_after = 0, ran_after = 0;
  std::latch done(1);
  std::thread other;
  std::function<void()> slice = [&] {
    const auto end = log_.clock().now() + std::chrono::microseconds(300);
    if (++slices == 5) {
      other = std::thread([&] {
        log_.post([&] { ran_after = slices.load(); });
        posted_after = slices.load();
      });
      other.join();
    }
    while (log_.clock().now() < end) {
    }
    if (ran_after != 0 || slices == 200) return done.count_down();
    log_.post(slice);
  };
  log_.post(slice);
  done.wait();
  EXPECT_EQ(posted_after, 5);
  EXPECT_GE(ran_after, 5);
  EXPECT_LE(ran_after, 6);
}

TEST_F(LaneTest, AHookMadeByAHookRunsTooThoughNothingElseHappens) {
  std::latch done(1);
  io_.post([&] { io_.at_turn_end([&] { io_.at_turn_end([&] { done.count_down(); }); }); });
  done.wait();
}

TEST_F(LaneTest, TimersRunInTheOrderOfTheirTimesAndNotBefore) {
  std::vector<int> order;
  bool early = false;
  std::latch done(4);
  io_.post([&] {
    const auto now = io_.clock().now();
    for (const int i : {3, 1, 2, 0}) {
      const auto due = now + Milliseconds(2 * i);
      io_.at(due, [&, i, due] {
        early |= io_.clock().now() < due;
        order.push_back(i);
        done.count_down();
      });
    }
    EXPECT_TRUE(order.empty()) << "a timer never runs within at()";
  });
  done.wait();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
  EXPECT_FALSE(early);
}

TEST_F(LaneTest, ACancelledTimerDoesNotRun) {
  bool ran = false;
  std::latch done(1);
  auto owned = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = owned;
  io_.post([&] {
    const TimerId first = io_.after(Milliseconds(1), [&, owned = std::move(owned)] { ran = true; });
    io_.after(Milliseconds(2), [&] { done.count_down(); });
    EXPECT_NE(first, 0u);
    io_.cancel(first);
    EXPECT_TRUE(watched.expired()) << "what it owned goes at once";
    io_.cancel(first);  // and again does nothing
    io_.cancel(0);
  });
  done.wait();
  EXPECT_FALSE(ran);
}

TEST_F(LaneTest, ATimerMayCancelAnotherThatIsDueToo) {
  std::vector<int> ran;
  std::latch done(1);
  io_.post([&] {
    const auto due = io_.clock().now();
    auto second = std::make_shared<TimerId>();
    io_.at(due, [&, second] {
      ran.push_back(1);
      io_.cancel(*second);
    });
    *second = io_.at(due, [&] { ran.push_back(2); });
    io_.at(due, [&] { done.count_down(); });
  });
  done.wait();
  EXPECT_EQ(ran, std::vector<int>{1});
}

TEST_F(LaneTest, AnIdleLaneTakesNoTime) {
  rusage before, after;
  ::getrusage(RUSAGE_SELF, &before);
  std::latch done(1);
  io_.post([&] { io_.after(Milliseconds(100), [&] { done.count_down(); }); });
  done.wait();
  ::getrusage(RUSAGE_SELF, &after);
  const auto spent = [](const rusage& usage) {
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000 + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
  };
  EXPECT_LT(spent(after) - spent(before), 50'000)
      << "microseconds; a lane that spins takes 100,000";
}

TEST(RuntimeTest, AThreadOfBackgroundLanesAloneYields) {
  Runtime runtime({{.lane = "io", .thread = "both"},
                   {.lane = "store", .thread = "both", .background = true},
                   {.lane = "worker", .thread = "worker", .background = true}});
  runtime.start();
  const auto nice_of = [&](std::string_view lane) {
    int nice = 0;
    run_in(runtime.lane(lane), [&] { nice = ::getpriority(PRIO_PROCESS, 0); });
    return nice;
  };
  const int own = ::getpriority(PRIO_PROCESS, 0);
  EXPECT_EQ(nice_of("io"), own);
  EXPECT_EQ(nice_of("store"), own);
  EXPECT_EQ(nice_of("worker"), std::min(own + 5, 19));
}

// Whoever wakes on its core need not wait for milliseconds.
TEST(RuntimeTest, AThreadOfBackgroundLanesAloneHasAShortSlice) {
  Runtime runtime(
      {{.lane = "io", .thread = "io"}, {.lane = "worker", .thread = "worker", .background = true}});
  runtime.start();
  // As linux/sched/types.h has it.
  struct Attributes {
    std::uint32_t size, policy;
    std::uint64_t flags;
    std::int32_t nice;
    std::uint32_t priority;
    std::uint64_t runtime, deadline, period;
  };
  const auto slice_of = [&](std::string_view lane) {
    Attributes attributes{};
    run_in(runtime.lane(lane), [&] {
      EXPECT_EQ(::syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0), 0);
    });
    return attributes.runtime;
  };
  const std::uint64_t usual = slice_of("io");
  if (usual == 0) GTEST_SKIP() << "this kernel has one slice for all";
  EXPECT_GT(usual, 100'000u);
  EXPECT_EQ(slice_of("worker"), 100'000u);
}

TEST(RuntimeTest, JobsPostedBeforeStartWaitForIt) {
  Runtime runtime({{"io", "io"}});
  std::atomic<int> ran = 0;
  runtime.lane("io").post([&] { ran++; });
  EXPECT_EQ(ran, 0);
  runtime.start();
  runtime.stop();
  EXPECT_EQ(ran, 1);
}

TEST(RuntimeTest, StopRunsWhatIsQueuedAndWhatThatQueues) {
  Runtime runtime({{"a", "a"}, {"b", "b"}, {"c", "c"}});
  Lane* lanes[] = {&runtime.lane("a"), &runtime.lane("b"), &runtime.lane("c")};
  runtime.start();
  std::atomic<int> ran = 0;
  std::function<void(int)> chain = [&](int left) {
    ran++;
    if (left > 0) lanes[left % 3]->post([&, left] { chain(left - 1); });
  };
  lanes[0]->post([&] { chain(100); });
  runtime.stop();
  EXPECT_EQ(ran, 101);
}

TEST(RuntimeTest, StopCutsShortWhoNeverEnds) {
  Runtime runtime({{"a", "a"}});
  Lane& lane = runtime.lane("a");
  runtime.start();
  std::function<void()> again = [&] { lane.post([&] { again(); }); };
  again();
  runtime.stop();
}

TEST(RuntimeTest, WhatNeverRanIsDestroyedAndMayPostAsItGoes) {
  auto owned = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = owned;
  {
    Runtime runtime({{"a", "a"}, {"b", "b"}});
    Lane& a = runtime.lane("a");
    Lane& b = runtime.lane("b");
    const auto posts = [&b, owned = std::move(owned)](int*) { b.post([owned] {}); };
    a.post([guard = std::shared_ptr<int>(nullptr, posts)] {});
    a.after(base::Seconds(1000), [guard = std::shared_ptr<int>(nullptr, posts)] {});
  }
  EXPECT_TRUE(watched.expired());
}

TEST(RuntimeTest, SignalsBecomeJobs) {
  Runtime runtime({{"io", "io"}});
  Lane& io = runtime.lane("io");
  std::vector<int> seen;
  std::latch one(1), two(1);
  runtime.on_signals({SIGUSR1, SIGUSR2}, io, [&](int signal) {
    EXPECT_TRUE(io.is_current());
    seen.push_back(signal);
    (seen.size() == 1 ? one : two).count_down();
  });
  runtime.start();
  ::raise(SIGUSR1);
  one.wait();
  ::raise(SIGUSR2);
  two.wait();
  EXPECT_EQ(seen, (std::vector<int>{SIGUSR1, SIGUSR2}));
}

TEST(RuntimeDeathTest, AnExceptionEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Runtime runtime({{"io", "io"}});
        runtime.start();
        runtime.lane("io").post([] { throw std::runtime_error("what happened"); });
        runtime.stop();
      },
      "thread io: uncaught exception: what happened");
}

TEST(RuntimeDeathTest, TimersAndHooksBelongToTheLane) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        Runtime runtime({{"io", "io"}});
        runtime.start();
        runtime.lane("io").after(Milliseconds(1), [] {});
      },
      "CHECK is_mine");
}

TEST_F(LaneTest, AChannelHandsOverBatchesInOrderAndRefusesBeyondItsBound) {
  std::vector<std::vector<int>> batches;
  std::unique_ptr<Channel<int>> channel;
  std::latch entered(1), go_on(1), done(1);
  run_in(log_, [&] {
    channel = std::make_unique<Channel<int>>(log_, 3, [&](std::vector<int> batch) {
      batches.push_back(std::move(batch));
      if (batches.back().back() == 99) done.count_down();
    });
  });
  log_.post([&] {  // the consumer is busy
    entered.count_down();
    go_on.wait();
  });
  entered.wait();
  for (int i = 1; i <= 3; i++) EXPECT_TRUE(channel->push(int(i)));
  EXPECT_FALSE(channel->push(4));
  channel->push_always(5);
  EXPECT_EQ(channel->size(), 4u);
  go_on.count_down();
  run_in(log_, [] {});
  channel->push_always(99);
  done.wait();
  EXPECT_EQ(batches, (std::vector<std::vector<int>>{{1, 2, 3, 5}, {99}}));
  run_in(log_, [&] { channel.reset(); });
}

TEST_F(LaneTest, AChannelLosesNothingUnderLoad) {
  constexpr int kValues = 30'000;
  std::vector<int> got;
  std::latch done(1);
  std::unique_ptr<Channel<int>> channel;
  run_in(log_, [&] {
    channel = std::make_unique<Channel<int>>(log_, 16, [&](std::vector<int> batch) {
      EXPECT_LE(batch.size(), 16u);
      got.insert(got.end(), batch.begin(), batch.end());
      if (got.size() == kValues) done.count_down();
    });
  });
  std::function<void(int)> produce = [&](int next) {
    while (next < kValues && channel->push(int(next))) next++;
    if (next < kValues) io_.post([&, next] { produce(next); });
  };
  io_.post([&] { produce(0); });
  done.wait();
  for (int i = 0; i < kValues; i++) ASSERT_EQ(got[i], i);
  run_in(log_, [&] { channel.reset(); });
}

TEST_F(LaneTest, AChannelThatIsDestroyedDropsWhatWaits) {
  auto value = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = value;
  run_in(io_, [&] {
    Channel<std::shared_ptr<int>> channel(io_, 8, [](auto) { FAIL() << "it has gone"; });
    EXPECT_TRUE(channel.push(std::move(value)));
  });
  run_in(io_, [] {});
  EXPECT_TRUE(watched.expired());
}

}  // namespace
}  // namespace keelson::env::posix
