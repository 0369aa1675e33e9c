// World: machines, their lanes, disks and the network between them, under one virtual clock and one
// seeded scheduler. Runs real server code, in one thread, and replays it bit for bit: same seed and
// same calls, same order of jobs, same delays, same failures.
//
//     simulated::World world(seed);
//     auto& host = world.host("n1");
//     host.lane("raft").post(...);                      // as on real threads
//     EXPECT_TRUE(world.run_until([&] { return done; }, base::Seconds(10)));
//
// Scheduling. Each lane has work that is ready: its first job that has arrived, a timer that is
// due, hooks of a turn. The seed picks a lane and a piece of work, again and again; when nothing is
// ready the clock jumps to what comes next. So every interleaving that threads can make can come,
// and only those:
//
// W1  Jobs of a lane run in the order they arrive, and what one lane posts to another arrives in
// order. W2  A job takes time, chosen by the seed, and its disk operations take theirs. Until it is
// over its lane
//     does nothing else, and what it posts arrives at the time at which it was posted within the
//     job.
// W3  A timer never runs early; a hook runs after the jobs that had arrived before it was made.
// W4  Bytes of a connection arrive in order, once, in pieces cut anyhow, or the connection breaks.
// A cut
//     link delays them until it heals; it does not break the connection.
// W5  A killed host runs nothing more: its jobs and timers are destroyed unrun, its connections
// break, its
//     disk crashes. What its objects still call on their way down has no effect.
//
// W6  A host that stands still runs nothing until it goes on: jobs, timers and bytes wait for it,
// and
//     its clock has gone on meanwhile.
//
// The thread of the test is outside all lanes; between two run calls it may touch anything.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/random.h"
#include "env/clock.h"
#include "env/lane.h"
#include "env/simulated/disk.h"
#include "env/stream.h"

namespace keelson::env::simulated {

class World;

// Thrown by a job: its process ends there and then, as by _exit. The job's own objects unwind; all
// else of the process stays as it was, and its host is killed (W5, kKeepAll).
struct ProcessExit {};

namespace internal {
class SimulatedLane;
class SimulatedNetwork;
}  // namespace internal

struct WorldOptions {
  // One way between two hosts, per piece of data; within a host a tenth of it.
  base::Duration latency_min = base::Duration(20'000);
  base::Duration latency_max = base::Duration(1'000'000);
  // A piece of data in so many breaks its connection; 0: none does.
  std::uint64_t reset_one_in = 0;
  // Bytes a connection takes per direction before write() has to keep them.
  std::size_t connection_bytes_max = 64 * 1024;
  // Whether disk operations take time.
  bool slow_disks = true;
};

// One machine with one process on it.
class Host final : private Clock {
 public:
  Host(World& world, std::string name, std::uint64_t disk_seed);
  ~Host() override;

  const std::string& name() const { return name_; }
  // Made at the first call; the same in each life.
  Lane& lane(std::string_view name);
  Clock& clock() { return *this; }
  // Addresses are "<host name>:<port>" from everywhere; "127.0.0.1:<port>", "localhost:<port>" and
  // "unix:<path>" mean the host itself. Port 0 finds a free one.
  Network& network();
  Disk& disk() { return disk_; }

  // W5. Take the process's objects down next, then start().
  void kill(Disk::Crash mode);
  void start();
  bool is_alive() const { return alive_; }
  // W6, from now: a stopped process (SIGSTOP), a virtual machine that is moved. A job that is under
  // way has done what it does already.
  void stand_still(base::Duration duration);

  // The wall clock is off by so much; the monotonic one never is.
  void set_wall_offset(base::Duration offset) { wall_offset_ = offset; }

 private:
  friend class World;
  friend class internal::SimulatedLane;
  friend class internal::SimulatedNetwork;
  base::TimePoint now() const override;
  base::WallTime wall_now() const override;

  World& world_;
  const std::string name_;
  Disk disk_;
  std::vector<std::unique_ptr<internal::SimulatedLane>> lanes_;
  std::unique_ptr<internal::SimulatedNetwork> network_;
  bool alive_ = true;
  base::TimePoint still_until_{};
  base::Duration wall_offset_{};
};

class World {
 public:
  explicit World(std::uint64_t seed, WorldOptions options = {});
  ~World();  // streams, listeners and files of its hosts must have gone
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  // Made at the first call.
  Host& host(std::string_view name);

  // Until `done` says so, looked at before each step; false if `limit` of virtual time passes
  // first, or nothing is left that could happen.
  bool run_until(const std::function<bool()>& done, base::Duration limit);
  void run_for(base::Duration duration);
  // Until no job waits and nothing is under way; timers that come due on the way run, later ones
  // stay. False if that is not reached within `limit`.
  bool run_until_idle(base::Duration limit = base::Seconds(3600));

  base::TimePoint now() const;
  // The stream of chance the world itself draws from: a nemesis that uses it is replayed with it.
  base::Random& random() { return random_; }
  const WorldOptions& options() const { return options_; }
  void set_reset_one_in(std::uint64_t n) { options_.reset_one_in = n; }

  // Links. Cut: nothing passes until heal; what was sent waits. Hosts by name.
  void cut(std::string_view from, std::string_view to);  // this direction only
  void cut_both(std::string_view a, std::string_view b);
  void heal(std::string_view a, std::string_view b);  // both directions
  void heal_all();
  bool is_cut(const Host& from, const Host& to) const;
  // One way, drawn anew each time.
  base::Duration latency(const Host& from, const Host& to);
  // Breaks all connections between two hosts.
  void reset_connections(std::string_view a, std::string_view b);

  // Steps so far, and a checksum over when each was and whose: equal in equal runs, and practically
  // different in others.
  std::uint64_t steps() const { return steps_; }
  std::uint64_t fingerprint() const { return fingerprint_; }

 private:
  friend class Host;
  friend class internal::SimulatedLane;
  friend class internal::SimulatedNetwork;
  enum class Work { kJob, kTimer, kHooks };

  // One piece of work; or, if none is ready, the clock goes on to the next but not beyond `until`.
  // False if that is where it is now.
  bool step(base::TimePoint until);
  void run(internal::SimulatedLane& lane, Work work);
  static void run_work(internal::SimulatedLane& lane, Work work);
  // The running job takes so much longer.
  void charge(base::Duration duration) { charged_ += duration; }
  base::Duration random_duration(base::Duration low, base::Duration high);
  base::Duration disk_time(Disk::Operation operation);
  void links_changed();

  WorldOptions options_;
  base::Random random_;
  base::TimePoint now_{base::Seconds(1000)};
  std::vector<std::unique_ptr<Host>> hosts_;
  std::set<std::pair<std::string, std::string>> cuts_;
  internal::SimulatedLane* current_lane_ = nullptr;
  base::Duration charged_{};  // by the running job
  TimerId last_timer_ = 0;
  std::uint64_t steps_ = 0;
  std::uint64_t fingerprint_ = 0;
};

}  // namespace keelson::env::simulated
