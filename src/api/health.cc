#include "api/health.h"

#include "proto/health.pb.h"

namespace keelson::api {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using grpc::health::v1::HealthListRequest;
using grpc::health::v1::HealthListResponse;

class CheckCall : public RequestHandler<HealthCheckRequest> {
 public:
  using RequestHandler::RequestHandler;

 private:
  void run(std::string_view) override {
    if (!request_.service().empty()) {
      return finish({http::StatusCode::kNotFound, "unknown service"});
    }
    HealthCheckResponse response;
    response.set_status(HealthCheckResponse::SERVING);
    answer(response);
  }
};

class ListCall : public RequestHandler<HealthListRequest> {
 public:
  using RequestHandler::RequestHandler;

 private:
  void run(std::string_view) override {
    HealthListResponse response;
    (*response.mutable_statuses())[""].set_status(HealthCheckResponse::SERVING);
    answer(response);
  }
};

// Tells the status once and stays: it does not change while the server runs.
class WatchCall : public RequestHandler<HealthCheckRequest> {
 public:
  using RequestHandler::RequestHandler;

 private:
  http::MethodKind kind() const override { return http::MethodKind::kServerStream; }
  void run(std::string_view) override {
    HealthCheckResponse response;
    response.set_status(request_.service().empty() ? HealthCheckResponse::SERVING
                                                   : HealthCheckResponse::SERVICE_UNKNOWN);
    call_.send(response.SerializeAsString());
  }
};

}  // namespace

void add_health(http::Router& router, Context& context) {
  constexpr std::string_view kService = "grpc.health.v1.Health";
  using enum http::MethodKind;
  add_method<CheckCall>(router, context, kService, "Check", kUnary);
  add_method<ListCall>(router, context, kService, "List", kUnary);
  add_method<WatchCall>(router, context, kService, "Watch", kServerStream);
}

}  // namespace keelson::api
