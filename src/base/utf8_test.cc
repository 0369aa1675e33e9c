#include "base/utf8.h"

#include <gtest/gtest.h>

namespace keelson::base {
namespace {

TEST(Utf8, CodePointsAndWhatIsNone) {
  struct Row {
    std::string_view text;
    std::size_t length;  // 0: none
    char32_t value;
  };
  const Row rows[] = {
      {"", 0, 0},
      {"a", 1, U'a'},
      {"\xc2\x80", 2, 0x80},
      {"\xdf\xbf!", 2, 0x7FF},
      {"\xe0\xa0\x80", 3, 0x800},
      {"\xed\x9f\xbf", 3, 0xD7FF},
      {"\xef\xbf\xbf", 3, 0xFFFF},
      {"\xf0\x90\x80\x80", 4, 0x10000},
      {"\xf4\x8f\xbf\xbf", 4, 0x10FFFF},
      {"\x80", 0, 0},              // a tail
      {"\xc1\xbf", 0, 0},          // overlong
      {"\xe0\x9f\xbf", 0, 0},      // overlong
      {"\xf0\x8f\xbf\xbf", 0, 0},  // overlong
      {"\xed\xa0\x80", 0, 0},      // a surrogate
      {"\xf4\x90\x80\x80", 0, 0},  // beyond
      {"\xf5\x80\x80\x80", 0, 0},
      {"\xe2\x82", 0, 0},  // cut
      {"\xe2(\xa1", 0, 0},
  };
  for (const Row& row : rows) {
    const auto next = next_code_point(row.text);
    ASSERT_EQ(next.has_value(), row.length != 0) << row.text;
    EXPECT_EQ(is_utf8(row.text.substr(0, row.length == 0 ? row.text.size() : row.length)),
              row.length != 0 || row.text.empty());
    if (!next) continue;
    EXPECT_EQ(next->length, row.length);
    EXPECT_EQ(next->value, row.value);
    std::string back;
    append_utf8(back, next->value);
    EXPECT_EQ(back, row.text.substr(0, row.length));
  }
  std::string out;
  append_utf8(out, 0xD800);
  append_utf8(out, 0x110000);
  EXPECT_EQ(out, "\xef\xbf\xbd\xef\xbf\xbd");
}

}  // namespace
}  // namespace keelson::base
