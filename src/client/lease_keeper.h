// LeaseKeeper: keeps leases alive over one LeaseKeepAlive stream, which is opened again when it
// breaks.
//
// Each lease is renewed when a third of its TTL has passed since it was last. It has ended when the
// server says so (TTL 0), or when its TTL, counted from the last answer, has passed without another
// one: whoever holds something by it must not go on.
//
//   keep() --> Asked --answer, ttl > 0--> Held --a third of ttl--> Asked
//                \ answer, ttl <= 0 / deadline passed --> on_end
//
// Belongs to the client's lane. Leases are numbered by etcd's ids; each is kept once: CHECKed. A
// handler may drop and keep leases, but not destroy the LeaseKeeper. The LeaseKeeper goes before
// the Client.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/containers.h"
#include "client/client.h"
#include "proto/rpc.pb.h"

namespace keelson::client {

class LeaseHandler {
 public:
  virtual ~LeaseHandler() = default;
  virtual void on_renewed(const etcdserverpb::LeaseKeepAliveResponse& response) = 0;
  // OK: expired or revoked. Else why the stream ended for good.
  virtual void on_end(http::Status status) = 0;
};

class LeaseKeeper {
 public:
  static constexpr base::Duration kPause = base::Milliseconds(500);  // before a new stream
  // A lease that has never been answered for is given up after the client's dial timeout and this.
  static constexpr base::Duration kFirstAnswerMax = base::Seconds(1);

  explicit LeaseKeeper(Client& client);
  ~LeaseKeeper();
  LeaseKeeper(const LeaseKeeper&) = delete;
  LeaseKeeper& operator=(const LeaseKeeper&) = delete;

  // `handler` outlives the keeping.
  void keep(std::int64_t id, LeaseHandler& handler);
  // Silently; does nothing for one that is not kept. The lease itself lives on until its end.
  void drop(std::int64_t id);

 private:
  class StreamHandler;
  struct Kept {
    LeaseHandler* handler;
    base::TimePoint due;       // of the next renewal
    base::TimePoint deadline;  // of the answer
  };

  void open();
  void turn();
  void arm();
  void on_message(std::string_view bytes);
  void on_stream_end(http::Status status);
  void end(std::int64_t id, http::Status status);

  Client& client_;
  std::unique_ptr<StreamHandler> stream_handler_;
  std::unique_ptr<http::ClientCall> stream_;
  base::OrderedMap<std::int64_t, Kept> leases_;
  base::TimePoint open_after_;  // no new stream before
  env::TimerId timer_ = 0;
};

// Renews a lease once; kNotFound, "etcdserver: requested lease not found", for one that is gone.
std::unique_ptr<Call> keep_alive_once(
    Client& client, std::int64_t id, CallOptions options,
    base::Function<void(base::Result<etcdserverpb::LeaseKeepAliveResponse, http::Status>)> done);

}  // namespace keelson::client
