// LaneApi: everything clients can ask of one io lane: the gRPC services and the HTTP/1.1 endpoints
// over the lane's Front, and the connections that carry them.
#pragma once

#include <memory>

#include "api/context.h"
#include "api/http_endpoints.h"
#include "api/shared_runs.h"
#include "api/watch_lane.h"
#include "http/server.h"

namespace keelson::api {

class LaneApi {
 public:
  // `front` and `metrics` outlive it. Made before the lane runs.
  LaneApi(member::Front& front, GrpcMetrics& metrics, const http::ServerOptions& options);
  ~LaneApi();
  LaneApi(const LaneApi&) = delete;
  LaneApi& operator=(const LaneApi&) = delete;

  // A connection to a client port. On this lane.
  void accept(std::unique_ptr<env::Stream> stream) { server_->accept(std::move(stream)); }
  // Ends all calls, those still open after `patience` by force; `done` runs on this lane.
  void stop(base::Duration patience, base::Job done) { server_->stop(patience, std::move(done)); }
  // Takes the connections down. On this lane, after stop.
  void close() { server_.reset(); }

 private:
  LeaderMonitor leader_monitor_;
  SharedRuns shared_runs_;
  RunPool run_pool_;
  MemoryBudget gathered_;
  Context context_;
  WatchLane watches_;
  http::Router router_;
  HttpEndpoints endpoints_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace keelson::api
