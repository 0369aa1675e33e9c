#include "base/storage.h"

#include <algorithm>

#include "base/varint.h"

namespace keelson::base {

std::string_view bucket_name(Bucket bucket) {
  switch (bucket) {
    case Bucket::kAlarm:
      return "alarm";
    case Bucket::kAuth:
      return "auth";
    case Bucket::kAuthRoles:
      return "authRoles";
    case Bucket::kAuthUsers:
      return "authUsers";
    case Bucket::kCluster:
      return "cluster";
    case Bucket::kLease:
      return "lease";
    case Bucket::kMembers:
      return "members";
    case Bucket::kMembersRemoved:
      return "members_removed";
    case Bucket::kMeta:
      return "meta";
  }
  CHECK(false);
}

std::string_view encoded_key(std::string_view encoded) {
  if (encoded.empty() || encoded.front() != static_cast<char>(bytes_tag(1))) return {};
  encoded.remove_prefix(1);
  const auto length = take_varint(encoded);
  if (!length || *length > encoded.size()) return {};
  return encoded.substr(0, *length);
}

std::string_view Record::key() const { return encoded_key(encoded); }

const Record* Batch::find(Revision revision) const {
  const auto it =
      std::lower_bound(records_.begin(), records_.end(), revision,
                       [](const Record& r, Revision wanted) { return r.revision < wanted; });
  return it != records_.end() && it->revision == revision ? &*it : nullptr;
}

}  // namespace keelson::base
