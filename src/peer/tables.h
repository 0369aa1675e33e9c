// What other lanes may ask of a transport: counters and who is active. Written by its lane, read
// under a mutex that is held for a copy only. Internal to peer/.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <optional>

#include "base/containers.h"
#include "base/time.h"
#include "peer/stats.h"
#include "raft/types.h"

namespace keelson::peer {

class StatsTable {
 public:
  // Beyond so many ids strangers share the entry of nobody: an id is only what a sender says it is.
  static constexpr std::size_t kIdsMax = 1024;

  // The entry of this id; made at the first call.
  PeerStats& of(raft::NodeId id) {
    const std::scoped_lock lock(mutex_);
    auto found = entries_.find(id);
    if (found != entries_.end()) return *found->second;
    if (entries_.size() >= kIdsMax && id != raft::kNone) id = raft::kNone;
    auto& entry = entries_[id];
    if (!entry) entry = std::make_shared<PeerStats>(id);
    return *entry;
  }
  Stats all() const {
    const std::scoped_lock lock(mutex_);
    Stats result;
    for (const auto& [id, entry] : entries_) result.push_back(entry);
    return result;
  }

 private:
  mutable std::mutex mutex_;
  base::OrderedMap<raft::NodeId, std::shared_ptr<PeerStats>> entries_;
};

// Since when which peer is active.
class ActiveTable {
 public:
  void set(raft::NodeId id, base::TimePoint since) {
    const std::scoped_lock lock(mutex_);
    since_[id] = since;
  }
  void erase(raft::NodeId id) {
    const std::scoped_lock lock(mutex_);
    since_.erase(id);
  }
  std::optional<base::TimePoint> find(raft::NodeId id) const {
    const std::scoped_lock lock(mutex_);
    const auto found = since_.find(id);
    return found == since_.end() ? std::nullopt : std::optional(found->second);
  }
  std::size_t size() const {
    const std::scoped_lock lock(mutex_);
    return since_.size();
  }

 private:
  mutable std::mutex mutex_;
  base::OrderedMap<raft::NodeId, base::TimePoint> since_;
};

}  // namespace keelson::peer
