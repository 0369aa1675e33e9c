// DeadlineQueue: when the calls of a lane end, behind one timer of the lane.
//
// A call comes and goes a hundred thousand times a second and almost never reaches its deadline, so
// adding and removing must not touch the lane's timers, nor allocate: a heap, whose entries know
// their places. The timer stands at the earliest deadline there was when it was set; when it finds
// nobody due it moves on, at most once per such deadline.
//
// Invariants   Q1  while entries exist a timer stands at or before the earliest
//              Q2  an entry is called back once, unless removed before; by deadline, then in the
//                  order of adding
//              Q3  heap_[entry.place_] is the entry's
// Belongs to one lane. The owner destroys it after its entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/check.h"
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
    static constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);
    std::size_t place_ = kNowhere;  // in the heap
  };

  explicit DeadlineQueue(env::Lane& lane) : lane_(lane) {}
  ~DeadlineQueue() {
    CHECK(heap_.empty());
    if (timer_ != 0) lane_.cancel(timer_);
  }
  DeadlineQueue(const DeadlineQueue&) = delete;
  DeadlineQueue& operator=(const DeadlineQueue&) = delete;

  // An entry waits for one deadline at a time.
  void add(Entry& entry, base::TimePoint due) {
    CHECK(entry.place_ == Entry::kNowhere);
    heap_.push_back({due, ++serial_, &entry});
    rise(heap_.size() - 1);
    if (timer_ == 0 || due < timer_due_) arm(due);
  }
  // Does nothing for an entry that is not there.
  void remove(Entry& entry) {
    if (entry.place_ == Entry::kNowhere) return;
    const std::size_t place = std::exchange(entry.place_, Entry::kNowhere);
    const Item last = heap_.back();
    heap_.pop_back();
    if (place == heap_.size()) return;
    put(place, last);
    sink(rise(place));
  }
  std::size_t size() const { return heap_.size(); }

 private:
  struct Item {
    base::TimePoint due;
    std::uint64_t serial;
    Entry* entry;
    bool operator<(const Item& other) const {
      return due != other.due ? due < other.due : serial < other.serial;
    }
  };

  void put(std::size_t place, const Item& item) {
    heap_[place] = item;
    item.entry->place_ = place;
  }
  // Both: to where it belongs among those above, or below, it. rise() says where that is.
  std::size_t rise(std::size_t place) {
    const Item item = heap_[place];
    for (; place > 0; place = (place - 1) / 2) {
      const Item& above = heap_[(place - 1) / 2];
      if (!(item < above)) break;
      put(place, above);
    }
    put(place, item);
    return place;
  }
  void sink(std::size_t place) {
    const Item item = heap_[place];
    for (std::size_t below = 2 * place + 1; below < heap_.size(); below = 2 * place + 1) {
      if (below + 1 < heap_.size() && heap_[below + 1] < heap_[below]) below++;
      if (!(heap_[below] < item)) break;
      put(place, heap_[below]);
      place = below;
    }
    put(place, item);
  }

  void arm(base::TimePoint due) {
    if (timer_ != 0) lane_.cancel(timer_);
    timer_due_ = due;
    timer_ = lane_.at(due, [this] { on_timer(); });
  }

  void on_timer() {
    timer_ = 0;
    const base::TimePoint now = lane_.clock().now();
    while (!heap_.empty() && heap_.front().due <= now) {
      Entry& entry = *heap_.front().entry;
      remove(entry);
      entry.on_deadline();
    }
    if (heap_.empty()) return;
    const base::TimePoint next = heap_.front().due;
    if (timer_ == 0 || next < timer_due_) arm(next);  // on_deadline may have added a later one
  }

  env::Lane& lane_;
  std::vector<Item> heap_;  // the earliest first
  std::uint64_t serial_ = 0;
  env::TimerId timer_ = 0;
  base::TimePoint timer_due_;
};

}  // namespace keelson::http
