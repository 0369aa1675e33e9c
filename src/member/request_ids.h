// Ids of replicated requests, unique in the cluster. formats.md 5.2.
//
//   63    48 47                8 7      0
//   | member | time, counting up | lane |
//
// The top 16 bits name the member that proposed, so that an outcome finds its waiter; the lowest
// six say which of its lanes waits. Time is the wall clock's milliseconds at the start, counted up
// from there.
#pragma once

#include <cstdint>

#include "base/time.h"

namespace keelson::member {

inline constexpr std::uint32_t kRequestLanes = 64;
inline constexpr std::uint32_t kNoWaitingLane = kRequestLanes - 1;

class RequestIds {
 public:
  RequestIds(std::uint64_t member_id, std::uint32_t lane, base::WallTime now)
      : prefix_(member_id << 48), lane_(lane) {
    const auto milliseconds =
        std::chrono::duration_cast<base::Milliseconds>(now.time_since_epoch()).count();
    next_ = (static_cast<std::uint64_t>(milliseconds) & 0xFF'FFFF'FFFF) << 8;
  }
  std::uint64_t next() {
    const std::uint64_t id = prefix_ | (next_ & 0xFFFF'FFFF'FFC0) | lane_;
    next_ += kRequestLanes;
    return id;
  }
  static std::uint32_t lane_of(std::uint64_t id) { return id % kRequestLanes; }

 private:
  const std::uint64_t prefix_;
  const std::uint32_t lane_;
  std::uint64_t next_;
};

}  // namespace keelson::member
