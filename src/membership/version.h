// Version: major.minor.patch of a server or of the cluster. formats.md 5.9.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace keelson::membership {

struct Version {
  std::uint32_t major = 0;
  std::uint32_t minor = 0;
  std::uint32_t patch = 0;

  friend constexpr auto operator<=>(const Version&, const Version&) = default;
  std::string text() const;        // "3.7.0"
  std::string minor_text() const;  // "3.7"
  // 3.7.1 -> 3.7.0: what the cluster agrees on.
  constexpr Version without_patch() const { return {major, minor, 0}; }
};

// "3.7.0", and with any pre-release or build suffix, which is dropped; nullopt for anything else.
std::optional<Version> parse_version(std::string_view text);
// "3.6" or "3.6.4" -> 3.6.0: the target of a downgrade.
std::optional<Version> parse_downgrade_target(std::string_view text);
// The one target that is allowed: one minor below. 3.0 has none.
std::optional<Version> allowed_downgrade(Version cluster);
// A server refuses a cluster whose minor is above its own.
bool can_serve(Version server, Version cluster);

// What GET /version answers; texts that are no versions (not_decided) are left as they are.
struct Versions {
  std::string server;
  std::string cluster;
};
std::optional<Versions> parse_versions(std::string_view json);

}  // namespace keelson::membership
