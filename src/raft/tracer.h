// Tracer: what the core narrates, formatted only if somebody listens. The scripts read it (raft.md
// 16).
#pragma once

#include <fmt/format.h>

#include <utility>

#include "base/trace.h"

namespace keelson::raft {

class Tracer {
 public:
  explicit Tracer(base::TraceSink* sink) : sink_(sink) {}

  template <class... Args>
  void debug(fmt::format_string<Args...> format, Args&&... args) const {
    line(base::TraceLevel::kDebug, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) const {
    line(base::TraceLevel::kInfo, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void warn(fmt::format_string<Args...> format, Args&&... args) const {
    line(base::TraceLevel::kWarn, format, std::forward<Args>(args)...);
  }
  template <class... Args>
  void error(fmt::format_string<Args...> format, Args&&... args) const {
    line(base::TraceLevel::kError, format, std::forward<Args>(args)...);
  }
  // Asked where the arguments themselves cost something.
  bool wants(base::TraceLevel level) const { return sink_ != nullptr && sink_->wants(level); }

 private:
  template <class... Args>
  void line(base::TraceLevel level, fmt::format_string<Args...> format, Args&&... args) const {
    if (wants(level)) sink_->line(level, fmt::format(format, std::forward<Args>(args)...));
  }

  base::TraceSink* sink_;
};

}  // namespace keelson::raft
