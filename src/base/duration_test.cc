#include "base/duration.h"

#include <gtest/gtest.h>

#include <limits>

namespace keelson::base {
namespace {

TEST(Duration, ReadsWhatGoReads) {
  struct Row {
    const char* text;
    Duration expected;
  };
  const Row rows[] = {
      {"0", 0ns},
      {"5s", 5s},
      {"+5s", 5s},
      {"-1.5h", -90min},
      {"1h30m", 90min},
      {"1h1m1s1ms1us1ns", 1h + 1min + 1s + 1ms + 1us + 1ns},
      {"300ms", 300ms},
      {"1µs", 1us},  // U+00B5
      {"1μs", 1us},  // U+03BC
      {".5s", 500ms},
      {"1.s", 1s},
      {"0.100000000000000000000h", 6min},  // more digits than fit: the rest is dropped
      {"9223372036854775807ns", Duration(std::numeric_limits<std::int64_t>::max())},
      {"-9223372036854775808ns", Duration(std::numeric_limits<std::int64_t>::min())},
  };
  for (const Row& row : rows) EXPECT_EQ(parse_duration(row.text).value(), row.expected) << row.text;
}

// Asked of Go 1.26.
TEST(Duration, RefusesInGosWords) {
  const std::pair<const char*, const char*> rows[] = {
      {"", R"(time: invalid duration "")"},
      {"-", R"(time: invalid duration "-")"},
      {".s", R"(time: invalid duration ".s")"},
      {"s", R"(time: invalid duration "s")"},
      {"9223372036854775808ns", R"(time: invalid duration "9223372036854775808ns")"},
      {"3000000h", R"(time: invalid duration "3000000h")"},
      {"a\n", R"(time: invalid duration "a\x0a")"},
      {"é", R"(time: invalid duration "\xc3\xa9")"},
      {"5", R"(time: missing unit in duration "5")"},
      {"1s2", R"(time: missing unit in duration "1s2")"},
      {"1.2.3s", R"(time: missing unit in duration "1.2.3s")"},
      {"1d", R"(time: unknown unit "d" in duration "1d")"},
      {"1s ", R"(time: unknown unit "s " in duration "1s ")"},
      {"5µx", R"(time: unknown unit "\xc2\xb5x" in duration "5\xc2\xb5x")"},
      {"1\"s", R"(time: unknown unit "\"s" in duration "1\"s")"},
      {"1\\", R"(time: unknown unit "\\" in duration "1\\")"},
  };
  for (const auto& [text, error] : rows) {
    const auto parsed = parse_duration(text);
    ASSERT_FALSE(parsed.ok()) << text;
    EXPECT_EQ(parsed.error(), error);
  }
}

TEST(Duration, PrintsAsGoPrints) {
  struct Row {
    Duration duration;
    const char* expected;
  };
  const Row rows[] = {
      {0ns, "0s"},
      {1ns, "1ns"},
      {1100ns, "1.1µs"},
      {2200us, "2.2ms"},
      {3300ms, "3.3s"},
      {5min + 5s, "5m5s"},
      {5min + 5001ms, "5m5.001s"},
      {5h + 6min + 7001ms, "5h6m7.001s"},
      {480s + 1ns, "8m0.000000001s"},
      {2h, "2h0m0s"},
      {-90s, "-1m30s"},
      {Duration(std::numeric_limits<std::int64_t>::min()), "-2562047h47m16.854775808s"},
  };
  for (const Row& row : rows) EXPECT_EQ(duration_text(row.duration), row.expected);
}

}  // namespace
}  // namespace keelson::base
