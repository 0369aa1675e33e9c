// Node: one server on one simulated host, through its lives: all of the server but env/.
//
//   Down --start--> Up --stop--> Stopping --> Stopped --bury--> Down
//         |         |               |
//         +---------+----kill-------+--> Dead ---------bury--> Down
//
// One that finds itself removed from its cluster stops itself, as the server's main does. One that
// has no log asks the others before it starts, if it has any; the world goes on meanwhile.
//
// A kill comes from outside, at a chosen disk operation, or from the server itself when it finds
// durability in doubt (member::stop_process). It ends the process between two instructions of the
// server: the host runs nothing more (env/simulated W5), and bury() takes the objects down, outside
// all lanes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "api/grpc_metrics.h"
#include "api/lane_api.h"
#include "api/peer_endpoints.h"
#include "base/random.h"
#include "env/simulated/world.h"
#include "http/server.h"
#include "member/member.h"
#include "sim/story.h"

namespace keelson::sim {

// What a kill at a disk operation waits for, or an error of the disk.
struct KillPlan {
  std::string path_part;    // only operations on such paths count
  bool at_sync = false;     // and only syncs: what was written is there, and not durable
  std::uint64_t after = 1;  // the so-manieth from now
  env::simulated::Disk::Crash mode = env::simulated::Disk::Crash::kRandom;
  // Nobody is killed: the operation fails with this. ENOSPC only where something is to grow.
  int error_number = 0;
  // Not the operation fails, but what was written before it, in the background: the next sync will
  // be told of it, in this life or in the next.
  bool in_background = false;
};

class Node {
 public:
  using Crash = env::simulated::Disk::Crash;
  enum class State { kDown, kUp, kStopping, kStopped, kDead };

  struct Options {
    member::Config config;
    raft::NodeId id = 0;  // if that is known before its first life
    http::ServerOptions server;
    std::size_t io_lanes = 2;
    std::size_t workers = 2;
    bool tell_disk = false;  // each change of the disk, on stderr
    bool peers = false;      // serves the others of its cluster, at port 2380
  };
  struct Events {
    // Before an entry is applied, in a job of the node.
    std::function<void(const raft::Entry&)> on_apply;
    // A life begins, of this member of its cluster; and after each turn of its raft lane.
    std::function<void(raft::NodeId)> on_life = [](raft::NodeId) {};
    // A plan is carried out, before an operation on this path.
    std::function<void(const KillPlan&, const std::string&)> on_plan = [](const KillPlan&,
                                                                          const std::string&) {};
    std::function<void(const raft::Node&)> on_raft = [](const raft::Node&) {};
    std::function<void(const raft::Message&)> on_send = [](const raft::Message&) {};
  };

  Node(env::simulated::World& world, std::string name, Options options, Story& story,
       Events events);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  const std::string& name() const { return name_; }
  env::simulated::Host& host() { return host_; }
  State state() const;
  // It has published itself and takes clients.
  bool ready() const { return state() == State::kUp && ready_; }
  std::string address() const { return name_ + ":2379"; }

  // Boots. If it does not start: why, and it is Down, or Dead if it was killed meanwhile.
  std::string start();
  // Of the next lives: what it is told of its cluster, which it is to join. It matters only while
  // it has no log.
  void set_cluster(membership::InitialCluster cluster);
  // Begins anew in an empty directory, as another member. It is Down.
  void renew();
  // Who it was in its last life in this directory; 0: nobody yet.
  raft::NodeId id() const { return id_; }
  bool has_log();
  // As by SIGTERM. Ends in Stopped, unless it is killed before that.
  void stop();
  void kill(Crash mode);
  void kill_at(KillPlan plan);
  void spare() { plan_.reset(); }
  // Only so many bytes fit on its disk besides what is there; until it gets room again.
  void fill_disk(std::uint64_t room);
  void make_room();
  // Whether a start may be refused for what the disk did to it: the last one met an error, or the
  // disk is full.
  bool disk_is_to_blame() const { return full_ || errors_met_ > 0; }
  bool doomed() const { return plan_ != nullptr; }
  // Takes down what is left of the process. What a stopped one left unsynced meets `mode`; a dead
  // one has met it already. Why it ended itself, if it did.
  std::string bury(Crash mode = Crash::kKeepAll);

  std::uint64_t lives() const { return lives_; }
  member::Member* member() const { return process_ ? process_->member.get() : nullptr; }

 private:
  struct Process {
    std::unique_ptr<member::Member> member;
    std::unique_ptr<api::GrpcMetrics> metrics;
    std::vector<std::unique_ptr<api::LaneApi>> apis;  // by io lane
    std::unique_ptr<env::Listener> listener;
    std::unique_ptr<api::PeerEndpoints> peer_endpoints;
    std::unique_ptr<http::Server> peers;
    std::unique_ptr<env::Listener> peer_listener;
    bool stopped = false;
  };

  member::Lanes lanes();
  // Why not, or empty.
  std::string ask_others();
  std::string check_initially(member::Member& member);
  void listen();
  void listen_to_peers(Process& process);
  void stop_peers();
  void has_stopped();
  int on_disk(const env::simulated::Disk::Step& step);

  env::simulated::World& world_;
  const std::string name_;
  Options options_;
  Story& story_;
  Events events_;
  env::simulated::Host& host_;
  std::unique_ptr<Process> process_;
  std::unique_ptr<KillPlan> plan_;
  std::uint64_t lives_ = 0;
  std::uint64_t errors_met_ = 0;    // of the disk, since the last start
  bool write_back_failed_ = false;  // since then, and perhaps nobody was told
  bool full_ = false;
  std::uint64_t directories_ = 1;
  raft::NodeId id_ = 0;
  bool ready_ = false;
  bool stopping_ = false;
};

}  // namespace keelson::sim
