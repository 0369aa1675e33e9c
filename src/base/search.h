// Binary search by place, for what has no iterators.
#pragma once

namespace keelson::base {

// The first place in [low, high) of which `is_before` is false; `high` if it is true of all. It
// must be true up to some place, and false from there on.
template <class Place, class IsBefore>
Place partition_place(Place low, Place high, const IsBefore& is_before) {
  while (low < high) {
    const Place middle = low + (high - low) / 2;
    if (is_before(middle)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

}  // namespace keelson::base
