#include "raft/tracker/progress.h"

#include <algorithm>

#include "base/check.h"

namespace keelson::raft {

void Progress::reset_state(ProgressState to) {
  append_paused = false;
  pending_snapshot = 0;
  state = to;
  inflights.reset();
}

void Progress::become_probe() {
  // A snapshot that was sent has probably arrived: probe right behind it.
  const Index known = state == ProgressState::kSnapshot ? std::max(match, pending_snapshot) : match;
  reset_state(ProgressState::kProbe);
  next = known + 1;
  sent_commit = std::min(sent_commit, next - 1);
}

void Progress::become_replicate() {
  reset_state(ProgressState::kReplicate);
  next = match + 1;
}

void Progress::become_snapshot(Index index) {
  reset_state(ProgressState::kSnapshot);
  pending_snapshot = index;
  next = index + 1;
  sent_commit = index;
}

void Progress::sent_entries(std::size_t entries, std::uint64_t bytes) {
  CHECK(state != ProgressState::kSnapshot);
  if (state == ProgressState::kProbe) {
    // An empty probe teaches nothing that waiting for its answer could improve; heartbeats go on
    // anyway.
    if (entries > 0) append_paused = true;
    return;
  }
  if (entries > 0) {
    next += entries;
    inflights.add(next - 1, bytes);
  }
  // When full, one empty append per heartbeat response keeps the stream from stalling for good.
  append_paused = inflights.full();
}

bool Progress::maybe_update(Index index) {
  if (index <= match) return false;
  match = index;
  next = std::max(next, index + 1);
  append_paused = false;
  return true;
}

bool Progress::maybe_decrease(Index rejected, Index hint) {
  if (state == ProgressState::kReplicate) {
    if (rejected <= match) return false;
    next = match + 1;
    sent_commit = std::min(sent_commit, next - 1);
    return true;
  }
  // Only the answer to the last probe counts.
  if (next - 1 != rejected) return false;
  next = std::max(std::min(rejected, hint + 1), match + 1);
  sent_commit = std::min(sent_commit, next - 1);
  append_paused = false;
  return true;
}

}  // namespace keelson::raft
