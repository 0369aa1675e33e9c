#include "lease/lease.h"

#include "base/check.h"

namespace keelson::lease {

std::string_view describe(Errc errc) {
  switch (errc) {
    case Errc::kNotFound:
      return "not found";
    case Errc::kExists:
      return "exists";
    case Errc::kTtlTooLarge:
      return "ttl too large";
    case Errc::kExpired:
      return "expired";
  }
  CHECK(false);
}

}  // namespace keelson::lease
