// The HTTP/1.1 endpoints of the client port: /health, /livez, /readyz, /version, /metrics.
// operations.md 3.
#pragma once

#include "api/context.h"
#include "http/http1.h"

namespace keelson::api {

class HttpEndpoints : public http::RequestRouter {
 public:
  explicit HttpEndpoints(Context& context) : context_(context) {}
  http::Route route(const http::Request& head) override;

 private:
  Context& context_;
};

}  // namespace keelson::api
