// catch_up: a slice of history for watchers that are behind.
//
// Two ways lead to the same events. Few keys: their histories are taken from the key index, and
// only the records wanted are read, however long ago they were written. Many keys, or a short way
// to go: the records are scanned in the order they were written and the wanted ones kept. Which way
// is taken follows from the View alone.
//
// A worker's work: it may block in the reader. The owner holds the View meanwhile.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/storage.h"
#include "mvcc/range.h"
#include "mvcc/types.h"

namespace keelson::watch {

// A range of keys that owns its bounds.
struct OwnedRange {
  std::string key;
  std::string end;
  bool single = false;
  bool open = false;

  explicit OwnedRange(const mvcc::KeyRange& range)
      : key(range.key), end(range.end), single(range.single), open(range.open) {}
  mvcc::KeyRange borrow() const { return {.key = key, .end = end, .single = single, .open = open}; }
};

// What is wanted: changes in any of `ranges` with main revisions in [first, last].
struct Wanted {
  std::vector<OwnedRange> ranges;
  std::int64_t first = 0;
  std::int64_t last = 0;  // at most the View's revision
  bool previous = false;  // with the values they superseded
};

struct CaughtUp {
  std::vector<mvcc::Event> events;          // ascending
  std::vector<base::SharedBytes> previous;  // one for each event if wanted: empty for none
  std::int64_t through = 0;                 // all wanted changes up to here are among the events
};

// How much one slice holds: all changes of one revision at least, beyond that about so much.
struct SliceLimits {
  std::size_t revisions = 1000;  // distinct ones: those of one response (api.md 3.4)
  std::size_t bytes = std::size_t{1} << 20;
  std::size_t records = 8192;  // looked at by a scan
  std::size_t keys = 1000;     // looked up in the index; with more the records are scanned
};

// `wanted.first` is not below the View's floor (the floor itself is readable). kUnreadable: a
// record that must be told cannot be read.
base::Result<CaughtUp, mvcc::Errc> catch_up(const mvcc::View& view,
                                            const base::RevisionReader& reader,
                                            const Wanted& wanted, const SliceLimits& limits);

}  // namespace keelson::watch
