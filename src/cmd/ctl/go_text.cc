#include "cmd/ctl/go_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace keelson::cmd::ctl {
namespace {

struct Range {
  char32_t first, last;
};
constexpr Range kPrintable[] = {
#include "cmd/ctl/printable.inc"
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

std::optional<CodePoint> next_code_point(std::string_view text) {
  if (text.empty()) return std::nullopt;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return CodePoint{lead, 1};
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return std::nullopt;
  char32_t value = lead & (0xFF >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return std::nullopt;
    value = value << 6 | (byte(i) & 0x3F);
  }
  const bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  const bool surrogate = value >= 0xD800 && value < 0xE000;
  if (overlong || surrogate || value > 0x10FFFF) return std::nullopt;
  return CodePoint{value, length};
}

void append_utf8(std::string& out, char32_t c) {
  if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) c = 0xFFFD;
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((c >> shift) & 0x3F)); };
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    tail(0);
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
}

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

std::string quote(const std::vector<std::string>& texts) {
  std::string out = "[";
  for (const std::string& text : texts) {
    if (out.size() > 1) out += ' ';
    out += quote(text);
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

enum class Bad { kSyntax, kRange };

std::string number_error(std::string_view function, std::string_view text, Bad bad) {
  return fmt::format("strconv.{}: parsing {}: {}", function, quote(text),
                     bad == Bad::kSyntax ? "invalid syntax" : "value out of range");
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

base::Result<std::uint64_t, Bad> parse_digits(std::string_view text, int base) {
  if (text.empty()) return base::fail(Bad::kSyntax);
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
    if (digit >= base) return base::fail(Bad::kSyntax);
    overflow |= __builtin_mul_overflow(value, static_cast<std::uint64_t>(base), &value);
    overflow |= __builtin_add_overflow(value, static_cast<std::uint64_t>(digit), &value);
  }
  if (underscores && !underscores_are_right(whole)) return base::fail(Bad::kSyntax);
  if (overflow) return base::fail(Bad::kRange);
  return value;
}

}  // namespace

base::Result<std::uint64_t, std::string> parse_uint(std::string_view text, int base) {
  auto value = parse_digits(text, base);
  if (!value) return base::fail(number_error("ParseUint", text, value.error()));
  return *value;
}

base::Result<std::int64_t, std::string> parse_int(std::string_view text, int base) {
  const bool negative = text.starts_with('-');
  const std::string_view digits = text.substr(negative || text.starts_with('+') ? 1 : 0);
  const auto value = parse_digits(digits, base);
  const std::uint64_t limit = std::uint64_t{1} << 63;
  if (!value) return base::fail(number_error("ParseInt", text, value.error()));
  if (*value > (negative ? limit : limit - 1)) {
    return base::fail(number_error("ParseInt", text, Bad::kRange));
  }
  return static_cast<std::int64_t>(negative ? ~*value + 1 : *value);
}

base::Result<bool, std::string> parse_bool(std::string_view text) {
  for (const std::string_view yes : {"1", "t", "T", "true", "TRUE", "True"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"0", "f", "F", "false", "FALSE", "False"}) {
    if (text == no) return false;
  }
  return base::fail(number_error("ParseBool", text, Bad::kSyntax));
}

// Durations --------------------------------------------------------------------------------------

namespace {

struct Unit {
  std::string_view name;
  double nanoseconds;
};
constexpr Unit kUnits[] = {{"ns", 1},   {"us", 1e3}, {"\u00B5s", 1e3}, {"\u03BCs", 1e3},
                           {"ms", 1e6}, {"s", 1e9},  {"m", 60e9},      {"h", 3600e9}};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "1.5h" off the front; an error of Go's otherwise.
base::Result<double, std::string> take_part(std::string_view& rest, std::string_view whole) {
  const auto invalid = [&] {
    return base::fail(fmt::format("time: invalid duration {}", quote(whole)));
  };
  std::size_t length = 0;
  while (length < rest.size() && (is_digit(rest[length]) || rest[length] == '.')) ++length;
  const std::string number(rest.substr(0, length));
  if (std::count(number.begin(), number.end(), '.') > 1 ||
      std::none_of(number.begin(), number.end(), is_digit)) {
    return invalid();
  }
  rest.remove_prefix(length);
  length = 0;
  while (length < rest.size() && !is_digit(rest[length]) && rest[length] != '.') ++length;
  const std::string_view name = rest.substr(0, length);
  rest.remove_prefix(length);
  if (name.empty()) {
    return base::fail(fmt::format("time: missing unit in duration {}", quote(whole)));
  }
  for (const Unit& unit : kUnits) {
    if (unit.name == name) return std::strtod(number.c_str(), nullptr) * unit.nanoseconds;
  }
  return base::fail(fmt::format("time: unknown unit {} in duration {}", quote(name), quote(whole)));
}

}  // namespace

base::Result<base::Duration, std::string> parse_duration(std::string_view text) {
  std::string_view rest = text;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest == "0") return base::Duration::zero();
  const auto invalid = fmt::format("time: invalid duration {}", quote(text));
  if (rest.empty()) return base::fail(invalid);
  double total = 0;
  while (!rest.empty()) {
    if (!is_digit(rest[0]) && rest[0] != '.') return base::fail(invalid);
    ASSIGN_OR_RETURN(const double part, take_part(rest, text));
    total += part;
  }
  if (total > 9.2233720368547e18) return base::fail(invalid);
  const auto nanoseconds = static_cast<std::int64_t>(std::llround(total));
  return base::Duration(negative ? -nanoseconds : nanoseconds);
}

