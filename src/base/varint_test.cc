#include "base/varint.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace keelson::base {
namespace {

// Where the number of bytes changes, and each side of it.
std::vector<std::uint64_t> numbers() {
  std::vector<std::uint64_t> all{0, std::numeric_limits<std::uint64_t>::max()};
  for (int bits = 0; bits < 64; bits++) {
    const std::uint64_t power = std::uint64_t{1} << bits;
    all.insert(all.end(), {power - 1, power, power + 1});
  }
  return all;
}

TEST(Varint, HasSevenBitsAByte) {
  EXPECT_EQ(varint_size(0), 1u);
  EXPECT_EQ(varint_size(127), 1u);
  EXPECT_EQ(varint_size(128), 2u);
  EXPECT_EQ(varint_size(16383), 2u);
  EXPECT_EQ(varint_size(16384), 3u);
  EXPECT_EQ(varint_size(std::numeric_limits<std::uint64_t>::max()), kVarintMax);
  std::string out = "x";
  put_varint(out, 300);
  EXPECT_EQ(out, "x\xAC\x02");
}

TEST(Varint, WhatIsPutIsTaken) {
  for (const std::uint64_t number : numbers()) {
    std::string out;
    put_varints(out, number, 5);
    EXPECT_EQ(out.size(), varint_size(number) + 1) << number;
    std::string one;
    put_varint(one, number);
    put_varint(one, 5);
    EXPECT_EQ(one, out) << number;
    std::string_view rest = out;
    EXPECT_EQ(take_varint(rest), number);
    EXPECT_EQ(take_varint(rest), 5u);
    EXPECT_TRUE(rest.empty());
    rest = std::string_view(out).substr(0, varint_size(number) - 1);
    EXPECT_FALSE(take_varint(rest)) << number << " cut short";
  }
}

}  // namespace
}  // namespace keelson::base
