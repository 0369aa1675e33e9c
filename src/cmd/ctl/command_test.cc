#include "cmd/ctl/command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include "cmd/ctl/testing_output_test.h"

namespace keelson::cmd::ctl {
namespace {

Outcome show(Invocation& invocation) {
  invocation.output.print_line(fmt::format("{} [{}]", invocation.path.back()->name(),
                                           fmt::join(invocation.arguments(), ",")));
  return {};
}

constexpr FlagSpec kGlobal[] = {{"write-out", FlagKind::kString, "simple", "", 'w'},
                                {"hex", FlagKind::kBool, "", ""}};
constexpr FlagSpec kOwn[] = {{"limit", FlagKind::kInt, "0", "at most"}};
constexpr FlagSpec kDown[] = {{"cluster", FlagKind::kBool, "", "all"}};
constexpr Command kGet{"get <key>", "gets", "", Group::kKeyValue, kOwn, {}, {}, show};
constexpr Command kGrant{"grant <ttl>", "grants", "Grants.\n", Group::kNone, {}, {}, {}, show};
constexpr Command kKeep{"keep-alive", "keeps", "", Group::kNone, {}, kDown, {}, show};
constexpr const Command* kLeaseSubs[] = {&kKeep, &kGrant};
constexpr Command kLease{
    "lease <subcommand>", "leases", "", Group::kKeyValue, {}, kDown, kLeaseSubs};
constexpr Command kLock{"lock", "locks", "", Group::kConcurrency, {}, {}, {}, show};
constexpr std::string_view kShells[] = {"bash", "zsh"};
constexpr Command kCompletion{"completion", "completes", "",   Group::kUtility, {},
                              {},           {},          show, kShells};
constexpr const Command* kSubs[] = {&kGet, &kLock, &kLease, &kCompletion};
constexpr Command kRoot{"ctl", "A tool.", "", Group::kNone, {}, kGlobal, kSubs};

std::string run(std::vector<std::string> line) {
  TestOutput output;
  const Outcome outcome = run_command_line(kRoot, output, "ctl", std::move(line), {});
  output.flush();
  if (outcome) return output.out;
  return fmt::format("{} {}", outcome.error().code, outcome.error().text);
}

TEST(Command, Finding) {
  const std::pair<std::vector<std::string>, std::string> cases[] = {
      {{"get", "a"}, "get [a]\n"},
      {{"g", "a"}, "get [a]\n"},
      {{"-w", "json", "get", "a"}, "get [a]\n"},
      {{"--hex", "get", "a"}, "get [a]\n"},
      {{"get", "get"}, "get [get]\n"},
      {{"get", "--", "-w"}, "get [-w]\n"},
      {{"lea", "gr", "5"}, "grant [5]\n"},
      {{"lease", "--hex", "keep-alive"}, "keep-alive []\n"},
      {{"lease", "--cluster", "keep-alive"}, "keep-alive []\n"},
      {{"completion", "bash"}, "completion [bash]\n"},
      {{"completion"}, "1 accepts 1 arg(s), received 0"},
      {{"completion", "fish"}, R"(1 invalid argument "fish" for "ctl completion")"},
      {{"nope"}, R"(1 unknown command "nope" for "ctl")"},
      {{"--nope", "get", "a"}, R"(1 unknown command "a" for "ctl")"},
      {{"l"}, "1 unknown command \"l\" for \"ctl\"\n\nDid you mean this?\n\tlock\n\tlease\n"},
      {{"gte"}, "1 unknown command \"gte\" for \"ctl\"\n\nDid you mean this?\n\tget\n"},
      {{"get", "--nope"}, "1 unknown flag: --nope"},
      {{"lease", "keep-alive", "--limit=1"}, "1 unknown flag: --limit"},
  };
  for (const auto& [line, outcome] : cases) {
    EXPECT_EQ(run(line), outcome) << fmt::format("{}", fmt::join(line, " "));
  }
}

TEST(Command, Help) {
  const std::string last =
      "Use \"ctl options\" for a list of global command-line options (applies to all "
      "commands).\n";
  EXPECT_EQ(run({}), R"(A tool.

Usage:
  ctl [command]

Key-value commands
  get         gets
  lease       leases

Cluster maintenance commands

Concurrency commands
  lock        locks

Authentication commands

Utility commands
  completion  completes

Use "ctl [command] --help" for more information about a command.
)" + last);
  EXPECT_EQ(run({"get", "-h"}), R"(gets

Usage:
  ctl get <key> [flags]

Flags:
  -h, --help        help for get
      --limit int   at most
)" + last);
  EXPECT_EQ(run({"lease", "whatever"}), R"(leases

Usage:
  ctl lease [command]

Available Commands:
  grant       grants
  keep-alive  keeps

Flags:
      --cluster   all
  -h, --help      help for lease

Use "ctl lease [command] --help" for more information about a command.
)" + last);
  EXPECT_EQ(run({"lease", "grant", "--help"}), R"(Grants.

Usage:
  ctl lease grant <ttl> [flags]

Flags:
  -h, --help   help for grant

Global Flags:
      --cluster   all
)" + last);
}

}  // namespace
}  // namespace keelson::cmd::ctl
