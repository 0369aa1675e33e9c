#include "base/crc32c.h"

#include <algorithm>
#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace keelson::base {
namespace {

constexpr std::uint32_t kPolynomial = 0x82F63B78;  // reflected

constexpr std::array<std::uint32_t, 256> make_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; i++) {
    std::uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = (c >> 1) ^ ((c & 1) ? kPolynomial : 0);
    table[i] = c;
  }
  return table;
}
constexpr auto kTable = make_table();

// Polynomials over GF(2) modulo the Castagnoli one, reflected: bit 31 is x^0. Multiplication by
// x^(8n) is what appending n zero bytes does to a CRC.
std::uint32_t multiply(std::uint32_t a, std::uint32_t b) {
  std::uint32_t product = 0;
  for (std::uint32_t mask = 0x80000000u; mask != 0; mask >>= 1) {
    if (a & mask) product ^= b;
    b = (b >> 1) ^ ((b & 1) ? kPolynomial : 0);
  }
  return product;
}

// kPowers[k] = x^(8 * 2^k).
std::array<std::uint32_t, 64> make_powers() {
  std::array<std::uint32_t, 64> powers{};
  powers[0] = 0x80000000u >> 8;
  for (std::size_t k = 1; k < powers.size(); k++)
    powers[k] = multiply(powers[k - 1], powers[k - 1]);
  return powers;
}

#if defined(__x86_64__)
// The register, before the last inversion, after more bytes.
__attribute__((target("sse4.2"))) std::uint64_t advance(std::uint64_t c, const char* p,
                                                        std::size_t n) {
  for (; n >= 8; n -= 8, p += 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    c = __builtin_ia32_crc32di(c, word);
  }
  auto c32 = static_cast<std::uint32_t>(c);
  for (; n > 0; n--, p++) c32 = __builtin_ia32_crc32qi(c32, static_cast<unsigned char>(*p));
  return c32;
}

std::uint32_t by_instruction(std::uint32_t crc, std::string_view bytes) {
  return ~static_cast<std::uint32_t>(advance(~crc, bytes.data(), bytes.size()));
}

// The instruction takes three cycles, and each waits for the one before; one can begin every cycle.
// So three parts of equal length go at once and are then joined.
constexpr std::size_t kPartBytesMax = 1024;
constexpr std::size_t kPartBytesMin = 64;  // below, joining costs more than it saves

// kShifts[n]: what moves a CRC over 8n zero bytes. The carry-less product of two reflected numbers
// of 32 bits is the reflected product times x, and crc32di of it multiplies by x^32: so x^(64n -
// 33).
using Shifts = std::array<std::uint64_t, 2 * kPartBytesMax / 8 + 1>;
Shifts make_shifts() {
  Shifts shifts{};
  const std::uint32_t x64 = make_powers()[3];
  std::uint32_t power = 1;  // x^31, for n = 1
  for (std::size_t n = 1; n < shifts.size(); n++, power = multiply(power, x64)) shifts[n] = power;
  return shifts;
}

__attribute__((target("sse4.2,pclmul"))) std::uint64_t shifted(std::uint64_t c,
                                                               std::uint64_t shift) {
  const __m128i product = _mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<long long>(c)),
                                               _mm_cvtsi64_si128(static_cast<long long>(shift)), 0);
  return __builtin_ia32_crc32di(0, static_cast<std::uint64_t>(_mm_cvtsi128_si64(product)));
}

__attribute__((target("sse4.2,pclmul"))) std::uint32_t in_three_parts(std::uint32_t crc,
                                                                      std::string_view bytes) {
  static const Shifts shifts = make_shifts();
  std::uint64_t c = static_cast<std::uint32_t>(~crc);
  const char* p = bytes.data();
  std::size_t n = bytes.size();
  while (n >= 3 * kPartBytesMin) {
    const std::size_t words = std::min(n / 3, kPartBytesMax) / 8, part = words * 8;
    std::uint64_t second = 0, third = 0;
    for (std::size_t i = 0; i < part; i += 8) {
      std::uint64_t a, b, d;
      std::memcpy(&a, p + i, 8);
      std::memcpy(&b, p + part + i, 8);
      std::memcpy(&d, p + 2 * part + i, 8);
      c = __builtin_ia32_crc32di(c, a);
      second = __builtin_ia32_crc32di(second, b);
      third = __builtin_ia32_crc32di(third, d);
    }
    c = shifted(c, shifts[2 * words]) ^ shifted(second, shifts[words]) ^ third;
    p += 3 * part;
    n -= 3 * part;
  }
  return ~static_cast<std::uint32_t>(advance(c, p, n));
}
#endif

}  // namespace

std::uint32_t crc32c_by_table(std::uint32_t crc, std::string_view bytes) {
  std::uint32_t c = ~crc;
  for (char byte : bytes) c = (c >> 8) ^ kTable[(c ^ static_cast<unsigned char>(byte)) & 0xFF];
  return ~c;
}

std::uint32_t crc32c(std::uint32_t crc, std::string_view bytes) {
#if defined(__x86_64__)
  static const bool has_instruction = __builtin_cpu_supports("sse4.2");
  static const bool has_product = has_instruction && __builtin_cpu_supports("pclmul");
  if (has_product && bytes.size() >= 3 * kPartBytesMin) return in_three_parts(crc, bytes);
  if (has_instruction) return by_instruction(crc, bytes);
#endif
  return crc32c_by_table(crc, bytes);
}

std::uint32_t crc32c_combine(std::uint32_t crc_a, std::uint32_t crc_b, std::uint64_t length_b) {
  static const auto powers = make_powers();
  std::uint32_t shifted = crc_a;
  for (std::size_t k = 0; length_b != 0; k++, length_b >>= 1) {
    if (length_b & 1) shifted = multiply(powers[k], shifted);
  }
  return shifted ^ crc_b;
}

}  // namespace keelson::base
