#include "cmd/server/feature_gates.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/go_text.h"
#include "cmd/server/flags.h"
#include "cmd/server/text.h"

namespace keelson::cmd {
namespace {

using base::fail;

constexpr std::string_view kAllAlpha = "AllAlpha";
constexpr std::string_view kAllBeta = "AllBeta";

const FeatureGate* find_gate(std::string_view name) {
  const auto& gates = feature_gates();
  const auto it = std::find_if(gates.begin(), gates.end(),
                               [name](const FeatureGate& gate) { return gate.name == name; });
  return it == gates.end() ? nullptr : &*it;
}

}  // namespace

const std::vector<FeatureGate>& feature_gates() {
  static const std::vector<FeatureGate> gates = {
      {.name = kAllAlpha, .there = true},
      {.name = kAllBeta, .beta = true, .there = true},
      {.name = "CompactHashCheck", .there = true},
      {.name = "FastLeaseKeepAlive", .fallback = true, .beta = true, .there = true},
      {.name = "InitialCorruptCheck", .there = true},
      {.name = "LeaseCheckpoint", .there = true},
      {.name = "LeaseCheckpointPersist", .there = true},
      {.name = "PriorityRequest"},
      {.name = "SetMemberLocalAddr"},
      {.name = "StopGRPCServiceOnDefrag"},
      // Only ever a matter of etcd's own buffers: either side is served alike.
      {.name = "TxnModeWriteWithSharedBuffer", .fallback = true, .beta = true, .there = true},
  };
  return gates;
}

base::Result<GateSides, std::string> parse_feature_gates(std::string_view text) {
  GateSides given;
  for (const std::string_view part : split(text, ',')) {
    if (part.empty()) continue;
    const auto equals = part.find('=');
    const auto name = trim(part.substr(0, equals));
    if (equals == std::string_view::npos)
      return fail(fmt::format("missing bool value for {}", name));
    const auto value = trim(part.substr(equals + 1));
    const auto on = base::parse_bool(value);
    if (!on) {
      return fail(fmt::format("invalid value of {}={}, err: {}", name, value, on.error().text));
    }
    const FeatureGate* gate = find_gate(name);
    if (gate == nullptr) return fail(fmt::format("unrecognized feature gate: {}", name));
    given[gate->name] = *on;
  }
  GateSides sides;
  for (const FeatureGate& gate : feature_gates()) {
    bool side = gate.fallback;
    if (const auto all = given.find(gate.beta ? kAllBeta : kAllAlpha); all != given.end()) {
      side = all->second;
    }
    if (const auto own = given.find(gate.name); own != given.end()) side = own->second;
    sides[gate.name] = side;
  }
  return sides;
}

std::string feature_gates_help() {
  std::string text;
  for (const FeatureGate& gate : feature_gates()) {
    text += fmt::format("{}    {}=true|false ({} - default={})", text.empty() ? "" : "\n",
                        gate.name, gate.beta ? "BETA" : "ALPHA", gate.fallback);
  }
  return text;
}

}  // namespace keelson::cmd
