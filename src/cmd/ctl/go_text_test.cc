#include "cmd/ctl/go_text.h"

#include <gtest/gtest.h>

namespace keelson::cmd::ctl {
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
  const auto text = [](const base::Result<std::int64_t, std::string>& result) {
    return result ? std::to_string(*result) : result.error();
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
  EXPECT_EQ(parse_bool("yes").error(), R"(strconv.ParseBool: parsing "yes": invalid syntax)");
}

TEST(GoText, Durations) {
  const std::pair<std::string, std::int64_t> right[] = {
      {"0", 0},
      {"5s", 5'000'000'000},
      {"1.5h", 5'400'000'000'000},
      {"300ms", 300'000'000},
      {"1m30s", 90'000'000'000},
      {"-2s", -2'000'000'000},
      {"1us", 1'000},
      {"1\u00B5s", 1'000},
      {".5s", 500'000'000},
      {"1.s", 1'000'000'000},
  };
  for (const auto& [text, nanoseconds] : right) {
    EXPECT_EQ(parse_duration(text)->count(), nanoseconds) << text;
  }
  EXPECT_EQ(parse_duration("5").error(), R"(time: missing unit in duration "5")");
  EXPECT_EQ(parse_duration("5x").error(), R"(time: unknown unit "x" in duration "5x")");
  for (const std::string wrong : {"", "x", "-", ".s", "s", "1s-"}) {
    EXPECT_FALSE(parse_duration(wrong).ok()) << wrong;
  }
  const std::pair<std::int64_t, std::string> printed[] = {
      {0, "0s"},
      {1, "1ns"},
      {1'100, "1.1\u00B5s"},
      {2'200'000, "2.2ms"},
      {8'621'975, "8.621975ms"},
      {1'000'000'000, "1s"},
      {90'000'000'000, "1m30s"},
      {3'600'000'000'000, "1h0m0s"},
      {5'400'500'000'000, "1h30m0.5s"},
      {-1'500'000'000, "-1.5s"},
  };
  for (const auto& [nanoseconds, text] : printed) {
    EXPECT_EQ(duration_text(base::Duration(nanoseconds)), text);
  }
}

TEST(GoText, Sizes) {
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

TEST(GoText, Json) {
  EXPECT_EQ(json_string("a\"\\\b\f\n\r\t\x01<>&\u2028é\xff"),
            R"("a\"\\\b\f\n\r\t\u0001\u003c\u003e\u0026\u2028é\ufffd")");
  EXPECT_EQ(json_string("<nil>", Html::kPlain), R"("<nil>")");
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("a"), "YQ==");
  EXPECT_EQ(base64("ab"), "YWI=");
  EXPECT_EQ(base64("abc\xff"), "YWJj/w==");
}

}  // namespace
}  // namespace keelson::cmd::ctl
