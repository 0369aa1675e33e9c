#include "cmd/ctl/root.h"

#include <fmt/format.h>

#include "cmd/ctl/kv_commands.h"
#include "cmd/ctl/session.h"

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

// The order in which suggestions come.
constexpr const Command* kRootCommands[] = {
    &kGetCommand,        &kPutCommand,     &kDelCommand,
    &kCompactionCommand, &kVersionCommand, &kOptionsCommand,
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
