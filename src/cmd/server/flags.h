// Flags by the rules of Go's flag package, which etcd's server follows: its scripts, unit files and
// tests depend on spelling, precedence and texts. operations.md 1.1, 1.2.
//
//   -x=v --x=v -x v --x v; a boolean takes its value only after '='; the last one wins; "--" ends
//   flags ETCD_X_Y names --x-y and counts only if the flag is absent; an empty value is no value
//
// Pure: argv and environment come as arguments.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/containers.h"
#include "base/result.h"
#include "base/time.h"

namespace keelson::cmd {

enum class FlagKind { kBool, kString, kUint, kInt, kDuration, kFloat };

struct FlagSpec {
  std::string name;
  FlagKind kind = FlagKind::kString;
  std::string fallback;  // the default, as text
  std::string help;
  // Beyond the kind: nullopt if the value is fine, else why not.
  std::function<std::optional<std::string>(std::string_view)> check;
};

// What was given. Every flag of the table has a value.
class FlagValues {
 public:
  const std::string& text(std::string_view name) const;
  bool flag(std::string_view name) const;
  std::int64_t number(std::string_view name) const;
  std::uint64_t unsigned_number(std::string_view name) const;
  base::Duration duration(std::string_view name) const;
  // Given by argument or environment.
  bool is_set(std::string_view name) const;

 private:
  friend class FlagSet;
  struct Value {
    std::string text;
    bool set = false;
  };
  const Value& find(std::string_view name) const;
  base::HashMap<std::string, Value> values_;
};

// Why parsing ended: what to print and the exit code. A text of an error goes to stderr, before the
// usage if `usage` is set.
struct FlagExit {
  int code = 2;
  std::string text;
  bool usage = false;
  bool help = false;  // -h, --help
};

class FlagSet {
 public:
  explicit FlagSet(std::vector<FlagSpec> specs);

  // `arguments` without the program's name.
  base::Result<FlagValues, FlagExit> parse(const std::vector<std::string>& arguments) const;

  // Fills what `values` has not from `environment` ("ETCD_NAME=a"). Notes go to the log: (level,
  // text, name, value). An error ends the start with exit 1.
  struct Note {
    bool warning = false;
    std::string text;
    std::string variable;
    std::string value;
  };
  base::Result<std::vector<Note>, FlagExit> read_environment(
      FlagValues& values, const std::vector<std::string>& environment) const;

  const std::vector<FlagSpec>& specs() const { return specs_; }

 private:
  const FlagSpec* find(std::string_view name) const;
  std::vector<FlagSpec> specs_;
};

// Go's syntax: "300ms", "1h30m"; a bare number other than 0 is none.
std::optional<base::Duration> parse_duration(std::string_view text);
// "1m0s": as Go prints a duration.
std::string duration_text(base::Duration duration);
// Go's strconv.ParseInt(s, 0, 64) and ParseUint: prefixes 0x, 0o, 0b, a leading 0, underscores.
std::optional<std::int64_t> parse_int(std::string_view text);
std::optional<std::uint64_t> parse_uint(std::string_view text);
std::optional<bool> parse_bool(std::string_view text);

}  // namespace keelson::cmd
