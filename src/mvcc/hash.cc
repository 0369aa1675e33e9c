#include "mvcc/hash.h"

#include <algorithm>
#include <optional>

namespace keelson::mvcc {
namespace {

// The key's history as it is once compaction at `floor` is finished: at most one change at or below
// it, the first, and a tombstone there only exactly at it.
void compacted_history(const KeyIndexView::Cursor& cursor, std::int64_t floor,
                       std::vector<Version>& history) {
  history.clear();
  cursor.history(history);
  const auto above = std::find_if(history.begin(), history.end(),
                                  [floor](const Version& v) { return v.mod.main > floor; });
  if (above == history.begin()) return;
  const auto newest = above - 1;
  const bool vanishes = newest->tombstone && newest->mod.main < floor;
  history.erase(history.begin(), vanishes ? above : newest);
}

// What a compaction at `revision` keeps of this history among the changes up to `revision`: the
// newest one of the generation that lives then, which is the first that ends at `revision` or
// later, or the last one. A generation and the next may end and begin in one main revision; the
// first counts then.
std::optional<Version> kept_at(const std::vector<Version>& history, std::int64_t revision) {
  auto begin = history.begin();
  for (auto it = history.begin(); it != history.end() && it->mod.main <= revision; ++it) {
    if (!it->tombstone) continue;
    if (it->mod.main == revision) return *it;
    begin = it + 1;
  }
  const auto end = std::find_if(begin, history.end(),
                                [revision](const Version& v) { return v.mod.main > revision; });
  if (end == begin) return std::nullopt;
  return *(end - 1);
}

}  // namespace

base::Result<HashCursor, Errc> HashCursor::make(const View& view, std::int64_t revision) {
  if (revision > view.revision) return base::fail(Errc::kFutureRevision);
  if (revision > 0 && revision < view.compact_revision) return base::fail(Errc::kCompacted);
  return HashCursor(view, revision == 0 ? view.revision : revision);
}

base::Result<HashCursor, Errc> HashCursor::make_for_compaction(const View& before,
                                                               std::int64_t revision) {
  ASSIGN_OR_RETURN(auto cursor, make(before, revision));
  cursor.revision_ =
      revision;  // 0, on a store not written to yet, is no other name for the current one
  cursor.tombstones_are_kept_ = true;
  return cursor;
}

HashCursor::HashCursor(const View& view, std::int64_t revision)
    : view_(view), revision_(revision), cursor_(view_.index.seek("")) {
  // Above a floor never set, the quirk has nothing to show: there is nothing at or below it.
  if (view_.compact_revision <= 0 || revision_ < 0) adding_ = true;
}

bool HashCursor::step(std::size_t budget, base::RevisionHasher& hasher) {
  CHECK(budget > 0);
  if (!adding_ && !search(budget)) return false;
  for (; budget > 0 && cursor_.valid(); budget--, cursor_.next()) add(hasher);
  return !cursor_.valid();
}

// True when it is known whether anything would be kept.
bool HashCursor::search(std::size_t& budget) {
  for (; budget > 0 && cursor_.valid() && keeps_nothing_; budget--, cursor_.next()) {
    compacted_history(cursor_, view_.compact_revision, history_);
    const auto kept = kept_at(history_, revision_);
    keeps_nothing_ = !kept || kept->tombstone;
    keeps_tombstone_ |= kept && kept->tombstone;
  }
  if (keeps_nothing_ && cursor_.valid()) return false;
  is_ambiguous_ = keeps_nothing_ && keeps_tombstone_;
  if (tombstones_are_kept_ && keeps_tombstone_) keeps_nothing_ = false;
  adding_ = true;
  cursor_.seek("");
  return true;
}

void HashCursor::add(base::RevisionHasher& hasher) {
  const std::int64_t floor = view_.compact_revision;
  compacted_history(cursor_, floor, history_);
  const auto kept = kept_at(history_, revision_);
  for (const Version& version : history_) {
    if (version.mod.main > revision_) break;
    if (version.mod.main <= floor && !keeps_nothing_ && !(kept && kept->mod == version.mod)) {
      continue;
    }
    if (version.mod.main == floor && version.tombstone) continue;
    hasher.add(version.mod);
  }
}

KeptCursor::KeptCursor(const View& view) : view_(view), cursor_(view_.index.seek("")) {}

bool KeptCursor::step(std::size_t budget, std::vector<Revision>& out) {
  CHECK(budget > 0);
  for (; budget > 0 && cursor_.valid(); budget--, cursor_.next()) {
    compacted_history(cursor_, view_.compact_revision, history_);
    for (const Version& version : history_) out.push_back(version.mod);
  }
  return !cursor_.valid();
}

bool WholeHashCursor::step(std::size_t budget, base::RevisionHasher& hasher) {
  revisions_.clear();
  const bool is_done = kept_.step(budget, revisions_);
  for (const Revision revision : revisions_) hasher.add(revision);
  return is_done;
}

}  // namespace keelson::mvcc
