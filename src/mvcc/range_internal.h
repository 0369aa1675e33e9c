// What txns share with ranges and compares: the same, over staged changes too.
#pragma once

#include <cstdint>

#include "mvcc/overlay.h"
#include "mvcc/range.h"
#include "mvcc/read.h"

namespace keelson::mvcc {

// range(), seeing the changes of `overlay` (nullptr: none) where the request asks for the current
// revision.
base::Result<RangeResult, Errc> range_over(const View& view, const Overlay* overlay,
                                           const etcdserverpb::RangeRequest& request,
                                           const ReadFunction& read, std::size_t memory_budget);

// compares_hold(), adding to `evaluated` how many were looked at before the answer was known.
base::Result<bool, Errc> evaluate_compares(
    const View& view, const google::protobuf::RepeatedPtrField<etcdserverpb::Compare>& compares,
    const ReadFunction& read, std::uint64_t& evaluated);

}  // namespace keelson::mvcc
