// Simulation: one run, from one seed to a verdict.
//
// The seed decides everything: how small the files are, what clients ask, when the disk is cold,
// which lane runs next, at which disk operation power fails and what the disk makes of it. A run
// goes through several lives of the server and ends with a clean stop, a start and a look at
// everything.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "env/simulated/world.h"
#include "raft/invariants.h"
#include "sim/checker.h"
#include "sim/client.h"
#include "sim/node.h"
#include "sim/watcher.h"

namespace keelson::sim {

struct RunOptions {
  std::uint64_t seed = 1;
  std::uint64_t calls = 300;  // of all clients together; of a cluster, twice as many
  bool aloud = false;         // tells its story while it happens
  std::size_t keep = 80;      // lines of the story kept
  bool tell_disk = false;     // each change of the disk, on stderr
  bool same_members = false;  // of a cluster: nobody is added or removed
  bool disk_errors = false;   // disks fail (EIO, ENOSPC) and fill up: of all seeds, not a quarter
};

struct Verdict {
  std::string violation;    // empty: none
  std::string story;        // its last lines
  std::uint64_t trace = 0;  // equal in equal runs
  std::uint64_t lives = 0;
  raft::Index entries = 0;
  std::int64_t revision = 0;
  Checker::Stats calls;
  bool ok() const { return violation.empty(); }
};

class Simulation {
 public:
  explicit Simulation(const RunOptions& options);
  ~Simulation();
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;

  Verdict run();
  const Story& story() const { return story_; }

 private:
  WorkloadOptions random_workload();
  member::Config random_config();
  void watch_raft(const raft::Node& node);
  void make_clients();
  void make_watchers();
  // Starts the node, again and again if it is killed meanwhile; until it is ready.
  void start_node();
  void set_wall_clock();
  // Lets it work and brings it down, some way or other.
  void trouble();
  void end_life(Node::Crash mode_of_stopped);
  void settle();
  void look_at_everything();
  bool going_on() const { return checker_.ok(); }
  Node::Crash random_crash();
  KillPlan random_plan();

  enum class WallClock { kRight, kBeginsAnew, kJumps };  // at each start

  const RunOptions options_;
  env::simulated::World world_;
  base::Random random_;
  bool disk_errors_ = false;
  bool large_ = false;     // values, and so answers and events
  bool may_fill_ = false;  // the disk
  Story story_;
  Model model_;
  Checker checker_;
  raft::ClusterWatcher raft_;  // of all members together
  Workload workload_;
  std::unique_ptr<Node> node_;
  WallClock wall_clock_ = WallClock::kRight;
  base::TimePoint first_start_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Watcher>> watchers_;
};

}  // namespace keelson::sim
