#include "raft/log.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "raft/wire.h"

namespace keelson::raft {
namespace {

// Keeps the longest prefix of `entries` within max_bytes, but at least `keep`.
void limit_size(std::vector<Entry>& entries, std::size_t keep, std::uint64_t max_bytes) {
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < entries.size(); i++) {
    bytes += encoded_size(entries[i]);
    if (bytes > max_bytes && i >= keep) {
      entries.resize(i);
      return;
    }
  }
}

}  // namespace

std::uint64_t encoded_size(const std::vector<Entry>& entries) {
  std::uint64_t bytes = 0;
  for (const Entry& entry : entries) bytes += encoded_size(entry);
  return bytes;
}

std::uint64_t payload_size(const std::vector<Entry>& entries) {
  std::uint64_t bytes = 0;
  for (const Entry& entry : entries) bytes += entry.data.size();
  return bytes;
}

// --- Unstable

std::optional<Index> Unstable::first_index() const {
  if (!snapshot_) return std::nullopt;
  return snapshot_->metadata.index + 1;
}

std::optional<Index> Unstable::last_index() const {
  if (!entries_.empty()) return entries_.back().index;
  if (snapshot_) return snapshot_->metadata.index;
  return std::nullopt;
}

std::optional<Term> Unstable::term(Index index) const {
  if (index < offset_) {
    if (snapshot_ && snapshot_->metadata.index == index) return snapshot_->metadata.term;
    return std::nullopt;
  }
  if (index - offset_ >= entries_.size()) return std::nullopt;
  return entries_[index - offset_].term;
}

std::span<const Entry> Unstable::next_entries() const {
  return std::span(entries_).subspan(offset_in_progress_ - offset_);
}

const Snapshot* Unstable::next_snapshot() const {
  return snapshot_ && !snapshot_in_progress_ ? &*snapshot_ : nullptr;
}

void Unstable::accept_in_progress() {
  offset_in_progress_ = offset_ + entries_.size();
  if (snapshot_) snapshot_in_progress_ = true;
}

void Unstable::truncate_and_append(std::vector<Entry> entries) {
  const Index from = entries.front().index;
  const Index end = offset_ + entries_.size();
  CHECK_LE(from, end);
  if (from <= offset_ && from < end) {
    trace_.info("replace the unstable entries from index {}", from);
    // The log lane may still be writing the old ones; its confirmation will not match.
    entries_ = std::move(entries);
    offset_ = offset_in_progress_ = from;
    return;
  }
  if (from < end) {
    trace_.info("truncate the unstable entries before index {}", from);
    entries_.resize(from - offset_);
    offset_in_progress_ = std::min(offset_in_progress_, from);
  }
  if (entries_.empty()) {
    entries_ = std::move(entries);
  } else {
    std::ranges::move(entries, std::back_inserter(entries_));
  }
}

void Unstable::stable_to(EntryId id) {
  const std::optional<Term> here = term(id.index);
  if (!here) {
    trace_.info("entry at index {} missing from unstable log; ignoring", id.index);
    return;
  }
  if (id.index < offset_) {
    trace_.info("entry at index {} matched unstable snapshot; ignoring", id.index);
    return;
  }
  if (*here != id.term) {
    trace_.info(
        "entry at (index,term)=({},{}) mismatched with entry at ({},{}) in unstable log; ignoring",
        id.index, id.term, id.index, *here);
    return;
  }
  entries_.erase(entries_.begin(),
                 entries_.begin() + static_cast<std::ptrdiff_t>(id.index + 1 - offset_));
  offset_ = id.index + 1;
  offset_in_progress_ = std::max(offset_in_progress_, offset_);
}

void Unstable::stable_snapshot_to(Index index) {
  if (!snapshot_ || snapshot_->metadata.index != index) return;
  snapshot_.reset();
  snapshot_in_progress_ = false;
}

void Unstable::restore(Snapshot snapshot) {
  offset_ = offset_in_progress_ = snapshot.metadata.index + 1;
  entries_.clear();
  snapshot_ = std::move(snapshot);
  snapshot_in_progress_ = false;
}

std::span<const Entry> Unstable::slice(Index lo, Index hi) const {
  CHECK(offset_ <= lo && lo <= hi && hi <= offset_ + entries_.size());
  return std::span(entries_).subspan(lo - offset_, hi - lo);
}

// --- Log

Log::Log(const Storage& storage, Options options)
    : storage_(storage),
      options_(options),
      trace_(options.trace),
      unstable_(storage.last_index() + 1, trace_),
      committed_(storage.first_index() - 1),
      applying_(committed_),
      applied_(committed_) {}

Index Log::first_index() const {
  if (const auto index = unstable_.first_index()) return *index;
  return storage_.first_index();
}

Index Log::last_index() const {
  if (const auto index = unstable_.last_index()) return *index;
  // Storage may hold more already (S1), but Unstable knows where the log ended when it was emptied.
  return unstable_.offset() - 1;
}

EntryId Log::last_id() const {
  const Index last = last_index();
  const auto last_term = term(last);
  CHECK_MSG(last_term.ok(), "no term for the last index {}", last);
  return {.term = *last_term, .index = last};
}

Result<Term> Log::term(Index index) const {
  if (const auto known = unstable_.term(index)) return *known;
  if (index + 1 < first_index()) return base::fail(Errc::kCompacted);
  if (index > last_index()) return base::fail(Errc::kUnavailable);
  return storage_.term(index);
}

Term Log::term_or_zero(Index index) const {
  const auto known = term(index);
  return known ? *known : 0;
}

