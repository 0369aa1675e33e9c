#include "raft/storage.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "raft/wire.h"

namespace keelson::raft {
namespace {

constexpr std::size_t kRoom = 256;  // for entries, before it is known how many fit

}  // namespace

MemoryStorage::MemoryStorage() { entries_.emplace_back(); }

Storage::InitialState MemoryStorage::initial_state() const {
  return {.hard_state = hard_state_,
          .conf_state = conf_state_.value_or(snapshot_.metadata.conf_state)};
}

Result<Term> MemoryStorage::term(Index index) const {
  if (index < offset()) return base::fail(Errc::kCompacted);
  if (index > last_index()) return base::fail(Errc::kUnavailable);
  return entries_[index - offset()].term;
}

Result<> MemoryStorage::entries(Index lo, Index hi, std::uint64_t max_bytes,
                                std::vector<Entry>& out) const {
  CHECK_LT(lo, hi);
  if (lo <= offset()) return base::fail(Errc::kCompacted);
  if (hi > last_index() + 1) return base::fail(Errc::kUnavailable);
  out.reserve(out.size() + std::min<std::size_t>(hi - lo, kRoom));
  std::uint64_t bytes = 0;
  for (Index index = lo; index < hi; index++) {
    const Entry& entry = entries_[index - offset()];
    bytes += encoded_size(entry);
    if (bytes > max_bytes && index > lo) break;
    out.push_back(entry);
  }
  return {};
}

Result<> MemoryStorage::apply_snapshot(Snapshot snapshot) {
  if (!snapshot_.empty() && snapshot_.metadata.index >= snapshot.metadata.index) {
    return base::fail(Errc::kSnapshotOutOfDate);
  }
  entries_.clear();
  bytes_held_ = 0;
  entries_.push_back({.term = snapshot.metadata.term, .index = snapshot.metadata.index});
  snapshot_ = std::move(snapshot);
  return {};
}

void MemoryStorage::truncate_from(Index index) {
  while (last_index() >= index && entries_.size() > 1) {
    bytes_held_ -= encoded_size(entries_.back());
    entries_.pop_back();
  }
}

void MemoryStorage::append(std::span<const Entry> entries) {
  if (entries.empty() || entries.back().index < first_index()) return;
  if (entries.front().index < first_index()) {
    entries = entries.subspan(first_index() - entries.front().index);
  }
  CHECK_MSG(entries.front().index <= last_index() + 1,
            "missing log entry [last: {}, append at: {}]", last_index(), entries.front().index);
  truncate_from(entries.front().index);
  for (const Entry& entry : entries) {
    CHECK_EQ(entry.index, last_index() + 1);
    bytes_held_ += encoded_size(entry);
    entries_.push_back(entry);
  }
}

Result<> MemoryStorage::create_snapshot(Index index, const ConfState& conf_state,
                                        base::SharedBytes data) {
  if (index <= snapshot_.metadata.index) return base::fail(Errc::kSnapshotOutOfDate);
  if (index < offset()) return base::fail(Errc::kCompacted);
  const auto index_term = term(index);
  CHECK_MSG(index_term.ok(), "snapshot {} is out of bound lastindex({})", index, last_index());
  snapshot_ = {.data = std::move(data),
               .metadata = {.conf_state = conf_state, .index = index, .term = *index_term}};
  return {};
}

Result<> MemoryStorage::compact(Index index) {
  if (index <= offset()) return base::fail(Errc::kCompacted);
  CHECK_MSG(index <= last_index(), "compact {} is out of bound lastindex({})", index, last_index());
  while (offset() < index) {
    entries_.pop_front();
    bytes_held_ -= encoded_size(entries_.front());
  }
  entries_.front().data = {};  // only its term is still asked for
  return {};
}

}  // namespace keelson::raft
