#include "base/revision.h"

namespace keelson::base {

std::string revision_key(Revision revision, bool tombstone) {
  std::string key;
  key.reserve(kTombstoneKeyBytes);
  const auto put = [&key](std::int64_t value) {
    for (int shift = 56; shift >= 0; shift -= 8) {
      key.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> shift));
    }
  };
  put(revision.main);
  key.push_back('_');
  put(revision.sub);
  if (tombstone) key.push_back('t');
  return key;
}

}  // namespace keelson::base
