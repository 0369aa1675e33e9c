// Watcher: any number of watches over one Watch stream, which is opened again when it breaks.
//
//   Idle --a watch--> Open --stream ends, Unavailable or Internal--> Pausing --due--> Open
//     ^                |  \--stream ends otherwise--> every watch has ended
//     \---no watch-----/
//
// After a break every watch is created again from the revision after the last it has told of, so
// its events have no gap and no duplicate (what the server says of a revision comes in one
// response, or in fragments, which are put together first). What was compacted meanwhile ends the
// watch.
//
//   created at P --> next = P + 1;  events up to R --> next = R + 1;  progress at R --> next = R +
//   1
//
// Invariants   W1  on_created comes first and once; on_end last and once, and not after the handle
//                  is destroyed
//              W2  no handler is called from inside a call of this class
//
// Belongs to the client's lane. A handler may destroy any Watch, and begin one, but not destroy the
// Watcher. Watches go before the Watcher: CHECKed; the Watcher before the Client.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/containers.h"
#include "client/client.h"
#include "proto/rpc.pb.h"

namespace keelson::client {

struct WatchEnd {
  http::Status status;
  // The server's last word, if it cancelled the watch; compact_revision says from where on one can
  // watch again.
  etcdserverpb::WatchResponse response;
};

class WatchHandler {
 public:
  virtual ~WatchHandler() = default;
  virtual void on_created(const etcdserverpb::WatchResponse& response) {
    static_cast<void>(response);
  }
  // Events of one or more whole revisions; none: progress, all up to header.revision is told.
  virtual void on_response(etcdserverpb::WatchResponse response) = 0;
  virtual void on_end(WatchEnd end) = 0;
};

// One watch. Destroying it cancels it, silently.
class Watch {
 public:
  virtual ~Watch() = default;
  // Where it would start again.
  virtual std::int64_t next_revision() const = 0;
};

struct WatcherOptions {
  // The stream ends, and is opened again elsewhere, when its member has lost the leader.
  bool require_leader = true;
  base::Duration pause_min = base::Milliseconds(10);
  base::Duration pause_max = base::Milliseconds(500);
};

class Watcher {
 public:
  explicit Watcher(Client& client, WatcherOptions options = {});
  ~Watcher();
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;

  // `request` as etcd has it, watch_id apart: the server gives it. `handler` outlives the Watch.
  std::unique_ptr<Watch> watch(etcdserverpb::WatchCreateRequest request, WatchHandler& handler);
  // The server tells all watches how far they are, as soon as that is true of all.
  void request_progress();

 private:
  class One;
  class StreamHandler;

  void open();
  void create(One& one);
  void send(const etcdserverpb::WatchRequest& request);
  void on_message(std::string_view bytes);
  void on_created(etcdserverpb::WatchResponse response);
  void deliver(etcdserverpb::WatchResponse response);
  void on_end(http::Status status);
  void end_all(const http::Status& status);
  void remove(One& one);

  Client& client_;
  const WatcherOptions options_;
  std::unique_ptr<StreamHandler> stream_handler_;
  std::unique_ptr<http::ClientCall> stream_;
  base::OrderedMap<std::uint64_t, One*> watches_;  // by age
  std::uint64_t last_serial_ = 0;
  // Of this stream:
  std::deque<std::uint64_t> creating_;                // serials, in the order asked for
  base::HashMap<std::int64_t, std::uint64_t> by_id_;  // serial of a created watch
  base::Duration pause_;
  env::TimerId timer_ = 0;  // Pausing
};

}  // namespace keelson::client
