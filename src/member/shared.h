// Shared: what the lanes of one member have in common: read-only facts, the newest View, a few
// counters, and the channels between them. Made before the lanes start, gone after they have
// stopped.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/function.h"
#include "env/channel.h"
#include "env/file.h"
#include "env/lane.h"
#include "member/config.h"
#include "member/held_views.h"
#include "member/messages.h"
#include "member/metrics.h"
#include "member/view.h"
#include "raft/types.h"
#include "store/store.h"

namespace keelson::raft {
class Node;
}

namespace keelson::member {

class Applier;
class Front;
class Peers;
class StoreKeeper;

struct Identity {
  membership::MemberId member_id = 0;
  membership::ClusterId cluster_id = 0;
};

// Read by any lane, each number for itself; written by the lane named.
struct Progress {
  std::atomic<raft::Index> committed{0};          // raft
  std::atomic<raft::Index> applied{0};            // apply
  std::atomic<raft::Term> term{0};                // raft
  std::atomic<raft::NodeId> leader{raft::kNone};  // raft
  std::atomic<raft::Term> leading_term{0};        // raft: in which this member led last
  std::atomic<bool> learner{false};               // apply: this member is one
  // Leading; 0: as many as there are (revoke_pace.h). io[0], and raft.
  std::atomic<std::uint32_t> revokes_per_second{1000};
  std::atomic<std::uint64_t> revokes_proposed{0};  // raft: of leases that have expired
  std::atomic<bool> fatal{false};                  // whoever found durability in doubt
};

struct Shared {
  Config config;
  Identity identity;
  env::Clock* clock = nullptr;
  env::FileSystem* files = nullptr;
  ViewCell views;
  Progress progress;
  OldestViews oldest_views;
  Metrics metrics;

  // Channels, made at wiring.
  std::unique_ptr<env::Channel<FrontRequest>> to_raft;
  std::unique_ptr<env::Channel<RaftEvent>> to_raft_events;
  std::vector<std::unique_ptr<Front>> fronts;  // by number
  std::vector<env::Lane*> workers;
  env::Lane* transfer = nullptr;  // none: a worker
  Applier* applier = nullptr;
  Peers* peers = nullptr;
  // Since when messages to or from that member get through; nullopt if they do not. From any lane;
  // set before the lanes run, where there are others.
  std::function<std::optional<base::TimePoint>(raft::NodeId)> active_since;
  env::Lane* log_lane = nullptr;
  env::Lane* apply_lane = nullptr;
  env::Lane* store_lane = nullptr;
  StoreKeeper* store_keeper = nullptr;
  store::Store& store();  // on the store lane
  std::atomic<std::uint32_t> next_worker{0};

  // Told of each entry just before it is applied, on the apply lane: for simulation, whose checkers
  // follow the log. Set before the lanes run.
  base::Function<void(const raft::Entry&)> on_apply;
  // Shown the consensus core after each turn of the raft lane, likewise: for the watcher of its
  // invariants (raft/invariants.h).
  std::function<void(const raft::Node&)> on_raft;
  // Told of what it sends to others, just before it leaves, likewise; not of snapshots.
  std::function<void(const raft::Message&)> on_send;

  // This member was removed from its cluster: it is to end, and its data is of no use any more.
  // From any lane, any number of times.
  void removed();
  base::Function<void()> on_removed;  // runs once, on io[0]. Set before the lanes run.
  std::atomic<bool> is_removed{false};

  env::Lane& any_worker() {
    return *workers[next_worker.fetch_add(1, std::memory_order_relaxed) % workers.size()];
  }
  // Of what goes to members and clients as a file: a lane that nothing else waits for.
  env::Lane& transfer_lane() { return transfer != nullptr ? *transfer : any_worker(); }
};

// Durability is in doubt (a write or sync failed, or a record of ours cannot be): says why and
// stops the process, without another attempt.
[[noreturn]] void stop_process(std::string_view why);
// What ends the process instead of _Exit where many live in one (simulation). Must not return.
// Set before any lane runs; nullptr: _Exit again.
using StopHandler = void (*)(std::string_view why);
void set_stop_handler(StopHandler handler);

}  // namespace keelson::member
