// Texts as Go's standard library reads and writes them: etcdctl's users, and the tests of others,
// match on these. Errors are the texts of Go's errors.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace keelson::cmd::ctl {

// %q: in double quotes, escaped; bytes that are no UTF-8 as \xNN.
std::string quote(std::string_view text);
// ["a" "b"]
std::string quote(const std::vector<std::string>& texts);
// %q of one byte: 'z'.
std::string quote_character(char c);

// strconv.Unquote of a text in double quotes or backquotes; nullopt: "invalid syntax".
std::optional<std::string> unquote(std::string_view text);

// strconv.ParseInt(text, base, 64); base 0 reads the prefixes 0x, 0o, 0b, 0 and underscores.
base::Result<std::int64_t, std::string> parse_int(std::string_view text, int base);
base::Result<std::uint64_t, std::string> parse_uint(std::string_view text, int base);
base::Result<bool, std::string> parse_bool(std::string_view text);
base::Result<base::Duration, std::string> parse_duration(std::string_view text);

// Duration.String: "1m30s", "1.5ms", "0s".
std::string duration_text(base::Duration duration);

// Sizes by thousands with one decimal below 10: "25 kB", "2.1 GB".
std::string size_text(std::uint64_t bytes);

// A string of encoding/json, quotes included; HTML's characters are escaped too, unless it is for a
// log.
enum class Html { kEscaped, kPlain };
std::string json_string(std::string_view text, Html html = Html::kEscaped);
std::string base64(std::string_view bytes);

// The next code point of valid UTF-8 and how many bytes it has; nullopt if there is none.
struct CodePoint {
  char32_t value;
  std::size_t length;
};
std::optional<CodePoint> next_code_point(std::string_view text);
// Appends one; what is no valid code point becomes U+FFFD.
void append_utf8(std::string& out, char32_t code_point);

}  // namespace keelson::cmd::ctl
