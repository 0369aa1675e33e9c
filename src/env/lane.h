// Lane: a FIFO of jobs, each run to completion. All concurrency of the server is lanes that post to
// lanes.
//
// Which lanes share a thread is decided once at start (env/posix) or by a seeded scheduler
// (env/simulated); nothing else depends on it. What a lane owns is touched by its jobs only. Jobs
// posted from one lane to another run in the order they were posted.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/function.h"
#include "base/time.h"
#include "env/clock.h"

namespace keelson::env {

using TimerId = std::uint64_t;  // never 0, never used again

class Lane {
 public:
  virtual ~Lane() = default;

  // From any lane. Wakes this one only if it sleeps. Unbounded: what crosses lanes in numbers goes
  // through a Channel (env/channel.h), which has a bound.
  virtual void post(base::Job job) = 0;

  // Runs `job` once at the end of the current turn of this lane, after the jobs already queued for
  // it: the place to flush what a turn gathered. From this lane only.
  virtual void at_turn_end(base::Job job) = 0;

  // Runs `job` on this lane once `due` has come, never from within this call; how much later
  // depends on the lane's other jobs and, on real threads, a millisecond. From this lane only, as
  // is cancel, which forgets a timer that has not run yet and otherwise does nothing.
  virtual TimerId at(base::TimePoint due, base::Job job) = 0;
  virtual void cancel(TimerId timer) = 0;

  // A hint from a job of this lane: it has just given another lane what will be answered within
  // microseconds, sooner than a thread sleeps and wakes. May change when this lane's next jobs run,
  // never which.
  virtual void expect_soon() {}

  // A hint from any lane: work for this one follows within microseconds, sooner than a thread
  // wakes. Wakes it if it sleeps, and it stays awake a moment. Costs next to nothing if it does
  // not.
  virtual void rouse() {}

  // A hint from a job of this lane: it gives `other`, in this job and only then, work that takes
  // microseconds and a sync. If `other` sleeps, this lane's thread may do that work at the end of
  // its turn, which saves waking a thread there and back; as long as nobody else is kept waiting by
  // that. May change which thread runs other's next jobs, never which or in what order.
  virtual void stand_in_for(Lane& /*other*/) {}

  // True while whoever wakes takes the core of this lane's jobs at once: they need not rest for the
  // sake of others. From any lane.
  virtual bool gives_way() const { return false; }

  // Does `work` here and now, in a job of this lane: it takes long, and whoever wakes meanwhile
  // shall have a core at once. It gets less than others, but not nothing as long as it calls what
  // it is given every millisecond or so.
  using Breathe = base::Function<void()>;
  virtual void patiently(base::Function<void(Breathe&)> work) {
    Breathe none = [] {};
    work(none);
  }

  // True inside a job of this lane.
  virtual bool is_current() const = 0;
  virtual std::string_view name() const = 0;
  virtual Clock& clock() = 0;
  // True where a job's time runs ahead of the other lanes' while it runs (env/simulated): what is
  // gathered for this lane must be dated by clock().
  virtual bool runs_ahead() const { return false; }

  TimerId after(base::Duration delay, base::Job job) {
    return at(clock().now() + delay, std::move(job));
  }
};

}  // namespace keelson::env
