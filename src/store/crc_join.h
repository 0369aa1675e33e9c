// Joins checksums: crc(a + b) from crc(a), crc(b) and the length of b, some 5 ns a join where the
// processor can multiply without carry. base::crc32c_combine does the same in about 100; HashKV
// joins one per record.
#pragma once

#include <cstdint>

namespace keelson::store {

std::uint32_t crc_join(std::uint32_t crc_a, std::uint32_t crc_b, std::uint64_t length_b);

}  // namespace keelson::store
