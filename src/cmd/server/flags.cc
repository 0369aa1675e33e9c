#include "cmd/server/flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstdlib>

namespace keelson::cmd {
namespace {

using base::fail;

// Go's %q for what flags hold: quotes and backslashes escaped.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string variable_name(std::string_view flag) {
  std::string name = "ETCD_";
  for (const char c : flag) name += c == '-' ? '_' : static_cast<char>(std::toupper(c));
  return name;
}

// nullopt: the value suits the flag; else what Go says of it.
std::optional<std::string> refusal(const FlagSpec& spec, std::string_view value) {
  switch (spec.kind) {
    case FlagKind::kBool:
      if (!parse_bool(value)) return "parse error";
      break;
    case FlagKind::kInt:
      if (!parse_int(value)) return "parse error";
      break;
    case FlagKind::kUint:
      if (!parse_uint(value)) return "parse error";
      break;
    case FlagKind::kDuration:
      if (!parse_duration(value)) return "parse error";
      break;
    case FlagKind::kFloat: {
      const std::string text(value);
      char* end = nullptr;
      std::strtod(text.c_str(), &end);
      if (text.empty() || *end != '\0') return "parse error";
      break;
    }
    case FlagKind::kString:
      break;
  }
  return spec.check ? spec.check(value) : std::nullopt;
}

// Digits of base 2, 8, 10 or 16 with underscores where Go allows them: between digits and after a
// prefix.
std::optional<std::uint64_t> parse_digits(std::string_view text) {
  int base = 10;
  bool prefixed = false;
  if (text.size() > 1 && text[0] == '0') {
    const char mark = static_cast<char>(std::tolower(text[1]));
    base = mark == 'x' ? 16 : mark == 'b' ? 2 : 8;
    text.remove_prefix(mark == 'x' || mark == 'b' || mark == 'o' ? 2 : 1);
    prefixed = true;
  }
  std::string digits;
  bool underscore_allowed = prefixed;
  for (const char c : text) {
    if (c == '_') {
      if (!underscore_allowed) return std::nullopt;
      underscore_allowed = false;
      continue;
    }
    digits += c;
    underscore_allowed = true;
  }
  if (digits.empty() || !underscore_allowed) return std::nullopt;
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<bool> parse_bool(std::string_view text) {
  for (const std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"0", "f", "F", "false", "FALSE", "False"}) {
    if (text == no) return false;
  }
  return std::nullopt;
}

std::optional<std::uint64_t> parse_uint(std::string_view text) { return parse_digits(text); }

std::optional<std::int64_t> parse_int(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  const auto magnitude = parse_digits(text);
  const std::uint64_t limit = std::uint64_t{1} << 63;
  if (!magnitude || *magnitude > limit - (negative ? 0 : 1)) return std::nullopt;
  return static_cast<std::int64_t>(negative ? 0 - *magnitude : *magnitude);
}

std::optional<base::Duration> parse_duration(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text == "0") return base::Duration(0);
  if (text.empty()) return std::nullopt;
  struct Unit {
    std::string_view name;
    double nanoseconds;
  };
  static constexpr Unit kUnits[] = {{"ns", 1},   {"us", 1e3}, {"µs", 1e3}, {"μs", 1e3},
                                    {"ms", 1e6}, {"s", 1e9},  {"m", 6e10}, {"h", 3.6e12}};
  double total = 0;
  while (!text.empty()) {
    std::size_t digits = 0;
    while (digits < text.size() &&
           (std::isdigit(static_cast<unsigned char>(text[digits])) || text[digits] == '.')) {
      digits++;
    }
    const std::string number(text.substr(0, digits));
    if (number.empty() || number == "." || std::count(number.begin(), number.end(), '.') > 1) {
      return std::nullopt;
    }
    text.remove_prefix(digits);
    std::size_t letters = 0;
    while (letters < text.size() && text[letters] != '.' &&
           !std::isdigit(static_cast<unsigned char>(text[letters]))) {
      letters++;
    }
    const auto name = text.substr(0, letters);
    const auto unit = std::find_if(std::begin(kUnits), std::end(kUnits),
                                   [name](const Unit& one) { return one.name == name; });
    if (unit == std::end(kUnits)) return std::nullopt;
    text.remove_prefix(letters);
    total += std::strtod(number.c_str(), nullptr) * unit->nanoseconds;
  }
  if (total > 9.2e18) return std::nullopt;
  const auto count = static_cast<std::int64_t>(total);
  return base::Duration(negative ? -count : count);
}

