// A connection to a server of http/ in memory, to be fed whatever comes.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "fuzz/input.h"
#include "http/fake_env.h"
#include "http/grpc.h"
#include "http/server.h"

namespace keelson::fuzz {

// "b" as long as the message is, a hundred times: a body that flows.
class Body final : public http::BodySource {
 public:
  Pulled pull(std::span<char> out) override {
    std::fill(out.begin(), out.end(), 'b');
    return out.size();
  }
};

// A handler that lives as long as its call and answers by `Act`.
template <class Act>
class Handler final : public http::CallHandler {
 public:
  Handler(http::Call& call, Act act) : call_(call), act_(std::move(act)) {}
  void on_message(http::Message message) override { act_(call_, std::move(message)); }
  void on_half_close() override {
    if constexpr (Act::kEndsWithClient) call_.finish({});
  }
  void on_cancelled(http::CancelReason) override {}

 private:
  http::Call& call_;
  Act act_;
};

struct Echo {
  static constexpr bool kEndsWithClient = false;
  void operator()(http::Call& call, http::Message message) const {
    call.send(std::move(message).take());
    call.finish({});
  }
};
struct Flow {
  static constexpr bool kEndsWithClient = false;
  void operator()(http::Call& call, http::Message message) const {
    call.send_streamed(message.view().size() * 100, std::make_unique<Body>());
    call.finish({http::StatusCode::kOk, ""});
  }
};
struct Chat {
  static constexpr bool kEndsWithClient = true;
  void operator()(http::Call& call, http::Message message) const {
    call.send(std::move(message).take());
  }
};

template <class Act>
void add(http::Router& router, std::string_view name, http::MethodKind kind) {
  router.add("f.T", name, kind,
             [](http::Call& call) { return std::make_unique<Handler<Act>>(call, Act{}); });
}

// Feeds pieces of the input, reads or leaves what comes back, lets time pass.
class Connection {
 public:
  explicit Connection(http::RequestRouter* requests)
      : server_(lane_, options(), &router(), requests) {
    auto stream = std::make_unique<http::fake::FakeStream>(lane_);
    wire_ = stream->wire();
    server_.accept(std::move(stream));
    lane_.run();
  }

  void play(Input& input) {
    for (int step = 0; step < 1000 && !input.empty() && !wire_->closed; step++) {
      const std::uint8_t what = input.byte();
      switch (what & 7) {
        case 0:
          lane_.advance(base::Milliseconds(input.number()));
          break;
        case 1:  // the client does not read
          wire_->capacity = input.number();
          break;
        case 2:
          wire_->take(input.number());
          break;
        default:
          if (!wire_->paused) feed(input.take((std::size_t{what} >> 3) * (what & 4 ? 1 : 40)));
      }
      lane_.run();
    }
    if ((server_.stats().bytes_received & 1) != 0) wire_->end();
    lane_.advance(base::Seconds(10'000));
  }
  void feed(std::string_view bytes) {
    wire_->feed(bytes);
    lane_.run();
  }

 private:
  static http::ServerOptions options() {
    http::ServerOptions options;
    options.message_bytes_max = 4096;
    options.stream_window_bytes = 70'000;
    options.connection_window_bytes = 70'000;
    options.request_bytes_per_connection_max = 100'000;
    options.answer_bytes_per_connection_max = 1 << 20;
    options.http1.head_bytes_max = 4096;
    options.http1.pipelined_bytes_max = 4096;
    return options;
  }
  static const http::Router& router() {
    static const http::Router* made = [] {
      auto* router = new http::Router;
      add<Echo>(*router, "Echo", http::MethodKind::kUnary);
      add<Flow>(*router, "Flow", http::MethodKind::kUnary);
      add<Echo>(*router, "List", http::MethodKind::kServerStream);
      add<Chat>(*router, "Chat", http::MethodKind::kBidiStream);
      return router;
    }();
    return *made;
  }

  http::fake::FakeLane lane_;
  http::Server server_;
  std::shared_ptr<http::fake::FakeStream::Wire> wire_;
};

}  // namespace keelson::fuzz
