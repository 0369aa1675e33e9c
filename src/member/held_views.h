// HeldViews: the Views that reads of one io lane keep beyond their turn.
//
// A View keeps from being freed what index and store have dropped since, so a client that takes its
// answer slowly could hold any amount. Holding therefore has a budget, of bytes and of time. Beyond
// it the oldest holder of all lanes is told to end: it gives the View up and its client an error.
// One at a time, because what it held needs a moment to go.
//
//   hold --(answer done)--> released        hold --(over budget)--> ended once, then released
//
// Invariants
//   V1  A holder is told at most once, as a job of its lane, and never after its Hold is gone.
//   V2  Of all that are held, the one with the oldest View is told first.
// Belongs to its lane; what lanes tell each other is the age of their oldest.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <list>
#include <memory>

#include "base/function.h"
#include "base/time.h"
#include "env/lane.h"
#include "member/request_ids.h"
#include "member/view.h"

namespace keelson::member {

// The oldest View each lane holds, as the number of its batch; written by that lane.
class OldestViews {
 public:
  static constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();
  OldestViews() {
    for (auto& one : oldest_) one.store(kNone, std::memory_order_relaxed);
  }
  void set(std::uint32_t lane, std::uint64_t batch) {
    oldest_[lane].store(batch, std::memory_order_relaxed);
  }
  // No lane holds an older one.
  bool is_oldest(std::uint64_t batch) const;

  // Holds of all lanes, for a gauge.
  void count(std::int64_t change) { held_.fetch_add(change, std::memory_order_relaxed); }
  std::int64_t held() const { return held_.load(std::memory_order_relaxed); }

 private:
  std::array<std::atomic<std::uint64_t>, kRequestLanes> oldest_;
  std::atomic<std::int64_t> held_ = 0;
};

class HeldViews {
 public:
  struct Limits {
    std::uint64_t bytes_max;  // kept by the index for Views older than the newest
    base::Duration age_max;
  };
  // `newest` gives the newest View, on this lane. `ended` counts who was told.
  HeldViews(env::Lane& lane, std::uint32_t number, Limits limits, OldestViews& oldest,
            base::Function<const View&()> newest, base::Function<void()> ended);
  // Every Hold is gone.
  ~HeldViews();
  HeldViews(const HeldViews&) = delete;
  HeldViews& operator=(const HeldViews&) = delete;

  class Hold;
  // Registers that `view` is kept until the Hold goes. `on_ended` may destroy the Hold.
  std::unique_ptr<Hold> hold(const View& view, base::Job on_ended);

  // Nobody is told any more.
  void stop();

  std::size_t held() const { return held_.size(); }

 private:
  struct Entry {
    std::uint64_t batch;
    base::TimePoint since;
    base::Job on_ended;
    bool told = false;  // then it lies in told_
  };
  using Entries = std::list<Entry>;

  void look();
  void arm();
  bool over_budget(const Entry& oldest);
  void end_oldest();
  void release(Entries::iterator entry);
  void tell_oldest();

  env::Lane& lane_;
  const std::uint32_t number_;
  const Limits limits_;
  OldestViews& oldest_;
  base::Function<const View&()> newest_;
  base::Function<void()> ended_;
  Entries held_;  // by batch, the oldest first
  Entries told_;  // have still to give up
  env::TimerId timer_ = 0;
  bool stopped_ = false;
};

class HeldViews::Hold {
 public:
  Hold(HeldViews& owner, Entries::iterator entry) : owner_(owner), entry_(entry) {}
  ~Hold() { owner_.release(entry_); }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

 private:
  HeldViews& owner_;
  const Entries::iterator entry_;
};

}  // namespace keelson::member
