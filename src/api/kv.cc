#include "api/kv.h"

#include <fmt/format.h>

#include <optional>

#include "api/encode.h"
#include "api/proposing.h"
#include "api/quota.h"
#include "api/range_answer.h"
#include "api/range_stream.h"
#include "api/validation.h"
#include "base/varint.h"
#include "mvcc/read_txn.h"
#include "mvcc/state.h"

namespace keelson::api {
namespace {

constexpr std::size_t kTxnMemoryBudget = std::size_t{256} << 20;

class RangeCall : public RequestHandler<etcdserverpb::RangeRequest> {
 public:
  using RequestHandler::RequestHandler;
  ~RangeCall() override {
    if (answer_) figures_ = answer_->figures();
  }

 private:
  void run(std::string_view) override {
    auto& front = context_.front;
    if (!request_.serializable() && front.progress().learner.load()) {
      return refuse(RequestErrc::kNotForLearner);
    }
    if (auto bad = check(request_)) return refuse(*bad);
    if (request_.serializable() || front.view()->linearizable) return read(front.view());
    waiting_ = front.barrier([this](auto view) {
      waiting_ = 0;
      if (!view) return refuse(view.error());
      read(*std::move(view));
    });
  }
  void read(std::shared_ptr<const member::View> view) {
    answer_.emplace(context_, call_, request_, std::move(view));
    answer_->start(started());
  }

  std::optional<RangeAnswer> answer_;
};

class PutCall : public Proposing<etcdserverpb::PutRequest> {
 public:
  using Proposing::Proposing;

 private:
  void run(std::string_view bytes) override {
    if (!within_quota(context_, apply::quota_cost(request_))) return refuse(RequestErrc::kNoSpace);
    if (auto bad = check(request_)) return refuse(*bad);
    propose_request(kPutField, bytes);
  }
  void applied(member::Reply reply) override {
    answer(encode_put(context_.header(reply), std::get<mvcc::PutResult>(reply.answer)));
  }
};

class DeleteRangeCall : public Proposing<etcdserverpb::DeleteRangeRequest> {
 public:
  using Proposing::Proposing;

 private:
  void run(std::string_view bytes) override {
    if (auto bad = check(request_)) return refuse(*bad);
    propose_request(kDeleteRangeField, bytes);
  }
  void applied(member::Reply reply) override {
    const auto& result = std::get<mvcc::DeleteResult>(reply.answer);
    figures_.count = result.deleted;
    answer(encode_delete(context_.header(reply), result));
  }
};

class TxnCall : public Proposing<etcdserverpb::TxnRequest> {
 public:
  using Proposing::Proposing;

 private:
  void run(std::string_view bytes) override {
    if (!within_quota(context_, apply::quota_cost(request_))) return refuse(RequestErrc::kNoSpace);
    if (auto bad = check(request_, context_.front.config().txn_operations_max)) {
      return refuse(*bad);
    }
    if (!is_read_only(request_)) return propose_request(kTxnField, bytes);
    // A txn without any operation could be read here at once too; the barrier is the safe choice.
    const bool serializable =
        is_serializable(request_) && request_.success_size() + request_.failure_size() > 0;
    auto& front = context_.front;
    if (serializable || front.view()->linearizable) return read(front.view());
    waiting_ = front.barrier([this](auto view) {
      waiting_ = 0;
      if (!view) return refuse(view.error());
      read(*std::move(view));
    });
  }

  // Compares and ranges may read much and gather their answer: a worker's work.
  void read(std::shared_ptr<const member::View> view) {
    const base::TimePoint begun = context_.front.lane().clock().now();
    auto request = std::make_shared<etcdserverpb::TxnRequest>(std::move(request_));
    waiting_ =
        context_.front.on_worker([this, begun, request, view = std::move(view)]() -> base::Job {
          auto result = mvcc::read_only_txn(view->keys, *request, *view->reader, kTxnMemoryBudget);
          return [this, begun, request, view, result = std::move(result)]() mutable {
            waiting_ = 0;
            request_ = std::move(*request);
            if (!result) return refuse(result.error());
            count(result->responses.size());
            figures_.txn_succeeded = result->succeeded;
            answer(encode_txn(context_.header(*view), *result));
            const base::Duration took = context_.front.lane().clock().now() - begun;
            if (is_slow_read(context_.front, took)) {
              log_slow_read(context_.front, took, "read-only txn ", text_of(request_),
                            fmt::format("size:{}", figures_.bytes));
            }
          };
        });
  }

  void count(std::size_t ranges) {
    auto& metrics = context_.front.shared().metrics;
    metrics.ranges_read.fetch_add(ranges, std::memory_order_relaxed);
    if (ranges > 1) metrics.txns_read.fetch_add(1, std::memory_order_relaxed);
  }

  void applied(member::Reply reply) override {
    Header header = context_.header(reply);
    const auto& result = std::get<mvcc::TxnResult>(reply.answer);
    header.revision = result.revision;
    figures_.txn_succeeded = result.succeeded;
    answer(encode_txn(header, result));
  }
};

class CompactCall : public RequestHandler<etcdserverpb::CompactionRequest> {
 public:
  using RequestHandler::RequestHandler;

 private:
  void run(std::string_view) override {
    request_.DiscardUnknownFields();
    waiting_ = context_.front.propose(
        kCompactionField, request_.SerializeAsString(),
        [this](base::Result<member::Reply, member::Failure> reply) {
          waiting_ = 0;
          http::Status status = reply ? http::Status{} : status_of(reply.error());
          const Header header = reply ? context_.header(*reply) : Header{};
          // A physical one waits for the running compaction, also when it was refused because there
          // is one.
          const bool was_compacted =
              !reply && reply.error() == member::Failure(apply::Errc::kCompacted);
          if (request_.physical() && (reply || was_compacted)) {
            return wait_for_compaction(header, std::move(status));
          }
          end(header, std::move(status));
        });
  }
  void wait_for_compaction(Header header, http::Status status) {
    waiting_ =
        context_.front.when([](const member::View& view) { return !view.compacting; }, std::nullopt,
                            [this, header, status](auto view) {
                              waiting_ = 0;
                              if (!view) return refuse(view.error());
                              end(header, status);
                            });
  }
  void end(const Header& header, http::Status status) {
    if (!status.ok()) return finish(std::move(status));
    answer(header_only(header));
  }
};

}  // namespace

void add_kv(http::Router& router, Context& context) {
  constexpr std::string_view kService = "etcdserverpb.KV";
  using enum http::MethodKind;
  add_method<RangeCall>(router, context, kService, "Range", kUnary, ForLearner::kServed);
  add_method<RangeStreamCall>(router, context, kService, "RangeStream", kServerStream);
  add_method<PutCall>(router, context, kService, "Put", kUnary);
  add_method<DeleteRangeCall>(router, context, kService, "DeleteRange", kUnary);
  add_method<TxnCall>(router, context, kService, "Txn", kUnary);
  add_method<CompactCall>(router, context, kService, "Compact", kUnary);
}

}  // namespace keelson::api
