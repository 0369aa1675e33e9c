#include "api/lane_api.h"

#include "api/kv.h"

namespace keelson::api {

LaneApi::LaneApi(member::Front& front, GrpcMetrics& metrics, const http::ServerOptions& options)
    : context_{.front = front, .metrics = metrics}, endpoints_(context_) {
  add_kv(router_, context_);
  server_ = std::make_unique<http::Server>(front.lane(), options, &router_, &endpoints_);
}

LaneApi::~LaneApi() = default;

}  // namespace keelson::api