std::string duration_text(base::Duration duration) {
  const std::int64_t count = duration.count();
  if (count == 0) return "0s";
  if (count < 0) return "-" + duration_text(-duration);
  const auto decimal = [](double value, std::string_view unit) {
    std::string text = fmt::format("{:.9f}", value);
    while (text.ends_with('0')) text.pop_back();
    if (text.ends_with('.')) text.pop_back();
    return text + std::string(unit);
  };
  if (count < 1'000) return fmt::format("{}ns", count);
  if (count < 1'000'000) return decimal(static_cast<double>(count) / 1e3, "µs");
  if (count < 1'000'000'000) return decimal(static_cast<double>(count) / 1e6, "ms");
  const std::int64_t seconds = count / 1'000'000'000;
  std::string text;
  if (seconds >= 3600) text += fmt::format("{}h", seconds / 3600);
  if (seconds >= 60) text += fmt::format("{}m", seconds / 60 % 60);
  const double rest =
      static_cast<double>(seconds % 60) + static_cast<double>(count % 1'000'000'000) / 1e9;
  return text + decimal(rest, "s");
}

const FlagValues::Value& FlagValues::find(std::string_view name) const {
  const auto it = values_.find(name);
  CHECK_MSG(it != values_.end(), "no flag --{}", name);
  return it->second;
}
const std::string& FlagValues::text(std::string_view name) const { return find(name).text; }
bool FlagValues::flag(std::string_view name) const { return *parse_bool(text(name)); }
std::int64_t FlagValues::number(std::string_view name) const { return *parse_int(text(name)); }
std::uint64_t FlagValues::unsigned_number(std::string_view name) const {
  return *parse_uint(text(name));
}
base::Duration FlagValues::duration(std::string_view name) const {
  return *parse_duration(text(name));
}
bool FlagValues::is_set(std::string_view name) const { return find(name).set; }

FlagSet::FlagSet(std::vector<FlagSpec> specs) : specs_(std::move(specs)) {}

const FlagSpec* FlagSet::find(std::string_view name) const {
  const auto it = std::find_if(specs_.begin(), specs_.end(),
                               [name](const FlagSpec& spec) { return spec.name == name; });
  return it == specs_.end() ? nullptr : &*it;
}

base::Result<FlagValues, FlagExit> FlagSet::parse(const std::vector<std::string>& arguments) const {
  FlagValues values;
  for (const FlagSpec& spec : specs_) values.values_[spec.name] = {.text = spec.fallback};
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
      return fail(FlagExit{.text = "bad flag syntax: " + arguments[at], .usage = true});
    }
    const auto equals = argument.find('=');
    const auto name = argument.substr(0, equals);
    const FlagSpec* spec = find(name);
    if (spec == nullptr) {
      if (name == "h" || name == "help") return fail(FlagExit{.code = 0, .help = true});
      return fail(
          FlagExit{.text = fmt::format("flag provided but not defined: -{}", name), .usage = true});
    }
    std::string value;
    if (equals != std::string_view::npos) {
      value = argument.substr(equals + 1);
    } else if (spec->kind == FlagKind::kBool) {
      value = "true";
    } else if (at + 1 < arguments.size()) {
      value = arguments[++at];
    } else {
      return fail(
          FlagExit{.text = fmt::format("flag needs an argument: -{}", name), .usage = true});
    }
    if (auto why = refusal(*spec, value)) {
      const std::string_view what =
          spec->kind == FlagKind::kBool ? "invalid boolean value" : "invalid value";
      return fail(
          FlagExit{.text = fmt::format("{} {} for {}-{}: {}", what, quoted(value),
                                       spec->kind == FlagKind::kBool ? "" : "flag ", name, *why),
                   .usage = true});
    }
    values.values_[spec->name] = {.text = std::move(value), .set = true};
  }
  if (at < arguments.size()) {
    return fail(FlagExit{.code = 1, .text = quoted(arguments[at]) + " is not a valid flag"});
  }
  return values;
}

base::Result<std::vector<FlagSet::Note>, FlagExit> FlagSet::read_environment(
    FlagValues& values, const std::vector<std::string>& environment) const {
  std::vector<Note> notes;
  base::OrderedMap<std::string, std::string> variables;
  for (const std::string& one : environment) {
    const auto equals = one.find('=');
    if (equals == std::string::npos || !one.starts_with("ETCD_")) continue;
    variables[one.substr(0, equals)] = one.substr(equals + 1);
  }
  if (variables.erase("ETCD_VERSION") > 0) {
    notes.push_back({.warning = true,
                     .text = "cannot set special environment variable",
                     .variable = "ETCD_VERSION",
                     .value = ""});
  }
  for (const FlagSpec& spec : specs_) {
    const std::string name = variable_name(spec.name);
    const auto it = variables.find(name);
    if (it == variables.end()) continue;
    const std::string value = it->second;
    variables.erase(it);
    if (value.empty()) continue;
    auto& current = values.values_[spec.name];
    if (current.set) {
      return fail(FlagExit{
          .code = 1,
          .text = "conflicting environment variable is shadowed by corresponding "
                  "command-line flag (either unset environment variable or disable flag)): " +
                  name});
    }
    if (auto why = refusal(spec, value)) {
      return fail(
          FlagExit{.code = 1,
                   .text = fmt::format("invalid value {} for {}: {}", quoted(value), name, *why)});
    }
    current = {.text = value, .set = true};
    notes.push_back(
        {.text = "recognized and used environment variable", .variable = name, .value = value});
  }
  for (const auto& [name, value] : variables) {
    notes.push_back({.warning = true,
                     .text = "unrecognized environment variable",
                     .variable = name,
                     .value = value});
  }
  return notes;
}

}  // namespace keelson::cmd
