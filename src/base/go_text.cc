#include "base/go_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/utf8.h"

namespace keelson::base {
namespace {

struct Range {
  char32_t first, last;
};
constexpr Range kPrintable[] = {
#include "base/printable.inc"
};

bool is_printable(char32_t c) {
  if (c < 0x80) return c >= 0x20 && c < 0x7F;
  const auto* it = std::lower_bound(std::begin(kPrintable), std::end(kPrintable), c,
                                    [](const Range& r, char32_t v) { return r.last < v; });
  return it != std::end(kPrintable) && it->first <= c;
}

constexpr std::string_view kEscaped = "\a\b\f\n\r\t\v";
constexpr std::string_view kLetters = "abfnrtv";

void append_escaped(std::string& out, char32_t c, char quote) {
  if (c == static_cast<char32_t>(quote) || c == '\\') {
    out += '\\';
    out += static_cast<char>(c);
  } else if (is_printable(c)) {
    append_utf8(out, c);
  } else if (const auto at = c < 0x80 ? kEscaped.find(static_cast<char>(c)) : std::string::npos;
             at != std::string::npos) {
    out += '\\';
    out += kLetters[at];
  } else if (c < 0x20 || c == 0x7F) {
    out += fmt::format("\\x{:02x}", static_cast<unsigned>(c));
  } else if (c < 0x10000) {
    out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
  } else {
    out += fmt::format("\\U{:08x}", static_cast<unsigned>(c));
  }
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'z' ? lower - 'a' + 10 : 255;
}

}  // namespace

std::string quote(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const auto next = next_code_point(text);
    if (next) {
      append_escaped(out, next->value, '"');
    } else {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    }
    text.remove_prefix(next ? next->length : 1);
  }
  return out + '"';
}

std::string quote(std::span<const std::string> texts) {
  std::string out = "[";
  for (const std::string& text : texts) {
    if (out.size() > 1) out += ' ';
    out += quote(std::string_view(text));
  }
  return out + ']';
}

std::string quote_character(char c) {
  std::string out = "'";
  append_escaped(out, static_cast<unsigned char>(c), '\'');
  return out + '\'';
}

// Unquoting --------------------------------------------------------------------------------------

namespace {

// One escape, after its backslash: appends what it stands for. False: no escape of Go.
bool append_unescaped(std::string& out, std::string_view& rest) {
  if (rest.empty()) return false;
  const char c = rest[0];
  rest.remove_prefix(1);
  const auto digits = [&](std::size_t count, int base, std::uint32_t value) {
    if (rest.size() < count) return std::optional<std::uint32_t>();
    for (std::size_t i = 0; i < count; ++i) {
      const int digit = hex_digit(rest[i]);
      if (digit >= base) return std::optional<std::uint32_t>();
      value = value * static_cast<std::uint32_t>(base) + static_cast<std::uint32_t>(digit);
    }
    rest.remove_prefix(count);
    return std::optional(value);
  };
  if (const auto at = kLetters.find(c); at != std::string_view::npos) {
    out += kEscaped[at];
    return true;
  }
  if (c == '\\' || c == '"') {
    out += c;
    return true;
  }
  if (c == 'x' || (c >= '0' && c <= '7')) {
    const auto value = c == 'x' ? digits(2, 16, 0) : digits(2, 8, static_cast<unsigned>(c - '0'));
    if (!value || *value > 255) return false;
    out += static_cast<char>(*value);
    return true;
  }
  if (c != 'u' && c != 'U') return false;
  const auto value = digits(c == 'u' ? 4 : 8, 16, 0);
  if (!value || *value > 0x10FFFF || (*value >= 0xD800 && *value < 0xE000)) return false;
  append_utf8(out, *value);
  return true;
}

}  // namespace

std::optional<std::string> unquote(std::string_view text) {
  if (text.size() < 2 || text.front() != text.back()) return std::nullopt;
  const char mark = text.front();
  std::string_view rest = text.substr(1, text.size() - 2);
  std::string out;
  if (mark == '`') {
    if (rest.find('`') != std::string_view::npos) return std::nullopt;
    for (const char c : rest) {
      if (c != '\r') out += c;
    }
    return out;
  }
  if (mark != '"') return std::nullopt;
  while (!rest.empty()) {
    const char c = rest[0];
    if (c == '"' || c == '\n') return std::nullopt;
    if (c != '\\') {
      const auto next = next_code_point(rest);
      const std::size_t length = next ? next->length : 1;
      next ? out.append(rest.substr(0, length)) : out.append("\xEF\xBF\xBD");
      rest.remove_prefix(length);
      continue;
    }
    rest.remove_prefix(1);
    if (!append_unescaped(out, rest)) return std::nullopt;
  }
  return out;
}

