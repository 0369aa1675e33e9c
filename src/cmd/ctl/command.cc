#include "cmd/ctl/command.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <numeric>

#include "base/go_text.h"

namespace keelson::cmd::ctl {
const Command* find_subcommand(const Command& command, std::string_view name) {
  const Command* found = nullptr;
  std::size_t sharing = 0;  // how many begin so
  for (const Command* candidate : command.subcommands) {
    if (candidate->name() == name) return candidate;
    if (!candidate->name().starts_with(name)) continue;
    ++sharing;
    found = candidate;
  }
  return sharing == 1 ? found : nullptr;
}

namespace {

constexpr FlagSpec kHelpFlag{.name = "help", .shorthand = 'h'};

struct GroupTitle {
  Group group;
  std::string_view title;
};
constexpr GroupTitle kGroupTitles[] = {
    {Group::kKeyValue, "Key-value commands"},
    {Group::kMaintenance, "Cluster maintenance commands"},
    {Group::kConcurrency, "Concurrency commands"},
    {Group::kAuthentication, "Authentication commands"},
    {Group::kUtility, "Utility commands"},
};

// "etcdctl lease grant"
std::string path_name(const Path& path, std::string_view program) {
  std::string name(program);
  for (const Command* command : std::span(path).subspan(1)) {
    name += ' ';
    name += command->name();
  }
  return name;
}

Flags flags_of(const Path& path) {
  Flags flags;
  for (const Command* command : path) flags.add(command->passed_down);
  flags.add(path.back()->flags);
  flags.add({&kHelpFlag, 1});
  return flags;
}

// Finding ----------------------------------------------------------------------------------------

// Whether the word behind this flag is its value. What is not known is thought to have one.
bool takes_next(std::string_view argument, const Flags& flags) {
  if (argument.find('=') != std::string_view::npos || argument.size() < 2) return false;
  const bool is_long = argument.starts_with("--");
  if (!is_long && argument.size() != 2) return false;
  const FlagSpec* spec =
      is_long ? flags.find(argument.substr(2)) : flags.find_shorthand(argument[1]);
  return spec == nullptr || spec->kind != FlagKind::kBool;
}

// Where the first word stands that is neither a flag nor a flag's value; the end if none.
std::size_t find_word(const std::vector<std::string>& line, const Flags& flags) {
  for (std::size_t i = 0; i < line.size(); ++i) {
    const std::string& argument = line[i];
    if (argument == "--") return line.size();
    if (argument.starts_with('-')) {
      if (takes_next(argument, flags)) ++i;
    } else if (!argument.empty()) {
      return i;
    }
  }
  return line.size();
}

// Walks down the tree; `line` loses the names.
Path find_path(const Command& root, std::vector<std::string>& line) {
  Path path = {&root};
  while (true) {
    const std::size_t at = find_word(line, flags_of(path));
    if (at == line.size()) return path;
    const Command* next = find_subcommand(*path.back(), line[at]);
    if (next == nullptr) return path;
    line.erase(line.begin() + static_cast<std::ptrdiff_t>(at));
    path.push_back(next);
  }
}

// Errors -----------------------------------------------------------------------------------------

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t changed = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, changed});
    }
  }
  return row.back();
}

std::string suggestions(const Command& root, std::string_view typed) {
  std::string found;
  for (const Command* command : root.subcommands) {
    const std::string name = lower(command->name());
    if (edit_distance(lower(typed), name) <= 2 || name.starts_with(lower(typed))) {
      found += fmt::format("\t{}\n", command->name());
    }
  }
  return found.empty() ? "" : "\n\nDid you mean this?\n" + found;
}

Exit unknown_command(const Command& root, std::string_view program, std::string_view typed) {
  return {kExitError,
          fmt::format("unknown command {} for {}{}", base::quote(typed), base::quote(program),
                      suggestions(root, typed)),
          fmt::format("Run '{} --help' for usage.\n", program)};
}

Exit usage_error(const Path& path, std::string_view program, std::string text) {
  return {kExitError, std::move(text), usage_text(path, program) + "\n"};
}

Outcome check_words(const Invocation& invocation) {
  const auto words = invocation.path.back()->words;
  if (words.empty()) return {};
  const auto& arguments = invocation.arguments();
  if (arguments.size() != 1) {
    return base::fail(usage_error(invocation.path, invocation.program,
                                  fmt::format("accepts 1 arg(s), received {}", arguments.size())));
  }
  if (std::find(words.begin(), words.end(), arguments[0]) != words.end()) return {};
  return base::fail(
      usage_error(invocation.path, invocation.program,
                  fmt::format("invalid argument {} for {}", base::quote(arguments[0]),
                              base::quote(path_name(invocation.path, invocation.program)))));
}

}  // namespace

// Help -------------------------------------------------------------------------------------------

