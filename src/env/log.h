// Log: what the server says to whoever runs it, one line a time, in the forms etcd's log has, since
// tools and tests read them. operations.md 5.1.
//
//   log_warn("slow fdatasync", {{"took", took}, {"expected-duration", base::Seconds(1)}});
//
//   {"level":"warn","ts":"2006-01-02T15:04:05.000000Z","caller":"wal/wal.cc:12","msg":"slow
//   fdatasync",
//    "took":"1.2s","expected-duration":"1s"}
//
// The message is fixed text; what varies goes into fields. In each second the first hundred lines
// of one level and message are written, then every hundredth, so that a loop cannot fill a disk.
//
// Any thread. Until open_log the lines go to stderr as JSON from level info on.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace keelson::env {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kDPanic, kPanic, kFatal };
enum class LogFormat { kJson, kConsole };

// "debug", "info", ..., in lower or upper case as etcd takes them.
std::optional<LogLevel> parse_log_level(std::string_view text);

// The value of a field, as JSON.
class LogValue {
 public:
  LogValue(std::string_view text);  // NOLINT: implicit, as all of them
  LogValue(const std::string& text) : LogValue(std::string_view(text)) {}  // NOLINT
  LogValue(const char* text) : LogValue(std::string_view(text)) {}         // NOLINT
  LogValue(bool value) : json_(value ? "true" : "false") {}                // NOLINT
  template <std::integral T>
  LogValue(T value) : json_(std::to_string(value)) {}                            // NOLINT
  LogValue(double value);                                                        // NOLINT
  LogValue(base::Duration duration);                                             // NOLINT
  LogValue(base::Seconds duration) : LogValue(base::Duration(duration)) {}       // NOLINT
  LogValue(base::Milliseconds duration) : LogValue(base::Duration(duration)) {}  // NOLINT
  LogValue(base::WallTime at);                      // NOLINT: in the zone of the lines' own `ts`
  LogValue(const std::vector<std::string>& texts);  // NOLINT
  LogValue(const base::Error& error) : LogValue(error.message()) {}  // NOLINT

  const std::string& json() const { return json_; }

 private:
  std::string json_;
};

struct LogField {
  std::string_view key;
  LogValue value;
};
using LogFields = std::initializer_list<LogField>;

// True if a line of that level would be written: asked where its fields cost something.
bool log_wants(LogLevel level);

void log(LogLevel level, std::string_view message, LogFields fields = {},
         std::source_location where = std::source_location::current());
void log_debug(std::string_view message, LogFields fields = {},
               std::source_location where = std::source_location::current());
void log_info(std::string_view message, LogFields fields = {},
              std::source_location where = std::source_location::current());
void log_warn(std::string_view message, LogFields fields = {},
              std::source_location where = std::source_location::current());
void log_error(std::string_view message, LogFields fields = {},
               std::source_location where = std::source_location::current());
// Says why and leaves; the process ends with `code`, at once, as after a crash.
[[noreturn]] void log_fatal(std::string_view message, LogFields fields = {},
                            std::source_location where = std::source_location::current());

struct LogOptions {
  LogLevel level = LogLevel::kInfo;
  LogFormat format = LogFormat::kJson;
  // "stderr", "stdout", "systemd/journal", or a file to append to; /dev/null among them: nothing is
  // written at all.
  std::vector<std::string> outputs = {"stderr"};
};
// Once, before the lanes run. The error is etcd's text for an output that cannot be opened.
base::Result<void, std::string> open_log(const LogOptions& options);

// One line without its end; `fields` is JSON members without braces ("" for none). For open_log's
// sinks, and for tests.
struct LogLine {
  LogLevel level = LogLevel::kInfo;
  base::WallTime at;
  long utc_offset_seconds = 0;
  std::string_view caller;    // "dir/file.cc:12"
  std::string_view function;  // of the caller, for the stack trace of an error
  std::string_view message;
  std::string_view fields;
};
std::string format_log_line(const LogLine& line, LogFormat format);

// What is written of many equal lines: the first hundred of a second, then every hundredth. As
// etcd's logger samples; messages that fall into one slot share its count.
class LogSampler {
 public:
  bool takes(LogLevel level, std::string_view message, base::WallTime now);

 private:
  static constexpr std::size_t kSlots = 1024;
  static constexpr std::uint64_t kFirst = 100;
  static constexpr std::uint64_t kThereafter = 100;
  struct Slot {
    std::int64_t second = 0;
    std::uint64_t count = 0;
  };
  std::vector<Slot> slots_ = std::vector<Slot>(7 * kSlots);
};

}  // namespace keelson::env
