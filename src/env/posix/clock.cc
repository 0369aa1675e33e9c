#include "env/posix/clock.h"

#include <chrono>

namespace keelson::env::posix {

base::TimePoint SystemClock::now() const {
  return base::TimePoint(std::chrono::steady_clock::now().time_since_epoch());
}

base::WallTime SystemClock::wall_now() const {
  return base::WallTime(std::chrono::system_clock::now().time_since_epoch());
}

}  // namespace keelson::env::posix
