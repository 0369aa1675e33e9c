#include "api/http_endpoints.h"

#include <fmt/format.h>

#include "api/metrics_page.h"
#include "api/probes.h"

namespace keelson::api {
namespace {

std::unique_ptr<http::RequestHandler> refuse_method() {
  return http::make_simple_handler(
      [](const http::Request&) { return http::method_not_allowed_response("GET"); });
}

}  // namespace

HttpEndpoints::HttpEndpoints(member::Front& front, const GrpcMetrics& metrics, HttpPort port)
    : front_(front), metrics_(metrics), port_(port) {
  show_probe_metrics(*front.shared().metrics.registry);
}

http::Route HttpEndpoints::route(const http::Request& head) {
  if (head.path == "/metrics")
    return {.handler = make_metrics_page(front_, metrics_)};  // by any method
  const bool version = port_ == HttpPort::kClient && head.path == "/version";
  if (!version && !is_probe(head.path)) return {};
  if (head.method != "GET") return {.handler = refuse_method()};
  if (!version) return {.handler = make_probe(front_, head)};
  return {.handler = http::make_simple_handler(
              [this](const http::Request&) { return version_response(*front_.view()); })};
}

http::Response version_response(const member::View& view) {
  const auto& cluster = view.roster->version;
  // The schema of the store follows the cluster's version at once.
  return {
      .headers = {{"Content-Type", "application/json"}},
      .body = fmt::format(R"({{"etcdserver":"{}","etcdcluster":"{}","storage":"{}"}})",
                          member::kServerVersion.text(), cluster ? cluster->text() : "not_decided",
                          cluster ? cluster->text() : "unknown")};
}

}  // namespace keelson::api
