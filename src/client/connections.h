// Connections: one to each endpoint, dialled again whenever it is gone, and whose turn it is.
//
//   Idle --wanted--> Dialing --open--> Ready --unusable--> Idle
//                       \--failed--> Backoff --due--> Dialing
//
// All endpoints are dialled as soon as a connection is wanted, so that another is there when one
// goes; calls take them in turn. The waiting time after a failed dial doubles, with jitter, up to
// kBackoffMax, and a connection that came to be ends it. A connection that takes no new calls but
// has some under way (GOAWAY) is kept aside until they have ended.
//
// Invariants   K1  at most one dial or usable connection per endpoint
//              K2  on_ready is told in a job of its own, once per connection that came to be
// Belongs to one lane.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/function.h"
#include "base/random.h"
#include "client/endpoint.h"
#include "client/options.h"
#include "env/lane.h"
#include "env/stream.h"
#include "http/grpc_client.h"

namespace keelson::client {

class Connections {
 public:
  static constexpr base::Duration kBackoffMin = base::Milliseconds(100);
  static constexpr base::Duration kBackoffMax = base::Seconds(3);
  static constexpr base::Duration kSweepPause = base::Seconds(1);

  Connections(env::Lane& lane, env::Network& network, const Options& options,
              base::Function<void()> on_ready);
  // The calls over them have gone.
  ~Connections();
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  struct Picked {
    http::GrpcClient* client;
    const Endpoint* endpoint;
  };
  // The next one in turn; nullopt if there is none now: then all that can be dialled are being.
  std::optional<Picked> pick();
  // A call has ended: what is kept aside may have become free.
  void on_call_end();
  // Why the last dial that failed did; empty if none has.
  const std::string& last_error() const { return last_error_; }
  std::size_t endpoint_count() const { return slots_.size(); }

 private:
  struct Slot {
    Endpoint endpoint;
    std::unique_ptr<http::GrpcClient> client;  // Ready
    bool dialing = false;
    base::Duration backoff = base::Duration::zero();  // the next one
    env::TimerId timer = 0;                           // Backoff
  };

  void dial_all();
  void dial(Slot& slot);
  void on_dialled(Slot& slot, base::Result<std::unique_ptr<env::Stream>> dialled);
  void on_unusable(Slot& slot);
  void back_off(Slot& slot);
  void sweep();

  env::Lane& lane_;
  env::Network& network_;
  const Options& options_;
  base::Function<void()> on_ready_;
  base::Random random_;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::size_t next_ = 0;                                     // slot whose turn it is
  std::vector<std::unique_ptr<http::GrpcClient>> retiring_;  // take no new calls
  bool sweep_wanted_ = false;
  env::TimerId sweep_timer_ = 0;
  std::string last_error_;
  std::shared_ptr<int> alive_ = std::make_shared<int>();  // for jobs that outlive this
};

}  // namespace keelson::client
