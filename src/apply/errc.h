// Every answer but success that the protocol foresees for an applied entry. api/ maps it to etcd's
// codes.
#pragma once

#include <cstdint>

namespace keelson::apply {

enum class Errc : std::uint8_t {
  kCompacted,
  kFutureRevision,
  kKeyNotFound,
  kUnreadable,
  kTooMuchMemory,
  kLeaseNotFound,
  kLeaseExists,
  kLeaseTtlTooLarge,
  kNoSpace,
  kCorrupt,
  kMemberIdRemoved,
  kMemberIdExists,
  kMemberIdNotFound,
  kPeerUrlExists,
  kNotLearner,
  kTooManyLearners,
  kUnknownAlarmAction,
  kUnsupported,  // a request kind that no member of this kind proposes
};

}  // namespace keelson::apply
