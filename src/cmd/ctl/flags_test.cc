#include "cmd/ctl/flags.h"

#include <gtest/gtest.h>

namespace keelson::cmd::ctl {
namespace {

constexpr FlagSpec kSpecs[] = {
    {"write-out", FlagKind::kString, "simple", "how to print", 'w'},
    {"hex", FlagKind::kBool, "", "in hexadecimal"},
    {"secure", FlagKind::kBool, "true", "or not"},
    {"interactive", FlagKind::kBool, "", "ask", 'i'},
    {"limit", FlagKind::kInt, "0", "how many", 'l'},
    {"timeout", FlagKind::kDuration, "5s", "how long"},
    {"endpoints", FlagKind::kStrings, "a:1", "where"},
};

struct Case {
  std::vector<std::string> line;
  // What is expected: flags that were set, arguments, or an error.
  std::string outcome;
};

std::string outcome_of(const std::vector<std::string>& line) {
  Flags flags;
  flags.add(kSpecs);
  const auto parsed = flags.parse(line);
  if (!parsed) return "error: " + parsed.error();
  std::string out;
  for (const FlagSpec* spec : flags.sorted()) {
    if (flags.is_set(spec->name)) {
      out += std::string(spec->name) + "=" + flags.shown(spec->name) + " ";
    }
  }
  out += "|";
  for (const std::string& argument : flags.arguments()) out += " " + argument;
  if (flags.arguments_before_dash()) {
    out += " dash=" + std::to_string(*flags.arguments_before_dash());
  }
  return out;
}

// Asked of etcdctl, and of pflag where etcdctl has no such flag.
TEST(Flags, Parse) {
  const Case cases[] = {
      {{}, "|"},
      {{"a", "b"}, "| a b"},
      {{"--limit", "3", "a"}, "limit=3 | a"},
      {{"a", "--limit=3"}, "limit=3 | a"},
      {{"-l3", "-w", "json"}, "limit=3 write-out=json |"},
      {{"-l=3", "-wjson"}, "limit=3 write-out=json |"},
      {{"-iw", "json"}, "interactive=true write-out=json |"},
      {{"-iwjson"}, "interactive=true write-out=json |"},
      {{"--hex", "true"}, "hex=true | true"},
      {{"--hex=false"}, "hex=false |"},
      {{"--secure=F"}, "secure=false |"},
      {{"--limit=1", "--limit=2"}, "limit=2 |"},
      {{"--endpoints", "b:1,c:1"}, "endpoints=[b:1,c:1] |"},
      {{"--endpoints=b", "--endpoints=c"}, "endpoints=[b,c] |"},
      {{"--endpoints="}, "endpoints=[] |"},
      {{"--endpoints", "\"a,b\",c"}, "endpoints=[a,b,c] |"},
      {{"--timeout=1m"}, "timeout=1m0s |"},
      {{"a", "--", "--hex", "b"}, "| a --hex b dash=1"},
      {{"--"}, "| dash=0"},
      {{"-"}, "| -"},
      {{"--limit", "--hex"},
       "error: invalid argument \"--hex\" for \"-l, --limit\" flag: strconv.ParseInt: parsing "
       "\"--hex\": invalid syntax"},
      {{"--write-out", "-w"}, "write-out=-w |"},
      {{"--nope"}, "error: unknown flag: --nope"},
      {{"--nope=1"}, "error: unknown flag: --nope"},
      {{"-z"}, "error: unknown shorthand flag: 'z' in -z"},
      {{"-iz"}, "error: unknown shorthand flag: 'z' in -iz"},
      {{"-5"}, "error: unknown shorthand flag: '5' in -5"},
      {{"--limit"}, "error: flag needs an argument: --limit"},
      {{"-w"}, "error: flag needs an argument: 'w' in -w"},
      {{"--=x"}, "error: bad flag syntax: --=x"},
      {{"---x"}, "error: bad flag syntax: ---x"},
      {{"--hex=zz"},
       "error: invalid argument \"zz\" for \"--hex\" flag: strconv.ParseBool: parsing \"zz\": "
       "invalid syntax"},
      {{"--timeout=5"},
       "error: invalid argument \"5\" for \"--timeout\" flag: time: missing unit in duration "
       "\"5\""},
  };
  for (const Case& c : cases) EXPECT_EQ(outcome_of(c.line), c.outcome);
}

TEST(Flags, Defaults) {
  Flags flags;
  flags.add(kSpecs);
  EXPECT_EQ(flags.text("write-out"), "simple");
  EXPECT_FALSE(flags.flag("hex"));
  EXPECT_TRUE(flags.flag("secure"));
  EXPECT_EQ(flags.number("limit"), 0);
  EXPECT_EQ(flags.duration("timeout"), base::Seconds(5));
  EXPECT_EQ(flags.strings("endpoints"), std::vector<std::string>{"a:1"});
  EXPECT_FALSE(flags.is_set("endpoints"));
}

TEST(Flags, Usages) {
  std::vector<const FlagSpec*> specs;
  for (const FlagSpec& spec : kSpecs) specs.push_back(&spec);
  EXPECT_EQ(flag_usages(specs),
            R"(  -w, --write-out string    how to print (default "simple")
      --hex                 in hexadecimal
      --secure              or not (default true)
  -i, --interactive         ask
  -l, --limit int           how many
      --timeout duration    how long (default 5s)
      --endpoints strings   where (default [a:1])
)");
}

}  // namespace
}  // namespace keelson::cmd::ctl
