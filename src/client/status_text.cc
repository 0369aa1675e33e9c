#include "client/status_text.h"

#include <fmt/format.h>

namespace keelson::client {

std::string rpc_error_text(const http::Status& status) {
  return fmt::format("rpc error: code = {} desc = {}", http::status_code_name(status.code),
                     status.message);
}

std::string error_text(const http::Status& status) {
  if (status.message.starts_with("etcdserver: ")) return status.message;
  if (status.code == http::StatusCode::kDeadlineExceeded) return "context deadline exceeded";
  return rpc_error_text(status);
}

}  // namespace keelson::client
