#include "cmd/ctl/texts.h"

#include <gtest/gtest.h>

namespace keelson::cmd::ctl {
namespace {

TEST(Texts, Sizes) {
  const std::pair<std::uint64_t, std::string> cases[] = {
      {0, "0 B"},
      {9, "9 B"},
      {10, "10 B"},
      {999, "999 B"},
      {1000, "1.0 kB"},
      {1234, "1.2 kB"},
      {9949, "9.9 kB"},
      {20'480, "20 kB"},
      {82'854'982, "83 MB"},
      {2'147'483'648, "2.1 GB"},
      {8'589'934'592, "8.6 GB"},
  };
  for (const auto& [bytes, text] : cases) EXPECT_EQ(size_text(bytes), text);
}

TEST(Texts, Base64) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("a"), "YQ==");
  EXPECT_EQ(base64("ab"), "YWI=");
  EXPECT_EQ(base64("abc\xff"), "YWJj/w==");
}

}  // namespace
}  // namespace keelson::cmd::ctl