bool Log::matches(EntryId id) const {
  const auto here = term(id.index);
  return here && *here == id.term;
}

bool Log::is_up_to_date(EntryId other) const {
  const EntryId last = last_id();
  return other.term > last.term || (other.term == last.term && other.index >= last.index);
}

Result<std::vector<Entry>> Log::entries(Index lo, std::uint64_t max_bytes) const {
  if (lo > last_index()) return std::vector<Entry>{};
  return slice(lo, last_index() + 1, max_bytes);
}

Result<std::vector<Entry>> Log::slice(Index lo, Index hi, std::uint64_t max_bytes) const {
  CHECK_LE(lo, hi);
  if (lo < first_index()) return base::fail(Errc::kCompacted);
  CHECK_LE(hi, last_index() + 1);
  std::vector<Entry> out;
  if (lo == hi) return out;
  const Index offset = unstable_.offset();
  if (lo < offset) {
    const Index stable_end = std::min(hi, offset);
    RETURN_IF_ERROR(storage_.entries(lo, stable_end, max_bytes, out));
    // Cut short by the limit: what follows in Unstable would leave a gap.
    if (out.size() < stable_end - lo) return out;
  }
  if (hi > offset) {
    const auto rest = unstable_.slice(std::max(lo, offset), hi);
    out.insert(out.end(), rest.begin(), rest.end());
  }
  limit_size(out, 1, max_bytes);
  return out;
}

Result<Snapshot> Log::snapshot() const {
  if (unstable_.snapshot()) return *unstable_.snapshot();
  return storage_.snapshot();
}

Index Log::append(std::vector<Entry> entries) {
  if (entries.empty()) return last_index();
  CHECK_MSG(entries.front().index > committed_, "after({}) is out of range [committed({})]",
            entries.front().index - 1, committed_);
  unstable_.truncate_and_append(std::move(entries));
  return last_index();
}

std::optional<Index> Log::maybe_append(EntryId previous, std::vector<Entry> entries,
                                       Index leader_commit) {
  if (!matches(previous)) return std::nullopt;
  const Index last_new = previous.index + entries.size();
  if (const Index conflict = first_conflict(entries); conflict != 0) {
    CHECK_MSG(conflict > committed_, "entry {} conflict with committed entry [committed({})]",
              conflict, committed_);
    append_from_conflict(conflict, std::move(entries));
  }
  commit_to(std::min(leader_commit, last_new));
  return last_new;
}

// The index of the first entry that is not here, 0 if all are.
Index Log::first_conflict(const std::vector<Entry>& entries) const {
  for (const Entry& entry : entries) {
    if (matches({.term = entry.term, .index = entry.index})) continue;
    if (entry.index <= last_index()) {
      trace_.info("found conflict at index {} [existing term: {}, conflicting term: {}]",
                  entry.index, term_or_zero(entry.index), entry.term);
    }
    return entry.index;
  }
  return 0;
}

void Log::append_from_conflict(Index conflict, std::vector<Entry> entries) {
  const auto known = static_cast<std::ptrdiff_t>(conflict - entries.front().index);
  if (known > 0) entries.erase(entries.begin(), entries.begin() + known);
  append(std::move(entries));
}

EntryId Log::find_conflict_by_term(Index index, Term limit) const {
  for (; index > 0; index--) {
    const auto here = term(index);
    if (!here) return {.term = 0, .index = index};
    if (*here <= limit) return {.term = *here, .index = index};
  }
  return {};
}

void Log::restore(Snapshot snapshot) {
  committed_ = snapshot.metadata.index;
  unstable_.restore(std::move(snapshot));
}

void Log::commit_to(Index index) {
  if (index <= committed_) return;
  CHECK_MSG(
      index <= last_index(),
      "tocommit({}) is out of range [lastIndex({})]. Was the raft log corrupted, truncated, or "
      "lost?",
      index, last_index());
  committed_ = index;
}

bool Log::maybe_commit(EntryId id) {
  if (id.term == 0 || id.index <= committed_ || !matches(id)) return false;
  commit_to(id.index);
  return true;
}

Index Log::max_appliable_index() const {
  if (options_.apply_unstable) return committed_;
  return std::min(committed_, unstable_.offset() - 1);
}

bool Log::has_next_committed() const {
  if (applying_paused_ || has_unstable_snapshot()) return false;
  return applying_ < max_appliable_index();
}

std::vector<Entry> Log::next_committed() const {
  if (!has_next_committed()) return {};
  CHECK(applying_bytes_ < options_.max_applying_bytes);
  auto next = slice(applying_ + 1, max_appliable_index() + 1,
                    options_.max_applying_bytes - applying_bytes_);
  CHECK_MSG(next.ok(), "entries to apply from {} are gone: {}", applying_ + 1,
            describe(next.error()));
  return *std::move(next);
}

void Log::accept_applying(Index last, std::uint64_t bytes) {
  CHECK_LE(last, committed_);
  applying_ = last;
  applying_bytes_ += bytes;
  // Stopping short of what may be applied means that the limit was met, whatever the sum says.
  applying_paused_ =
      applying_bytes_ >= options_.max_applying_bytes || applying_ < max_appliable_index();
}

void Log::applied_to(Index index, std::uint64_t bytes) {
  CHECK_MSG(applied_ <= index && index <= committed_,
            "applied({}) is out of range [prevApplied({}), committed({})]", index, applied_,
            committed_);
  applied_ = index;
  applying_ = std::max(applying_, index);
  applying_bytes_ -= std::min(bytes, applying_bytes_);
  applying_paused_ = applying_bytes_ >= options_.max_applying_bytes;
}

}  // namespace keelson::raft
