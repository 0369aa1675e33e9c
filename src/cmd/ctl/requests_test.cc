// What command lines and the lines of a txn ask for.
#include <gtest/gtest.h>

#include "cmd/ctl/testing_output_test.h"
#include "cmd/ctl/txn_command.h"
#include "cmd/ctl/txn_text.h"
#include "cmd/ctl/watch_command.h"

namespace keelson::cmd::ctl {
namespace {

using namespace std::string_literals;

struct World {
  TestOutput output;
  int waits = 0;
  RequestContext context{output, [] { return "from input"s; }, [this] { ++waits; }};
};

std::string shown(const auto& result) {
  if (result) return result->ShortDebugString();
  return "exit " + std::to_string(result.error().code) + ": " + result.error().text;
}

std::string request(std::string_view line) {
  World world;
  return shown(parse_request(line, world.context));
}

TEST(Requests, Lines) {
  const std::pair<std::string, std::string> cases[] = {
      {"put a b", R"(request_put { key: "a" value: "b" })"},
      {"put a", R"(request_put { key: "a" value: "from input" })"},
      {"put a --ignore-value", R"(request_put { key: "a" ignore_value: true })"},
      {"put a b --lease=ff --prev-kv",
       R"(request_put { key: "a" value: "b" lease: 255 prev_kv: true })"},
      {"put a b --lease=xyz",
       R"(exit 128: bad lease ID (strconv.ParseInt: parsing "xyz": invalid syntax), expecting ID in Hex)"},
      {"get a", R"(request_range { key: "a" })"},
      {"get a b", R"(request_range { key: "a" range_end: "b" })"},
      {"get a --prefix", R"(request_range { key: "a" range_end: "b" })"},
      {"get '' --prefix", R"(request_range { key: "\000" range_end: "\000" })"},
      {"get a --from-key", R"(request_range { key: "a" range_end: "\000" })"},
      {"get a --order=ASCEND", R"(request_range { key: "a" })"},
      {"get a --order=descend", R"(request_range { key: "a" sort_order: DESCEND })"},
      {"get a --sort-by=VERSION",
       R"(request_range { key: "a" sort_order: ASCEND sort_target: VERSION })"},
      {"get a --rev=-3 --limit=2", R"(request_range { key: "a" limit: 2 })"},
      {"get a --consistency=s", R"(request_range { key: "a" serializable: true })"},
      {"get a --consistency=x", R"(exit 4: unknown consistency flag "x")"},
      {"get a --order=up", "exit 4: bad sort order up"},
      {"get a --sort-by=size", "exit 4: bad sort target size"},
      {"get a --min-mod-rev=3 --max-mod-rev=4",
       R"(request_range { key: "a" min_mod_revision: 3 max_mod_revision: 4 })"},
      {"get a --min-mod-rev=5 --max-mod-rev=4", "exit 4: getMinModRev(=5) > getMaxModRev(=4)"},
      {"get a b --prefix",
       "exit 128: too many arguments, only accept one argument when `--prefix` or `--from-key` is "
       "set"},
      {"del a --prefix --prev-kv",
       R"(request_delete_range { key: "a" range_end: "b" prev_kv: true })"},
      {"del a b --range", R"(request_delete_range { key: "a" range_end: "b" })"},
      {"pu a b", R"(request_put { key: "a" value: "b" })"},
      {"compaction 3", "exit 3: invalid txn request: compaction 3"},
      {"get --nope a", "exit 3: invalid txn request: get --nope a"},
      {"get", "exit 3: invalid txn compare request: get"},
      {R"(put "a b" 'c "d"')", R"(request_put { key: "a b" value: "c \"d\"" })"},
      {R"(put "\x41" b)", R"(request_put { key: "A" value: "b" })"},
      {R"(put "\q" b)", "exit 3: invalid syntax"},
  };
  for (const auto& [line, outcome] : cases) EXPECT_EQ(request(line), outcome) << line;
}

TEST(Requests, ARangeWithoutTheFlagIsWarnedOf) {
  World world;
  EXPECT_TRUE(parse_request("del a b", world.context).ok());
  EXPECT_EQ(world.waits, 1);
  EXPECT_TRUE(world.output.error.starts_with("Warning: Keys between \"a\" and \"b\" will be"));
}

TEST(Requests, Words) {
  const std::pair<std::string, std::vector<std::string>> cases[] = {
      {"", {}},
      {"  a\tb ", {"a", "b"}},
      {R"("a b" 'c d')", {"a b", "c d"}},
      {R"("a\"b")", {"a\"b"}},
      {"it's", {"it's"}},
      {R"(a"b c")", {"a\"b", "c\""}},
      {R"("")", {""}},
      {R"(""'')", {"", ""}},
      {R"("open)", {"open"}},
      {"'", {}},
  };
  for (const auto& [line, words] : cases) EXPECT_EQ(*split_words(line), words) << line;
}

