// RequestKind: what a replicated request is, for metrics and logs; named as etcd names them.
#pragma once

#include <cstdint>
#include <string_view>

namespace keelson::member {

enum class RequestKind : std::uint8_t {
  kRange,
  kPut,
  kDeleteRange,
  kTxn,
  kCompaction,
  kLeaseGrant,
  kLeaseRevoke,
  kLeaseCheckpoint,
  kAlarm,
  kClusterVersionSet,
  kClusterMemberAttrSet,
  kDowngradeInfoSet,
  kOther,
};
inline constexpr std::size_t kRequestKinds = 13;

std::string_view name_of(RequestKind kind);
// Of the request's field in an InternalRaftRequest. formats.md 5.2
RequestKind request_kind(std::uint32_t field);
// Of an entry's data: by its first field that is a request.
RequestKind request_kind(std::string_view entry);

}  // namespace keelson::member
