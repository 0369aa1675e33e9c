#include "env/log.h"

#include <gtest/gtest.h>

#include <chrono>

namespace keelson::env {
namespace {

using namespace std::chrono_literals;

// 2026-01-02 03:04:05.000678 UTC
constexpr base::WallTime kAt{base::Seconds(1767323045) + 678us};

std::string fields(LogFields list) {
  std::string out;
  for (const LogField& field : list) {
    out += (out.empty() ? "\"" : ",\"") + std::string(field.key) + "\":" + field.value.json();
  }
  return out;
}

LogLine line(LogLevel level, std::string_view message, std::string_view fields) {
  return {.level = level,
          .at = kAt,
          .caller = "wal/wal.cc:12",
          .function = "void f()",
          .message = message,
          .fields = fields};
}

TEST(Log, AJsonLineHasItsKeysInEtcdsOrder) {
  EXPECT_EQ(format_log_line(line(LogLevel::kInfo, "Running: ", ""), LogFormat::kJson),
            R"({"level":"info","ts":"2026-01-02T03:04:05.000678Z","caller":"wal/wal.cc:12",)"
            R"("msg":"Running: "})");
}

TEST(Log, FieldsAreJsonOfTheirKind) {
  const std::string some = fields({{"text", "a\"b\\c\n\x01"},
                                   {"bad", std::string_view("\xff<é>")},
                                   {"on", true},
                                   {"number", std::int64_t{-5}},
                                   {"took", base::Milliseconds(1500)},
                                   {"urls", std::vector<std::string>{"http://a:1", "http://b:2"}},
                                   {"none", std::vector<std::string>{}}});
  EXPECT_EQ(some, R"("text":"a\"b\\c\n\u0001","bad":"\ufffd<é>","on":true,"number":-5,)"
                  R"("took":"1.5s","urls":["http://a:1","http://b:2"],"none":[])");
  EXPECT_TRUE(format_log_line(line(LogLevel::kWarn, "m", some), LogFormat::kJson)
                  .ends_with(R"("msg":"m",)" + some + "}"));
}

TEST(Log, AnErrorSaysWhereItWasFound) {
  EXPECT_TRUE(format_log_line(line(LogLevel::kError, "m", "\"a\":1"), LogFormat::kJson)
                  .ends_with(R"("a":1,"stacktrace":"void f()\n\twal/wal.cc:12"})"));
}

TEST(Log, AConsoleLineIsTabsAndSpacedJson) {
  const std::string some = fields({{"a", "x:y,z"}, {"b", std::vector<std::string>{"1", "2"}}});
  EXPECT_EQ(format_log_line(line(LogLevel::kWarn, "m", some), LogFormat::kConsole),
            "2026-01-02T03:04:05.000678Z\twarn\twal/wal.cc:12\tm\t"
            R"({"a": "x:y,z", "b": ["1", "2"]})");
  EXPECT_EQ(format_log_line(line(LogLevel::kInfo, "m", ""), LogFormat::kConsole),
            "2026-01-02T03:04:05.000678Z\tinfo\twal/wal.cc:12\tm");
}

TEST(Log, LocalTimeCarriesItsOffset) {
  LogLine east = line(LogLevel::kInfo, "m", "");
  east.utc_offset_seconds = 5 * 3600 + 30 * 60;
  EXPECT_TRUE(
      format_log_line(east, LogFormat::kConsole).starts_with("2026-01-02T08:34:05.000678+0530\t"));
}

TEST(Log, LevelsAreNamedInLowerOrUpperCase) {
  EXPECT_EQ(parse_log_level("debug"), LogLevel::kDebug);
  EXPECT_EQ(parse_log_level("WARN"), LogLevel::kWarn);
  EXPECT_EQ(parse_log_level("fatal"), LogLevel::kFatal);
  EXPECT_EQ(parse_log_level("Info"), std::nullopt);
  EXPECT_EQ(parse_log_level("trace"), std::nullopt);
}

// A loop that says the same thing writes a hundred lines a second and then one in a hundred.
TEST(Log, AFloodIsSampled) {
  LogSampler sampler;
  const auto written = [&](LogLevel level, std::string_view message, base::WallTime at, int times) {
    int taken = 0;
    for (int i = 0; i < times; i++) taken += sampler.takes(level, message, at) ? 1 : 0;
    return taken;
  };
  EXPECT_EQ(written(LogLevel::kWarn, "flood", kAt, 1000), 109);
  EXPECT_EQ(written(LogLevel::kInfo, "flood", kAt, 10), 10);  // counts by level
  EXPECT_EQ(written(LogLevel::kWarn, "flood", kAt + 1s, 50), 50);
}

}  // namespace
}  // namespace keelson::env
