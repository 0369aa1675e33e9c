#include "base/crc32c.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace keelson::base {
namespace {

TEST(Crc32c, KnownValues) {
  EXPECT_EQ(crc32c(0, "123456789"), 0xE3069283u);            // the check value of the polynomial
  EXPECT_EQ(crc32c(0, std::string(32, '\0')), 0x8A9136AAu);  // RFC 3720 B.4
  EXPECT_EQ(crc32c(7, ""), 7u);
}

TEST(Crc32c, InstructionAndTableAgreeAndChain) {
  Random random(1);
  for (int round = 0; round < 300; round++) {
    std::string a = random.bytes(random.below(300)), b = random.bytes(random.below(300));
    EXPECT_EQ(crc32c(5, a), crc32c_by_table(5, a));
    EXPECT_EQ(crc32c(crc32c(0, a), b), crc32c(0, a + b));
    EXPECT_EQ(crc32c_combine(crc32c(0, a), crc32c(0, b), b.size()), crc32c(0, a + b));
  }
}

// Long ones are taken in parts that are joined: each way to split them, at any place.
TEST(Crc32c, EachLengthAndPlaceAgreesWithTheTable) {
  Random random(2);
  const std::string bytes = random.bytes(10'000);
  for (std::size_t length = 0; length < 700; length++) {
    const auto part = std::string_view(bytes).substr(random.below(2000), length);
    ASSERT_EQ(crc32c(9, part), crc32c_by_table(9, part)) << length;
  }
  for (int round = 0; round < 300; round++) {
    const auto part = std::string_view(bytes).substr(random.below(5000), random.below(5000));
    ASSERT_EQ(crc32c(~0u, part), crc32c_by_table(~0u, part)) << part.size();
  }
}

}  // namespace
}  // namespace keelson::base
