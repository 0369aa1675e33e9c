#include "mvcc/history.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace keelson::mvcc {

bool KeyRanges::before(const Interval& a, const Interval& b) { return a.from < b.from; }

KeyRanges::KeyRanges(const std::vector<KeyRange>& ranges) {
  for (const KeyRange& range : ranges) {
    if (range.empty()) continue;
    Interval interval{.from = std::string(range.key),
                      .end = std::string(range.single ? range.key : range.end),
                      .open = range.open};
    if (range.single) interval.end.push_back('\0');  // the successor of the key
    intervals_.push_back(std::move(interval));
  }
  std::sort(intervals_.begin(), intervals_.end(), before);
  merge();
}

void KeyRanges::merge() {
  std::vector<Interval> merged;
  for (Interval& next : intervals_) {
    if (merged.empty() || (!merged.back().open && merged.back().end < next.from)) {
      merged.push_back(std::move(next));
      continue;
    }
    Interval& last = merged.back();
    last.open = last.open || next.open;
    if (last.end < next.end) last.end = std::move(next.end);
  }
  intervals_ = std::move(merged);
}

bool KeyRanges::contains(std::string_view key) const {
  const auto after = std::upper_bound(
      intervals_.begin(), intervals_.end(), key,
      [](std::string_view wanted, const Interval& interval) { return wanted < interval.from; });
  if (after == intervals_.begin()) return false;
  const Interval& interval = *(after - 1);
  return interval.open || key < interval.end;
}

std::optional<Revision> previous_of(const View& view, std::string_view key, std::int64_t revision,
                                    bool creation) {
  // Below the floor nobody reads: what the index may still hold there must not show.
  if (creation || revision - 1 < view.compact_revision) return std::nullopt;
  const auto superseded = view.index.get(key, revision - 1);
  if (!superseded) return std::nullopt;
  return superseded->mod;
}

base::Result<HistoryCursor, Errc> HistoryCursor::make(const View& view,
                                                      const base::RevisionReader& reader,
                                                      const std::vector<KeyRange>& ranges,
                                                      std::int64_t first, std::int64_t last) {
  CHECK_LE(last, view.revision);
  if (first < view.compact_revision) return base::fail(Errc::kCompacted);
  return HistoryCursor(view, reader, ranges, first, last);
}

HistoryCursor::HistoryCursor(const View& view, const base::RevisionReader& reader,
                             const std::vector<KeyRange>& ranges, std::int64_t first,
                             std::int64_t last)
    : view_(view), ranges_(ranges), last_(last), newest_seen_(first) {
  if (first > last || ranges_.empty()) return;
  constexpr auto kLastSub = std::numeric_limits<std::int64_t>::max();
  scan_ = reader.scan({first, 0}, {last, kLastSub});
}

base::Result<HistoryCursor::Step, Errc> HistoryCursor::step(std::size_t budget) {
  CHECK(budget > 0);
  const std::int64_t seen_before = newest_seen_;
  while (scan_ != nullptr) {
    auto records = scan_->next(budget);
    if (!records) return base::fail(Errc::kUnreadable);
    if (records->empty()) scan_.reset();
    for (base::Record& record : *records) see(std::move(record));
    if (newest_seen_ > seen_before) break;
  }
  if (scan_ != nullptr) {
    return Step{.events = std::exchange(complete_, {}), .through = newest_seen_ - 1};
  }
  std::move(held_.begin(), held_.end(), std::back_inserter(complete_));
  held_.clear();
  return Step{.events = std::exchange(complete_, {}), .through = last_, .done = true};
}

void HistoryCursor::see(base::Record record) {
  CHECK_GE(record.revision.main, newest_seen_);
  if (record.revision.main > newest_seen_) {
    std::move(held_.begin(), held_.end(), std::back_inserter(complete_));
    held_.clear();
    newest_seen_ = record.revision.main;
  }
  if (!is_event(record)) return;
  const auto previous = previous_of(view_, record.key(), record.revision.main,
                                    record.create_revision == record.revision.main);
  held_.push_back({.record = std::move(record), .previous = previous});
}

bool HistoryCursor::is_event(const base::Record& record) const {
  const std::string_view key = record.key();
  if (!ranges_.contains(key)) return false;
  if (record.revision.main > view_.compact_revision) return true;
  const auto newest = view_.index.newest(key, view_.compact_revision);
  return newest && newest->mod == record.revision;
}

}  // namespace keelson::mvcc
