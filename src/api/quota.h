// The front end's side of the quota: a write that would not fit raises NOSPACE and is refused.
// api.md 7.6.
#pragma once

#include <cstdint>

#include "api/context.h"

namespace keelson::api {

// True if a request of this cost may be proposed. Otherwise the alarm has been proposed, once.
bool within_quota(Context& context, std::uint64_t cost);

}  // namespace keelson::api
