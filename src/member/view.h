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
#include "base/planted.h"
#include "base/storage.h"
#include "env/lane.h"
#include "lease/lessor.h"
#include "member/compaction_hashes.h"
#include "membership/cluster.h"
#include "mvcc/range.h"
#include "mvcc/state.h"
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
  std::shared_ptr<const CompactionHashes> compaction_hashes;
  Space space;
  std::uint64_t retired_bytes = 0;  // of the index, kept only for Views older than this one
  mvcc::State::Stats key_stats;
  mvcc::KeyIndex::Stats index_stats;
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

// A lane's own copy, renewed only when there is a newer one: one atomic load per look. Kept until
// the end of the lane's turn and no longer: a lane that sleeps would keep all that has been dropped
// since from being freed, whole files among it.
class ViewCache {
 public:
  ViewCache(env::Lane& lane, const ViewCell& cell) : lane_(lane), cell_(cell) {}
  // On the lane. What a caller keeps beyond its job it copies.
  const std::shared_ptr<const View>& get() {
    if (KEELSON_PLANTED(kStaleView) && holds()) return view_;
    if (const auto version = cell_.version(); version != version_) {
      if (version_ == kNone) {
        lane_.at_turn_end([this] { drop(); });
      }
      version_ = version;
      view_ = cell_.load();
    }
    return view_;
  }
  bool holds() const { return view_ != nullptr; }
  // Before the end of the turn, or where no lane runs any more.
  void drop() {
    view_.reset();
    version_ = kNone;
  }

 private:
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};

  env::Lane& lane_;
  const ViewCell& cell_;
  std::uint64_t version_ = kNone;
  std::shared_ptr<const View> view_;
};

}  // namespace keelson::member
