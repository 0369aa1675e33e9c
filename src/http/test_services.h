// Services the tests of this directory call.
#pragma once

#include <fmt/format.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "http/grpc.h"

namespace keelson::http::fake {

// A handler made of functions.
struct FunctionHandler final : CallHandler {
  std::function<void(Message)> message = [](Message) {};
  std::function<void()> half_close = [] {};
  std::function<void(CancelReason)> cancelled = [](CancelReason) {};
  std::function<void()> drained = [] {};
  std::function<void()> gone = [] {};

  ~FunctionHandler() override { gone(); }
  void on_message(Message m) override { message(std::move(m)); }
  void on_half_close() override { half_close(); }
  void on_cancelled(CancelReason reason) override { cancelled(reason); }
  void on_drained() override { drained(); }
};

inline std::string_view reason_name(CancelReason reason) {
  switch (reason) {
    case CancelReason::kReset:
      return "reset";
    case CancelReason::kConnectionLost:
      return "connection lost";
    case CancelReason::kDeadline:
      return "deadline";
    case CancelReason::kServerStopping:
      return "server stopping";
    case CancelReason::kFailed:
      return "failed";
  }
  return "?";
}

// Gives `length` bytes of 'b' in pieces of at most `step`; says Wait while `open` is false; fails
// after `fails_at` bytes.
struct TestSource final : BodySource {
  std::uint64_t given = 0;
  std::uint64_t step = 1 << 20;
  std::uint64_t fails_at = ~std::uint64_t{0};
  std::shared_ptr<bool> open = std::make_shared<bool>(true);

  Pulled pull(std::span<char> out) override {
    if (given >= fails_at) return Failed{{StatusCode::kDataLoss, "record cannot be read"}};
    if (!*open) return Wait{};
    const std::size_t count = std::min<std::uint64_t>({out.size(), step, fails_at - given});
    std::fill_n(out.data(), count, 'b');
    given += count;
    return count;
  }
};

// /test.T/Echo    unary: answers the message
// /test.T/Held    unary: answers when the test says so, through `calls`
// /test.T/Parse   unary: refuses every message as unparsable
// /test.T/Deny    unary: its factory refuses
// /test.T/Stream  unary: answers with a streamed body as long as the message says
// /test.T/Count   server stream: answers as many messages as the message says
// /test.T/Chat    bidi: echoes; finishes after the half-close
// /test.T/Watch   bidi: answers when the test says so; goes on after the half-close
// What handlers hear of Held and Watch is noted in `events`, by order of arrival.
class TestServices {
 public:
  TestServices() {
    using enum MethodKind;
    router.add("test.T", "Echo", kUnary, [](Call& call) {
      auto handler = std::make_unique<FunctionHandler>();
      handler->message = [&call](Message m) {
        call.send(std::move(m).take());
        call.finish({});
      };
      return handler;
    });
    router.add("test.T", "Held", kUnary, [this](Call& call) { return hold(call, "held"); });
    router.add("test.T", "Watch", kBidiStream, [this](Call& call) { return hold(call, "watch"); });
    router.add("test.T", "Parse", kUnary, [](Call& call) {
      auto handler = std::make_unique<FunctionHandler>();
      handler->message = [&call](Message) { call.finish(unparsable_message(kUnary)); };
      return handler;
    });
    router.add("test.T", "ParseStream", kBidiStream, [](Call& call) {
      auto handler = std::make_unique<FunctionHandler>();
      handler->message = [&call](Message) { call.finish(unparsable_message(kBidiStream)); };
      return handler;
    });
    router.add("test.T", "Deny", kUnary, [](Call& call) -> std::unique_ptr<CallHandler> {
      call.finish({StatusCode::kFailedPrecondition, "etcdserver: rpc not supported for learner"});
      return nullptr;
    });
    router.add("test.T", "Stream", kUnary, [this](Call& call) {
      auto handler = std::make_unique<FunctionHandler>();
      handler->message = [this, &call](Message m) {
        auto source = std::make_unique<TestSource>();
        source->fails_at = source_fails_at;
        source->step = source_step;
        source->open = source_open;
        streaming = &call;
        call.send_streamed(std::stoull(std::string(m.view())), std::move(source));
        call.finish({});
      };
      return handler;
    });
    router.add("test.T", "Count", kServerStream, [](Call& call) {
      auto handler = std::make_unique<FunctionHandler>();
      handler->message = [&call](Message m) {
        const int count = std::stoi(std::string(m.view()));
        for (int i = 1; i <= count; ++i) call.send(fmt::format("message {}", i));
        call.finish({});
      };
      return handler;
    });
    router.add("test.T", "Chat", kBidiStream, [](Call& call) {
      auto handler = std::make_unique<FunctionHandler>();
      handler->message = [&call](Message m) { call.send(std::move(m).take()); };
      handler->half_close = [&call] { call.finish({}); };
      return handler;
    });
  }

  Router router;
  std::vector<std::string> events;
  std::map<int, Call*> calls;  // open ones of Held and Watch
  int last_call = 0;
  std::uint64_t source_fails_at = ~std::uint64_t{0};
  std::uint64_t source_step = 1 << 20;
  std::shared_ptr<bool> source_open = std::make_shared<bool>(true);
  Call* streaming = nullptr;

 private:
  std::unique_ptr<CallHandler> hold(Call& call, std::string_view name) {
    const int id = ++last_call;
    calls[id] = &call;
    const std::string prefix = fmt::format("{} {}: ", name, id);
    auto handler = std::make_unique<FunctionHandler>();
    handler->message = [this, prefix](Message m) {
      events.push_back(
          prefix + "message " +
          (m.view().size() < 64 ? std::string(m.view()) : fmt::format("of {}", m.view().size())));
    };
    handler->half_close = [this, prefix] { events.push_back(prefix + "half close"); };
    handler->cancelled = [this, prefix](CancelReason reason) {
      events.push_back(prefix + "cancelled, " + std::string(reason_name(reason)));
    };
    handler->drained = [this, prefix] { events.push_back(prefix + "drained"); };
    handler->gone = [this, prefix, id] {
      calls.erase(id);
      events.push_back(prefix + "gone");
    };
    return handler;
  }
};

}  // namespace keelson::http::fake
