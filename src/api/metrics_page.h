// /metrics: everything this member counts, as Prometheus text (gzip if asked for). operations.md 6.
//
// Numbers counted where things happen lie in the registry, or with who counts them per lane; the
// rest is gathered from the newest View and the cores' Stats when somebody asks (collector.h). Made
// by a worker: there are some two thousand lines.
#pragma once

#include <memory>

#include "api/grpc_metrics.h"
#include "http/http1.h"
#include "member/front.h"

namespace keelson::api {

// The handler of one request. `front` and `calls` outlive it.
std::unique_ptr<http::RequestHandler> make_metrics_page(member::Front& front,
                                                        const GrpcMetrics& calls);

}  // namespace keelson::api
