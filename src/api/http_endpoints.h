// The HTTP/1.1 endpoints of the client port and of --listen-metrics-urls. operations.md 3.2, 3.3.
//
//   /health                       probes.h
//   /livez, /readyz, /<them>/<check>
//   /version                      client port only
//   /metrics                      metrics_page.h
//
// Anything else is 404. One per io lane; the answers are those of its Front's member.
#pragma once

#include "api/grpc_metrics.h"
#include "http/http1.h"
#include "member/front.h"

namespace keelson::api {

enum class HttpPort { kClient, kMetrics };

class HttpEndpoints : public http::RequestRouter {
 public:
  // `front` and `metrics` outlive it.
  HttpEndpoints(member::Front& front, const GrpcMetrics& metrics, HttpPort port);
  http::Route route(const http::Request& head) override;

 private:
  member::Front& front_;
  const GrpcMetrics& metrics_;
  const HttpPort port_;
};

// {"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}, as tools and peers ask for it.
http::Response version_response(const member::View& view);

}  // namespace keelson::api
