// A client's HTTP/1.1 connection: requests, bodies, upgrades, pipelines, any bytes at all.

#include "http/http1.h"

#include "fuzz/connection.h"

namespace keelson::fuzz {
namespace {

class Answering final : public http::RequestHandler {
 public:
  void on_request(http::Exchange& exchange) override {
    exchange_ = &exchange;
    const auto& request = exchange.request();
    MAYBE(http::parse_query(request.query).empty());
    if (request.path == "/chunks") {
      exchange.start(200, {});
      exchange.write(std::string("one"));
      exchange.end();
    } else if (request.path == "/up") {
      exchange.upgrade({{"Connection", "Upgrade"}, {"Upgrade", "echo"}});
    } else if (request.path != "/stream") {
      exchange.respond(http::text_response(200, request.path + request.body));
    }
  }
  void on_body(std::string_view bytes) override {
    if (exchange_->request().path == "/up") exchange_->write(std::string(bytes));
  }
  void on_body_end() override {
    if (exchange_->request().path == "/stream") exchange_->respond({.body = "done"});
  }

 private:
  http::Exchange* exchange_ = nullptr;
};

class Requests final : public http::RequestRouter {
 public:
  http::Route route(const http::Request& head) override {
    if (head.path == "/nothing") return {};
    const bool streamed = head.path == "/stream" || head.path == "/up";
    return {.handler = std::make_unique<Answering>(),
            .body = streamed ? http::BodyMode::kStreamed : http::BodyMode::kWhole,
            .body_bytes_max = 2000};
  }
};

}  // namespace
}  // namespace keelson::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  keelson::fuzz::Input input(data, size);
  keelson::fuzz::Requests requests;
  keelson::fuzz::Connection connection(&requests);
  connection.play(input);
  return 0;
}
