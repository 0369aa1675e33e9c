// Context: what all services of one io lane share, and how a method becomes a handler.
//
//   gate (1.2: learner, client API version, has-leader) -> handler of the method
//
// The handlers here keep one rule for every service: a handler that waits holds a Ticket of the
// lane's Front and gives it back in its destructor, so a call that ends early leaves nothing
// behind.
#pragma once

#include <google/protobuf/arena.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "api/encode.h"
#include "api/grpc_metrics.h"
#include "api/leader_monitor.h"
#include "api/memory_budget.h"
#include "api/request_log.h"
#include "api/rpc_status.h"
#include "api/run_pool.h"
#include "api/shared_runs.h"
#include "http/grpc.h"
#include "member/front.h"

namespace keelson::api {

struct Context {
  member::Front& front;
  GrpcMetrics& metrics;
  LeaderMonitor& leader_monitor;
  SharedRuns& shared_runs;
  RunPool& run_pool;
  MemoryBudget& gathered;

  // A header of what the newest View shows.
  Header header() const;
  Header header(const member::View& view) const;
  // Of an applied request.
  Header header(const member::Reply& reply) const;
  Header header(std::int64_t revision, raft::Term term) const;
};

// One ticket of a Front, given back when its owner goes.
class Waiting {
 public:
  explicit Waiting(member::Front& front) : front_(front) {}
  ~Waiting() { front_.forget(ticket_); }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  void operator=(member::Ticket ticket) { ticket_ = ticket; }

 private:
  member::Front& front_;
  member::Ticket ticket_ = 0;
};

// What a message that does not parse is answered.
http::Status unparsable(http::MethodKind kind, std::string_view bytes);

// A handler of a method with one request message. `Request` is a generated message.
template <class Request>
class RequestHandler : public http::CallHandler {
 public:
  RequestHandler(Context& context, http::Call& call)
      : context_(context), call_(call), waiting_(context.front) {}
  ~RequestHandler() override {
    if (!started_) return;
    const base::Duration took = context_.front.lane().clock().now() - *started_;
    if (wants_unary(context_.front, took)) {
      log_unary(context_.front, call_, took, stats_of(request_, figures_));
    }
  }

  void on_message(http::Message message) final {
    if (kind() == http::MethodKind::kUnary) started_ = context_.front.lane().clock().now();
    const std::string_view bytes = message.view();
    if (!request_.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return finish(unparsable(kind(), bytes));
    }
    run(bytes);
  }

 protected:
  virtual http::MethodKind kind() const { return http::MethodKind::kUnary; }
  // The request is parsed; `bytes` is what it was parsed from, for the call only.
  virtual void run(std::string_view bytes) = 0;

  void answer(std::string message) {
    figures_.bytes = static_cast<std::int64_t>(message.size());
    figures_.was_made = true;
    call_.send(std::move(message));
    finish({});
  }
  void finish(http::Status status) { call_.finish(std::move(status)); }
  template <class Errc>
  void refuse(Errc errc) {
    finish(status_of(errc));
  }
  // Lets a generated message be the answer.
  void answer(const google::protobuf::MessageLite& message) { answer(message.SerializeAsString()); }

  // When the request came. Of a unary call.
  base::TimePoint started() const { return *started_; }

  // Room for a txn of a few operations, but for their keys and values.
  static constexpr std::size_t kRoomBytes = 768;

  Context& context_;
  http::Call& call_;
  Waiting waiting_;
  // The request with all its parts, in the handler's own memory as far as it has room.
  alignas(std::max_align_t) char room_[kRoomBytes];
  google::protobuf::Arena arena_{room_, sizeof room_};
  Request& request_ = *google::protobuf::Arena::CreateMessage<Request>(&arena_);
  AnswerFigures figures_;  // for the log

 private:
  std::optional<base::TimePoint> started_;  // of a unary call
};

// Registers a method, behind the gate and among the metrics.
void add_method(http::Router& router, Context& context, std::string_view service,
                std::string_view name, http::MethodKind kind, http::HandlerFactory make,
                ForLearner for_learner = ForLearner::kRefused);

// The same for a `Handler` that is made from (Context&, Call&).
template <class Handler>
void add_method(http::Router& router, Context& context, std::string_view service,
                std::string_view name, http::MethodKind kind,
                ForLearner for_learner = ForLearner::kRefused) {
  add_method(
      router, context, service, name, kind,
      [&context](http::Call& call) -> std::unique_ptr<http::CallHandler> {
        return std::make_unique<Handler>(context, call);
      },
      for_learner);
}

// A method that is known and not there yet: kUnimplemented.
void add_missing(http::Router& router, Context& context, std::string_view service,
                 std::string_view name, http::MethodKind kind);

}  // namespace keelson::api
