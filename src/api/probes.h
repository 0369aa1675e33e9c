// Probes: whether this member can do its work, for load balancers and supervisors.
// operations.md 3.2.
//
//   /health   alarms, then a leader, then a read; the first that fails is the reason (503)
//   /livez    serializable_read
//   /readyz   data_corruption, serializable_read, linearizable_read, non_learner
//
// The last two ask all their checks, or one by its name (/readyz/non_learner), and say which failed
// (503). They take as long as a read takes. NOSPACE is no matter to them: such a member serves
// reads.
#pragma once

#include <memory>
#include <string_view>

#include "http/http1.h"
#include "member/front.h"

namespace keelson::api {

// So that the counters of /health are there before its first call.
void show_probe_metrics(prometheus::Registry& registry);
bool is_probe(std::string_view path);
// The handler of a GET of such a path. `front` outlives it.
std::unique_ptr<http::RequestHandler> make_probe(member::Front& front, const http::Request& head);

}  // namespace keelson::api
