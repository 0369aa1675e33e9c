#include "cmd/ctl/absent_commands.h"

#include <fmt/format.h>

namespace keelson::cmd::ctl {
namespace {

Outcome run_absent(Invocation& invocation) {
  return exit_with(kExitError, fmt::format("{} {} is not there yet", invocation.program,
                                           invocation.path.back()->name()));
}

// Whatever was meant for the command is not looked at.
constexpr Command absent(std::string_view use, std::string_view summary, Group group) {
  return {.use = use,
          .summary = summary,
          .description = "",
          .group = group,
          .run = run_absent,
          .takes_anything = true};
}

}  // namespace

constinit const Command kMakeMirrorCommand =
    absent("make-mirror [options] <destination>",
           "Copies the keys to another cluster and keeps them the same", Group::kUtility);
constinit const Command kLockCommand = absent("lock <lockname> [exec-command arg1 arg2 ...]",
                                              "Takes a named lock", Group::kConcurrency);
constinit const Command kElectCommand =
    absent("elect <election-name> [proposal]", "Takes part in an election, or watches one",
           Group::kConcurrency);
constinit const Command kCheckCommand =
    absent("check <subcommand>", "Measures whether a cluster is fit for a load", Group::kUtility);
constinit const Command kCompletionCommand =
    absent("completion [bash|zsh|fish|powershell]", "Writes a completion script for a shell",
           Group::kUtility);

}  // namespace keelson::cmd::ctl
