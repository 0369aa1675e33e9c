#include "watch/catch_up.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "mvcc/history.h"
#include "mvcc/read.h"
#include "mvcc/record.h"

namespace keelson::watch {
namespace {

using mvcc::Errc;
using mvcc::Revision;
using mvcc::Version;

// A way this short is scanned without asking the index.
constexpr std::int64_t kShortWay = 64;
// A scan is stepped by so few records because each may be as large as a request.
constexpr std::size_t kScanStep = 16;
// A history longer than this is cheaper scanned.
constexpr std::size_t kVersionsMax = 4096;
// Keys looked up where a scan has met a record that cannot be read: it may be one of nobody's.
constexpr std::size_t kKeysAround = 100'000;

struct Found {
  std::string key;
  Version version;
};

// All wanted changes as the index knows them, ascending; nullopt if there are too many keys or
// changes to take this way.
std::optional<std::vector<Found>> look_up(const mvcc::View& view, const Wanted& wanted,
                                          std::size_t keys_max) {
  std::vector<Found> found;
  std::vector<Version> history;
  std::size_t keys = 0;
  for (const OwnedRange& owned : wanted.ranges) {
    const mvcc::KeyRange range = owned.borrow();
    if (range.empty()) continue;
    for (auto cursor = view.index.seek(range.key); cursor.valid() && range.contains(cursor.key());
         cursor.next()) {
      if (++keys > keys_max) return std::nullopt;
      history.clear();
      cursor.history(history);
      const auto at_floor = cursor.newest(view.compact_revision);
      for (const Version& version : history) {
        const std::int64_t main = version.mod.main;
        if (main < wanted.first || main > wanted.last) continue;
        // At the floor itself only a key's newest change can be told of.
        if (main <= view.compact_revision && (!at_floor || at_floor->mod != version.mod)) continue;
        if (found.size() == kVersionsMax) return std::nullopt;
        found.push_back({std::string(cursor.key()), version});
      }
    }
  }
  const auto revision = [](const Found& one) { return one.version.mod; };
  std::sort(found.begin(), found.end(),
            [&](const Found& a, const Found& b) { return revision(a) < revision(b); });
  const auto again = std::unique(found.begin(), found.end(), [&](const Found& a, const Found& b) {
    return revision(a) == revision(b);  // of ranges that overlap
  });
  found.erase(again, found.end());
  return found;
}

// Drops what does not fit the slice, never a part of one revision; returns up to where it goes.
std::int64_t cut(std::vector<Found>& found, std::int64_t last, const SliceLimits& limits) {
  std::size_t revisions = 0, bytes = 0;
  for (std::size_t i = 0; i < found.size(); i++) {
    const std::int64_t main = found[i].version.mod.main;
    const bool begins = i == 0 || found[i - 1].version.mod.main != main;
    if (begins && i > 0 && (revisions == limits.revisions || bytes >= limits.bytes)) {
      found.resize(i);
      return main - 1;
    }
    revisions += begins ? 1 : 0;
    bytes += found[i].version.bytes;
  }
  return last;
}

base::Result<CaughtUp, Errc> read_found(const mvcc::View& view, const base::RevisionReader& reader,
                                        const Wanted& wanted, const SliceLimits& limits,
                                        std::vector<Found>& found) {
  CaughtUp slice{.through = cut(found, wanted.last, limits)};
  std::vector<Revision> revisions;
  for (const Found& one : found) {
    if (!one.version.tombstone) revisions.push_back(one.version.mod);
  }
  ASSIGN_OR_RETURN(auto bytes, mvcc::read_all(mvcc::read_from(reader), revisions));
  auto next = bytes.begin();
  for (const Found& one : found) {
    const Version& version = one.version;
    const bool creation = version.create_revision == version.mod.main;
    slice.events.push_back(
        {.record = {.revision = version.mod,
                    .tombstone = version.tombstone,
                    .create_revision = version.create_revision,
                    .version = version.version,
                    .encoded = version.tombstone ? mvcc::encode({.key = one.key}) : *next++},
         .previous = mvcc::previous_of(view, one.key, version.mod.main, creation)});
  }
  return slice;
}

std::size_t bytes_of(const std::vector<mvcc::Event>& events, std::size_t from) {
  std::size_t bytes = 0;
  for (std::size_t i = from; i < events.size(); i++) bytes += events[i].record.encoded.size();
  return bytes;
}

std::size_t revisions_of(const std::vector<mvcc::Event>& events, std::size_t from) {
  std::size_t revisions = 0;
  std::int64_t before = 0;  // steps never split a revision
  for (std::size_t i = from; i < events.size(); i++) {
    const std::int64_t main = events[i].record.revision.main;
    if (main != before) revisions++;
    before = main;
  }
  return revisions;
}

base::Result<CaughtUp, Errc> scan(const mvcc::View& view, const base::RevisionReader& reader,
                                  const Wanted& wanted, const SliceLimits& limits) {
  std::vector<mvcc::KeyRange> ranges;
  for (const OwnedRange& range : wanted.ranges) ranges.push_back(range.borrow());
  ASSIGN_OR_RETURN(auto cursor,
                   mvcc::HistoryCursor::make(view, reader, ranges, wanted.first, wanted.last));
  CaughtUp slice{.through = wanted.first - 1};
  std::size_t revisions = 0, bytes = 0, records = 0;
  do {
    const std::size_t step_records =
        std::clamp<std::size_t>(limits.revisions - revisions, 1, kScanStep);
    ASSIGN_OR_RETURN(auto step, cursor.step(step_records));
    const std::size_t before = slice.events.size();
    std::move(step.events.begin(), step.events.end(), std::back_inserter(slice.events));
    slice.through = step.through;
    revisions += revisions_of(slice.events, before);
    bytes += bytes_of(slice.events, before);
    records += step_records;
    if (step.done) break;
  } while (revisions < limits.revisions && bytes < limits.bytes && records < limits.records);
  return slice;
}

// The values that the events superseded. What cannot be read is as good as compacted.
void read_previous(const base::RevisionReader& reader, CaughtUp& slice) {
  slice.previous.resize(slice.events.size());
  std::vector<std::size_t> at;
  std::vector<Revision> revisions;
  for (std::size_t i = 0; i < slice.events.size(); i++) {
    if (!slice.events[i].previous) continue;
    at.push_back(i);
    revisions.push_back(*slice.events[i].previous);
  }
  std::vector<base::ReadResult> results(revisions.size());
  reader.read(revisions, results);
  for (std::size_t i = 0; i < at.size(); i++) {
    slice.previous[at[i]] = std::move(results[i].bytes);
  }
}

}  // namespace

base::Result<CaughtUp, Errc> catch_up(const mvcc::View& view, const base::RevisionReader& reader,
                                      const Wanted& wanted, const SliceLimits& limits) {
  CHECK_LE(wanted.first, wanted.last);
  CHECK_LE(wanted.last, view.revision);
  CHECK_GE(wanted.first, view.compact_revision);
  std::optional<std::vector<Found>> found;
  if (wanted.last - wanted.first >= kShortWay) found = look_up(view, wanted, limits.keys);
  base::Result<CaughtUp, Errc> slice =
      found ? read_found(view, reader, wanted, limits, *found) : scan(view, reader, wanted, limits);
  if (!slice && !found) {
    found = look_up(view, wanted, kKeysAround);
    if (found) slice = read_found(view, reader, wanted, limits, *found);
  }
  if (slice && wanted.previous) read_previous(reader, *slice);
  return slice;
}

}  // namespace keelson::watch
