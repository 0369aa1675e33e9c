// ClusterSimulation: one run of several members, from one seed to a verdict.
//
// The members replicate over the simulated network; clients and watchers are spread over them. The
// nemesis takes links down, one way or both, splits the cluster, breaks connections, lets a member
// stand still for a while, and ends lives as Simulation does: at any disk operation, with what was
// not synced lost or torn; of a minority mostly, of all members now and then. An operator adds,
// promotes and removes members and moves the leadership meanwhile; who was removed is replaced by
// one with an empty directory, or starts again from its old one. At the end all is healed, and
// every member is asked for everything.
//
// What is checked: Checker's rules over one model of the log that all members apply, the watchers'
// rules, and the invariants of consensus over all members and all lives (raft/invariants.h). And:
//
//   M1  the configuration that a member's core holds is one that the log has made, at the end the
//       newest; so are the members it tells of
//   M2  who was removed stops by itself, from its old directory too
//   M3  who was added gets ready, and a learner that has caught up can be promoted
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
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
  void check_for_corruption(member::Config& config);
  void make_nodes(std::size_t members);
  void make_node(const std::string& name, Node::Options options);
  void watch_raft(const raft::Node& node);
  void watch_message(const raft::Message& message);
  void note_plan(const KillPlan& plan, const std::string& path);
  void make_clients();
  void make_watchers();

  // Nemesis
  void trouble();
  void hold_somebody();
  void disturb_links();
  void end_some_lives();
  void exile_somebody();
  void cut_off(const std::string& name);
  void heal();
  bool has_version() const;
  bool some_listed_is_new() const;
  void reconfigure();
  void add_somebody();
  void remove_somebody();
  void move_leadership();
  void ask_operator(const std::string& server, Request request);
  void start_ghost();
  KillPlan random_plan();
  KillPlan plan_at_snapshot();
  Node::Crash random_crash();

  // Of the cluster, as far as the log has told.
  bool belongs(const Node& node) const;
  bool is_removed(const Node& node) const;
  bool leads(Node& node) const;
  std::optional<raft::NodeId> listed(const Node& node) const;
  std::vector<Node*> members() const;
  // One that belongs to it, and is ready if there is one.
  Node& any_member();

  // Starts those that are down; again if they are killed meanwhile.
  void start_all();
  void start(Node& node);
  void end_who_never_heard();
  void bury_the_dead();
  void tell_clients_of_another(const Node& removed);
  // Until all are ready, or kill each other no more.
  void wait_for_all();
  void settle();
  void promote_learners();
  void let_removed_stop();
  void let_members_catch_up();
  bool knows_the_members(const Node& node) const;
  void let_members_know_each_other();
  void look_at_everything();
  void power_fails_for_all();

  bool going_on() const { return checker_.ok(); }
  bool all_ready() const;
  Node& any_node();

  const RunOptions options_;
  env::simulated::World world_;
  base::Random random_;
  bool disk_errors_ = false;
  Story story_;
  Model model_;
  Checker checker_;
  raft::ClusterWatcher raft_;
  Workload workload_;
  Workload reads_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::map<raft::NodeId, MemberSets> configurations_;  // seen last, and found right
  Node::Options newcomer_;                             // of who is added: all but its name
  std::uint64_t newcomers_ = 0;
  std::set<raft::NodeId> asked_to_remove_;
  bool reconfigures_ = false;
  std::uint64_t cold_one_in_ = 0;
  std::unique_ptr<Client> operator_;
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
