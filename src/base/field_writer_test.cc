#include "base/field_writer.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace keelson::base {
namespace {

// What it writes is what the same fields are in a string.
TEST(FieldWriter, WritesWhatIsAppendedToStrings) {
  const std::string large(300, 'x');
  for (const std::uint64_t number : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{128},
                                     std::numeric_limits<std::uint64_t>::max()}) {
    for (const std::string& text : {std::string(), std::string("a"), large}) {
      std::string expected;
      put_varint_field(expected, 1, number);
      put_bytes_field(expected, 2, text);
      put_message_field(expected, 100, text);
      put_message_field(expected, 3, "abc");
      std::string written(varint_field_size(1, number) + bytes_field_size(2, text.size()) +
                              message_field_size(100, text.size()) + message_field_size(3, 3),
                          '\0');
      FieldWriter out(written.data());
      out.number(1, number);
      out.bytes(2, text);
      out.message(100, text);
      out.head(3, 3);
      EXPECT_EQ(std::ranges::copy(std::string_view("abc"), out.at()).out,
                written.data() + written.size());
      EXPECT_EQ(written, expected);
    }
  }
}

}  // namespace
}  // namespace keelson::base
