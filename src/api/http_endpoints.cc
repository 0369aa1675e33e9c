#include "api/http_endpoints.h"

#include <fmt/format.h>

namespace keelson::api {

http::Route HttpEndpoints::route(const http::Request& head) {
  if (head.path != "/version") return {};
  return {.handler = http::make_simple_handler([this](const http::Request&) {
            const auto& version = context_.front.view()->roster->version;
            return http::Response{
                .headers = {{"Content-Type", "application/json"}},
                .body = fmt::format(R"({{"etcdserver":"{}","etcdcluster":"{}","storage":"{}"}})",
                                    member::kServerVersion.text(),
                                    version ? version->text() : "not_decided",
                                    version ? version->text() : "unknown")};
          })};
}

}  // namespace keelson::api
