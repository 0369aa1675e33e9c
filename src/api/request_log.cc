#include "api/request_log.h"

#include <fmt/format.h>

#include "env/log.h"

namespace keelson::api {
namespace {

using etcdserverpb::RequestOp;

std::string join(std::string out, const std::string& more) {
  if (!out.empty()) out += ' ';
  return out + more;
}

std::string text_of(const etcdserverpb::PutRequest& request) {
  etcdserverpb::PutRequest shown = request;
  shown.clear_value();
  return join(fmt::format("value_size:{}", request.value().size()), shown.ShortDebugString());
}

std::string text_of(const etcdserverpb::Compare& compare) {
  if (compare.target_union_case() != etcdserverpb::Compare::kValue) {
    return compare.ShortDebugString();
  }
  etcdserverpb::Compare shown = compare;
  shown.clear_value();
  return join(fmt::format("value_size:{}", compare.value().size()), shown.ShortDebugString());
}

std::string text_of(const RequestOp& operation) {
  switch (operation.request_case()) {
    case RequestOp::kRequestPut:
      return fmt::format("request_put:<{}>", text_of(operation.request_put()));
    case RequestOp::kRequestTxn:
      return fmt::format("request_txn:<{}>", api::text_of(operation.request_txn()));
    default:
      return operation.ShortDebugString();
  }
}

template <class Parts>
std::string text_of_all(const Parts& parts) {
  std::string out;
  for (const auto& part : parts) out = join(std::move(out), text_of(part));
  return out;
}

std::int64_t size_of(const google::protobuf::MessageLite& message) {
  return static_cast<std::int64_t>(message.ByteSizeLong());
}

}  // namespace

std::string text_of(const etcdserverpb::RangeRequest& request) {
  return request.ShortDebugString();
}

std::string text_of(const etcdserverpb::TxnRequest& request) {
  return fmt::format("compare:<{}> success:<{}> failure:<{}>", text_of_all(request.compare()),
                     text_of_all(request.success()), text_of_all(request.failure()));
}

RequestStats stats_of(const etcdserverpb::RangeRequest& request, const AnswerFigures& answer) {
  return {.request_count = 0,
          .request_bytes = size_of(request),
          .response_count = answer.count,
          .response_bytes = answer.bytes,
          .content = text_of(request)};
}

RequestStats stats_of(const etcdserverpb::PutRequest& request, const AnswerFigures& answer) {
  return {.request_count = 1,
          .request_bytes = size_of(request),
          .response_count = 0,
          .response_bytes = answer.bytes,
          .content = text_of(request)};
}

RequestStats stats_of(const etcdserverpb::DeleteRangeRequest& request,
                      const AnswerFigures& answer) {
  return {.request_count = 0,
          .request_bytes = size_of(request),
          .response_count = answer.count,
          .response_bytes = answer.bytes,
          .content = request.ShortDebugString()};
}

// What counts is the branch that was taken.
RequestStats stats_of(const etcdserverpb::TxnRequest& request, const AnswerFigures& answer) {
  RequestStats stats{.request_count = 0,
                     .request_bytes = 0,
                     .response_count = 0,
                     .response_bytes = answer.bytes,
                     .content = {}};
  if (!answer.was_made) return stats;
  const auto& branch = answer.txn_succeeded ? request.success() : request.failure();
  stats.request_count = branch.size();
  for (const RequestOp& operation : branch) stats.request_bytes += size_of(operation);
  stats.content = text_of(request);
  return stats;
}

bool wants_unary(const member::Front& front, base::Duration took) {
  return took > front.config().warning_unary_request || env::log_wants(env::LogLevel::kDebug);
}

void log_unary(member::Front& front, const http::Call& call, base::Duration took,
               const RequestStats& stats) {
  const bool debug = env::log_wants(env::LogLevel::kDebug);
  env::log(debug ? env::LogLevel::kDebug : env::LogLevel::kWarn, "request stats",
           {{"start time", front.lane().clock().wall_now() - took},
            {"time spent", took},
            {"remote", call.peer().address},
            {"response type", call.path()},
            {"request count", stats.request_count},
            {"request size", stats.request_bytes},
            {"response count", stats.response_count},
            {"response size", stats.response_bytes},
            {"request content", stats.content}});
}

bool is_slow_read(const member::Front& front, base::Duration took) {
  return took > front.config().warning_apply;
}

void log_slow_read(member::Front& front, base::Duration took, std::string_view prefix,
                   const std::string& request, const std::string& response) {
  front.shared().metrics.slow_applies.add();
  env::log_warn("apply request took too long", {{"took", took},
                                                {"expected-duration", front.config().warning_apply},
                                                {"prefix", prefix},
                                                {"request", request},
                                                {"response", response}});
}

}  // namespace keelson::api
