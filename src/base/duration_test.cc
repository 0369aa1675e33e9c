#include "base/duration.h"

#include <gtest/gtest.h>

#include <limits>

namespace keelson::base {
namespace {

TEST(Duration, ReadsWhatGoReads) {
  struct Row {
    const char* text;
    std::optional<Duration> expected;
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
      {"9223372036854775808ns", std::nullopt},  // one too many
      {"3000000h", std::nullopt},
      {"", std::nullopt},
      {"5", std::nullopt},  // no unit
      {"-", std::nullopt},
      {".s", std::nullopt},
      {"s", std::nullopt},
      {"1d", std::nullopt},
      {"1 s", std::nullopt},
      {"1s ", std::nullopt},
      {"1.2.3s", std::nullopt},
  };
  for (const Row& row : rows) EXPECT_EQ(parse_duration(row.text), row.expected) << row.text;
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
