#include "cmd/ctl/flags.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "base/duration.h"
#include "base/go_text.h"

namespace keelson::cmd::ctl {

using base::Result;

void Flags::add(std::span<const FlagSpec> specs) {
  for (const FlagSpec& spec : specs) {
    Value value{.spec = &spec};
    if (spec.kind != FlagKind::kStrings || !spec.fallback.empty()) {
      const std::string_view fallback = spec.fallback.empty() && spec.kind != FlagKind::kString
                                            ? std::string_view("0")
                                            : spec.fallback;
      CHECK(assign(value, fallback).ok());
    }
    value.set = false;
    values_.emplace(std::string(spec.name), std::move(value));
  }
}

const FlagSpec* Flags::find(std::string_view name) const {
  const auto it = values_.find(name);
  return it == values_.end() ? nullptr : it->second.spec;
}

const FlagSpec* Flags::find_shorthand(char c) const {
  for (const auto& [name, value] : values_) {
    if (value.spec->shorthand == c) return value.spec;
  }
  return nullptr;
}

const Flags::Value& Flags::value(std::string_view name) const {
  const auto it = values_.find(name);
  CHECK_MSG(it != values_.end(), "no flag {}", name);
  return it->second;
}

namespace {

// One line of encoding/csv: commas separate, double quotes keep them.
Result<std::vector<std::string>, std::string> split_list(std::string_view text) {
  std::vector<std::string> fields;
  if (text.empty()) return fields;
  std::string field;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted && c == '"') {
      if (i + 1 < text.size() && text[i + 1] == '"') {
        field += '"';
        ++i;
      } else {
        quoted = false;
      }
    } else if (!quoted && c == '"') {
      if (!field.empty()) {
        return base::fail(
            fmt::format("parse error on line 1, column {}: bare \" in non-quoted field", i + 1));
      }
      quoted = true;
    } else if (!quoted && c == ',') {
      fields.push_back(std::exchange(field, {}));
    } else {
      field += c;
    }
  }
  if (quoted) {
    return base::fail(
        fmt::format("parse error on line 1, column {}: extraneous or missing \" in quoted-field",
                    text.size() + 1));
  }
  fields.push_back(std::move(field));
  return fields;
}

}  // namespace

Result<void, std::string> Flags::assign(Value& value, std::string_view text) {
  switch (value.spec->kind) {
    case FlagKind::kBool: {
      const auto parsed = base::parse_bool(text);
      if (!parsed) return base::fail(parsed.error().text);
      value.number = *parsed ? 1 : 0;
      break;
    }
    case FlagKind::kInt: {
      const auto parsed = base::parse_int(text);
      if (!parsed) return base::fail(parsed.error().text);
      value.number = *parsed;
      break;
    }
    case FlagKind::kDuration: {
      ASSIGN_OR_RETURN(const base::Duration parsed, base::parse_duration(text));
      value.number = parsed.count();
      break;
    }
    case FlagKind::kStrings: {
      ASSIGN_OR_RETURN(std::vector<std::string> parsed, split_list(text));
      if (!value.set) value.list.clear();
      value.list.insert(value.list.end(), parsed.begin(), parsed.end());
      break;
    }
    case FlagKind::kString:
      break;
  }
  value.text = text;
  value.set = true;
  return {};
}

Result<void, std::string> Flags::set(std::string_view name, std::string_view value) {
  const auto it = values_.find(name);
  CHECK(it != values_.end());
  return assign(it->second, value);
}

Result<void, std::string> Flags::set_named(const FlagSpec& spec, std::string_view value) {
  auto done = set(spec.name, value);
  if (done) return {};
  const std::string name = spec.shorthand != 0 ? fmt::format("-{}, --{}", spec.shorthand, spec.name)
                                               : fmt::format("--{}", spec.name);
  return base::fail(fmt::format("invalid argument {} for {} flag: {}", base::quote(value),
                                base::quote(name), done.error()));
}

Result<void, std::string> Flags::parse(const std::vector<std::string>& arguments) {
  std::span<const std::string> rest(arguments);
  while (!rest.empty()) {
    const std::string& argument = rest.front();
    rest = rest.subspan(1);
    if (argument == "--") {
      before_dash_ = arguments_.size();
      arguments_.insert(arguments_.end(), rest.begin(), rest.end());
      return {};
    }
    if (argument.starts_with("--")) {
      RETURN_IF_ERROR(parse_long(argument, rest));
    } else if (argument.size() > 1 && argument[0] == '-') {
      RETURN_IF_ERROR(parse_short(std::string_view(argument).substr(1), rest));
    } else {
      arguments_.push_back(argument);
    }
  }
  return {};
}

