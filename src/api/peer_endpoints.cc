#include "api/peer_endpoints.h"

#include "api/context.h"
#include "api/http_endpoints.h"
#include "member/lease_endpoints.h"
#include "member/peers.h"
#include "membership/member.h"

namespace keelson::api {
namespace {

// Spelled as Go writes header names.
constexpr const char* kClusterIdField = "X-Etcd-Cluster-Id";

http::Response members_response(member::Front& front) {
  return {.headers = {{"Content-Type", "application/json"},
                      {kClusterIdField, membership::id_text(front.identity().cluster_id)}},
          .body = membership::members_json(front.view()->roster->members) + "\n"};
}

// A joining member asks it before it decides whether it fits.
class DowngradeEnabled : public http::RequestHandler {
 public:
  explicit DowngradeEnabled(member::Front& front) : front_(front), waiting_(front) {}

  void on_request(http::Exchange& exchange) override {
    waiting_ = front_.barrier([this, &exchange](auto view) {
      waiting_ = 0;
      exchange.respond(view ? answer((*view)->roster->downgrade.enabled)
                            : http::text_response(500, status_of(view.error()).message));
    });
  }

 private:
  http::Response answer(bool enabled) const {
    return {.headers = {{"Content-Type", "text/plain"},
                        {kClusterIdField, membership::id_text(front_.identity().cluster_id)}},
            .body = enabled ? "true" : "false"};
  }

  member::Front& front_;
  Waiting waiting_;
};

}  // namespace

http::Route PeerEndpoints::route(const http::Request& head) {
  const std::string_view path = head.path;
  if (path.starts_with("/raft")) return front_.shared().peers->transport().route(head);
  if (path.starts_with("/leases")) return member::route_leases(front_, head);
  const bool known = path == "/version" || path == "/members" || path == "/downgrade/enabled";
  if (!known) return {};
  if (head.method != "GET") {
    return {.handler = http::make_simple_handler(
                [](const http::Request&) { return http::method_not_allowed_response("GET"); })};
  }
  if (path == "/downgrade/enabled") return {.handler = std::make_unique<DowngradeEnabled>(front_)};
  return {.handler = http::make_simple_handler([this](const http::Request& request) {
            if (request.path == "/version") return version_response(*front_.view());
            return members_response(front_);
          })};
}

}  // namespace keelson::api
