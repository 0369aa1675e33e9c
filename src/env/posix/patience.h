// Patience: a thread takes only what others leave of the cores, as long as they leave something.
//
// Where a thread of the usual class runs, another that wakes waits for the end of its slice, up to
// a tick of the kernel; where one of SCHED_IDLE runs, it has the core at once, and the kernel looks
// for such cores first. But beside threads that fill the cores SCHED_IDLE gets a three-hundredth of
// one, and whatever waits for its work would stand still. So the thread looks, every kLook, at how
// long it was ready to run and had no core:
//
//   patient --too much of the time (starved)--> away --its time is over--> patient
//
// Away, for kAwayMin, it is like any other of the background. Where it got next to nothing
// (kHopelessPercent) it stays away twice as long the next time, kAwayMax at most, until a look
// finds better.
//
// Nobody comes back from SCHED_IDLE without the privilege to raise its priority (RLIMIT_NICE or
// CAP_SYS_NICE): what has none never goes there.
//
// A thread is so for as long as it runs, starved at kStarvedPercent, as others wait for its pieces;
// or for one long work that only has to end at some time, starved at kUnhurriedStarvedPercent:
// begin, look now and then, end.
//
// Time is an argument. Touched by its own thread, but gives_way() by any.
#pragma once

#include <atomic>
#include <optional>

#include "base/time.h"

namespace keelson::env::posix {

// What a thread asks of the kernel about itself; another one in tests.
struct OwnScheduling {
  // Whether a thread of this process may leave SCHED_IDLE again.
  bool (*may_come_back)();
  // Goes there, or comes back. False if that is refused, and nothing has changed.
  bool (*set_idle)(bool idle);
  // How long the thread, since it began, was ready to run and had no core. nullopt: unknown.
  std::optional<base::Duration> (*waited)();
};
extern const OwnScheduling kOwnScheduling;

class Patience {
 public:
  static constexpr base::Duration kLook = std::chrono::milliseconds(50);
  static constexpr int kStarvedPercent = 60;
  static constexpr int kUnhurriedStarvedPercent = 93;
  static constexpr int kHopelessPercent = 95;
  static constexpr base::Duration kAwayMin = std::chrono::milliseconds(100);
  static constexpr base::Duration kAwayMax = std::chrono::milliseconds(6400);

  explicit Patience(const OwnScheduling& scheduling = kOwnScheduling,
                    int starved_percent = kStarvedPercent)
      : scheduling_(scheduling), starved_percent_(starved_percent) {}

  // On the thread, first of all.
  void begin(base::TimePoint now);
  // On the thread, from time to time.
  void look(base::TimePoint now) {
    if (may_ && now >= next_look_) change(now);
  }
  // On the thread: it is like any other from now on.
  void end();
  // Whether it is patient now: then there is no need to rest for the sake of others.
  bool gives_way() const { return is_idle_.load(std::memory_order_relaxed); }

 private:
  void change(base::TimePoint now);
  void go(base::TimePoint now);
  void begin_to_look(base::TimePoint now);
  std::int64_t waited_percent(base::TimePoint now) const;

  const OwnScheduling& scheduling_;
  const int starved_percent_;
  bool may_ = false;
  std::atomic<bool> is_idle_ = false;
  base::TimePoint looked_;    // last
  base::Duration waited_{0};  // until then
  base::TimePoint next_look_;
  base::Duration away_ = kAwayMin;  // the next time
};

}  // namespace keelson::env::posix