Result<void, std::string> Flags::parse_long(std::string_view argument,
                                            std::span<const std::string>& rest) {
  const std::string_view body = argument.substr(2);
  if (body[0] == '-' || body[0] == '=') {
    return base::fail(fmt::format("bad flag syntax: {}", argument));
  }
  const std::size_t equals = body.find('=');
  const std::string_view name = body.substr(0, equals);
  const FlagSpec* spec = find(name);
  if (spec == nullptr) return base::fail(fmt::format("unknown flag: --{}", name));
  if (equals != std::string_view::npos) return set_named(*spec, body.substr(equals + 1));
  if (spec->kind == FlagKind::kBool) return set_named(*spec, "true");
  if (rest.empty()) return base::fail(fmt::format("flag needs an argument: {}", argument));
  const std::string& value = rest.front();
  rest = rest.subspan(1);
  return set_named(*spec, value);
}

Result<void, std::string> Flags::parse_short(std::string_view letters,
                                             std::span<const std::string>& rest) {
  const std::string_view whole = letters;
  while (!letters.empty()) {
    const char c = letters[0];
    const FlagSpec* spec = find_shorthand(c);
    if (spec == nullptr) {
      return base::fail(
          fmt::format("unknown shorthand flag: {} in -{}", base::quote_character(c), whole));
    }
    letters.remove_prefix(1);
    if (letters.size() > 1 && letters[0] == '=') return set_named(*spec, letters.substr(1));
    if (spec->kind == FlagKind::kBool) {
      RETURN_IF_ERROR(set_named(*spec, "true"));
      continue;
    }
    if (!letters.empty()) return set_named(*spec, letters);
    if (rest.empty()) {
      return base::fail(
          fmt::format("flag needs an argument: {} in -{}", base::quote_character(c), whole));
    }
    const std::string& value = rest.front();
    rest = rest.subspan(1);
    return set_named(*spec, value);
  }
  return {};
}

std::string Flags::shown(std::string_view name) const {
  const Value& found = value(name);
  switch (found.spec->kind) {
    case FlagKind::kBool:
      return found.number != 0 ? "true" : "false";
    case FlagKind::kInt:
      return fmt::format("{}", found.number);
    case FlagKind::kDuration:
      return base::duration_text(base::Duration(found.number));
    case FlagKind::kStrings:
      return fmt::format("[{}]", fmt::join(found.list, ","));
    case FlagKind::kString:
      return found.text;
  }
  __builtin_unreachable();
}

std::vector<const FlagSpec*> Flags::sorted() const {
  std::vector<const FlagSpec*> specs;
  for (const auto& [name, value] : values_) specs.push_back(value.spec);
  return specs;
}

namespace {

std::string_view kind_name(FlagKind kind) {
  switch (kind) {
    case FlagKind::kBool:
      return "";
    case FlagKind::kString:
      return " string";
    case FlagKind::kInt:
      return " int";
    case FlagKind::kDuration:
      return " duration";
    case FlagKind::kStrings:
      return " strings";
  }
  __builtin_unreachable();
}

std::string default_text(const FlagSpec& spec) {
  const std::string_view text = spec.fallback;
  if (text.empty() || text == "0" || text == "false" || text == "0s") {
    if (spec.kind != FlagKind::kString || text.empty()) return "";
  }
  if (spec.kind == FlagKind::kString) return fmt::format(" (default {})", base::quote(text));
  if (spec.kind == FlagKind::kStrings) return fmt::format(" (default [{}])", text);
  return fmt::format(" (default {})", text);
}

}  // namespace

std::string flag_usages(std::span<const FlagSpec* const> specs) {
  std::vector<std::string> names;
  std::size_t width = 0;
  for (const FlagSpec* spec : specs) {
    names.push_back(
        spec->shorthand != 0
            ? fmt::format("  -{}, --{}{}", spec->shorthand, spec->name, kind_name(spec->kind))
            : fmt::format("      --{}{}", spec->name, kind_name(spec->kind)));
    width = std::max(width, names.back().size());
  }
  std::string out;
  for (std::size_t i = 0; i < specs.size(); ++i) {
    out += fmt::format("{:<{}}   {}{}\n", names[i], width, specs[i]->help, default_text(*specs[i]));
  }
  return out;
}

}  // namespace keelson::cmd::ctl
