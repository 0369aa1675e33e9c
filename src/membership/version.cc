#include "membership/version.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "membership/json.h"

namespace keelson::membership {

namespace {

// A number off the front; nullopt if there is none, or one too large.
std::optional<std::uint32_t> take_number(std::string_view& text) {
  std::uint32_t number = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(stop - text.data()));
  return number;
}

bool take_dot(std::string_view& text) {
  if (!text.starts_with('.')) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

std::string Version::text() const { return fmt::format("{}.{}.{}", major, minor, patch); }
std::string Version::minor_text() const { return fmt::format("{}.{}", major, minor); }

std::optional<Version> parse_version(std::string_view text) {
  const auto major = take_number(text);
  if (!major || !take_dot(text)) return std::nullopt;
  const auto minor = take_number(text);
  if (!minor || !take_dot(text)) return std::nullopt;
  const auto patch = take_number(text);
  if (!patch || !(text.empty() || text.front() == '-' || text.front() == '+')) return std::nullopt;
  return Version{*major, *minor, *patch};
}

std::optional<Version> parse_downgrade_target(std::string_view text) {
  auto version = parse_version(text);
  if (!version) version = parse_version(std::string(text) + ".0");
  if (!version) return std::nullopt;
  return version->without_patch();
}

std::optional<Version> allowed_downgrade(Version cluster) {
  if (cluster.minor == 0) return std::nullopt;
  return Version{cluster.major, cluster.minor - 1, 0};
}

bool can_serve(Version server, Version cluster) {
  return server.without_patch() >= cluster.without_patch();
}

std::optional<Versions> parse_versions(std::string_view text) {
  const auto value = json::parse(text);
  if (!value) return std::nullopt;
  Versions versions;
  json::ObjectReader in(*value);
  in.text("etcdserver", versions.server);
  in.text("etcdcluster", versions.cluster);
  if (!in.ok()) return std::nullopt;
  return versions;
}

}  // namespace keelson::membership
