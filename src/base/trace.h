// A sink for what a pure core narrates. Cores may write to the sink they were given, never to a
// log.
#pragma once

#include <string_view>

namespace keelson::base {

enum class TraceLevel { kDebug, kInfo, kWarn, kError };

class TraceSink {
 public:
  virtual ~TraceSink() = default;
  // Asked before a line is formatted.
  virtual bool wants(TraceLevel level) const = 0;
  virtual void line(TraceLevel level, std::string_view text) = 0;
};

}  // namespace keelson::base
