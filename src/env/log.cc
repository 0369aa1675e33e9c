#include "env/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <ctime>
#include <mutex>

#include "base/duration.h"
#include "base/utf8.h"

namespace keelson::env {
namespace {

using base::fail;

// Between message and fields on the way through spdlog; neither holds one unescaped.
constexpr char kFieldsMark = '\x1f';
constexpr int kExitCode = 1;

struct Level {
  LogLevel level;
  std::string_view name;
  spdlog::level::level_enum threshold;
  int priority;  // of syslog(3)
};
constexpr std::array kLevels = {
    Level{LogLevel::kDebug, "debug", spdlog::level::debug, 7},
    Level{LogLevel::kInfo, "info", spdlog::level::info, 6},
    Level{LogLevel::kWarn, "warn", spdlog::level::warn, 4},
    Level{LogLevel::kError, "error", spdlog::level::err, 3},
    Level{LogLevel::kDPanic, "dpanic", spdlog::level::critical, 2},
    Level{LogLevel::kPanic, "panic", spdlog::level::critical, 2},
    Level{LogLevel::kFatal, "fatal", spdlog::level::critical, 2},
};

const Level& info_of(LogLevel level) { return kLevels[static_cast<std::size_t>(level)]; }

LogLevel from_spdlog(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug:
      return LogLevel::kDebug;
    case spdlog::level::info:
      return LogLevel::kInfo;
    case spdlog::level::warn:
      return LogLevel::kWarn;
    case spdlog::level::err:
      return LogLevel::kError;
    default:
      return LogLevel::kFatal;
  }
}

void append_json(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const char c = text.front();
    const auto next = base::next_code_point(text);
    const std::size_t length = next ? next->length : 1;
    if (!next) {
      out += "\\ufffd";
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  out += '"';
}

void append_member(std::string& out, std::string_view key, std::string_view text) {
  append_json(out, key);
  out += ':';
  append_json(out, text);
}

// The same JSON with a space after each ':' and ','.
std::string spaced(std::string_view json) {
  std::string out;
  bool quoted = false;
  for (std::size_t i = 0; i < json.size(); i++) {
    out += json[i];
    if (json[i] == '\\' && quoted) {
      out += json[++i];
    } else if (json[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && (json[i] == ':' || json[i] == ',')) {
      out += ' ';
    }
  }
  return out;
}

std::string time_text(base::WallTime at, long utc_offset_seconds) {
  const auto seconds = std::chrono::floor<base::Seconds>(at.time_since_epoch());
  const auto micros =
      std::chrono::duration_cast<std::chrono::microseconds>(at.time_since_epoch() - seconds);
  const std::time_t shifted = seconds.count() + utc_offset_seconds;
  std::tm parts{};
  ::gmtime_r(&shifted, &parts);
  std::string text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}", parts.tm_year + 1900,
                                 parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
                                 parts.tm_sec, micros.count());
  if (utc_offset_seconds == 0) return text + "Z";
  const long minutes = std::abs(utc_offset_seconds) / 60;
  return text + fmt::format("{}{:02}{:02}", utc_offset_seconds < 0 ? '-' : '+', minutes / 60,
                            minutes % 60);
}

// As Go prints the innermost frame.
std::string stack_trace(const LogLine& line) {
  return fmt::format("{}\n\t{}", line.function, line.caller);
}

std::string json_line(const LogLine& line) {
  std::string out = "{";
  append_member(out, "level", info_of(line.level).name);
  out += ',';
  append_member(out, "ts", time_text(line.at, line.utc_offset_seconds));
  out += ',';
  append_member(out, "caller", line.caller);
  out += ',';
  append_member(out, "msg", line.message);
  if (!line.fields.empty()) out.append(",").append(line.fields);
  if (line.level >= LogLevel::kError) {
    out += ',';
    append_member(out, "stacktrace", stack_trace(line));
  }
  return out + "}";
}

std::string console_line(const LogLine& line) {
  std::string out = fmt::format("{}\t{}\t{}\t{}", time_text(line.at, line.utc_offset_seconds),
                                info_of(line.level).name, line.caller, line.message);
  if (!line.fields.empty()) out += "\t{" + spaced(line.fields) + "}";
  if (line.level >= LogLevel::kError) out += "\n" + stack_trace(line);
  return out;
}

// The last directory and the name of a source file.
std::string_view short_path(std::string_view path) {
  const auto name = path.rfind('/');
  if (name == std::string_view::npos || name == 0) return path;
  const auto directory = path.rfind('/', name - 1);
  return directory == std::string_view::npos ? path : path.substr(directory + 1);
}

// Where lines go.
struct Output {
  int fd = -1;  // -1: the journal
};

class LineSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  LineSink(LogFormat format, std::vector<Output> outputs)
      : format_(format), outputs_(std::move(outputs)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const std::string_view payload(message.payload.data(), message.payload.size());
    const auto mark = payload.rfind(kFieldsMark);
    const std::time_t seconds = spdlog::log_clock::to_time_t(message.time);
    std::tm local{};
    ::localtime_r(&seconds, &local);
    const std::string caller =
        message.source.filename == nullptr
            ? "keelson/log"
            : fmt::format("{}:{}", short_path(message.source.filename), message.source.line);
    const LogLine line{
        .level = from_spdlog(message.level),
        .at = base::WallTime(message.time.time_since_epoch()),
        .utc_offset_seconds = local.tm_gmtoff,
        .caller = caller,
        .function = message.source.funcname == nullptr ? "" : message.source.funcname,
        .message = payload.substr(0, mark),
        .fields = mark == std::string_view::npos ? "" : payload.substr(mark + 1)};
    if (!sampler_.takes(line.level, line.message, line.at)) return;
    const std::string text = format_log_line(line, format_);
    for (const Output& output : outputs_) {
      if (output.fd >= 0 || !to_journal(line, text)) {
        to_file(output.fd >= 0 ? output.fd : STDERR_FILENO, text + "\n");
      }
    }
  }

