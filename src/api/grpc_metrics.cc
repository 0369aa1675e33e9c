#include "api/grpc_metrics.h"

#include <algorithm>
#include <utility>

#include "api/rpc_status.h"
#include "base/utf8.h"

namespace keelson::api {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;

std::string_view type_name(http::MethodKind kind) {
  switch (kind) {
    case http::MethodKind::kUnary:
      return "unary";
    case http::MethodKind::kServerStream:
      return "server_stream";
    case http::MethodKind::kBidiStream:
      return "bidi_stream";
  }
  CHECK(false);
}

constexpr std::size_t kVersionsCounted = 100;  // label values come from clients: bounded

MetricFamily family(const char* name, const char* help) {
  return {.name = name, .help = help, .type = prometheus::MetricType::Counter, .metric = {}};
}

ClientMetric::Label label(const char* name, std::string_view value) {
  ClientMetric::Label label;
  label.name = name;
  label.value = std::string(value);
  return label;
}

void add(MetricFamily& to, std::vector<ClientMetric::Label> labels, std::uint64_t value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  metric.counter.value = static_cast<double>(value);
  to.metric.push_back(std::move(metric));
}

// Over all lanes.
struct Sums {
  std::uint64_t started = 0, received = 0, sent = 0, received_bytes = 0, sent_bytes = 0;
  std::array<std::uint64_t, http::kStatusCodeCount> handled{};

  void add(const http::MethodStats& stats) {
    started += stats.started.value();
    received += stats.received.value();
    sent += stats.sent.value();
    received_bytes += stats.received_bytes.value();
    sent_bytes += stats.sent_bytes.value();
    for (std::size_t i = 0; i < handled.size(); i++) handled[i] += stats.handled[i].value();
  }
};

}  // namespace

// The clients of one lane by the API version they name; looked up with each call, so of the lane
// alone. What is counted is shared with the collector.
struct GrpcMetrics::LaneVersions {
  base::HashMap<std::string, std::shared_ptr<base::Counter>> counters;
};

base::Counter* GrpcMetrics::counter_of(LaneVersions& versions, std::string_view type,
                                       std::string_view version) {
  const auto it = versions.counters.find(version);
  if (it != versions.counters.end()) return it->second.get();
  if (versions.counters.size() >= kVersionsCounted) return nullptr;
  auto counter = std::make_shared<base::Counter>();
  {
    const std::scoped_lock lock(mutex_);
    versions_.push_back({std::string(type), std::string(version), counter});
  }
  return versions.counters.emplace(version, std::move(counter)).first->second.get();
}

http::HandlerFactory GrpcMetrics::gate(http::MethodKind kind, ForLearner for_learner,
                                       http::HandlerFactory make, member::Front& front) {
  auto versions = std::make_shared<LaneVersions>();
  const char* type = kind == http::MethodKind::kUnary ? "unary" : "stream";
  return [this, versions, type, for_learner, make = std::move(make),
          &front](http::Call& call) -> std::unique_ptr<http::CallHandler> {
    const auto refuse = [&](RequestErrc errc) -> std::unique_ptr<http::CallHandler> {
      call.finish(status_of(errc));
      return nullptr;
    };
    if (for_learner == ForLearner::kRefused && front.progress().learner.load()) {
      return refuse(RequestErrc::kNotForLearner);
    }
    const std::string_view version = call.metadata("client-api-version").value_or("unknown");
    if (!base::is_utf8(version)) return refuse(RequestErrc::kInvalidClientApiVersion);
    if (auto* counter = counter_of(*versions, type, version)) counter->add();
    if (call.metadata("hasleader") == "true" && front.progress().leader.load() == raft::kNone) {
      return refuse(RequestErrc::kNoLeader);
    }
    return make(call);
  };
}

void GrpcMetrics::watch(std::string_view service, std::string_view name, http::MethodKind kind,
                        std::shared_ptr<const http::MethodStats> stats) {
  const std::scoped_lock lock(mutex_);
  auto& method = methods_[{std::string(service), std::string(name)}];
  method.kind = kind;
  method.lanes.push_back(std::move(stats));
}

std::vector<MetricFamily> GrpcMetrics::Collect() const {
  auto started = family("grpc_server_started_total", "Calls started on the server.");
  auto handled = family("grpc_server_handled_total", "Calls ended on the server, by code.");
  auto received = family("grpc_server_msg_received_total", "Messages received on the server.");
  auto sent = family("grpc_server_msg_sent_total", "Messages sent by the server.");
  auto received_bytes = family("etcd_network_client_grpc_received_bytes_total",
                               "Payload bytes received from clients.");
  auto sent_bytes =
      family("etcd_network_client_grpc_sent_bytes_total", "Payload bytes sent to clients.");
  auto requests =
      family("etcd_server_client_requests_total", "Requests by type and client API version.");

  const std::scoped_lock lock(mutex_);
  std::uint64_t all_received = 0, all_sent = 0;
  for (const auto& [key, method] : methods_) {
    Sums sums;
    for (const auto& lane : method.lanes) sums.add(*lane);
    const std::vector<ClientMetric::Label> labels = {label("grpc_method", key.second),
                                                     label("grpc_service", key.first),
                                                     label("grpc_type", type_name(method.kind))};
    add(started, labels, sums.started);
    add(received, labels, sums.received);
    add(sent, labels, sums.sent);
    all_received += sums.received_bytes;
    all_sent += sums.sent_bytes;
    for (std::size_t code = 0; code < http::kStatusCodeCount; code++) {
      auto with_code = labels;
      with_code.insert(
          with_code.begin(),
          label("grpc_code", http::status_code_name(static_cast<http::StatusCode>(code))));
      add(handled, std::move(with_code), sums.handled[code]);
    }
  }
  add(received_bytes, {}, all_received);
  add(sent_bytes, {}, all_sent);
  std::map<std::pair<std::string, std::string>, std::uint64_t> by_version;
  for (const auto& one : versions_) by_version[{one.type, one.version}] += one.counter->value();
  for (const auto& [key, count] : by_version) {
    add(requests, {label("client_api_version", key.second), label("type", key.first)}, count);
  }
  return {std::move(started),        std::move(handled),    std::move(received), std::move(sent),
          std::move(received_bytes), std::move(sent_bytes), std::move(requests)};
}

}  // namespace keelson::api
