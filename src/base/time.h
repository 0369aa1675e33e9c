// Time types. The cores take time as an argument; only env/ reads a clock.
#pragma once

#include <chrono>
#include <cstdint>

namespace keelson::base {

using Duration = std::chrono::nanoseconds;

// The monotonic time line of env::Clock (real or virtual). It has no now(): ask the clock you were
// given.
struct Monotonic {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<Monotonic>;
  static constexpr bool is_steady = true;
};
using TimePoint = Monotonic::time_point;

// Wall time, since 1970-01-01 UTC. For ids, logs and records; never for deadlines.
struct Wall {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<Wall>;
  static constexpr bool is_steady = false;
};
using WallTime = Wall::time_point;

using Milliseconds = std::chrono::milliseconds;
using Seconds = std::chrono::seconds;
using namespace std::chrono_literals;

}  // namespace keelson::base
