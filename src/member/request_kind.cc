#include "member/request_kind.h"

#include <array>

#include "base/varint.h"

namespace keelson::member {

std::string_view name_of(RequestKind kind) {
  static constexpr std::array<std::string_view, kRequestKinds> kNames{"Range",
                                                                      "Put",
                                                                      "DeleteRange",
                                                                      "Txn",
                                                                      "Compaction",
                                                                      "LeaseGrant",
                                                                      "LeaseRevoke",
                                                                      "LeaseCheckpoint",
                                                                      "Alarm",
                                                                      "ClusterVersionSet",
                                                                      "ClusterMemberAttrSet",
                                                                      "DowngradeInfoSet",
                                                                      "unknown"};
  return kNames[static_cast<std::size_t>(kind)];
}

RequestKind request_kind(std::uint32_t field) {
  using enum RequestKind;
  switch (field) {
    case 3:
      return kRange;
    case 4:
      return kPut;
    case 5:
      return kDeleteRange;
    case 6:
      return kTxn;
    case 7:
      return kCompaction;
    case 8:
      return kLeaseGrant;
    case 9:
      return kLeaseRevoke;
    case 10:
      return kAlarm;
    case 11:
      return kLeaseCheckpoint;
    case 1300:
      return kClusterVersionSet;
    case 1301:
      return kClusterMemberAttrSet;
    case 1302:
      return kDowngradeInfoSet;
    default:
      return kOther;
  }
}

RequestKind request_kind(std::string_view entry) {
  // ID (1) and header (100) may stand before it.
  for (int i = 0; i < 3; i++) {
    const auto tag = base::take_varint(entry);
    if (!tag) break;
    const auto field = static_cast<std::uint32_t>(*tag >> 3);
    const auto value = base::take_varint(entry);
    if (!value) break;
    if (field != 1 && field != 100) return request_kind(field);
    if ((*tag & 7) != 2) continue;
    if (*value > entry.size()) break;
    entry.remove_prefix(static_cast<std::size_t>(*value));
  }
  return RequestKind::kOther;
}

}  // namespace keelson::member
