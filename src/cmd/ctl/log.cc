#include "cmd/ctl/log.h"

#include <fmt/format.h>

#include <chrono>
#include <ctime>

#include "base/go_text.h"
#include "client/endpoint.h"
#include "client/status_text.h"
#include "cmd/ctl/json_message.h"

namespace keelson::cmd::ctl {
namespace {

// "2026-11-25T23:48:00.902362Z"
std::string timestamp() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now).count();
  const std::time_t seconds = micros / 1'000'000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  return fmt::format("{}.{:06}Z", text, micros % 1'000'000);
}

// As gRPC words a call that never found a connection.
http::Status told_status(const client::FailedAttempt& failed) {
  if (!failed.peer.empty() || failed.connection_error.empty()) return failed.status;
  return {failed.status.code,
          fmt::format("latest balancer error: connection error: desc = {}",
                      base::quote("transport: Error while dialing: " + failed.connection_error))};
}

std::string peer_text(const client::FailedAttempt& failed) {
  if (failed.peer.empty()) return "Peer{Addr: <nil>, LocalAddr: <nil>, AuthInfo: <nil>}";
  return fmt::format("Peer{{Addr: '{}', LocalAddr: <nil>, AuthInfo: 'insecure'}}",
                     client::parse_endpoint(failed.peer).address);
}

}  // namespace

std::string log_text(const LogLine& line) {
  std::string out;
  {
    JsonWriter object(out, '{', '}');
    object.key("level") += base::json_string(line.level);
    object.key("ts") += base::json_string(timestamp());
    if (!line.logger.empty()) object.key("logger") += base::json_string(line.logger);
    if (!line.caller.empty()) object.key("caller") += base::json_string(line.caller);
    object.key("msg") += base::json_string(line.message, base::Html::kPlain);
    for (const LogField& field : line.fields) {
      object.key(field.name) += field.name == "attempt"
                                    ? field.value
                                    : base::json_string(field.value, base::Html::kPlain);
    }
  }
  return out + "\n";
}

std::string failed_attempt_text(const client::FailedAttempt& failed, std::string_view logger,
                                const std::string& endpoint) {
  const std::size_t scheme = endpoint.find("://");
  return log_text(
      {.level = "warn",
       .logger = logger,
       .caller = "client/client.cc",
       .message = "retrying of unary invoker failed",
       .fields = {{"target", "etcd-endpoints://keelson/" +
                                 endpoint.substr(scheme == std::string::npos ? 0 : scheme + 3)},
                  {"peer", peer_text(failed)},
                  {"method", failed.path},
                  {"attempt", fmt::format("{}", failed.attempt)},
                  {"error", client::rpc_error_text(told_status(failed))}}});
}

}  // namespace keelson::cmd::ctl
