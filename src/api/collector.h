// Collector: the metrics that are not counted but read, when somebody scrapes: from the newest
// View, the cores' Stats and the configuration. operations.md 6.
//
// Names, types and labels are etcd's (gauges named _total too). What this server has no such thing
// of, but etcd's dashboards and presence tests ask for, is there and stays 0.
#pragma once

#include <prometheus/metric_family.h>

#include <vector>

#include "member/shared.h"
#include "member/view.h"
#include "store/store.h"

namespace keelson::api {

struct Sources {
  const member::Shared& shared;  // its atomics and constants only
  const member::View& view;
  const store::Stats& store;
};

// Any lane.
std::vector<prometheus::MetricFamily> gather(const Sources& sources);

}  // namespace keelson::api
