// RequestLog: what the log says of slow requests. operations.md 7.12
//
//   "request stats"                 a unary call that took longer than
//   --warning-unary-request-duration;
//                                   every one at level debug
//   "apply request took too long"   a read that took longer than --warning-apply-duration; writes
//   are
//                                   told of by the apply lane
//
// Keys are shown, values only by their size.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/time.h"
#include "http/grpc.h"
#include "member/front.h"
#include "proto/rpc.pb.h"

namespace keelson::api {

// Of the answer, noted by who makes it.
struct AnswerFigures {
  std::int64_t count = 0;  // keys found or deleted
  std::int64_t bytes = 0;
  bool was_made = false;  // else the call failed
  bool txn_succeeded = false;
};

struct RequestStats {
  std::int64_t request_count = -1;
  std::int64_t request_bytes = -1;
  std::int64_t response_count = -1;
  std::int64_t response_bytes = -1;
  std::string content;
};
RequestStats stats_of(const etcdserverpb::RangeRequest& request, const AnswerFigures& answer);
RequestStats stats_of(const etcdserverpb::PutRequest& request, const AnswerFigures& answer);
RequestStats stats_of(const etcdserverpb::DeleteRangeRequest& request, const AnswerFigures& answer);
RequestStats stats_of(const etcdserverpb::TxnRequest& request, const AnswerFigures& answer);
// Of every other method etcd says nothing.
template <class Request>
RequestStats stats_of(const Request&, const AnswerFigures&) {
  return {};
}

// On one line, in the way of etcd's own texts.
std::string text_of(const etcdserverpb::RangeRequest& request);
std::string text_of(const etcdserverpb::TxnRequest& request);

// Whether log_unary() is worth its arguments.
bool wants_unary(const member::Front& front, base::Duration took);
void log_unary(member::Front& front, const http::Call& call, base::Duration took,
               const RequestStats& stats);

// `prefix`: "read-only range ", "read-only txn ".
void log_slow_read(member::Front& front, base::Duration took, std::string_view prefix,
                   const std::string& request, const std::string& response);
bool is_slow_read(const member::Front& front, base::Duration took);

}  // namespace keelson::api
