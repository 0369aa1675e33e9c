#include "sim/client.h"

#include <algorithm>

namespace keelson::sim {

// One open call.
struct Client::CallState final : http::ClientCallHandler {
  CallState(Client& of, Operation asked) : client(of), operation(std::move(asked)) {}

  void on_message(http::Message message) override {
    answer += std::move(message).take();  // a stream's messages, one behind the other, are one
  }
  void on_end(http::CallEnd end) override { client.ended(*this, std::move(end)); }

  Client& client;
  Operation operation;
  std::string answer;
  env::TimerId resume = 0;
  std::unique_ptr<http::ClientCall> call;  // last: it names this handler
};

Client::Client(env::simulated::World& world, std::string name, std::string server, Checker& checker,
               Workload& workload, Options options)
    : world_(world),
      lane_(world.host("clients").lane(name)),
      network_(world.host("clients").network()),
      name_(std::move(name)),
      server_(std::move(server)),
      checker_(checker),
      workload_(workload),
      options_(options),
      random_(world.random().next()) {}

Client::~Client() = default;

void Client::start() {
  lane_.post([this] { step_later(base::Duration(0)); });
}

void Client::ask(Request request) {
  extra_.push_back(std::move(request));
  start();
}

void Client::move_to(std::string server) {
  lane_.post([this, server = std::move(server)]() mutable {
    moved_ = moved_ || server != server_;
    server_ = std::move(server);
  });
}

void Client::step_later(base::Duration delay) {
  lane_.after(delay, [this] { step(); });
}

void Client::step() {
  if (idle() || calls_.size() >= options_.parallel) return;
  if (connection_ && (moved_ || !connection_->usable()) && calls_.empty()) connection_.reset();
  if (!connection_) return connect();
  // The last of its calls comes here again.
  if (moved_ || !connection_->usable()) return;
  if (!extra_.empty()) {
    Request request = std::move(extra_.back());
    extra_.pop_back();
    begin(std::move(request));
  } else if (asked_ < options_.calls) {
    asked_++;
    begin(workload_.next());
  }
  if (calls_.size() < options_.parallel) {
    step_later(
        base::Duration(random_.below(static_cast<std::uint64_t>(options_.think_max.count()))));
  }
}

void Client::connect() {
  if (connecting_) return;
  connecting_ = true;
  moved_ = false;
  network_.connect(lane_, server_, base::Seconds(2),
                   [this](base::Result<std::unique_ptr<env::Stream>> stream) {
                     connecting_ = false;
                     if (!stream) return step_later(base::Milliseconds(1 + random_.below(300)));
                     connection_ = std::make_unique<http::GrpcClient>(
                         lane_, *std::move(stream),
                         http::GrpcClientOptions{.stream_window_bytes = options_.window_bytes},
                         [this] { step_later(base::Milliseconds(1)); });
                     step();
                   });
}

void Client::begin(Request request) {
  calls_.push_back(
      std::make_unique<CallState>(*this, checker_.ask(name_, request.method, request.bytes)));
  CallState& state = *calls_.back();
  state.call = connection_->start(
      {.path = request.path(), .deadline = world_.now() + options_.deadline}, state);
  state.call->send(std::move(request.bytes));
  state.call->half_close();
  if (request.hold == base::Duration(0)) return;
  state.call->pause_reading();
  state.resume = lane_.after(request.hold, [&state] {
    state.resume = 0;
    state.call->resume_reading();
  });
}

void Client::ended(CallState& call, http::CallEnd end) {
  lane_.cancel(call.resume);
  checker_.answer(call.operation, end.status, call.answer);
  std::erase_if(calls_, [&call](const auto& one) { return one.get() == &call; });
  const auto think = random_.one_in(20) ? base::Duration(base::Seconds(1)) : options_.think_max;
  step_later(base::Duration(random_.below(static_cast<std::uint64_t>(think.count()))));
}

}  // namespace keelson::sim
