// Texts as Go's standard library reads and writes them: users of etcd and its tools, and their
// scripts, match on these. Errors are the texts of Go's errors. Durations: base/duration.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace keelson::base {

// %q: in double quotes, escaped; bytes that are no UTF-8 as \xNN.
std::string quote(std::string_view text);
// ["a" "b"]
std::string quote(std::span<const std::string> texts);
// %q of one byte: 'z'.
std::string quote_character(char c);

// strconv.Unquote of a text in double quotes or backquotes; nullopt: "invalid syntax".
std::optional<std::string> unquote(std::string_view text);

enum class NumberErrc : std::uint8_t { kSyntax, kRange };
struct NumberError {
  NumberErrc code;
  std::string text;  // `strconv.ParseInt: parsing "x": invalid syntax`
};
// strconv.ParseInt(text, base, 64) and ParseUint; base 0 reads the prefixes 0x, 0o, 0b, 0 and
// underscores.
Result<std::int64_t, NumberError> parse_int(std::string_view text, int base = 0);
Result<std::uint64_t, NumberError> parse_uint(std::string_view text, int base = 0);
// strconv.ParseBool: true, false, their short and upper-case forms.
Result<bool, NumberError> parse_bool(std::string_view text);

// A string of encoding/json, quotes included; HTML's characters are escaped too, unless it is for a
// log.
enum class Html : std::uint8_t { kEscaped, kPlain };
std::string json_string(std::string_view text, Html html = Html::kEscaped);

}  // namespace keelson::base
