#include "api/watch_metrics.h"

#include <string>

namespace keelson::api {
namespace {

prometheus::Gauge& gauge(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge()
      .Name(std::string("etcd_debugging_mvcc_") + name)
      .Help(help)
      .Register(registry)
      .Add({});
}

prometheus::Histogram& send_loop(prometheus::Registry& registry, const char* name,
                                 const char* help) {
  return prometheus::BuildHistogram()
      .Name(std::string("etcd_debugging_server_watch_send_loop_") + name)
      .Help(help)
      .Register(registry)
      .Add({}, member::exponential(0.001, 2, 14));
}

}  // namespace

WatchMetrics::WatchMetrics(prometheus::Registry& registry)
    : streams(gauge(registry, "watch_stream_total", "Open watch streams.")),
      watchers(gauge(registry, "watcher_total", "Watchers.")),
      slow_watchers(gauge(registry, "slow_watcher_total", "Watchers that are catching up.")),
      pending_events(gauge(registry, "pending_events_total", "Events not told to watchers yet.")),
      events(prometheus::BuildCounter()
                 .Name("etcd_debugging_mvcc_events_total")
                 .Help("Events told, to each watcher.")
                 .Register(registry)
                 .Add({})),
      send_seconds(send_loop(registry, "watch_stream_duration_seconds",
                             "Time it took to tell watchers of events.")),
      send_seconds_per_event(send_loop(registry, "watch_stream_duration_per_event_seconds",
                                       "Time it took to tell a watcher of an event.")),
      control_seconds(send_loop(registry, "control_stream_duration_seconds",
                                "Time it took to answer a request on a watch stream.")),
      progress_seconds(send_loop(registry, "progress_duration_seconds",
                                 "Time it took to notify a stream's watchers of progress.")),
      receive_failures(prometheus::BuildCounter()
                           .Name("etcd_network_server_stream_failures_total")
                           .Help("Streams that failed on the way.")
                           .Register(registry)
                           .Add({{"Type", "receive"}, {"API", "watch"}})) {}

}  // namespace keelson::api
