// CRC-32C (Castagnoli), by CPU instruction where there is one, by table elsewhere. formats.md 1.3.
//
// The value is the finished one (standard init and final inversion folded in), so that
// crc32c(crc32c(0, a), b) == crc32c(0, a + b), as etcd's chain in the WAL goes.
#pragma once

#include <cstdint>
#include <string_view>

namespace keelson::base {

std::uint32_t crc32c(std::uint32_t crc, std::string_view bytes);

// The value of a + b from crc(a), crc(b) and the length of b in bytes, without reading either.
std::uint32_t crc32c_combine(std::uint32_t crc_a, std::uint32_t crc_b, std::uint64_t length_b);

// The table version, for the test that holds the two against each other.
std::uint32_t crc32c_by_table(std::uint32_t crc, std::string_view bytes);

}  // namespace keelson::base
