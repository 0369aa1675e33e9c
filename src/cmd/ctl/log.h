// Lines as etcdctl's client library logs them: JSON on stderr, one object each.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "client/options.h"

namespace keelson::cmd::ctl {

struct LogField {
  std::string_view name;
  std::string value;
};

struct LogLine {
  std::string_view level;
  std::string_view logger = "";
  std::string_view caller = "";
  std::string_view message;
  std::vector<LogField> fields = {};
};

// With the time of now, ended by a newline. Values are strings, but for "attempt".
std::string log_text(const LogLine& line);

// "retrying of unary invoker failed"
std::string failed_attempt_text(const client::FailedAttempt& failed, std::string_view logger,
                                const std::string& endpoint);

}  // namespace keelson::cmd::ctl
