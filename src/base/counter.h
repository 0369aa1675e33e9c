// Counter: a number that one lane adds to and any thread may read: a plain add, without a locked
// bus. For what is counted per request; metrics gather it when they are asked.
#pragma once

#include <atomic>
#include <cstdint>

namespace keelson::base {

class Counter {
 public:
  // From its lane only.
  void add(std::uint64_t by = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  // From any thread: a value it had a moment ago.
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace keelson::base
