// Metrics of watching, in etcd's names. operations.md 6. Made by each lane over the member's one
// registry, which gives them all the same counters.
#pragma once

#include <prometheus/registry.h>

#include "member/metrics.h"

namespace keelson::api {

struct WatchMetrics {
  explicit WatchMetrics(prometheus::Registry& registry);

  member::Gauge streams;
  member::Gauge watchers;
  member::Gauge slow_watchers;
  member::Gauge pending_events;
  member::Counter events;
  // What one turn of telling took, all of it and for each event told.
  member::Histogram send_seconds;
  member::Histogram send_seconds_per_event;
  member::Histogram control_seconds;   // one request
  member::Histogram progress_seconds;  // one tick
  member::Counter receive_failures;
};

}  // namespace keelson::api
