// HashKV: the CRC-32C of a chosen history, equal on all members that applied the same log.
// formats.md 5.7.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "mvcc/range.h"
#include "mvcc/types.h"

namespace keelson::mvcc {

// Feeds the revisions that HashKV(revision) covers to a hasher, a slice at a time.
class HashCursor {
 public:
  // `revision` 0 = current. The view's batch is held by the owner meanwhile.
  static base::Result<HashCursor, Errc> make(const View& view, std::int64_t revision);

  // Looks at about `budget` keys; true when all are seen.
  bool step(std::size_t budget, base::RevisionHasher& hasher);
  std::int64_t revision() const { return revision_; }

 private:
  HashCursor(const View& view, std::int64_t revision);
  View view_;
  std::int64_t revision_;
  KeyIndexView::Cursor cursor_;
};

// What Maintenance.Hash covers of the key bucket: every change kept.
class WholeHashCursor;

}  // namespace keelson::mvcc
