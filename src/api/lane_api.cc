#include "api/lane_api.h"

#include "api/cluster.h"
#include "api/health.h"
#include "api/kv.h"
#include "api/lease.h"
#include "api/maintenance.h"
#include "api/missing.h"

namespace keelson::api {

LaneApi::LaneApi(member::Front& front, GrpcMetrics& metrics, const http::ServerOptions& options)
    : context_{.front = front, .metrics = metrics}, endpoints_(context_) {
  add_kv(router_, context_);
  add_lease(router_, context_);
  add_cluster(router_, context_);
  add_maintenance(router_, context_);
  add_health(router_, context_);
  add_missing_services(router_, context_);
  server_ = std::make_unique<http::Server>(front.lane(), options, &router_, &endpoints_);
}

LaneApi::~LaneApi() = default;

}  // namespace keelson::api
