// Loop: one thread that runs the jobs, timers and I/O of its lanes. Internal to env/posix.
//
// A turn:   I/O that is ready -> timers that are due -> queued jobs -> turn-end hooks -> sleep if
// idle
//
// L1  A turn handles at most kIoPerTurn I/O events and kJobsPerTurn jobs, so neither starves the
//     other; jobs that its own jobs post wait for the next turn once kTurnMax has passed. It sleeps
//     only if no job and no hook waits.
// L2  Whoever posts from another thread wakes this one only if it sleeps, and clears the flag, so
// one batch
//     costs one wake. A post from this thread takes no lock and makes no system call.
// L3  Jobs of one lane run in the order in which they arrived here; jobs one thread posts arrive in
// order. L4  A hook runs at the end of the first turn in which all jobs queued before it have run.
//
// Asio is the reactor (readiness, wake-up) and nothing else: its timers would cost a timerfd call
// each and its queue a lock per job. A loop that watches no descriptor does not ask it at all: it
// sleeps on a condition variable, and its wake costs the two threads some microseconds less.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/containers.h"
#include "env/lane.h"

namespace boost::asio {
class io_context;
}

namespace keelson::env::posix {

class Loop;

class LoopLane final : public Lane {
 public:
  LoopLane(Loop& loop, std::string name, Clock& clock)
      : loop_(loop), name_(std::move(name)), clock_(clock) {}

  void post(base::Job job) override;
  void at_turn_end(base::Job job) override;
  TimerId at(base::TimePoint due, base::Job job) override;
  void cancel(TimerId timer) override;
  void expect_soon() override;
  void rouse() override;
  bool is_current() const override;
  std::string_view name() const override { return name_; }
  Clock& clock() override { return clock_; }

  Loop& loop() { return loop_; }
  // In a job of this lane, or while its thread does not run, when all belongs to the caller.
  bool is_mine() const;

 private:
  Loop& loop_;
  const std::string name_;
  Clock& clock_;
};

class Loop {
 public:
  static constexpr std::size_t kIoPerTurn = 128;
  static constexpr std::size_t kJobsPerTurn = 256;
  static constexpr base::Duration kTurnMax = std::chrono::microseconds(100);
  static constexpr std::size_t kReadBufferBytes = 64 * 1024;
  // How long it stays awake for what is expected soon: about what the other lane needs to be woken
  // and to do it. docs/design of waking has the figures.
  static constexpr base::Duration kAwakeMax = std::chrono::microseconds(70);

  Loop(std::string name, Clock& clock);
  ~Loop();  // stopped
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void start();
  // Takes back that its thread yields to others, by the kernel's niceness and after each burst of
  // jobs: it does until then.
  void run_in_foreground() { background_ = false; }
  // Ends after the current turn and joins. Not from its own thread.
  void stop();
  // Destroys, unrun, the jobs, hooks and timers left over. False if there were none. They may own
  // what belongs to other loops, so all loops do this, until none has any, before one is destroyed.
  bool discard();
  bool is_running() const { return running_; }
  bool is_current() const;

  // Any thread.
  void post(LoopLane* lane, base::Job job);
  void rouse();

  // This thread only, or while none runs.
  void at_turn_end(LoopLane* lane, base::Job job);
  TimerId at(LoopLane* lane, base::TimePoint due, base::Job job);
  void cancel(TimerId timer);
  void expect_soon() { expects_soon_ = true; }
  // Runs an I/O handler as a job of `lane`, now.
  template <class Work>
  void run_as(LoopLane* lane, Work&& work) {
    current_lane_ = lane;
    work();
    current_lane_ = nullptr;
  }
  // Jobs run so far; for whoever wants to know whether anything happened.
  std::uint64_t jobs_run() const { return jobs_run_; }
  // Where an I/O handler reads to; the content ends with the handler.
  std::span<char> read_buffer() { return {read_buffer_.get(), kReadBufferBytes}; }
  // For whoever has descriptors watched, here or while no thread runs. From then on it is asked.
  boost::asio::io_context& io() {
    watches_ = true;
    return *io_;
  }
  const LoopLane* current_lane() const { return current_lane_; }

 private:
  struct Queued {
    LoopLane* lane;
    base::Job job;
  };
  struct Hook {
    LoopLane* lane;
    base::Job job;
    std::uint64_t after;  // jobs_queued_ when it was made: L4
  };
  struct Reactor;  // holds what Asio wants held

  void run();
  void poll_io();
  bool came_while_awake();
  void sleep(base::Duration at_most);
  void wake(bool in_reactor);
  void take_shared();
  void run_timers();
  void run_jobs();
  void run_hooks();
  bool may_sleep();
  void execute(LoopLane* lane, base::Job job);
  void let_others_run();
  base::Duration until_next_timer() const;

  const std::string name_;
  bool background_ = true;
  base::TimePoint burst_began_;  // in the background: it slept, or let others run
  Clock& clock_;
  std::unique_ptr<boost::asio::io_context> io_;
  std::unique_ptr<Reactor> reactor_;
  std::unique_ptr<char[]> read_buffer_;
  std::thread thread_;
  bool running_ =
      false;  // changed by the thread that starts and stops, while the loop's own is not there

  std::mutex mutex_;                    // guards the next six
  std::vector<Queued> shared_;          // posted from other threads
  std::atomic<bool> sleeping_ = false;  // may be read without it, for a hint
  bool roused_ = false;                 // since it last took what is shared
  bool in_reactor_ = false;             // where it sleeps
  bool stopping_ = false;
  std::condition_variable woken_;
  std::atomic<bool> has_shared_ = false;  // shared_ is not empty; written under the mutex

  // The loop's thread only.
  bool watches_ = false;             // the reactor has something to watch, or had
  bool expects_soon_ = false;        // since it last looked for I/O
  std::uint32_t awake_in_vain_ = 0;  // times one after the other
  std::uint32_t sleeps_anyway_ = 0;  // times that it will not stay awake, for that
  bool crowded_ = false;             // several events were ready when it last looked
  std::uint64_t lone_events_ = 0;    // handled without looking for more
  std::vector<Queued> queue_;
  std::size_t queue_head_ = 0;  // jobs before it have run
  std::uint64_t jobs_queued_ = 0;
  std::uint64_t jobs_run_ = 0;
  std::vector<Hook> hooks_;
  base::OrderedMap<std::pair<base::TimePoint, TimerId>, Queued> timers_;
  base::HashMap<TimerId, base::TimePoint> timer_dues_;
  TimerId last_timer_ = 0;
  LoopLane* current_lane_ = nullptr;
};

}  // namespace keelson::env::posix
