// SlicePace: how long work in slices rests after each of them, while others want the core.
//
// Where nobody waits for it, kSliceRest. Where somebody does, who gives up at some time, the rests
// share what is left of that time beside the work, which goes on as it has so far: each is
// shorter the more there is to do, and none longer than kSliceRest. What comes too late even at
// twice that speed rests as if nobody waited: it is of no use to who asked, and the others
// shall not pay for it.
//
// Time is an argument.
#pragma once

#include <algorithm>
#include <cstddef>
#include <optional>

#include "base/time.h"

namespace keelson::member {

// Between two slices of some 300 us of what can wait: whoever waits for the core has it next.
inline constexpr base::Duration kSliceRest = std::chrono::microseconds(600);

class SlicePace {
 public:
  struct Limit {
    std::size_t slices = 1;  // about
    base::TimePoint by;
  };
  explicit SlicePace(std::optional<Limit> limit = std::nullopt) : limit_(limit) {}

  // One slice more.
  void worked(base::Duration took) {
    slices_++;
    worked_ += took;
  }
  base::Duration rest(base::TimePoint now) const {
    if (!limit_ || slices_ == 0) return kSliceRest;
    const auto left = static_cast<std::int64_t>(std::max(limit_->slices, slices_ + 1) - slices_);
    const base::Duration work = worked_ / static_cast<std::int64_t>(slices_) * left;
    const base::Duration time = limit_->by - now;
    if (work / 2 >= time) return kSliceRest;
    return std::clamp((time - work) / left, base::Duration(0), kSliceRest);
  }

 private:
  const std::optional<Limit> limit_;
  std::size_t slices_ = 0;
  base::Duration worked_{0};
};

}  // namespace keelson::member
