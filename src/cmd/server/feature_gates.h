// Feature gates: --feature-gates=Name=true,Other=false. operations.md 1.5.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/containers.h"
#include "base/result.h"

namespace keelson::cmd {

struct FeatureGate {
  std::string_view name;
  bool fallback = false;
  bool beta = false;   // else alpha
  bool there = false;  // it can be turned to the other side here
};
// By name, AllAlpha and AllBeta among them.
const std::vector<FeatureGate>& feature_gates();

// The side of each gate. AllAlpha and AllBeta set those of their stage that are not named.
using GateSides = base::OrderedMap<std::string_view, bool>;
// The error is etcd's text.
base::Result<GateSides, std::string> parse_feature_gates(std::string_view text);

// "Name=true|false (ALPHA - default=false)", one a line.
std::string feature_gates_help();

}  // namespace keelson::cmd