TEST(Requests, Comparisons) {
  const std::pair<std::string, std::string> cases[] = {
      {R"(mod("k") > "0")", R"(result: GREATER target: MOD key: "k" mod_revision: 0)"},
      {R"(m("k") = "7")", R"(target: MOD key: "k" mod_revision: 7)"},
      {R"(c("k") < "7")", R"(result: LESS target: CREATE key: "k" create_revision: 7)"},
      {R"(version("k") != "-1")", R"(result: NOT_EQUAL key: "k" version: -1)"},
      {R"(val("k") = "a b")", R"(target: VALUE key: "k" value: "a b")"},
      {R"(value(`k`) = `\n`)", R"(target: VALUE key: "k" value: "\\n")"},
      {R"(lease("k") = "ff")", R"(target: LEASE key: "k" lease: 255)"},
      {"nonsense", "exit 3: malformed comparison: nonsense"},
      {R"(mod("k")> "0")", R"(exit 3: malformed comparison: mod("k")> "0"; got mod("k")  "")"},
      {R"(mod("k") > 0)", R"(exit 3: malformed comparison: mod("k") > 0; got mod("k") > "")"},
      {R"(mod(k) > "0")", R"(exit 3: malformed comparison: mod(k) > "0"; got mod("")  "")"},
      {R"(age("k") = "1")", R"(exit 3: malformed comparison: age("k") = "1" (unknown target age))"},
      {R"(mod("k") ~ "1")",
       R"(exit 3: malformed comparison: mod("k") ~ "1" (unknown result op ~))"},
      {R"(mod("k") = "x")", R"(exit 3: invalid txn compare request: mod("k") = "x")"},
  };
  for (const auto& [line, outcome] : cases) EXPECT_EQ(shown(parse_compare(line)), outcome) << line;
}

TEST(Requests, Txn) {
  const auto read = [](std::vector<std::string> lines, bool prompts, std::string* out = nullptr) {
    TestOutput output;
    std::size_t next = 0;
    auto txn = read_txn(
        output,
        [&]() -> std::optional<std::string> {
          if (next == lines.size()) return std::nullopt;
          return lines[next++];
        },
        prompts);
    output.flush();
    if (out != nullptr) *out = output.out;
    return shown(txn);
  };
  std::string prompts;
  EXPECT_EQ(read({R"(mod("k") > "0")", " ", "put k v", "get k", "", "del k", ""}, true, &prompts),
            R"(compare { result: GREATER target: MOD key: "k" mod_revision: 0 } )"
            R"(success { request_put { key: "k" value: "v" } } )"
            R"(success { request_range { key: "k" } } )"
            R"(failure { request_delete_range { key: "k" } })");
  EXPECT_EQ(prompts,
            "compares:\nsuccess requests (get, put, del):\nfailure requests (get, put, del):\n");
  EXPECT_EQ(read({"", "", ""}, false), "");
  EXPECT_EQ(read({"", ""}, false), "exit 3: EOF");
}

TEST(Requests, PrefixEnds) {
  EXPECT_EQ(prefix_end("a"), "b");
  EXPECT_EQ(prefix_end("a\xff"), "b");
  EXPECT_EQ(prefix_end("\x7f"), "\x80");
  EXPECT_EQ(prefix_end("\xff\xff"), "\0"s);
  EXPECT_EQ(prefix_end(""), "\0"s);
}

TEST(Requests, Watches) {
  const auto plan = [](std::vector<std::string> line, const std::string& key = "",
                       const std::string& range_end = "") {
    Flags flags;
    flags.add(kWatchCommand.flags);
    EXPECT_TRUE(flags.parse(line).ok());
    const auto planned = plan_watch(flags, key, range_end);
    if (!planned) return std::to_string(planned.error().code) + " " + planned.error().text;
    std::string shown = planned->request.ShortDebugString();
    for (const std::string& word : planned->command) shown += " " + word;
    return shown;
  };
  EXPECT_EQ(plan({"a"}), R"(key: "a")");
  EXPECT_EQ(plan({"a", "b", "--rev=3", "--prev-kv"}),
            R"(key: "a" range_end: "b" start_revision: 3 prev_kv: true)");
  EXPECT_EQ(plan({"a", "--prefix"}), R"(key: "a" range_end: "b")");
  EXPECT_EQ(plan({"", "--prefix"}), R"(key: "\000" range_end: "\000")");
  EXPECT_EQ(plan({"a", "--", "echo", "a"}), R"(key: "a" echo a)");
  EXPECT_EQ(plan({"--", "echo"}, "k", "l"), R"(key: "k" range_end: "l" echo)");
  EXPECT_EQ(plan({}, "k"), R"(key: "k")");
  EXPECT_EQ(plan({}), "128 bad number of arguments");
  EXPECT_EQ(plan({"a", "--"}), "128 bad number of arguments (found separator --, but no commands)");
  EXPECT_EQ(plan({"a"}, "k"), "128 bad number of arguments (found conflicting environment key)");
  EXPECT_EQ(plan({"a", "b", "--prefix"}), "128 `range_end` and `--prefix` are mutually exclusive");
}

}  // namespace
}  // namespace keelson::cmd::ctl
