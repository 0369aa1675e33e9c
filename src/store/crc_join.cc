#include "store/crc_join.h"

#include <array>

#include "base/crc32c.h"

#if defined(__x86_64__)
#include <nmmintrin.h>
#include <wmmintrin.h>
#endif

namespace keelson::store {
namespace {

#if defined(__x86_64__)

// Appending n bytes multiplies a checksum by x^(8n) modulo the polynomial. In the reflected form a
// carry-less product of two 32-bit values stands for their product times x, and the crc32
// instruction on those 64 bits multiplies by x^32 and reduces. So tables of x^(8n - 33) make each
// step exact.
//
// x has order 2^31 - 1 modulo this polynomial, so x^-33 is x^(8m) for m = -33 / 8 modulo that, and
// 1/8 is 2^28.
constexpr std::uint64_t kOrder = (std::uint64_t{1} << 31) - 1;
constexpr std::uint64_t kMinus33 = (kOrder - 33) * (std::uint64_t{1} << 28) % kOrder;
constexpr std::uint32_t kOne = 0x80000000;  // x^0

using Tables = std::array<std::array<std::uint32_t, 256>, 8>;

Tables make_tables() {
  Tables tables;
  for (std::size_t byte = 0; byte < tables.size(); byte++) {
    for (std::uint64_t n = 0; n < 256; n++) {
      const std::uint32_t power = base::crc32c_combine(kOne, 0, n << (8 * byte));
      tables[byte][n] = base::crc32c_combine(power, 0, kMinus33);
    }
  }
  return tables;
}

__attribute__((target("sse4.2,pclmul"))) std::uint32_t multiply(std::uint32_t a, std::uint32_t b) {
  const __m128i product = _mm_clmulepi64_si128(_mm_cvtsi32_si128(static_cast<int>(a)),
                                               _mm_cvtsi32_si128(static_cast<int>(b)), 0);
  return static_cast<std::uint32_t>(
      _mm_crc32_u64(0, static_cast<std::uint64_t>(_mm_cvtsi128_si64(product))));
}

#endif

}  // namespace

std::uint32_t crc_join(std::uint32_t crc_a, std::uint32_t crc_b, std::uint64_t length_b) {
#if defined(__x86_64__)
  static const bool has_instructions =
      __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
  if (has_instructions) {
    static const Tables tables = make_tables();
    for (std::size_t byte = 0; length_b != 0; byte++, length_b >>= 8) {
      if ((length_b & 0xFF) != 0) crc_a = multiply(crc_a, tables[byte][length_b & 0xFF]);
    }
    return crc_a ^ crc_b;
  }
#endif
  return base::crc32c_combine(crc_a, crc_b, length_b);
}

}  // namespace keelson::store
