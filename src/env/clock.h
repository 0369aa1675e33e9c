// Clock: the one place where time is read. Real or virtual; shared by all lanes.
#pragma once

#include "base/time.h"

namespace keelson::env {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual base::TimePoint now() const = 0;
  virtual base::WallTime wall_now() const = 0;
};

}  // namespace keelson::env
