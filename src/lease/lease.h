// The words of leases. api.md 4.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/time.h"

namespace keelson::lease {

using LeaseId = std::int64_t;  // any number but 0; clients may choose negative ones

inline constexpr LeaseId kNoLease = 0;
inline constexpr base::Seconds kTtlMax{9'000'000'000};

// A lease as it is stored: what the log decided, equal on every member. Deadlines are no part of
// it.
struct Lease {
  LeaseId id = kNoLease;
  base::Seconds ttl{0};            // as granted, raised to the minimum
  base::Seconds remaining_ttl{0};  // of the last checkpoint; 0: none since the last renewal

  friend bool operator==(const Lease&, const Lease&) = default;
};

enum class Errc : std::uint8_t {
  kNotFound,     // no such lease; also a grant of id 0
  kExists,       // a grant of an id in use
  kTtlTooLarge,  // a grant above kTtlMax; checked before the id
  kExpired,      // DeadlineQueue only: past its end, and its revoke is not applied yet
};

// Our own name of the answer, for traces and tests ("not found").
std::string_view describe(Errc errc);

}  // namespace keelson::lease
