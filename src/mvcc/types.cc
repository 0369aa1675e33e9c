#include "mvcc/types.h"

namespace keelson::mvcc {

KeyRange KeyRange::of(std::string_view key, std::string_view range_end) {
  if (range_end.empty()) return {.key = key, .single = true};
  if (range_end == std::string_view("\0", 1)) return {.key = key, .open = true};
  return {.key = key, .end = range_end};
}

}  // namespace keelson::mvcc
