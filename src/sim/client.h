// Client: one gRPC client of one server, over the simulated network: a connection that it makes
// again when it is lost, and a few calls at a time on it. It asks what its workload says until its
// quota is used up, and tells the checker of each question and answer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "env/simulated/world.h"
#include "http/grpc_client.h"
#include "sim/checker.h"
#include "sim/workload.h"

namespace keelson::sim {

class Client {
 public:
  struct Options {
    std::uint64_t calls = 100;         // the quota
    std::size_t parallel = 1;          // calls at a time
    std::int32_t window_bytes = 4096;  // small: a long answer waits for its reader
    base::Duration think_max = base::Milliseconds(30);
    base::Duration deadline = base::Seconds(20);
  };
  Client(env::simulated::World& world, std::string name, std::string server, Checker& checker,
         Workload& workload, Options options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void start();
  // Asks this, besides its quota.
  void ask(Request request);
  // Asks another server from now on, once what is open has ended.
  void move_to(std::string server);
  const std::string& server() const { return server_; }
  // Nothing is open and nothing left to ask.
  bool idle() const { return calls_.empty() && extra_.empty() && options_.calls == asked_; }
  // Asks nothing more of its quota.
  void retire() { options_.calls = asked_; }

 private:
  struct CallState;

  void step();
  void step_later(base::Duration delay);
  void connect();
  void begin(Request request);
  void ended(CallState& call, http::CallEnd end);

  env::simulated::World& world_;
  env::Lane& lane_;
  env::Network& network_;
  const std::string name_;
  std::string server_;
  Checker& checker_;
  Workload& workload_;
  Options options_;
  base::Random random_;

  std::unique_ptr<http::GrpcClient> connection_;
  bool connecting_ = false;
  bool moved_ = false;  // the connection is to a former server
  std::uint64_t asked_ = 0;
  std::vector<Request> extra_;
  std::vector<std::unique_ptr<CallState>> calls_;  // open ones
};

}  // namespace keelson::sim
