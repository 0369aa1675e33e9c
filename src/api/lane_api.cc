#include "api/lane_api.h"

#include "api/cluster.h"
#include "api/health.h"
#include "api/kv.h"
#include "api/lease.h"
#include "api/maintenance.h"
#include "api/missing.h"
#include "api/watch.h"

namespace keelson::api {

LaneApi::LaneApi(member::Front& front, GrpcMetrics& metrics, const http::ServerOptions& options)
    : leader_monitor_(front),
      context_{.front = front, .metrics = metrics, .leader_monitor = leader_monitor_},
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
