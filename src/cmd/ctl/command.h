// Commands: the tree of names, how a command line finds its way through it, and help. By the rules
// of cobra, the Go library behind etcdctl (cli.md A2, A3).
//
// A command may be named by any prefix that no sibling shares. Flags may stand anywhere, before the
// names too. A group without a subcommand, or with one it does not know, prints its help; the root
// says what is wrong.
//
// The tree is made of constants: nothing is built when the program starts.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/ctl/flags.h"
#include "cmd/ctl/outcome.h"
#include "cmd/ctl/output.h"

namespace keelson::cmd::ctl {

struct Invocation;
using Run = Outcome (*)(Invocation& invocation);

enum class Group { kNone, kKeyValue, kMaintenance, kConcurrency, kAuthentication, kUtility };

struct Command {
  std::string_view use;                  // "get [options] <key> [range_end]": begins with the name
  std::string_view summary;              // a line in the parent's help
  std::string_view description;          // at the top of its own help; empty: the summary
  Group group = Group::kNone;            // where the root lists it
  std::span<const FlagSpec> flags = {};  // its own
  std::span<const FlagSpec> passed_down = {};  // and of its subcommands
  std::span<const Command* const> subcommands = {};
  Run run = nullptr;  // nullptr: a group
  // The words it takes as its one argument; anything else is a usage error.
  std::span<const std::string_view> words = {};
  bool takes_anything = false;  // runs whatever flags it was given

  std::string_view name() const { return use.substr(0, use.find(' ')); }
};

// From the root to the command, and what was given to it.
using Path = std::vector<const Command*>;

struct Invocation {
  Output& output;
  std::string program;  // as the user calls it
  Path path;
  Flags flags;                           // those of the whole path
  std::vector<std::string> line;         // all after the program's name
  std::vector<std::string> environment;  // "NAME=value"

  const std::vector<std::string>& arguments() const { return flags.arguments(); }
};

// Runs a command line. Help is printed; the error says how the program ends.
Outcome run_command_line(const Command& root, Output& output, std::string program,
                         std::vector<std::string> line, std::vector<std::string> environment);

// A line without the root, as txn reads them: one of `commands` by name, its flags and arguments.
struct Parsed {
  const Command* command;
  Flags flags;
  bool flags_are_right;
};
// nullopt: no such command.
std::optional<Parsed> parse_line(std::span<const Command* const> commands,
                                 const std::vector<std::string>& words);

// By name, or by a prefix that no other has; nullptr: none.
const Command* find_subcommand(const Command& command, std::string_view name);

std::string usage_text(const Path& path, std::string_view program);
std::string help_text(const Path& path, std::string_view program);

}  // namespace keelson::cmd::ctl
