// SystemClock: the kernel's monotonic and wall clocks.
#pragma once

#include "env/clock.h"

namespace keelson::env::posix {

class SystemClock final : public Clock {
 public:
  base::TimePoint now() const override;
  base::WallTime wall_now() const override;
};

}  // namespace keelson::env::posix
