// Why a request got no answer of the state machine. api.md 7.
#pragma once

#include <cstdint>
#include <variant>

#include "apply/errc.h"

namespace keelson::member {

enum class Errc : std::uint8_t {
  kTooManyRequests,        // apply lags behind commit, or too much is on its way
  kRequestTooLarge,        // beyond max-request-bytes, as encoded for the log
  kTimeout,                // not applied within the request timeout
  kTimeoutLeaderFailure,   // ... possibly due to previous leader failure
  kTimeoutConnectionLost,  // ... possibly due to connection lost
  kTimeoutApplied,         // waiting for the applied index took too long
  kContextDeadline,        // the caller's own time is over, or no leader took the proposal in time
  kLeaderChanged,
  kNoLeader,
  kNotLeader,
  kNotPrimaryLessor,
  kProposalDropped,
  kStopped,
  kLeaseNotFound,
};

// Either of the two.
using Failure = std::variant<Errc, apply::Errc>;

}  // namespace keelson::member
