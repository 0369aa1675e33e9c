#include "base/go_text.h"

#include <gtest/gtest.h>

namespace keelson::base {
namespace {

using namespace std::string_literals;

// Asked of Go 1.26: fmt.Sprintf("%q", ...).
TEST(GoText, Quote) {
  const std::pair<std::string, std::string> cases[] = {
      {"", R"("")"},
      {"plain 'text'", R"("plain 'text'")"},
      {"say \"a\\b\"", R"("say \"a\\b\"")"},
      {"\a\b\f\n\r\t\v", R"("\a\b\f\n\r\t\v")"},
      {"\x00\x01\x1f\x7f"s, R"("\x00\x01\x1f\x7f")"},
      {"ü€𝄞", R"("ü€𝄞")"},
      {"\xff\xc3", R"("\xff\xc3")"},
      {"a\xe2\x82z", R"("a\xe2\x82z")"},
      {"\xed\xa0\x80", R"("\xed\xa0\x80")"},          // a surrogate
      {"\xc2\xa0", R"("\u00a0")"},                    // no-break space
      {"\xc2\xad", R"("\u00ad")"},                    // soft hyphen
      {"\xe2\x80\x8b", R"("\u200b")"},                // zero width space
      {"\xef\xbb\xbf", R"("\ufeff")"},                // byte order mark
      {"\xf3\xa0\x80\x81", R"("\U000e0001")"},        // a tag
      {"\xef\xbf\xbd", "\"\xef\xbf\xbd\""},           // U+FFFD itself
      {"\xf4\x90\x80\x80", R"("\xf4\x90\x80\x80")"},  // beyond Unicode
  };
  for (const auto& [text, quoted] : cases) EXPECT_EQ(quote(text), quoted);
  EXPECT_EQ(quote(std::vector<std::string>{"a", "b\"c"}), R"(["a" "b\"c"])");
  EXPECT_EQ(quote(std::vector<std::string>{}), "[]");
  EXPECT_EQ(quote_character('z'), "'z'");
  EXPECT_EQ(quote_character('\''), R"('\'')");
}

TEST(GoText, Unquote) {
  const std::pair<std::string, std::string> right[] = {
      {R"("")", ""},
      {R"("a b")", "a b"},
      {R"("\a\b\f\n\r\t\v\\\"")", "\a\b\f\n\r\t\v\\\""},
      {R"("\x41\101\u00e4\U0001D11E")", "AAä𝄞"},
      {R"("\xff")", "\xff"},
      {"`raw\\n`", "raw\\n"},
      {"\"bad \xff byte\"", "bad \xef\xbf\xbd byte"},
  };
  for (const auto& [text, plain] : right) EXPECT_EQ(unquote(text), plain) << text;
  for (const std::string wrong :
       {"", "\"", "a", "\"a", "a\"", R"("\q")", R"("\x4")", R"("\400")", R"("\'")", R"("a"b")",
        "\"a\nb\"", R"("\ud800")", R"("\U00110000")", "'a'", "`a`b`"}) {
    EXPECT_EQ(unquote(wrong), std::nullopt) << wrong;
  }
}

TEST(GoText, ParseInt) {
  const auto text = [](const Result<std::int64_t, NumberError>& result) {
    return result ? std::to_string(*result) : result.error().text;
  };
  EXPECT_EQ(text(parse_int("-12", 10)), "-12");
  EXPECT_EQ(text(parse_int("+12", 10)), "12");
  EXPECT_EQ(text(parse_int("694d5765fc71500b", 16)), "7587817042727751691");
  EXPECT_EQ(text(parse_int("7fffffffffffffff", 16)), "9223372036854775807");
  EXPECT_EQ(text(parse_int("-8000000000000000", 16)), "-9223372036854775808");
  EXPECT_EQ(text(parse_int("8000000000000000", 16)),
            R"(strconv.ParseInt: parsing "8000000000000000": value out of range)");
  EXPECT_EQ(text(parse_int("99999999999999999999", 10)),
            R"(strconv.ParseInt: parsing "99999999999999999999": value out of range)");
  for (const std::string wrong : {"", "-", "x", "1x", " 1", "0x1", "1_0"}) {
    EXPECT_EQ(text(parse_int(wrong, 10)),
              "strconv.ParseInt: parsing \"" + wrong + "\": invalid syntax");
  }
  EXPECT_EQ(text(parse_int("0x1f", 0)), "31");
  EXPECT_EQ(text(parse_int("0b101", 0)), "5");
  EXPECT_EQ(text(parse_int("0o17", 0)), "15");
  EXPECT_EQ(text(parse_int("017", 0)), "15");
  EXPECT_EQ(text(parse_int("0", 0)), "0");
  EXPECT_EQ(text(parse_int("1_000", 0)), "1000");
  EXPECT_EQ(text(parse_int("0x_f", 0)), "15");
  for (const std::string wrong : {"1__0", "_1", "1_", "0x", "08", "0b2", "0_"}) {
    EXPECT_FALSE(parse_int(wrong, 0).ok()) << wrong;
  }
}

TEST(GoText, ParseBool) {
  EXPECT_TRUE(*parse_bool("T"));
  EXPECT_FALSE(*parse_bool("false"));
  EXPECT_EQ(parse_bool("yes").error().text, R"(strconv.ParseBool: parsing "yes": invalid syntax)");
}

TEST(GoText, Json) {
  EXPECT_EQ(json_string("a\"\\\b\f\n\r\t\x01<>&\u2028é\xff"),
            R"("a\"\\\b\f\n\r\t\u0001\u003c\u003e\u0026\u2028é\ufffd")");
  EXPECT_EQ(json_string("<nil>", Html::kPlain), R"("<nil>")");
}

}  // namespace
}  // namespace keelson::base
