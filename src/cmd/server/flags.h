// Flags by the rules of Go's flag package, which etcd's server follows: scripts, unit files and
// tests depend on spelling, precedence and texts. operations.md 1.1, 1.2.
//
//   -x=v --x=v -x v --x v      a boolean takes its value only after '='; the last one wins; "--"
//   ends ETCD_X_Y names --x-y       counts only if the flag is absent; an empty value is no value
//
// Pure: arguments and environment are given.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/containers.h"
#include "base/result.h"
#include "base/time.h"

namespace keelson::cmd {

enum class FlagKind {
  kBool,
  kString,
  kUint,
  kInt,
  kDuration,
  kIgnored,  // of an older release: any value, or none, is taken and means nothing
};

struct FlagSpec {
  std::string name;
  FlagKind kind = FlagKind::kString;
  std::string fallback;  // the default, as text
  std::string section;   // of the help; empty: not shown there
  std::string help;
  // Beyond the kind: nullopt if the value is fine, else why not.
  std::function<std::optional<std::string>(std::string_view)> check;
};

// What was given. Every flag of the table has a value, well formed by its kind and check.
class FlagValues {
 public:
  const std::string& text(std::string_view name) const;
  bool flag(std::string_view name) const;
  std::int64_t number(std::string_view name) const;
  std::uint64_t unsigned_number(std::string_view name) const;
  base::Duration duration(std::string_view name) const;
  // Given by argument, environment or file.
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

// Why there are no values.
struct FlagExit {
  enum class Why {
    kHelp,      // -h, --help
    kBadFlag,   // goes to stderr before the usage; exit 2
    kLeftOver,  // an argument that is no flag: a configuration error; exit 1
  };
  Why why = Why::kBadFlag;
  std::string text;
};

// What the environment held, one line of the log each.
struct EnvironmentNote {
  enum class What {
    kSpecial,       // ETCD_VERSION: taken away so that it asks for nothing
    kUsed,          // name and value
    kUnrecognized,  // "NAME=value": no flag of ours, or empty
    kConflict,      // the flag is given as well: the start ends here
  };
  What what;
  std::string name;
  std::string value;
};
struct EnvironmentUse {
  std::vector<EnvironmentNote> notes;  // in the order in which they are to be said
  std::string error;                   // a value its flag refuses; after the notes
};

class FlagSet {
 public:
  explicit FlagSet(std::vector<FlagSpec> specs);

  // The values before anything is given.
  FlagValues defaults() const;
  // `arguments` without the program's name.
  base::Result<FlagValues, FlagExit> parse(const std::vector<std::string>& arguments) const;
  // Fills what `values` has not from `environment` ("NAME=value").
  EnvironmentUse read_environment(FlagValues& values,
                                  const std::vector<std::string>& environment) const;
  // Sets one value, as a file does; the error is why the flag refuses it.
  base::Result<void, std::string> assign(FlagValues& values, std::string_view name,
                                         std::string_view value) const;

  const std::vector<FlagSpec>& specs() const { return specs_; }
  // The flags with their defaults and texts, by section.
  std::string help() const;

 private:
  const FlagSpec* find(std::string_view name) const;
  std::vector<FlagSpec> specs_;
};

// "snapshot-count" -> "ETCD_SNAPSHOT_COUNT"
std::string variable_name(std::string_view flag);

}  // namespace keelson::cmd
