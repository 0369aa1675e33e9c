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
// L5  A loop that sleeps on its condition variable may be lent to another one, whose thread then
//     runs a turn of it. Meanwhile its own thread sleeps on and all that is the loop's belongs to
//     the other; whoever posts to it wakes nobody, as if it were awake.
//
// L6  While clients come in crowds, a thread that has nothing left to do gives way before it looks
//     for more (sched_yield): what the others bring meanwhile is one turn's work, and one wake's.
//     docs/design of waking has the figures. A thread of the background does not: it gives way by
//     time, after each burst of jobs.
//
// Asio is the reactor (readiness, wake-up) and nothing else: its timers would cost a timerfd call
// each and its queue a lock per job. A loop that watches no descriptor does not ask it at all: it
// sleeps on a condition variable, and its wake costs the two threads some microseconds less.
#pragma once

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/containers.h"
#include "env/lane.h"
#include "env/posix/patience.h"

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
  void stand_in_for(Lane& other) override;
  bool is_current() const override;
  bool gives_way() const override;
  void patiently(base::Function<void(Breathe&)> work) override;
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

// Something that pays only if the others behave: taken again at once where it paid. In vain once,
// it is left out the next time; again in vain, three times, and so on.
class Bet {
 public:
  // Whether to take it this time.
  bool take() {
    if (left_out_ == 0) return true;
    left_out_--;
    return false;
  }
  bool would_take() const { return left_out_ == 0; }
  void won() { lost_in_a_row_ = 0; }
  void lost() {
    lost_in_a_row_ = lost_in_a_row_ < kLostMax ? lost_in_a_row_ + 1 : kLostMax;
    left_out_ = (1u << lost_in_a_row_) - 1;
  }

 private:
  static constexpr std::uint32_t kLostMax = 7;
  std::uint32_t lost_in_a_row_ = 0;
  std::uint32_t left_out_ = 0;  // times that are still to come
};

// Whether clients come in crowds, as the loop saw it that looked for I/O last. Any thread.
class Crowd {
 public:
  bool is_there() const { return is_there_.load(std::memory_order_relaxed); }
  void tell(bool is_there) {
    if (is_there != this->is_there()) is_there_.store(is_there, std::memory_order_relaxed);
  }

 private:
  std::atomic<bool> is_there_ = false;
};

// What one loop sees of crowds, look by look.
class CrowdWatch {
 public:
  // So many events at once are a crowd's: what a lone client's write brings a leader of three and a
  // learner, or of five, is its request and the answers of the others, which is less. A crowd is
  // there until it was not seen at so many looks.
  static constexpr std::size_t kCrowd = 6;
  static constexpr std::uint32_t kLooks = 64;

  // So many events were ready at once.
  void saw(std::size_t events) {
    several_ = events > 1;
    since_ = events >= kCrowd ? 0 : since_ < kLooks ? since_ + 1 : kLooks;
  }
  bool is_there() const { return since_ < kLooks; }
  // Whether more than one was at the last look.
  bool saw_several() const { return several_; }

 private:
  bool several_ = false;
  std::uint32_t since_ = kLooks;  // looks since a crowd was seen
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

  // A turn of another loop that took longer, on this thread, was not worth it.
  static constexpr base::Duration kStandInMax = std::chrono::milliseconds(1);

  // What gives the core to whoever waits for it: sched_yield, but in its test.
  using Yield = int (*)();

  // Both outlive it.
  Loop(std::string name, Clock& clock, Crowd& crowd, Yield yield = ::sched_yield);
  ~Loop();  // stopped
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  void start();
  // Takes back that its thread yields to others, by the kernel's niceness and after each burst of
  // jobs: it does until then.
  void run_in_foreground() { background_ = false; }
  // Lets its thread take what the others leave. Not in the foreground.
  void be_patient(const OwnScheduling& scheduling = kOwnScheduling) {
    patience_.emplace(scheduling);
  }
  // Ends after the current turn and joins. Not from its own thread.
  void stop();
  // Destroys, unrun, the jobs, hooks and timers left over. False if there were none. They may own
  // what belongs to other loops, so all loops do this, until none has any, before one is destroyed.
  bool discard();
  bool is_running() const { return running_; }
  bool is_current() const;

  // Any thread.
  bool gives_way() const { return patience_ && patience_->gives_way(); }
  void post(LoopLane* lane, base::Job job);
  void rouse();

  // This thread only, or while none runs.
  void at_turn_end(LoopLane* lane, base::Job job);
  TimerId at(LoopLane* lane, base::TimePoint due, base::Job job);
  void cancel(TimerId timer);
  void expect_soon() { expects_soon_ = true; }
  void stand_in_for(Loop& other);
  void patiently(base::Function<void(Lane::Breathe&)> work,
                 const OwnScheduling& scheduling = kOwnScheduling);
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
  void note_events(std::size_t handled);
  void let_crowd_gather();
  bool came_while_awake();
  void sleep(base::Duration at_most);
  void wake(bool in_reactor);
  void take_shared();
  void run_timers();
  void run_jobs();
  void run_hooks();
  bool may_sleep();
  bool lend();
  void take_back();
  void run_lent();
  void stand_in();
  void execute(LoopLane* lane, base::Job job);
  void let_others_run();
  base::Duration until_next_timer() const;

  const std::string name_;
  bool background_ = true;
  base::TimePoint burst_began_;  // in the background: it slept, or let others run
  std::optional<Patience> patience_;
  Clock& clock_;
  Crowd& crowd_;
  const Yield yield_;
  std::unique_ptr<boost::asio::io_context> io_;
  std::unique_ptr<Reactor> reactor_;
  std::unique_ptr<char[]> read_buffer_;
  std::thread thread_;
  bool running_ =
      false;  // changed by the thread that starts and stops, while the loop's own is not there

  std::mutex mutex_;                    // guards the next ten
  std::vector<Queued> shared_;          // posted from other threads
  std::atomic<bool> sleeping_ = false;  // may be read without it, for a hint
  bool roused_ = false;                 // since it last took what is shared
  bool in_reactor_ = false;             // where it sleeps
  bool stopping_ = false;
  base::TimePoint wakes_at_;  // of itself, where it sleeps now
  bool is_lent_ = false;
  bool awaits_return_ = false;  // of what is lent, to go on
  bool others_posted_ = false;  // since it last began to stand in: threads other than its own
  std::condition_variable woken_;
  std::atomic<bool> has_shared_ = false;  // shared_ is not empty; written under the mutex

  // The loop's thread only.
  bool watches_ = false;       // the reactor has something to watch, or had
  bool expects_soon_ = false;  // since it last looked for I/O
  Bet staying_awake_;
  Bet standing_in_;
  Loop* stands_in_for_ = nullptr;       // at the end of this turn
  const Loop* stood_in_for_ = nullptr;  // the last time
  const Loop* host_ = nullptr;          // while it is lent: whose thread runs it
  CrowdWatch crowd_watch_;
  std::uint64_t lone_events_ = 0;  // handled without looking for more
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
