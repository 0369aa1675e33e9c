// GrpcMetrics: calls by method and code, and the gate every call passes before its method is asked.
// api.md 1.2, operations.md 6 (grpc_server_*, etcd_server_client_requests_total,
// etcd_network_client_grpc_*).
//
// One per member; its counters are shared by all io lanes.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/registry.h>

#include <memory>
#include <string>
#include <string_view>

#include "http/grpc.h"
#include "member/front.h"

namespace keelson::api {

class GrpcMetrics {
 public:
  explicit GrpcMetrics(prometheus::Registry& registry);

  // A factory that lets a call through the gate, then asks `make`, and counts the call, its
  // messages and its end. Creates the method's families at zero.
  http::HandlerFactory counted(std::string_view service, std::string_view name,
                               http::MethodKind kind, http::HandlerFactory make,
                               member::Front& front);

 private:
  struct MethodCounters;
  class CountedCall;
  class CountedHandler;

  prometheus::Family<prometheus::Counter>& started_;
  prometheus::Family<prometheus::Counter>& handled_;
  prometheus::Family<prometheus::Counter>& received_;
  prometheus::Family<prometheus::Counter>& sent_;
  prometheus::Family<prometheus::Counter>& client_requests_;
  prometheus::Counter& received_bytes_;
  prometheus::Counter& sent_bytes_;
};

}  // namespace keelson::api
