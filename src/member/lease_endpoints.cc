#include "member/lease_endpoints.h"

#include "proto/lease.pb.h"

namespace keelson::member {
namespace {

constexpr std::size_t kRequestBytesMax = std::size_t{64} << 10;

http::Response protobuf(std::string bytes) {
  return {.headers = {{"Content-Type", "application/protobuf"}}, .body = std::move(bytes)};
}

class LeaseRequest : public http::RequestHandler {
 public:
  explicit LeaseRequest(Front& front) : front_(front) {}
  ~LeaseRequest() override { front_.forget(ticket_); }

  void on_request(http::Exchange& exchange) final {
    exchange_ = &exchange;
    const std::string& body = exchange.request().body;
    if (body.size() > kRequestBytesMax) return answer(413, "request body too large");
    if (!ask(body)) answer(400, "error unmarshalling request");
  }
  void on_cancelled() final { front_.forget(std::exchange(ticket_, 0)); }

 protected:
  // False: it is no such message.
  virtual bool ask(const std::string& body) = 0;
  void answer(http::Response response) {
    ticket_ = 0;
    exchange_->respond(std::move(response));
  }
  void answer(int status, std::string_view text) { answer(http::text_response(status, text)); }
  void fail(Errc errc, int otherwise) {
    switch (errc) {
      case Errc::kLeaseNotFound:
        return answer(404, "lease not found");
      case Errc::kTimeoutApplied:
        return answer(408, "waiting for node to catch up its applied index has timed out");
      case Errc::kNotPrimaryLessor:
        return answer(otherwise, "not a primary lessor");
      default:
        return answer(otherwise, "no answer");
    }
  }

  Front& front_;
  Ticket ticket_ = 0;

 private:
  http::Exchange* exchange_ = nullptr;
};

class Renewal final : public LeaseRequest {
 public:
  using LeaseRequest::LeaseRequest;

 private:
  bool ask(const std::string& body) override {
    if (!request_.ParseFromString(body)) return false;
    ticket_ = front_.renew_here(request_.id(), [this](base::Result<base::Seconds, Errc> ttl) {
      if (!ttl) return fail(ttl.error(), 400);
      if (*ttl == base::Seconds(0)) return fail(Errc::kLeaseNotFound, 400);
      etcdserverpb::LeaseKeepAliveResponse response;
      response.set_id(request_.id());
      response.set_ttl(ttl->count());
      answer(protobuf(response.SerializeAsString()));
    });
    return true;
  }

  etcdserverpb::LeaseKeepAliveRequest request_;
};

class Lookup final : public LeaseRequest {
 public:
  using LeaseRequest::LeaseRequest;

 private:
  bool ask(const std::string& body) override {
    leasepb::LeaseInternalRequest request;
    if (!request.ParseFromString(body)) return false;
    request_ = request.leasetimetoliverequest();
    ticket_ = front_.time_to_live_here(request_.id(), [this](base::Result<LeaseTime, Errc> time) {
      time ? found(time->remaining) : fail(time.error(), 500);
    });
    return true;
  }

  void found(base::Duration remaining) {
    const auto view = front_.view();
    const auto lease = view->leases.find(request_.id());
    if (!lease) return fail(Errc::kLeaseNotFound, 500);
    leasepb::LeaseInternalResponse response;
    auto& out = *response.mutable_leasetimetoliveresponse();
    out.mutable_header();
    out.set_id(request_.id());
    out.set_ttl(std::chrono::duration_cast<base::Seconds>(remaining).count());
    out.set_grantedttl(lease->ttl.count());
    if (request_.keys()) {
      view->leases.keys_of(lease->id).visit([&out](std::string_view key) {
        out.add_keys(std::string(key));
        return true;
      });
    }
    answer(protobuf(response.SerializeAsString()));
  }

  etcdserverpb::LeaseTimeToLiveRequest request_;
};

}  // namespace

http::Route route_leases(Front& front, const http::Request& head) {
  const bool renewal = head.path == kLeasesPath;
  if (!renewal && head.path != kLeasesInternalPath) return {};
  if (head.method != "POST") {
    return {.handler = http::make_simple_handler([](const http::Request&) {
              return http::text_response(405, "Method Not Allowed");
            })};
  }
  if (renewal) return {.handler = std::make_unique<Renewal>(front)};
  return {.handler = std::make_unique<Lookup>(front)};
}

}  // namespace keelson::member
