#include "cmd/server/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/go_text.h"

namespace keelson::cmd {
namespace {

using testing::HasSubstr;

FlagSet flags() {
  return FlagSet({
      {.name = "on", .kind = FlagKind::kBool, .fallback = "false", .section = "One", .help = "On?"},
      {.name = "count",
       .kind = FlagKind::kUint,
       .fallback = "5",
       .section = "One",
       .help = "How many."},
      {.name = "size",
       .kind = FlagKind::kInt,
       .fallback = "0",
       .section = "Two",
       .help = "How big."},
      {.name = "wait", .kind = FlagKind::kDuration, .fallback = "5s"},
      {.name = "big-name", .fallback = "none"},
      {.name = "old", .kind = FlagKind::kIgnored},
      {.name = "even",
       .fallback = "",
       .check = [](std::string_view value) -> std::optional<std::string> {
         if (value.size() % 2 == 0) return std::nullopt;
         return "odd";
       }},
  });
}

// name=value of what differs from the default, or why there is nothing.
std::string outcome(const std::vector<std::string>& arguments) {
  const FlagSet set = flags();
  const auto values = set.parse(arguments);
  if (!values) {
    return (values.error().why == FlagExit::Why::kHelp ? "help" : "") + values.error().text;
  }
  std::string text;
  for (const FlagSpec& spec : set.specs()) {
    if (!values->is_set(spec.name)) continue;
    text += (text.empty() ? "" : " ") + spec.name + "=" + values->text(spec.name);
  }
  return text;
}

TEST(Flags, AreReadAsGoReadsThem) {
  struct Row {
    std::vector<std::string> arguments;
    const char* expected;
  };
  const Row rows[] = {
      {{}, ""},
      {{"--count=7"}, "count=7"},
      {{"-count", "7"}, "count=7"},
      {{"--count", "7", "-count=8"}, "count=8"},  // the last one wins
      {{"-on"}, "on=true"},
      {{"--on=F"}, "on=F"},
      {{"--on", "--count=1"}, "on=true count=1"},
      {{"--on", "false"}, "\"false\" is not a valid flag"},  // a boolean's value stands after '='
      {{"--big-name", "--on"}, "big-name=--on"},             // whatever comes next is the value
      {{"--big-name="}, "big-name="},
      {{"--big-name=a=b"}, "big-name=a=b"},
      {{"--old"}, "old=true"},
      {{"--old=x", "--count=1"}, "count=1 old=x"},
      {{"--wait=1h30m"}, "wait=1h30m"},
      {{"--count=0x1F"}, "count=0x1F"},
      {{"--size=-0b11"}, "size=-0b11"},
      {{"--count=7", "--"}, "count=7"},
      {{"--", "--count=7"}, "\"--count=7\" is not a valid flag"},
      {{"x"}, "\"x\" is not a valid flag"},
      {{"-", "y"}, "\"-\" is not a valid flag"},
      {{"-h"}, "help"},
      {{"--help=no"}, "help"},
      {{"--nope=1"}, "flag provided but not defined: -nope"},
      {{"---on"}, "bad flag syntax: ---on"},
      {{"-=on"}, "bad flag syntax: -=on"},
      {{"--count"}, "flag needs an argument: -count"},
      {{"--count=x"}, "invalid value \"x\" for flag -count: parse error"},
      {{"--count="}, "invalid value \"\" for flag -count: parse error"},
      {{"--count=-1"}, "invalid value \"-1\" for flag -count: parse error"},
      {{"--count=99999999999999999999"},
       "invalid value \"99999999999999999999\" for flag -count: value out of range"},
      {{"--size=9223372036854775808"},
       "invalid value \"9223372036854775808\" for flag -size: value out of range"},
      {{"--size=1e3"}, "invalid value \"1e3\" for flag -size: parse error"},
      {{"--wait=5"}, "invalid value \"5\" for flag -wait: parse error"},
      {{"--on=maybe"}, "invalid boolean value \"maybe\" for -on: parse error"},
      {{"--even=abc"}, "invalid value \"abc\" for flag -even: odd"},
      {{"--even=a\"\n"}, "invalid value \"a\\\"\\n\" for flag -even: odd"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(outcome(row.arguments), row.expected) << testing::PrintToString(row.arguments);
  }
}

TEST(Flags, NumbersHaveGosBasesAndUnderscores) {
  EXPECT_EQ(*base::parse_uint("0x_ff"), 255u);
  EXPECT_EQ(*base::parse_uint("0o17"), 15u);
  EXPECT_EQ(*base::parse_uint("017"), 15u);
  EXPECT_EQ(*base::parse_uint("0b101"), 5u);
  EXPECT_EQ(*base::parse_uint("1_000_000"), 1'000'000u);
  EXPECT_EQ(*base::parse_uint("0"), 0u);
  EXPECT_EQ(*base::parse_uint("18446744073709551615"), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(*base::parse_int("-9223372036854775808"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(*base::parse_int("+7"), 7);
  for (const char* bad : {"", "_1", "1_", "1__0", "08", "0x", "+1", "1.0", " 1", "0b2"}) {
    const auto parsed = base::parse_uint(bad);
    ASSERT_FALSE(parsed.ok()) << bad;
    EXPECT_EQ(parsed.error().code, base::NumberErrc::kSyntax) << bad;
  }
}

struct Environment {
  std::string notes;
  std::string values;
};
Environment environment(const std::vector<std::string>& arguments,
                        const std::vector<std::string>& variables) {
  const FlagSet set = flags();
  auto values = set.parse(arguments);
  EXPECT_TRUE(values.ok());
  const EnvironmentUse use = set.read_environment(*values, variables);
  Environment out;
  for (const EnvironmentNote& note : use.notes) {
    constexpr const char* kWhat[] = {"special", "used", "unrecognized", "conflict"};
    out.notes += std::string(out.notes.empty() ? "" : "; ") + kWhat[static_cast<int>(note.what)] +
                 " " + note.name + (note.value.empty() ? "" : " " + note.value);
  }
  if (!use.error.empty()) out.notes += "; error " + use.error;
  for (const FlagSpec& spec : set.specs()) {
    if (values->is_set(spec.name)) out.values += spec.name + "=" + values->text(spec.name) + " ";
  }
  return out;
}

TEST(Flags, TheEnvironmentFillsWhatArgumentsLeave) {
  struct Row {
    std::vector<std::string> arguments, variables;
    const char* notes;
    const char* values;
  };
  const Row rows[] = {
      {{}, {"ETCD_BIG_NAME=x", "PATH=/bin"}, "used ETCD_BIG_NAME x", "big-name=x "},
      // In the order of the flags' names, whatever the environment's.
      {{}, {"ETCD_ON=1", "ETCD_COUNT=3"}, "used ETCD_COUNT 3; used ETCD_ON 1", "on=1 count=3 "},
      {{}, {"ETCD_DEBUG=1"}, "unrecognized ETCD_DEBUG=1", ""},
      {{}, {"ETCD_COUNT="}, "unrecognized ETCD_COUNT=", ""},  // empty is not given
      {{}, {"ETCD_VERSION=1"}, "special ETCD_VERSION 1", ""},
      {{"--count=1"}, {"ETCD_COUNT=2"}, "conflict ETCD_COUNT 2", "count=1 "},
      {{"--count=1"}, {"ETCD_COUNT="}, "conflict ETCD_COUNT", "count=1 "},
      {{}, {"ETCD_COUNT=x"}, "; error invalid value \"x\" for ETCD_COUNT: parse error", ""},
  };
  for (const Row& row : rows) {
    const Environment got = environment(row.arguments, row.variables);
    EXPECT_EQ(got.notes, row.notes) << testing::PrintToString(row.variables);
    EXPECT_EQ(got.values, row.values) << testing::PrintToString(row.variables);
  }
}

TEST(Flags, HelpShowsTheFlagsOfEachSectionWithTheirDefaults) {
  EXPECT_EQ(flags().help(),
            "\nOne:\n  --on 'false'\n    On?\n  --count '5'\n    How many.\n"
            "\nTwo:\n  --size '0'\n    How big.\n");
}

}  // namespace
}  // namespace keelson::cmd
