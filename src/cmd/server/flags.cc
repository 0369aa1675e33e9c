#include "cmd/server/flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>

#include "base/duration.h"
#include "base/go_text.h"

namespace keelson::cmd {
namespace {

using base::fail;

constexpr std::string_view kParseError = "parse error";
constexpr std::string_view kRangeError = "value out of range";

template <class T>
std::optional<std::string> refusal_of(const base::Result<T, base::NumberError>& parsed) {
  if (parsed) return std::nullopt;
  return std::string(parsed.error().code == base::NumberErrc::kRange ? kRangeError : kParseError);
}

std::optional<std::string> refusal_by_kind(FlagKind kind, std::string_view value) {
  switch (kind) {
    case FlagKind::kBool:
      if (!base::parse_bool(value)) return std::string(kParseError);
      return std::nullopt;
    case FlagKind::kInt:
      return refusal_of(base::parse_int(value));
    case FlagKind::kUint:
      return refusal_of(base::parse_uint(value));
    case FlagKind::kDuration:
      if (!base::parse_duration(value)) return std::string(kParseError);
      return std::nullopt;
    case FlagKind::kString:
    case FlagKind::kIgnored:
      return std::nullopt;
  }
  return std::nullopt;
}

// nullopt: the value suits the flag; else what Go says of it.
std::optional<std::string> refusal(const FlagSpec& spec, std::string_view value) {
  if (auto why = refusal_by_kind(spec.kind, value)) return why;
  return spec.check ? spec.check(value) : std::nullopt;
}

bool needs_no_value(const FlagSpec& spec) {
  return spec.kind == FlagKind::kBool || spec.kind == FlagKind::kIgnored;
}

auto bad_flag(std::string text) {
  return fail(FlagExit{.why = FlagExit::Why::kBadFlag, .text = std::move(text)});
}

auto bad_value(const FlagSpec& spec, std::string_view value, std::string_view why) {
  if (spec.kind == FlagKind::kBool) {
    return bad_flag(
        fmt::format("invalid boolean value {} for -{}: {}", base::quote(value), spec.name, why));
  }
  return bad_flag(
      fmt::format("invalid value {} for flag -{}: {}", base::quote(value), spec.name, why));
}

// NAME and value of "NAME=value".
std::pair<std::string, std::string> split_variable(std::string_view variable) {
  const auto equals = variable.find('=');
  if (equals == std::string_view::npos) return {std::string(variable), ""};
  return {std::string(variable.substr(0, equals)), std::string(variable.substr(equals + 1))};
}

}  // namespace

std::string variable_name(std::string_view flag) {
  std::string name = "ETCD_";
  for (const char c : flag) name += c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return name;
}

const FlagValues::Value& FlagValues::find(std::string_view name) const {
  const auto it = values_.find(name);
  CHECK_MSG(it != values_.end(), "no flag --{}", name);
  return it->second;
}
const std::string& FlagValues::text(std::string_view name) const { return find(name).text; }
bool FlagValues::flag(std::string_view name) const { return *base::parse_bool(text(name)); }
std::int64_t FlagValues::number(std::string_view name) const {
  return *base::parse_int(text(name));
}
std::uint64_t FlagValues::unsigned_number(std::string_view name) const {
  return *base::parse_uint(text(name));
}
base::Duration FlagValues::duration(std::string_view name) const {
  return *base::parse_duration(text(name));
}
bool FlagValues::is_set(std::string_view name) const { return find(name).set; }

FlagSet::FlagSet(std::vector<FlagSpec> specs) : specs_(std::move(specs)) {
  for (const FlagSpec& spec : specs_) {
    CHECK_MSG(spec.fallback.empty() || !refusal(spec, spec.fallback), "--{}", spec.name);
  }
}

const FlagSpec* FlagSet::find(std::string_view name) const {
  const auto it = std::find_if(specs_.begin(), specs_.end(),
                               [name](const FlagSpec& spec) { return spec.name == name; });
  return it == specs_.end() ? nullptr : &*it;
}

FlagValues FlagSet::defaults() const {
  FlagValues values;
  for (const FlagSpec& spec : specs_) values.values_[spec.name] = {.text = spec.fallback};
  return values;
}

base::Result<void, std::string> FlagSet::assign(FlagValues& values, std::string_view name,
                                                std::string_view value) const {
  const FlagSpec* spec = find(name);
  CHECK_MSG(spec != nullptr, "no flag --{}", name);
  if (auto why = refusal(*spec, value)) return fail(*std::move(why));
  values.values_[spec->name] = {.text = std::string(value), .set = true};
  return {};
}

base::Result<FlagValues, FlagExit> FlagSet::parse(const std::vector<std::string>& arguments) const {
  FlagValues values = defaults();
  std::size_t at = 0;
  for (; at < arguments.size(); at++) {
    std::string_view argument = arguments[at];
    if (argument.size() < 2 || argument[0] != '-') break;
    argument.remove_prefix(argument[1] == '-' ? 2 : 1);
    if (argument.empty()) {  // "--"
      at++;
      break;
    }
    if (argument.front() == '-' || argument.front() == '=') {
      return bad_flag("bad flag syntax: " + arguments[at]);
    }
    const auto equals = argument.find('=');
    const auto name = argument.substr(0, equals);
    const FlagSpec* spec = find(name);
    if (spec == nullptr) {
      if (name == "h" || name == "help") return fail(FlagExit{.why = FlagExit::Why::kHelp});
      return bad_flag(fmt::format("flag provided but not defined: -{}", name));
    }
    std::string_view value = "true";
    if (equals != std::string_view::npos) {
      value = argument.substr(equals + 1);
    } else if (!needs_no_value(*spec)) {
      if (++at == arguments.size()) {
        return bad_flag(fmt::format("flag needs an argument: -{}", name));
      }
      value = arguments[at];
    }
    if (auto assigned = assign(values, name, value); !assigned) {
      return bad_value(*spec, value, assigned.error());
    }
  }
  if (at < arguments.size()) {
    return fail(FlagExit{.why = FlagExit::Why::kLeftOver,
                         .text = base::quote(arguments[at]) + " is not a valid flag"});
  }
  return values;
}

EnvironmentUse FlagSet::read_environment(FlagValues& values,
                                         const std::vector<std::string>& environment) const {
  using enum EnvironmentNote::What;
  EnvironmentUse use;
  base::OrderedMap<std::string, std::string> variables;
  for (const std::string& variable : environment) variables.insert(split_variable(variable));
  if (const auto it = variables.find("ETCD_VERSION"); it != variables.end()) {
    if (!it->second.empty()) use.notes.push_back({kSpecial, it->first, it->second});
    variables.erase(it);
  }
  std::vector<std::string> names;
  for (const FlagSpec& spec : specs_) names.push_back(spec.name);
  std::sort(names.begin(), names.end());

  base::OrderedMap<std::string, EnvironmentNote::What> known;
  for (const std::string& name : names) {
    const std::string variable = variable_name(name);
    if (values.is_set(name)) {
      known[variable] = kConflict;
      continue;
    }
    const auto it = variables.find(variable);
    if (it == variables.end() || it->second.empty()) continue;
    known[variable] = kUsed;
    if (auto assigned = assign(values, name, it->second); !assigned) {
      use.error = fmt::format("invalid value {} for {}: {}", base::quote(it->second), variable,
                              assigned.error());
    } else {
      use.notes.push_back({kUsed, variable, it->second});
    }
  }
  for (const std::string& one : environment) {
    const auto [name, value] = split_variable(one);
    const auto it = known.find(name);
    if (it != known.end() && it->second == kUsed) continue;
    if (it != known.end()) {
      use.notes.push_back({kConflict, name, value});
      return use;
    }
    if (name.starts_with("ETCD_") && variables.contains(name)) {
      use.notes.push_back({kUnrecognized, one, ""});
    }
  }
  return use;
}

std::string FlagSet::help() const {
  std::string text, section;
  for (const FlagSpec& spec : specs_) {
    if (spec.section.empty()) continue;
    if (spec.section != section) text += fmt::format("\n{}:\n", spec.section);
    section = spec.section;
    text += fmt::format("  --{} '{}'\n    {}\n", spec.name, spec.fallback, spec.help);
  }
  return text;
}

}  // namespace keelson::cmd
