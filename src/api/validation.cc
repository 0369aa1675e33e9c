#include "api/validation.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "base/containers.h"

namespace keelson::api {
namespace {

using Operations = google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>;

std::optional<RequestErrc> check_tree(const etcdserverpb::TxnRequest& request,
                                      std::int64_t operations_max);

std::optional<RequestErrc> check_operation(const etcdserverpb::RequestOp& operation,
                                           std::int64_t operations_left) {
  switch (operation.request_case()) {
    case etcdserverpb::RequestOp::kRequestRange:
      return check(operation.request_range());
    case etcdserverpb::RequestOp::kRequestPut:
      return check(operation.request_put());
    case etcdserverpb::RequestOp::kRequestDeleteRange:
      return check(operation.request_delete_range());
    case etcdserverpb::RequestOp::kRequestTxn:
      return check_tree(operation.request_txn(), operations_left);
    case etcdserverpb::RequestOp::REQUEST_NOT_SET:
      return RequestErrc::kEmptyOperation;
  }
  return RequestErrc::kEmptyOperation;
}

// Nesting is bounded: each level takes at least one from the budget of the next, and protobuf's
// parser stops at a hundred levels.
std::optional<RequestErrc> check_tree(const etcdserverpb::TxnRequest& request,
                                      std::int64_t operations_max) {
  const std::int64_t operations =
      std::max({request.compare_size(), request.success_size(), request.failure_size()});
  if (operations > operations_max) return RequestErrc::kTooManyOps;
  for (const auto& compare : request.compare()) {
    if (compare.key().empty()) return RequestErrc::kEmptyKey;
  }
  for (const Operations* branch : {&request.success(), &request.failure()}) {
    for (const auto& operation : *branch) {
      if (auto bad = check_operation(operation, operations_max - operations)) return bad;
    }
  }
  return std::nullopt;
}

// What one list of operations puts and deletes, for the rule of duplicate keys (api.md 2.7).
struct Interval {
  std::string key;
  std::string end;  // exclusive
};
struct Touched {
  base::HashSet<std::string> puts;
  std::vector<Interval> deletes;

