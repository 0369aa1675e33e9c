#include "http/grpc.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"

namespace keelson::http {

std::string_view status_code_name(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return "OK";
    case StatusCode::kCancelled:
      return "Canceled";
    case StatusCode::kUnknown:
      return "Unknown";
    case StatusCode::kInvalidArgument:
      return "InvalidArgument";
    case StatusCode::kDeadlineExceeded:
      return "DeadlineExceeded";
    case StatusCode::kNotFound:
      return "NotFound";
    case StatusCode::kAlreadyExists:
      return "AlreadyExists";
    case StatusCode::kPermissionDenied:
      return "PermissionDenied";
    case StatusCode::kResourceExhausted:
      return "ResourceExhausted";
    case StatusCode::kFailedPrecondition:
      return "FailedPrecondition";
    case StatusCode::kAborted:
      return "Aborted";
    case StatusCode::kOutOfRange:
      return "OutOfRange";
    case StatusCode::kUnimplemented:
      return "Unimplemented";
    case StatusCode::kInternal:
      return "Internal";
    case StatusCode::kUnavailable:
      return "Unavailable";
    case StatusCode::kDataLoss:
      return "DataLoss";
    case StatusCode::kUnauthenticated:
      return "Unauthenticated";
  }
  return "Unknown";
}

StatusCode status_code(CancelReason reason) {
  switch (reason) {
    case CancelReason::kReset:
    case CancelReason::kConnectionLost:
      return StatusCode::kCancelled;
    case CancelReason::kDeadline:
      return StatusCode::kDeadlineExceeded;
    case CancelReason::kServerStopping:
      return StatusCode::kUnavailable;
    case CancelReason::kFailed:
      return StatusCode::kInternal;
  }
  return StatusCode::kUnknown;
}

std::shared_ptr<const MethodStats> Router::add(std::string_view service, std::string_view name,
                                               MethodKind kind, HandlerFactory make) {
  auto method = std::make_unique<Method>();
  method->path = fmt::format("/{}/{}", service, name);
  method->kind = kind;
  method->make = std::move(make);
  services_.emplace(service);
  std::string path = method->path;
  std::shared_ptr<const MethodStats> stats = method->stats;
  const bool added = methods_.emplace(std::move(path), std::move(method)).second;
  CHECK(added);
  return stats;
}

const Method* Router::find(std::string_view path) const {
  const auto it = methods_.find(path);
  return it == methods_.end() ? nullptr : it->second.get();
}

Status Router::refusal(std::string_view path) const {
  const auto slash = path.rfind('/');
  if (path.empty() || path[0] != '/' || slash == 0) {
    return {StatusCode::kUnimplemented, fmt::format("malformed method name: \"{}\"", path)};
  }
  const std::string_view service = path.substr(1, slash - 1);
  if (!services_.contains(service)) {
    return {StatusCode::kUnimplemented, fmt::format("unknown service {}", service)};
  }
  return {StatusCode::kUnimplemented,
          fmt::format("unknown method {} for service {}", path.substr(slash + 1), service)};
}

Status unparsable_message(MethodKind kind) {
  constexpr std::string_view kWhy = "proto: cannot parse invalid wire-format data";
  return {StatusCode::kInternal,
          kind == MethodKind::kUnary
              ? fmt::format("grpc: error unmarshalling request: {}", kWhy)
              : fmt::format("grpc: failed to unmarshal the received message: {}", kWhy)};
}

}  // namespace keelson::http
