// Flags by the rules of pflag, the Go library behind etcdctl: scripts rely on its spelling, and
// users on its messages.
//
//   --name value   --name=value   -n value   -nvalue   -n=value   -ab (two booleans)
//   a boolean takes a value only after '='; flags and arguments may be mixed; "--" ends the flags;
//   the last one wins, but for a list, which gathers
//
// Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/containers.h"
#include "base/result.h"
#include "base/time.h"

namespace keelson::cmd::ctl {

enum class FlagKind { kBool, kString, kInt, kDuration, kStrings };

struct FlagSpec {
  std::string_view name;
  FlagKind kind = FlagKind::kBool;
  std::string_view fallback = "";  // the default, as text
  std::string_view help = "";
  char shorthand = 0;
};

// A set of flags and what was given of them. The specs outlive it.
class Flags {
 public:
  void add(std::span<const FlagSpec> specs);

  const FlagSpec* find(std::string_view name) const;
  const FlagSpec* find_shorthand(char c) const;

  // Reads a command line. The error is pflag's text; what was read before it stays.
  base::Result<void, std::string> parse(const std::vector<std::string>& arguments);
  // Sets one as if it had been given. The error says what is wrong with the value.
  base::Result<void, std::string> set(std::string_view name, std::string_view value);

  // What is no flag, in order; and how many of these came before "--", if that came.
  const std::vector<std::string>& arguments() const { return arguments_; }
  std::optional<std::size_t> arguments_before_dash() const { return before_dash_; }

  bool flag(std::string_view name) const { return value(name).number != 0; }
  std::int64_t number(std::string_view name) const { return value(name).number; }
  base::Duration duration(std::string_view name) const {
    return base::Duration(value(name).number);
  }
  const std::string& text(std::string_view name) const { return value(name).text; }
  const std::vector<std::string>& strings(std::string_view name) const { return value(name).list; }
  bool is_set(std::string_view name) const { return value(name).set; }
  // As --debug shows it.
  std::string shown(std::string_view name) const;

  // By name.
  std::vector<const FlagSpec*> sorted() const;

 private:
  struct Value {
    const FlagSpec* spec;
    std::string text;
    std::int64_t number = 0;  // of a boolean, a number, a duration
    std::vector<std::string> list;
    bool set = false;
  };

  const Value& value(std::string_view name) const;
  static base::Result<void, std::string> assign(Value& value, std::string_view text);
  base::Result<void, std::string> set_named(const FlagSpec& spec, std::string_view value);
  base::Result<void, std::string> parse_long(std::string_view argument,
                                             std::span<const std::string>& rest);
  base::Result<void, std::string> parse_short(std::string_view letters,
                                              std::span<const std::string>& rest);

  base::OrderedMap<std::string, Value> values_;
  std::vector<std::string> arguments_;
  std::optional<std::size_t> before_dash_;
};

// The lines "  -w, --write-out string   help (default "simple")", by name.
std::string flag_usages(std::span<const FlagSpec* const> specs);

}  // namespace keelson::cmd::ctl