namespace {

std::string trimmed_right(std::string text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back()))) text.pop_back();
  return text;
}

std::vector<const Command*> by_name(std::span<const Command* const> commands) {
  std::vector<const Command*> sorted(commands.begin(), commands.end());
  std::sort(sorted.begin(), sorted.end(),
            [](const Command* a, const Command* b) { return a->name() < b->name(); });
  return sorted;
}

std::string command_line(const Command& command) {
  return fmt::format("  {:<11} {}\n", command.name(), command.summary);
}

std::string subcommand_lists(const Command& command, bool is_root) {
  std::string out;
  if (!is_root) {
    out += "\nAvailable Commands:\n";
    for (const Command* one : by_name(command.subcommands)) out += command_line(*one);
    return out;
  }
  for (const GroupTitle& title : kGroupTitles) {
    out += fmt::format("\n{}\n", title.title);
    for (const Command* one : by_name(command.subcommands)) {
      if (one->group == title.group) out += command_line(*one);
    }
  }
  return out;
}

std::string usages(std::initializer_list<std::span<const FlagSpec>> lists) {
  std::vector<const FlagSpec*> specs;
  for (const auto& list : lists) {
    for (const FlagSpec& spec : list) specs.push_back(&spec);
  }
  std::sort(specs.begin(), specs.end(),
            [](const FlagSpec* a, const FlagSpec* b) { return a->name < b->name; });
  return flag_usages(specs);
}

// The root's flags are hidden: `options` prints them.
std::string inherited_usages(const Path& path) {
  std::string out;
  for (const Command* command : std::span(path).subspan(1, path.size() - 2)) {
    out += usages({command->passed_down});
  }
  return out;
}

}  // namespace

std::string usage_text(const Path& path, std::string_view program) {
  const Command& command = *path.back();
  const bool is_root = path.size() == 1;
  const std::string name = path_name(path, program);
  const Path parents(path.begin(), path.end() - (is_root ? 0 : 1));
  std::string out = "Usage:\n";
  if (command.run != nullptr) {
    out += fmt::format("  {} {} [flags]\n", path_name(parents, program), command.use);
  }
  if (!command.subcommands.empty()) {
    out += fmt::format("  {} [command]\n", name);
    out += subcommand_lists(command, is_root);
  }
  if (!is_root) {
    const std::string help = fmt::format("help for {}", command.name());
    const FlagSpec help_flag{.name = "help", .help = help, .shorthand = 'h'};
    out += "\nFlags:\n" + usages({command.flags, command.passed_down, {&help_flag, 1}});
    const std::string inherited = inherited_usages(path);
    if (!inherited.empty()) out += "\nGlobal Flags:\n" + inherited;
  }
  if (!command.subcommands.empty()) {
    out +=
        fmt::format("\nUse \"{} [command] --help\" for more information about a command.\n", name);
  }
  return out;
}

std::string help_text(const Path& path, std::string_view program) {
  const Command& command = *path.back();
  const std::string about = trimmed_right(
      std::string(command.description.empty() ? command.summary : command.description));
  return fmt::format(
      "{}\n\n{}Use \"{} options\" for a list of global command-line options (applies to all "
      "commands).\n",
      about, usage_text(path, program), program);
}

// Running ----------------------------------------------------------------------------------------

Outcome run_command_line(const Command& root, Output& output, std::string program,
                         std::vector<std::string> line, std::vector<std::string> environment) {
  std::vector<std::string> rest = line;
  Path path = find_path(root, rest);
  Flags flags = flags_of(path);
  const bool is_root = path.size() == 1;
  if (is_root) {
    const std::size_t at = find_word(rest, flags);
    if (at < rest.size()) return base::fail(unknown_command(root, program, rest[at]));
  }
  if (auto parsed = flags.parse(rest); !parsed && !path.back()->takes_anything) {
    return base::fail(usage_error(path, program, parsed.error()));
  }
  if (flags.flag("help") || path.back()->run == nullptr) {
    output.print(help_text(path, program));
    return {};
  }
  Invocation invocation{output,           std::move(program), std::move(path),
                        std::move(flags), std::move(line),    std::move(environment)};
  RETURN_IF_ERROR(check_words(invocation));
  return invocation.path.back()->run(invocation);
}

std::optional<Parsed> parse_line(std::span<const Command* const> commands,
                                 const std::vector<std::string>& words) {
  const Command root{.use = "txn", .subcommands = commands};
  std::vector<std::string> rest = words;
  const Path path = find_path(root, rest);
  if (path.size() == 1) return std::nullopt;
  Flags flags;
  flags.add(path.back()->flags);
  flags.add({&kHelpFlag, 1});
  const bool right = flags.parse(rest).ok();
  return Parsed{path.back(), std::move(flags), right};
}

}  // namespace keelson::cmd::ctl
