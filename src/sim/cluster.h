// ClusterSimulation: one run of several members, from one seed to a verdict.
//
// The members replicate over the simulated network; clients and watchers are spread over them. The
// nemesis takes links down, one way or both, splits the cluster, breaks connections, and ends lives
// as Simulation does: at any disk operation, with what was not synced lost or torn; of a minority
// mostly, of all members now and then. At the end all is healed, and every member is asked for
// everything.
//
// What is checked: Checker's rules over one model of the log that all members apply, the watchers'
// rules, and the invariants of consensus over all members and all lives (raft/invariants.h).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "env/simulated/world.h"
#include "raft/invariants.h"
#include "sim/checker.h"
#include "sim/client.h"
#include "sim/node.h"
#include "sim/simulation.h"
#include "sim/watcher.h"

namespace keelson::sim {

class ClusterSimulation {
 public:
  ClusterSimulation(const RunOptions& options, std::size_t members);
  ~ClusterSimulation();
  ClusterSimulation(const ClusterSimulation&) = delete;
  ClusterSimulation& operator=(const ClusterSimulation&) = delete;

  Verdict run();
  const Story& story() const { return story_; }

 private:
  WorkloadOptions random_workload();
  member::Config random_config();
  void make_nodes(std::size_t members);
  void make_clients();
  void make_watchers();

  // Nemesis
  void trouble();
  void disturb_links();
  void end_some_lives();
  void exile_somebody();
  void cut_off(const std::string& name);
  void heal();
  KillPlan random_plan();
  KillPlan plan_at_snapshot();
  Node::Crash random_crash();

  // Starts those that are down; again if they are killed meanwhile.
  void start_all();
  void start(Node& node);
  void bury_the_dead();
  // Until all are ready, or kill each other no more.
  void wait_for_all();
  void settle();
  void let_members_catch_up();
  void look_at_everything();
  void power_fails_for_all();

  bool going_on() const { return checker_.ok(); }
  bool all_ready() const;
  std::string any_name();

  const RunOptions options_;
  env::simulated::World world_;
  base::Random random_;
  Story story_;
  Model model_;
  Checker checker_;
  raft::ClusterWatcher raft_;
  Workload workload_;
  Workload reads_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Client>> readers_;
  std::vector<std::unique_ptr<Watcher>> watchers_;
  // One member stays away, down or cut off, for so many troubles: the log goes on without it.
  struct Exile {
    Node* node = nullptr;
    bool down = false;
    std::uint64_t troubles = 0;
  };
  Exile exile_;
};

}  // namespace keelson::sim
