// View: everything a reader may see after one applied batch. Immutable; any lane; kept as long as a
// reader needs it.
//
// The apply lane publishes a View before it hands over any reply or event of the batch, so whoever
// saw an answer reads it anywhere (V1). A read in slices keeps its View: neither Compact nor
// collection pulls anything from under it (V2).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "apply/alarms.h"
#include "base/function.h"
#include "base/storage.h"
#include "lease/lessor.h"
#include "membership/cluster.h"
#include "mvcc/range.h"
#include "raft/types.h"

namespace keelson::member {

// Sizes of the store as of a View. api.md 9.5.
struct Space {
  std::uint64_t file_bytes = 0;  // dbSize
  std::uint64_t live_bytes = 0;  // dbSizeInUse; what the quota counts
};

struct View {
  mvcc::View keys;
  std::shared_ptr<const base::RevisionReader> reader;
  lease::LeaseSnapshot leases;
  std::shared_ptr<const membership::Roster> roster;
  std::shared_ptr<const std::vector<apply::AlarmMember>> alarms;
  raft::Index applied_index = 0;
  raft::Term applied_term = 0;
  Space space;
  std::uint64_t retired_bytes = 0;  // of the index, kept only for Views older than this one
  bool compacting = false;  // the floor was raised and dropping is not done yet
  // This member is the only voter and has applied the first entry of its own term: no other member
  // can have written anything newer, so the latest View answers linearizable reads as it is.
  bool linearizable = false;

  // Runs when the last holder lets go: tells the apply lane to release the index root.
  base::Function<void()> on_release;

  View() = default;
  View(const View&) = delete;
  View& operator=(const View&) = delete;
  ~View() {
    if (on_release) on_release();
  }
};

// Where the newest View stands. Written by the apply lane, read by any.
class ViewCell {
 public:
  void publish(std::shared_ptr<const View> view) {
    {
      const std::scoped_lock lock(mutex_);
      view_.swap(view);
      version_.fetch_add(1, std::memory_order_release);
    }
    // The old one may be released here, outside the lock.
  }
  std::uint64_t version() const { return version_.load(std::memory_order_acquire); }
  std::shared_ptr<const View> load() const {
    const std::scoped_lock lock(mutex_);
    return view_;
  }

 private:
  mutable std::mutex mutex_;  // held for a pointer copy only
  std::shared_ptr<const View> view_;
  std::atomic<std::uint64_t> version_{0};
};

// A lane's own copy, renewed only when there is a newer one: one atomic load per look.
class ViewCache {
 public:
  explicit ViewCache(const ViewCell& cell) : cell_(cell) {}
  const std::shared_ptr<const View>& get() {
    if (const auto version = cell_.version(); version != version_) {
      version_ = version;
      view_ = cell_.load();
    }
    return view_;
  }
  void drop() {
    view_.reset();
    version_ = 0;
  }

 private:
  const ViewCell& cell_;
  std::uint64_t version_ = 0;
  std::shared_ptr<const View> view_;
};

}  // namespace keelson::member
