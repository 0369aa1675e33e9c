// A command line and an environment of any words, up to the configuration they make or what is said
// against them.

#include <string>
#include <vector>

#include "base/check.h"
#include "base/duration.h"
#include "base/go_text.h"
#include "cmd/server/server_config.h"
#include "cmd/server/server_flags.h"
#include "fuzz/input.h"

namespace keelson::fuzz {
namespace {

std::vector<std::string> lines(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    out.emplace_back(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return out;
}

}  // namespace
}  // namespace keelson::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace keelson;
  static const cmd::FlagSet flags = cmd::server_flags();
  fuzz::Input input(data, size);
  const auto arguments = fuzz::lines(input.piece());
  const auto environment = fuzz::lines(input.rest());
  auto values = flags.parse(arguments);
  if (!values) return 0;
  MAYBE(flags.read_environment(*values, environment).error.empty());
  for (const auto& spec : flags.specs()) {
    switch (spec.kind) {  // well formed, as promised
      case cmd::FlagKind::kBool:
        MAYBE(values->flag(spec.name));
        break;
      case cmd::FlagKind::kInt:
        MAYBE(values->number(spec.name) != 0);
        break;
      case cmd::FlagKind::kUint:
        MAYBE(values->unsigned_number(spec.name) != 0);
        break;
      case cmd::FlagKind::kDuration:
        MAYBE(values->duration(spec.name) != base::Duration::zero());
        break;
      case cmd::FlagKind::kString:
      case cmd::FlagKind::kIgnored:
        MAYBE(values->text(spec.name).empty());
    }
  }
  if (auto config = cmd::make_server_config(*values, cmd::ConfigSource::kCommandLine)) {
    MAYBE(cmd::complete_server_config(*config).ok());
  }
  for (const std::string& argument : arguments) {
    MAYBE(base::parse_int(argument).ok());
    MAYBE(base::parse_uint(argument).ok());
    MAYBE(base::unquote(argument).has_value());
    CHECK(base::unquote(base::quote(argument)) == argument);
    if (const auto duration = base::parse_duration(argument)) {
      CHECK(base::parse_duration(base::duration_text(*duration)).value() == *duration);
    }
  }
  return 0;
}