  bool deletes_key(std::string_view key) const {
    return std::any_of(deletes.begin(), deletes.end(), [key](const Interval& interval) {
      return key >= interval.key && key < interval.end;
    });
  }
};

// As etcd compares them: a range_end of "\0" is taken literally, and so holds no key.
Interval interval_of(const etcdserverpb::DeleteRangeRequest& request) {
  if (request.range_end().empty()) return {request.key(), request.key() + '\0'};
  return {request.key(), request.range_end()};
}

std::optional<Touched> touched_by(const Operations& operations) {
  Touched touched;
  for (const auto& operation : operations) {
    if (operation.has_request_delete_range()) {
      touched.deletes.push_back(interval_of(operation.request_delete_range()));
    }
  }
  for (const auto& operation : operations) {
    if (!operation.has_request_txn()) continue;
    auto then = touched_by(operation.request_txn().success());
    if (!then) return std::nullopt;
    auto otherwise = touched_by(operation.request_txn().failure());
    if (!otherwise) return std::nullopt;
    for (const std::string& key : then->puts) {
      if (touched.puts.contains(key) || touched.deletes_key(key)) return std::nullopt;
    }
    for (const std::string& key : otherwise->puts) {
      const bool put_before = touched.puts.contains(key) && !then->puts.contains(key);
      if (put_before || touched.deletes_key(key)) return std::nullopt;
    }
    touched.puts.insert(then->puts.begin(), then->puts.end());
    touched.puts.insert(otherwise->puts.begin(), otherwise->puts.end());
    for (auto* deletes : {&then->deletes, &otherwise->deletes}) {
      std::move(deletes->begin(), deletes->end(), std::back_inserter(touched.deletes));
    }
  }
  for (const auto& operation : operations) {
    if (!operation.has_request_put()) continue;
    const std::string& key = operation.request_put().key();
    if (touched.deletes_key(key) || !touched.puts.insert(key).second) return std::nullopt;
  }
  return touched;
}

// Whether two of them touch a key in a way that etcd refuses. One that goes alone cannot.
bool clash(const Operations& operations) {
  if (operations.empty()) return false;
  if (operations.size() == 1 && !operations[0].has_request_txn()) return false;
  return !touched_by(operations);
}

// Of the message itself, not of what is in it.
bool has_unknown(const auto& message) {
  static const auto* const reflection = message.GetReflection();  // one for each type
  return !reflection->GetUnknownFields(message).empty();
}

bool has_unknown_fields(const etcdserverpb::TxnRequest& request);

bool has_unknown_fields(const Operations& operations) {
  return std::any_of(operations.begin(), operations.end(), [](const auto& operation) {
    if (has_unknown(operation)) return true;
    switch (operation.request_case()) {
      case etcdserverpb::RequestOp::kRequestRange:
        return has_unknown(operation.request_range());
      case etcdserverpb::RequestOp::kRequestPut:
        return has_unknown(operation.request_put());
      case etcdserverpb::RequestOp::kRequestDeleteRange:
        return has_unknown(operation.request_delete_range());
      case etcdserverpb::RequestOp::kRequestTxn:
        return has_unknown_fields(operation.request_txn());
      case etcdserverpb::RequestOp::REQUEST_NOT_SET:
        return false;
    }
    return false;
  });
}

bool has_unknown_fields(const etcdserverpb::TxnRequest& request) {
  const auto& compares = request.compare();
  return has_unknown(request) ||
         std::any_of(compares.begin(), compares.end(),
                     [](const auto& compare) { return has_unknown(compare); }) ||
         has_unknown_fields(request.success()) || has_unknown_fields(request.failure());
}

bool branch_is_read_only(const Operations& operations) {
  return std::all_of(operations.begin(), operations.end(),
                     [](const auto& operation) { return operation.has_request_range(); });
}

bool branch_is_serializable(const Operations& operations) {
  return std::all_of(operations.begin(), operations.end(), [](const auto& operation) {
    return operation.request_range().serializable();
  });
}

}  // namespace

std::optional<RequestErrc> check(const etcdserverpb::RangeRequest& request) {
  if (request.key().empty()) return RequestErrc::kEmptyKey;
  if (!etcdserverpb::RangeRequest::SortOrder_IsValid(request.sort_order()) ||
      !etcdserverpb::RangeRequest::SortTarget_IsValid(request.sort_target())) {
    return RequestErrc::kInvalidSortOption;
  }
  return std::nullopt;
}

std::optional<RequestErrc> check_stream(const etcdserverpb::RangeRequest& request) {
  if (auto bad = check(request)) return bad;
  const bool natural = request.sort_order() == etcdserverpb::RangeRequest::NONE ||
                       (request.sort_order() == etcdserverpb::RangeRequest::ASCEND &&
                        request.sort_target() == etcdserverpb::RangeRequest::KEY);
  if (!natural) return RequestErrc::kStreamSort;
  if (request.min_mod_revision() != 0 || request.max_mod_revision() != 0 ||
      request.min_create_revision() != 0 || request.max_create_revision() != 0) {
    return RequestErrc::kStreamFilters;
  }
  return std::nullopt;
}

std::optional<RequestErrc> check(const etcdserverpb::PutRequest& request) {
  if (request.key().empty()) return RequestErrc::kEmptyKey;
  if (request.ignore_value() && !request.value().empty()) return RequestErrc::kValueProvided;
  if (request.ignore_lease() && request.lease() != 0) return RequestErrc::kLeaseProvided;
  return std::nullopt;
}

std::optional<RequestErrc> check(const etcdserverpb::DeleteRangeRequest& request) {
  if (request.key().empty()) return RequestErrc::kEmptyKey;
  return std::nullopt;
}

std::optional<RequestErrc> check(const etcdserverpb::TxnRequest& request,
                                 std::size_t operations_max) {
  if (auto bad = check_tree(request, static_cast<std::int64_t>(operations_max))) return bad;
  if (clash(request.success()) || clash(request.failure())) return RequestErrc::kDuplicateKey;
  return std::nullopt;
}

bool is_read_only(const etcdserverpb::TxnRequest& request) {
  return branch_is_read_only(request.success()) && branch_is_read_only(request.failure());
}

bool is_serializable(const etcdserverpb::TxnRequest& request) {
  return branch_is_serializable(request.success()) && branch_is_serializable(request.failure());
}

bool is_canonical(const etcdserverpb::PutRequest& request, std::size_t encoded_bytes) {
  return request.ByteSizeLong() == encoded_bytes && !has_unknown(request);
}

bool is_canonical(const etcdserverpb::DeleteRangeRequest& request, std::size_t encoded_bytes) {
  return request.ByteSizeLong() == encoded_bytes && !has_unknown(request);
}

bool is_canonical(const etcdserverpb::TxnRequest& request, std::size_t encoded_bytes) {
  return request.ByteSizeLong() == encoded_bytes && !has_unknown_fields(request);
}

}  // namespace keelson::api
