// Member: one server of the cluster, put together from its lanes.
//
//   io[i]   Front (and whatever api/ builds on it), io[0] Peers too      raft    RaftDriver
//   log     LogWriter      apply   Applier              store   StoreKeeper     worker[i]  anything
//   that blocks
//
// Which lanes share a thread is the caller's table and nothing here depends on it.
//
//   make (boots, may block) -> start -> ready -> stop -> stopped -> lanes joined -> destroyed
#pragma once

#include <memory>
#include <vector>

#include "base/function.h"
#include "base/result.h"
#include "env/file.h"
#include "env/lane.h"
#include "env/stream.h"
#include "member/boot.h"
#include "member/config.h"
#include "member/front.h"

namespace keelson::member {

class RaftDriver;
class LogWriter;
class Applier;
class StoreKeeper;
class Publisher;
class Compactor;
class CorruptionChecker;
class Handover;
class Peers;

struct Lanes {
  std::vector<env::Lane*> io;
  env::Lane* raft = nullptr;
  env::Lane* log = nullptr;
  env::Lane* apply = nullptr;
  env::Lane* store = nullptr;
  std::vector<env::Lane*> workers;
  env::Lane* transfer = nullptr;  // of db files to members and clients; none: a worker
};

class Member {
 public:
  // Boots from the data directory. `files`, `clock`, `network` (on which the other members are
  // reached) and the lanes outlive the member. `chance`
  // seeds ids and election timeouts. Before the lanes run, or from none of them.
  static base::Result<std::unique_ptr<Member>, BootError> make(Config config,
                                                               env::FileSystem& files,
                                                               env::Clock& clock,
                                                               env::Network& network, Lanes lanes,
                                                               std::uint64_t chance);
  ~Member();

  // Begins to work; from any thread, once. `on_ready` runs on io[0] when the member has published
  // itself; `on_removed` when it was removed from its cluster: it should be stopped then.
  void start(base::Job on_ready, base::Job on_removed = {});
  // Ends: hands on the leadership, if it has it and there is somebody, then what is outstanding is
  // answered, what is durable stays so, a last checkpoint is made. `done` runs on the store lane.
  // From any thread, once; calls of services must be over.
  void stop(base::Job done);

  Front& front(std::size_t lane) { return *shared_.fronts[lane]; }
  Shared& shared() { return shared_; }
  const Config& config() const { return shared_.config; }
  const Identity& identity() const { return shared_.identity; }

 private:
  explicit Member(Lanes lanes);
  void stop_lanes(base::Job done);
  void wire(Booted booted, env::FileSystem& files, env::Network& network, std::uint64_t chance);

  const Lanes lanes_;
  Shared shared_;
  std::unique_ptr<RaftDriver> raft_;
  std::unique_ptr<LogWriter> log_;
  std::unique_ptr<Applier> applier_;
  std::unique_ptr<StoreKeeper> store_;
  std::unique_ptr<env::Channel<raft::Message>> from_peers_;
  std::unique_ptr<env::Channel<raft::Message>> proposals_from_peers_;
  std::unique_ptr<Peers> peers_;
  std::unique_ptr<Handover> handover_;
  std::unique_ptr<Publisher> publisher_;
  std::unique_ptr<Compactor> compactor_;
  std::unique_ptr<CorruptionChecker> corruption_checker_;
};

}  // namespace keelson::member