// Numbers ----------------------------------------------------------------------------------------

namespace {

auto refuse(std::string_view function, std::string_view text, NumberErrc code) {
  return fail(NumberError{
      .code = code,
      .text = fmt::format("strconv.{}: parsing {}: {}", function, quote(text),
                          code == NumberErrc::kSyntax ? "invalid syntax" : "value out of range")});
}

// Underscores may stand between digits, and after a prefix, if the base was read from the text.
bool underscores_are_right(std::string_view text) {
  char before = '^';  // '0' a digit or prefix, '_' an underscore, '!' anything else
  bool hex = false;
  if (text.size() >= 2 && text[0] == '0') {
    const char kind = static_cast<char>(text[1] | 0x20);
    if (kind == 'b' || kind == 'o' || kind == 'x') {
      before = '0';
      hex = kind == 'x';
      text.remove_prefix(2);
    }
  }
  for (const char c : text) {
    if (hex_digit(c) < (hex ? 16 : 10)) {
      before = '0';
    } else if (c == '_') {
      if (before != '0') return false;
      before = '_';
    } else {
      if (before == '_') return false;
      before = '!';
    }
  }
  return before != '_';
}

Result<std::uint64_t, NumberErrc> parse_digits(std::string_view text, int base) {
  if (text.empty()) return fail(NumberErrc::kSyntax);
  const std::string_view whole = text;
  const bool from_text = base == 0;
  if (from_text) {
    base = 10;
    if (text[0] == '0') {
      const char kind = text.size() >= 3 ? static_cast<char>(text[1] | 0x20) : '\0';
      base = kind == 'b' ? 2 : kind == 'o' ? 8 : kind == 'x' ? 16 : 8;
      text.remove_prefix(kind == 'b' || kind == 'o' || kind == 'x' ? 2 : 1);
    }
  }
  std::uint64_t value = 0;
  bool underscores = false, overflow = false;
  for (const char c : text) {
    if (c == '_' && from_text) {
      underscores = true;
      continue;
    }
    const int digit = hex_digit(c);
    if (digit >= base) return fail(NumberErrc::kSyntax);
    overflow |= __builtin_mul_overflow(value, static_cast<std::uint64_t>(base), &value);
    overflow |= __builtin_add_overflow(value, static_cast<std::uint64_t>(digit), &value);
  }
  if (underscores && !underscores_are_right(whole)) return fail(NumberErrc::kSyntax);
  if (overflow) return fail(NumberErrc::kRange);
  return value;
}

}  // namespace

Result<std::uint64_t, NumberError> parse_uint(std::string_view text, int base) {
  const auto value = parse_digits(text, base);
  if (!value) return refuse("ParseUint", text, value.error());
  return *value;
}

Result<std::int64_t, NumberError> parse_int(std::string_view text, int base) {
  const bool negative = text.starts_with('-');
  const std::string_view digits = text.substr(negative || text.starts_with('+') ? 1 : 0);
  const auto value = parse_digits(digits, base);
  const std::uint64_t limit = std::uint64_t{1} << 63;
  if (!value) return refuse("ParseInt", text, value.error());
  if (*value > (negative ? limit : limit - 1)) return refuse("ParseInt", text, NumberErrc::kRange);
  return static_cast<std::int64_t>(negative ? 0 - *value : *value);
}

Result<bool, NumberError> parse_bool(std::string_view text) {
  for (const std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"0", "f", "F", "false", "FALSE", "False"}) {
    if (text == no) return false;
  }
  return refuse("ParseBool", text, NumberErrc::kSyntax);
}

// JSON -------------------------------------------------------------------------------------------

namespace {

bool is_html(char32_t c) { return c == '<' || c == '>' || c == '&' || c == 0x2028 || c == 0x2029; }

}  // namespace

std::string json_string(std::string_view text, Html html) {
  std::string out = "\"";
  while (!text.empty()) {
    const auto next = next_code_point(text);
    const char32_t c = next ? next->value : 0xFFFD;
    constexpr std::string_view kShort = "\"\\\b\f\n\r\t";
    constexpr std::string_view kNames = "\"\\bfnrt";
    const auto at = c < 0x80 ? kShort.find(static_cast<char>(c)) : std::string::npos;
    if (at != std::string::npos) {
      out += '\\';
      out += kNames[at];
    } else if (!next || c < 0x20 || (html == Html::kEscaped && is_html(c))) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      append_utf8(out, c);
    }
    text.remove_prefix(next ? next->length : 1);
  }
  return out + '"';
}

}  // namespace keelson::base