  void flush_() override {}  // every line is written when it is said

  // What a full disk or a closed pipe does to the log must not end the server.
  static void to_file(int fd, std::string_view text) {
    while (!text.empty()) {
      const ssize_t written = ::write(fd, text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return;
      text.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  static bool to_journal(const LogLine& line, const std::string& text) {
    return ::sd_journal_send("MESSAGE=%s", text.c_str(), "PRIORITY=%d",
                             info_of(line.level).priority, "PACKAGE=%s",
                             std::string(line.caller).c_str(), "SYSLOG_IDENTIFIER=keelson",
                             nullptr) == 0;
  }

  const LogFormat format_;
  const std::vector<Output> outputs_;
  LogSampler sampler_;
};

void install(const LogOptions& options, std::vector<Output> outputs) {
  const bool muted = outputs.empty();
  auto logger = std::make_shared<spdlog::logger>(
      "keelson", std::make_shared<LineSink>(options.format, std::move(outputs)));
  logger->set_level(muted ? spdlog::level::off : info_of(options.level).threshold);
  spdlog::set_default_logger(std::move(logger));
}

spdlog::logger& logger() {
  static const bool installed = [] {
    if (spdlog::default_logger_raw()->name() != "keelson") install({}, {{.fd = STDERR_FILENO}});
    return true;
  }();
  MAYBE(installed);
  return *spdlog::default_logger_raw();
}

base::Result<Output, std::string> open_output(const std::string& name) {
  if (name == "stderr" || name == "default") return Output{.fd = STDERR_FILENO};
  if (name == "stdout") return Output{.fd = STDOUT_FILENO};
  if (name == "systemd/journal") return Output{};
  const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd >= 0) return Output{.fd = fd};
  std::string why = std::error_code(errno, std::generic_category()).message();
  why.front() = static_cast<char>(std::tolower(why.front()));
  return fail(fmt::format("open sink \"{}\": open {}: {}", name, name, why));
}

}  // namespace

LogValue::LogValue(std::string_view text) { append_json(json_, text); }
LogValue::LogValue(double value) : json_(fmt::format("{}", value)) {}
LogValue::LogValue(base::Duration duration) : LogValue(base::duration_text(duration)) {}
LogValue::LogValue(base::WallTime at) {
  const std::time_t seconds =
      std::chrono::duration_cast<base::Seconds>(at.time_since_epoch()).count();
  std::tm local{};
  localtime_r(&seconds, &local);
  json_ = fmt::format("\"{}\"", time_text(at, local.tm_gmtoff));
}
LogValue::LogValue(const std::vector<std::string>& texts) {
  json_ = "[";
  for (const std::string& text : texts) {
    if (json_.size() > 1) json_ += ',';
    append_json(json_, text);
  }
  json_ += ']';
}

std::optional<LogLevel> parse_log_level(std::string_view text) {
  for (const Level& level : kLevels) {
    std::string upper(level.name);
    for (char& c : upper) c = static_cast<char>(std::toupper(c));
    if (text == level.name || text == upper) return level.level;
  }
  return std::nullopt;
}

bool log_wants(LogLevel level) { return logger().should_log(info_of(level).threshold); }

void log(LogLevel level, std::string_view message, LogFields fields, std::source_location where) {
  if (!log_wants(level)) return;
  std::string payload(message);
  if (fields.size() > 0) payload += kFieldsMark;
  for (const LogField& field : fields) {
    if (&field != fields.begin()) payload += ',';
    append_json(payload, field.key);
    payload.append(":").append(field.value.json());
  }
  logger().log(
      spdlog::source_loc{where.file_name(), static_cast<int>(where.line()), where.function_name()},
      info_of(level).threshold, spdlog::string_view_t(payload.data(), payload.size()));
}

void log_debug(std::string_view message, LogFields fields, std::source_location where) {
  log(LogLevel::kDebug, message, fields, where);
}
void log_info(std::string_view message, LogFields fields, std::source_location where) {
  log(LogLevel::kInfo, message, fields, where);
}
void log_warn(std::string_view message, LogFields fields, std::source_location where) {
  log(LogLevel::kWarn, message, fields, where);
}
void log_error(std::string_view message, LogFields fields, std::source_location where) {
  log(LogLevel::kError, message, fields, where);
}
void log_fatal(std::string_view message, LogFields fields, std::source_location where) {
  log(LogLevel::kFatal, message, fields, where);
  std::_Exit(kExitCode);
}

base::Result<void, std::string> open_log(const LogOptions& options) {
  std::vector<std::string> names = options.outputs;
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::vector<Output> outputs;
  if (std::find(names.begin(), names.end(), "/dev/null") == names.end()) {
    for (const std::string& name : names) {
      ASSIGN_OR_RETURN(const Output output, open_output(name));
      outputs.push_back(output);
    }
  }
  install(options, std::move(outputs));
  return {};
}

std::string format_log_line(const LogLine& line, LogFormat format) {
  return format == LogFormat::kJson ? json_line(line) : console_line(line);
}

bool LogSampler::takes(LogLevel level, std::string_view message, base::WallTime now) {
  const std::size_t slot = std::hash<std::string_view>()(message) % kSlots;
  Slot& count = slots_[static_cast<std::size_t>(level) * kSlots + slot];
  const auto second = std::chrono::floor<base::Seconds>(now.time_since_epoch()).count();
  if (count.second != second) count = {.second = second};
  count.count++;
  return count.count <= kFirst || (count.count - kFirst) % kThereafter == 0;
}

}  // namespace keelson::env
