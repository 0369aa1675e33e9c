#include "cmd/ctl/root.h"

#include <fmt/format.h>

#include "cmd/ctl/absent_commands.h"
#include "cmd/ctl/auth_commands.h"
#include "cmd/ctl/cluster_commands.h"
#include "cmd/ctl/kv_commands.h"
#include "cmd/ctl/lease_commands.h"
#include "cmd/ctl/session.h"
#include "cmd/ctl/snapshot_command.h"
#include "cmd/ctl/txn_command.h"
#include "cmd/ctl/watch_command.h"

namespace keelson::cmd::ctl {
namespace {

Outcome run_version(Invocation& invocation) {
  invocation.output.print_line(fmt::format("{} version: 3.7.1", invocation.program));
  invocation.output.print_line("API version: 3.7");
  return {};
}

constexpr Command kVersionCommand = {
    .use = "version",
    .summary = "Prints the version of etcd this speaks for",
    .description = "",
    .group = Group::kUtility,
    .run = run_version,
};

Outcome run_options(Invocation& invocation) {
  std::vector<const FlagSpec*> specs;
  for (const FlagSpec& spec : global_flags()) specs.push_back(&spec);
  invocation.output.print("The following options can be passed to any command:\n\n");
  invocation.output.print(flag_usages(specs));
  return {};
}

constexpr Command kOptionsCommand = {
    .use = "options",
    .summary = "Shows the flags that all commands take",
    .description = "",
    .group = Group::kUtility,
    .run = run_options,
};

Outcome run_help(Invocation& invocation) {
  Path path = {invocation.path.front()};
  for (const std::string& name : invocation.arguments()) {
    const Command* next = find_subcommand(*path.back(), name);
    if (next == nullptr && path.size() > 1) break;
    if (next == nullptr) {
      invocation.output.complain(
          fmt::format("Unknown help topic [{}]\n{}",
                      fmt::format("`{}`", fmt::join(invocation.arguments(), "` `")),
                      usage_text(path, invocation.program)));
      return {};
    }
    path.push_back(next);
  }
  invocation.output.print(help_text(path, invocation.program));
  return {};
}

constexpr Command kHelpCommand = {
    .use = "help [command]",
    .summary = "Shows help for a command",
    .description = "",
    .group = Group::kUtility,
    .run = run_help,
};

// In the order in which suggestions come.
constexpr const Command* kRootCommands[] = {
    &kGetCommand,        &kPutCommand,        &kDelCommand,        &kTxnCommand,
    &kCompactionCommand, &kAlarmCommand,      &kDefragCommand,     &kEndpointCommand,
    &kMoveLeaderCommand, &kWatchCommand,      &kVersionCommand,    &kLeaseCommand,
    &kMemberCommand,     &kSnapshotCommand,   &kMakeMirrorCommand, &kLockCommand,
    &kElectCommand,      &kAuthCommand,       &kUserCommand,       &kRoleCommand,
    &kCheckCommand,      &kCompletionCommand, &kDowngradeCommand,  &kOptionsCommand,
    &kHelpCommand,
};

}  // namespace

int run(Output& output, std::string program, std::vector<std::string> line,
        std::vector<std::string> environment) {
  const Command root{.use = "keelsonctl",
                     .summary = "A command line client for Keelson and etcd.",
                     .description = "",
                     .passed_down = global_flags(),
                     .subcommands = kRootCommands};
  const Outcome outcome =
      run_command_line(root, output, std::move(program), std::move(line), std::move(environment));
  output.flush();
  if (outcome) return 0;
  const Exit& exit = outcome.error();
  if (!exit.text.empty()) output.complain(fmt::format("Error: {}\n", exit.text));
  output.complain(exit.usage);
  return exit.code;
}

}  // namespace keelson::cmd::ctl
