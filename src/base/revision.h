// Revision: a place in the history of the whole store. main counts writing transactions, sub the
// changes inside one. formats.md 4.1 gives the key under which a change is stored.
#pragma once

#include <fmt/format.h>

#include <compare>
#include <cstdint>
#include <string>

namespace keelson::base {

struct Revision {
  std::int64_t main = 0;
  std::int64_t sub = 0;

  friend constexpr auto operator<=>(const Revision&, const Revision&) = default;
  constexpr bool is_zero() const { return main == 0 && sub == 0; }
};

constexpr std::size_t kRevisionKeyBytes = 17;
constexpr std::size_t kTombstoneKeyBytes = 18;

// main (8 bytes, big endian) '_' sub (8 bytes, big endian), and a 't' for a tombstone.
std::string revision_key(Revision revision, bool tombstone = false);

}  // namespace keelson::base

template <>
struct fmt::formatter<keelson::base::Revision> {
  constexpr auto parse(fmt::format_parse_context& context) { return context.begin(); }
  auto format(const keelson::base::Revision& r, fmt::format_context& context) const {
    return fmt::format_to(context.out(), "{}/{}", r.main, r.sub);
  }
};
