// Server: a member and its ports, from configuration to the last byte on disk.
//
//   bind -> boot -> run -> ready -> (stop) -> over
//
//   bind   all ports, before the data directory is touched: a port in use ends the start with
//          nothing changed. What connects early waits, accepted and unread, for `ready`.
//   boot   the member from its data directory; may block.
//   ready  the member has published itself: client connections are read.
//   stop   clients are told and may finish what they began, then the member ends: what is durable
//          stays so and a last checkpoint is made. operations.md 8.1.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/lane_api.h"
#include "base/function.h"
#include "base/result.h"
#include "cmd/server/process_metrics.h"
#include "cmd/server/server_config.h"
#include "env/posix/runtime.h"
#include "member/member.h"

namespace keelson::cmd {

class Server {
 public:
  // Binds and boots. The error is for the log. The runtime outlives the server and has not started.
  // `initialized`: the data directory holds a member already.
  static base::Result<std::unique_ptr<Server>, std::string> make(ServerConfig config,
                                                                 bool initialized, unsigned cores,
                                                                 env::posix::Runtime& runtime,
                                                                 member::Lanes lanes);
  ~Server();  // after the runtime has stopped
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Begins to work once the runtime runs. `on_ready` runs on io[0] when clients are served,
  // `on_removed` there if the cluster has removed this member: the server is to be stopped then.
  void start(base::Job on_ready, base::Job on_removed);
  // On io[0], once. `done` runs on a lane.
  void stop(base::Job done);

  // Says that it has ended; after the runtime has stopped.
  void log_closed() const;

 private:
  class IoLane;
  enum class Port { kClient, kPeer, kMetrics };

  Server(ServerConfig config, env::posix::Runtime& runtime, member::Lanes lanes);
  base::Result<void, std::string> bind_peers();
  base::Result<void, std::string> bind_clients();
  base::Result<void, std::string> bind_metrics();
  base::Result<void, std::string> bind(const membership::Url& url, Port port);
  base::Result<void, std::string> boot(bool initialized);
  base::Result<void, std::string> check_initially();
  void log_ready() const;
  IoLane& lane_of(env::Stream& stream);
  // Runs `work` on every io lane, then `done` on one of them.
  void on_every_lane(std::function<void(IoLane&, base::Job)> work, base::Job done);

  const ServerConfig config_;
  env::posix::Runtime& runtime_;
  const member::Lanes lanes_;
  std::vector<std::unique_ptr<env::Listener>> client_listeners_;
  std::vector<std::unique_ptr<env::Listener>> other_listeners_;  // peers', metrics'
  const ProcessMetrics process_metrics_;
  std::unique_ptr<member::Member> member_;
  std::unique_ptr<api::GrpcMetrics> metrics_;
  std::vector<std::unique_ptr<IoLane>> io_;
};

}  // namespace keelson::cmd
