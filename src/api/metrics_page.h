// /metrics: everything this member counts, as Prometheus text (gzip if asked for). operations.md 6.
//
// Numbers counted where things happen lie in the registry; the rest is gathered from the newest
// View and the cores' Stats when somebody asks (collector.h). Made by a worker: there are some two
// thousand lines.
#pragma once

#include <memory>

#include "http/http1.h"
#include "member/front.h"

namespace keelson::api {

// The handler of one request. `front` outlives it.
std::unique_ptr<http::RequestHandler> make_metrics_page(member::Front& front);

}  // namespace keelson::api
