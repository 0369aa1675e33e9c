// DeadlineQueue: when the calls of a lane end, behind one timer of the lane.
//
// A call comes and goes a hundred thousand times a second and almost never reaches its deadline, so
// adding and removing must not touch the lane's timers. The timer stands at the earliest deadline
// there was when it was set; when it finds nobody due it moves on, at most once per such deadline.
//
// Invariants   Q1  while entries exist a timer stands at or before the earliest
//              Q2  an entry is called back once, unless removed before
// Belongs to one lane. The owner destroys it after its entries.
#pragma once

#include <cstdint>
#include <utility>

#include "base/check.h"
#include "base/containers.h"
#include "base/time.h"
#include "env/lane.h"

namespace keelson::http {

class DeadlineQueue {
 public:
  class Entry {
   public:
    virtual ~Entry() = default;
    // The deadline has come; the entry is no longer in the queue. May add and remove any entry.
    virtual void on_deadline() = 0;

   private:
    friend class DeadlineQueue;
    base::TimePoint due_;
    std::uint64_t serial_ = 0;  // 0: not in the queue
  };

  explicit DeadlineQueue(env::Lane& lane) : lane_(lane) {}
  ~DeadlineQueue() {
    CHECK(entries_.empty());
    if (timer_ != 0) lane_.cancel(timer_);
  }
  DeadlineQueue(const DeadlineQueue&) = delete;
  DeadlineQueue& operator=(const DeadlineQueue&) = delete;

  // An entry waits for one deadline at a time.
  void add(Entry& entry, base::TimePoint due) {
    CHECK(entry.serial_ == 0);
    entry.due_ = due;
    entry.serial_ = ++serial_;
    entries_.emplace(Key{due, entry.serial_}, &entry);
    if (timer_ == 0 || due < timer_due_) arm(due);
  }
  // Does nothing for an entry that is not there.
  void remove(Entry& entry) {
    if (entry.serial_ == 0) return;
    entries_.erase(Key{entry.due_, entry.serial_});
    entry.serial_ = 0;
  }
  std::size_t size() const { return entries_.size(); }

 private:
  using Key = std::pair<base::TimePoint, std::uint64_t>;

  void arm(base::TimePoint due) {
    if (timer_ != 0) lane_.cancel(timer_);
    timer_due_ = due;
    timer_ = lane_.at(due, [this] { on_timer(); });
  }

  void on_timer() {
    timer_ = 0;
    const base::TimePoint now = lane_.clock().now();
    while (!entries_.empty() && entries_.begin()->first.first <= now) {
      Entry& entry = *entries_.begin()->second;
      remove(entry);
      entry.on_deadline();
    }
    if (entries_.empty()) return;
    const base::TimePoint next = entries_.begin()->first.first;
    if (timer_ == 0 || next < timer_due_) arm(next);  // on_deadline may have added a later one
  }

  env::Lane& lane_;
  base::OrderedMap<Key, Entry*> entries_;
  std::uint64_t serial_ = 0;
  env::TimerId timer_ = 0;
  base::TimePoint timer_due_;
};

}  // namespace keelson::http