namespace {

// A number of `unit`s with as many decimals as it has.
std::string with_decimals(std::uint64_t value, std::uint64_t unit) {
  std::string out = fmt::format("{}", value / unit);
  std::string decimals;
  for (std::uint64_t rest = value % unit, place = unit / 10; place > 0; place /= 10) {
    decimals += static_cast<char>('0' + rest / place);
    rest %= place;
  }
  while (decimals.ends_with('0')) decimals.pop_back();
  return decimals.empty() ? out : out + "." + decimals;
}

}  // namespace

std::string duration_text(base::Duration duration) {
  const bool negative = duration.count() < 0;
  const auto value = static_cast<std::uint64_t>(negative ? -duration.count() : duration.count());
  const std::string sign = negative ? "-" : "";
  constexpr std::uint64_t kSecond = 1'000'000'000;
  if (value == 0) return "0s";
  if (value < 1'000) return fmt::format("{}{}ns", sign, value);
  if (value < 1'000'000) return sign + with_decimals(value, 1'000) + "\u00B5s";
  if (value < kSecond) return sign + with_decimals(value, 1'000'000) + "ms";
  std::string out = sign;
  const std::uint64_t minutes = value / kSecond / 60;
  if (minutes >= 60) out += fmt::format("{}h", minutes / 60);
  if (minutes > 0) out += fmt::format("{}m", minutes % 60);
  return out + with_decimals(value - minutes * 60 * kSecond, kSecond) + "s";
}

std::string size_text(std::uint64_t bytes) {
  if (bytes < 10) return fmt::format("{} B", bytes);
  constexpr std::array<std::string_view, 7> kNames = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  const double exponent = std::floor(std::log(static_cast<double>(bytes)) / std::log(1000.0));
  const double scaled = static_cast<double>(bytes) / std::pow(1000.0, exponent);
  const double rounded = std::floor(scaled * 10 + 0.5) / 10;
  const std::string_view name = kNames[static_cast<std::size_t>(exponent)];
  return rounded < 10 ? fmt::format("{:.1f} {}", rounded, name)
                      : fmt::format("{:.0f} {}", rounded, name);
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

std::string base64(std::string_view bytes) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t group = 0;
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    for (std::size_t j = 0; j < 3; ++j) {
      group = group << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    }
    for (std::size_t j = 0; j < 4; ++j) {
      out += j <= count ? kDigits[group >> (18 - 6 * j) & 63] : '=';
    }
  }
  return out;
}

}  // namespace keelson::cmd::ctl
