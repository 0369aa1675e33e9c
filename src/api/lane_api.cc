#include "api/lane_api.h"

#include <algorithm>

#include "api/cluster.h"
#include "api/health.h"
#include "api/kv.h"
#include "api/lease.h"
#include "api/maintenance.h"
#include "api/missing.h"
#include "api/watch.h"

namespace keelson::api {
namespace {

constexpr std::size_t kSharedRunBytesMax = std::size_t{24} << 20;  // of all lanes together

}  // namespace

LaneApi::LaneApi(member::Front& front, GrpcMetrics& metrics, const http::ServerOptions& options)
    : leader_monitor_(front),
      shared_runs_(kSharedRunBytesMax / std::max<std::size_t>(front.shared().fronts.size(), 1)),
      run_pool_(front.config().run_bytes_max /
                std::max<std::size_t>(front.shared().fronts.size(), 1)),
      gathered_(front.config().gathered_bytes_max /
                std::max<std::size_t>(front.shared().fronts.size(), 1)),
      context_{.front = front,
               .metrics = metrics,
               .leader_monitor = leader_monitor_,
               .shared_runs = shared_runs_,
               .run_pool = run_pool_,
               .gathered = gathered_},
      watches_(front),
      endpoints_(front, metrics, HttpPort::kClient) {
  add_kv(router_, context_);
  add_watch(router_, context_, watches_);
  add_lease(router_, context_);
  add_cluster(router_, context_);
  add_maintenance(router_, context_);
  add_health(router_, context_);
  add_missing_services(router_, context_);
  server_ = std::make_unique<http::Server>(front.lane(), options, &router_, &endpoints_);
  watches_.measure(server_->stats());
}

LaneApi::~LaneApi() = default;

}  // namespace keelson::api
