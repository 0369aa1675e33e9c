// Inflights: the appends that were sent to one follower and not yet acknowledged. raft.md 8.
//
// A window over (last index of the message, its payload bytes), oldest first. It is what bounds how
// far a leader runs ahead of a slow follower.
//
// Invariants   I1  indexes never fall from the oldest to the newest
//              I2  bytes() is the sum over the window; count() <= the maximum
// The limit in bytes is soft: the message that crosses it is still admitted.
#pragma once

#include <cstdint>
#include <deque>

#include "raft/types.h"

namespace keelson::raft {

class Inflights {
 public:
  struct Limits {
    std::uint32_t messages = 0;
    std::uint64_t bytes = 0;  // 0: none
  };

  explicit Inflights(Limits limits) : limits_(limits) {}

  bool full() const {
    return window_.size() >= limits_.messages || (limits_.bytes != 0 && bytes_ >= limits_.bytes);
  }
  // CHECKs that it is not full.
  void add(Index last, std::uint64_t bytes);
  // The follower has everything up to and including `index`.
  void free_up_to(Index index);
  void reset();

  std::size_t count() const { return window_.size(); }
  std::uint64_t bytes() const { return bytes_; }

 private:
  struct Sent {
    Index last;
    std::uint64_t bytes;
  };
  Limits limits_;
  std::deque<Sent> window_;
  std::uint64_t bytes_ = 0;
};

}  // namespace keelson::raft
