// The words of the multi-version store, and what its calls answer. api.md 2, formats.md 5.6.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/revision.h"
#include "base/storage.h"

namespace keelson::mvcc {

using base::Revision;

enum class Errc {
  kCompacted,       // the revision asked for has been compacted
  kFutureRevision,  // ... has not been written yet
  kKeyNotFound,     // ignore_value or ignore_lease on a key that is not there
  kLeaseNotFound,   // a put names a lease that is not there
  kUnreadable,      // a stored record could not be read back (counted; local to this member)
  kTooMuchMemory,   // a sort by value, or another answer that must be gathered, beyond its budget
};

// A range of keys, api.md 2.2. Bounds are borrowed.
struct KeyRange {
  std::string_view key;
  std::string_view end;  // exclusive; empty with `open` = to the last key
  bool single = false;   // just `key`
  bool open = false;     // from `key` on

  // From a request's key and range_end: empty end = single key, "\0" = from key on.
  static KeyRange of(std::string_view key, std::string_view range_end);
  bool contains(std::string_view k) const {
    if (single) return k == key;
    return k >= key && (open || k < end);
  }
  // True of an inverted or empty interval; it holds no key.
  bool empty() const { return !single && !open && end <= key; }
};

// One change of a key as the index knows it.
struct Version {
  Revision mod;
  std::int64_t create_revision = 0;  // main; 0 for a tombstone
  std::int64_t version = 0;          // 1 for the first of a generation; 0 for a tombstone
  std::uint32_t bytes = 0;           // length of the stored (encoded) KeyValue
  bool tombstone = false;
};

// A change as watchers see it. Immutable; shared among lanes.
struct Event {
  base::Record record;               // the change; its key is record.key()
  std::optional<Revision> previous;  // the change it superseded, absent for a creation

  static Event of(const base::Tombstones& tombstones, std::size_t i) {
    return {.record = tombstones.record(i), .previous = tombstones.superseded(i)};
  }
};
inline Revision revision_of(const Event& event) { return event.record.revision; }

// Everything one applied batch did to keys, in ascending order of revision, and the compaction it
// made.
struct EventBatch {
  base::ChangeList<Event> events;
  std::int64_t revision = 0;           // current revision after the batch
  std::int64_t compact_revision = -1;  // after the batch
};

}  // namespace keelson::mvcc
