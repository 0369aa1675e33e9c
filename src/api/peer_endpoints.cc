#include "api/peer_endpoints.h"

#include <fmt/format.h>

#include <charconv>

#include "api/context.h"
#include "api/http_endpoints.h"
#include "api/reconfiguration.h"
#include "member/hash_endpoint.h"
#include "member/lease_endpoints.h"
#include "member/peers.h"
#include "member/publisher.h"
#include "membership/cluster.h"
#include "membership/member.h"
#include "peer/protocol.h"

namespace keelson::api {
namespace {

http::Response members_response(member::Front& front) {
  return {.headers = {{"Content-Type", "application/json"},
                      {std::string(peer::kClusterId),
                       membership::id_text(front.identity().cluster_id)}},
          .body = membership::members_json(front.view()->roster->members) + "\n"};
}

// A joining member asks it before it decides whether it fits, and for the read alone before it
// asks for the members.
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
                        {std::string(peer::kClusterId),
                         membership::id_text(front_.identity().cluster_id)}},
            .body = enabled ? "true" : "false"};
  }

  member::Front& front_;
  Waiting waiting_;
};

// POST /members/promote/<decimal id>: another member passes on what only the leader may decide.
class PromoteMember : public http::RequestHandler {
 public:
  PromoteMember(member::Front& front, std::string id) : front_(front), id_(std::move(id)) {}

  void on_request(http::Exchange& exchange) override {
    if (exchange.request().method != "POST") {
      return exchange.respond(http::method_not_allowed_response("POST"));
    }
    std::uint64_t id = 0;
    const auto [end, errc] = std::from_chars(id_.data(), id_.data() + id_.size(), id);
    if (id_.empty() || errc != std::errc() || end != id_.data() + id_.size()) {
      return exchange.respond(
          http::text_response(404, fmt::format("member {} not found in cluster", id_)));
    }
    promotion_.emplace(front_, id, [this, &exchange](Promotion::Outcome outcome) {
      exchange.respond(outcome.status.code == http::StatusCode::kOk ? members_response(front_)
                                                                    : refusal(outcome));
    });
  }

 private:
  static http::Response refusal(const Promotion::Outcome& outcome) {
    const auto code = outcome.status.code;
    const int status = code == http::StatusCode::kNotFound             ? 404
                       : outcome.not_leader                            ? 500
                       : code == http::StatusCode::kFailedPrecondition ? 412
                       : code == http::StatusCode::kUnavailable        ? 408
                                                                       : 500;
    // A member of either kind looks for these words.
    std::string_view why = outcome.status.message;
    if (why == status_of(apply::Errc::kNotLearner).message) {
      why = membership::describe(membership::Errc::kNotLearner);
    } else if (code == http::StatusCode::kNotFound) {
      why = membership::describe(membership::Errc::kIdNotFound);
    }
    return http::text_response(status, std::string(why));
  }

  member::Front& front_;
  const std::string id_;
  std::optional<Promotion> promotion_;
};

}  // namespace

http::Route PeerEndpoints::route(const http::Request& head) {
  const std::string_view path = head.path;
  if (path.starts_with("/raft")) return front_.shared().peers->transport().route(head);
  if (path.starts_with("/leases")) return member::route_leases(front_, head);
  if (auto hash = member::route_hash(front_, head); hash.handler) return hash;
  constexpr std::string_view kPromote = "/members/promote/";
  if (path.starts_with(kPromote)) {
    return {.handler =
                std::make_unique<PromoteMember>(front_, std::string(path.substr(kPromote.size())))};
  }
  const bool known = path == "/version" || path == "/members" || path == "/downgrade/enabled";
  if (!known) return {};
  if (head.method != "GET") {
    return {.handler = http::make_simple_handler(
                [](const http::Request&) { return http::method_not_allowed_response("GET"); })};
  }
  if (path == "/downgrade/enabled") return {.handler = std::make_unique<DowngradeEnabled>(front_)};
  return {.handler = http::make_simple_handler([this](const http::Request& request) {
            if (request.path != "/version") return members_response(front_);
            http::Response response = version_response(*front_.view());
            response.headers.add(std::string(member::kServerField),
                                 std::string(member::kServerMark));
            return response;
          })};
}

}  // namespace keelson::api
