// HistoryCursor: the events of past revisions, for watchers that catch up.
//
// It walks the store's records in the order they were written and yields those whose keys lie in
// chosen ranges, as the events that State yielded when it made them, but for previous values that
// compaction has taken. So a watcher cannot tell whether it was caught up or served at once.
//
//   make(view, reader, ranges, first, last) ... step(budget) until done
//
// Invariants
//   H1  events ascend by revision; each change of the ranges in [first, last] is yielded exactly
//   once H2  the events of one main revision are never split between two steps H3  what is yielded
//   follows from the view alone, not from how far compaction or collection has got: at
//       the floor itself only a key's newest change is an event
//
// Threads: one lane that may block, a worker; the owner holds the view's batch and the reader
// meanwhile.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/storage.h"
#include "mvcc/range.h"
#include "mvcc/types.h"

namespace keelson::mvcc {

// Any number of key ranges, told apart no further: is a key in one of them?
class KeyRanges {
 public:
  // The bounds are copied; empty ranges hold no key.
  explicit KeyRanges(const std::vector<KeyRange>& ranges);

  bool contains(std::string_view key) const;
  bool empty() const { return intervals_.empty(); }

 private:
  struct Interval {
    std::string from;
    std::string end;    // exclusive
    bool open = false;  // no end
  };
  static bool before(const Interval& a, const Interval& b);
  void merge();

  std::vector<Interval> intervals_;  // ascending, apart from each other
};

class HistoryCursor {
 public:
  // Main revisions, both inclusive; `last` is at most the view's revision, and `first` > `last`
  // yields nothing. kCompacted if `first` is below the view's floor; the floor itself is readable.
  static base::Result<HistoryCursor, Errc> make(const View& view,
                                                const base::RevisionReader& reader,
                                                const std::vector<KeyRange>& ranges,
                                                std::int64_t first, std::int64_t last);

  struct Step {
    std::vector<Event> events;
    std::int64_t through = 0;  // all events up to this revision have been yielded
    bool done = false;         // through == last
  };
  // Reads about `budget` records, more where one revision holds more. kUnreadable ends it: start
  // anew from the revision after the last `through`.
  base::Result<Step, Errc> step(std::size_t budget);

 private:
  HistoryCursor(const View& view, const base::RevisionReader& reader,
                const std::vector<KeyRange>& ranges, std::int64_t first, std::int64_t last);
  void see(base::Record record);
  bool is_event(const base::Record& record) const;

  View view_;
  KeyRanges ranges_;
  std::int64_t last_;
  std::unique_ptr<base::RevisionScan> scan_;
  std::vector<Event> held_;      // of `newest_seen_`, until a later one is seen
  std::vector<Event> complete_;  // of earlier ones
  std::int64_t newest_seen_;     // main revision; more of it may follow
};

// The change that an event at `revision` (main) superseded, as watchers with prev_kv see it: the
// value just before that revision, if it can still be read; `creation` is true for a put that began
// a generation, which has none.
std::optional<Revision> previous_of(const View& view, std::string_view key, std::int64_t revision,
                                    bool creation);

}  // namespace keelson::mvcc
