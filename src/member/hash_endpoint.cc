#include "member/hash_endpoint.h"

#include <optional>

#include "env/log.h"
#include "member/keys_hasher.h"
#include "member/peer_hashes.h"
#include "peer/protocol.h"

namespace keelson::member {
namespace {

constexpr std::size_t kRequestBytesMax = std::size_t{64} << 10;

class HashRequest final : public http::RequestHandler {
 public:
  explicit HashRequest(Front& front) : front_(front) {}

  void on_request(http::Exchange& exchange) override {
    exchange_ = &exchange;
    const http::Request& request = exchange.request();
    if (request.method != "GET") return answer(http::method_not_allowed_response("GET"));
    const auto cluster = request.headers.find(peer::kClusterId);
    if (cluster && !cluster->empty() && *cluster != cluster_id()) {
      return answer(http::text_response(412, peer::kClusterIdMismatch));
    }
    const auto revision = parse_hash_request(request.body);
    if (!revision) {
      env::log_warn("failed to unmarshal request", {{"remote", exchange.peer().address}});
      return answer(http::text_response(400, "error unmarshalling request"));
    }
    // Members have one time limit for what they ask each other.
    hasher_.emplace(
        front_, *revision,
        [this, revision = *revision](base::Result<KeysHash, HashFailure> hash) {
          hash ? tell(*hash) : refuse(revision, describe(hash.error()));
        },
        front_.config().request_timeout());
  }
  void on_cancelled() override { hasher_.reset(); }

 private:
  std::string cluster_id() const { return membership::id_text(front_.identity().cluster_id); }
  void answer(http::Response response) { exchange_->respond(std::move(response)); }
  void refuse(std::int64_t revision, std::string_view why) {
    env::log_warn("failed to get hashKV", {{"requested-revision", revision}, {"error", why}});
    answer(http::text_response(400, why));
  }
  void tell(const KeysHash& hash) {
    answer({.headers = {{"Content-Type", "application/json"},
                        {std::string(peer::kClusterId), cluster_id()}},
            .body = hash_json({.revision = hash.view->keys.revision,
                               .hash = hash.hash,
                               .compact_revision = hash.compact_revision,
                               .hash_revision = hash.revision})});
  }

  Front& front_;
  http::Exchange* exchange_ = nullptr;
  std::optional<KeysHasher> hasher_;
};

}  // namespace

http::Route route_hash(Front& front, const http::Request& head) {
  if (head.path != kHashPath) return {};
  return {.handler = std::make_unique<HashRequest>(front), .body_bytes_max = kRequestBytesMax};
}

}  // namespace keelson::member
