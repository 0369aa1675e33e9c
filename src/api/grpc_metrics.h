// GrpcMetrics: calls by method and code, and the gate every call passes before its method is asked.
// api.md 1.2, operations.md 6 (grpc_server_*, etcd_server_client_requests_total,
// etcd_network_client_grpc_*).
//
// One per member. Lanes count for themselves (http::MethodStats, a counter per client version); the
// sums are made when Collect() is asked for them. What the gate refuses counts as a request of its
// client's version, but not among its method's calls: there etcd counts behind the gate too.
//
// Any thread may collect and register; gates run on their lanes.
#pragma once

#include <prometheus/collectable.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/counter.h"
#include "http/grpc.h"
#include "member/front.h"

namespace keelson::api {

// What a member that does not vote yet does with calls of a method.
enum class ForLearner : std::uint8_t { kRefused, kServed };

class GrpcMetrics : public prometheus::Collectable {
 public:
  // A factory for one lane that lets a call through the gate, then asks `make`.
  http::HandlerFactory gate(http::MethodKind kind, ForLearner for_learner,
                            http::HandlerFactory make, member::Front& front);

  // Has what one lane counts of a method among the sums.
  void watch(std::string_view service, std::string_view name, http::MethodKind kind,
             std::shared_ptr<const http::MethodStats> stats);

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  struct LaneVersions;
  struct Method {
    http::MethodKind kind = http::MethodKind::kUnary;
    std::vector<std::shared_ptr<const http::MethodStats>> lanes;
  };
  struct VersionCount {
    std::string type, version;
    std::shared_ptr<const base::Counter> counter;  // of one lane
  };

  // nullptr beyond the number of versions that are told apart: label values come from clients.
  base::Counter* counter_of(LaneVersions& versions, std::string_view type,
                            std::string_view version);

  mutable std::mutex mutex_;                                       // guards what follows
  std::map<std::pair<std::string, std::string>, Method> methods_;  // by service and name
  std::vector<VersionCount> versions_;
};

}  // namespace keelson::api
