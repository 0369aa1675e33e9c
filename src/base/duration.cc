#include "base/duration.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <limits>
#include <optional>

namespace keelson::base {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t nanoseconds;
};
// Longer names first, so that "ms" is not read as "m".
constexpr std::array kUnits = {
    Unit{"ns", 1},
    Unit{"us", 1'000},
    Unit{"µs", 1'000},
    Unit{"μs", 1'000},
    Unit{"ms", 1'000'000},
    Unit{"s", 1'000'000'000},
    Unit{"m", 60'000'000'000},
    Unit{"h", 3'600'000'000'000},
};
constexpr std::uint64_t kMax = std::uint64_t{1}
                               << 63;  // of a negative one; a positive has one less

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Leading digits, taken off `text`; nullopt beyond kMax.
std::optional<std::uint64_t> take_whole(std::string_view& text) {
  std::uint64_t value = 0;
  for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1)) {
    const auto digit = static_cast<std::uint64_t>(text.front() - '0');
    if (value > (kMax - digit) / 10) return std::nullopt;
    value = value * 10 + digit;
  }
  return value;
}

// Digits after the point, as value / scale; those beyond what a number holds are dropped.
struct Fraction {
  std::uint64_t value = 0;
  double scale = 1;
};
Fraction take_fraction(std::string_view& text) {
  Fraction fraction;
  bool full = false;
  for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1)) {
    const auto digit = static_cast<std::uint64_t>(text.front() - '0');
    full = full || fraction.value > (kMax - 1 - digit) / 10;
    if (full) continue;
    fraction.value = fraction.value * 10 + digit;
    fraction.scale *= 10;
  }
  return fraction;
}

// Quotes of package time: every byte that is not printable ASCII as \xNN.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x80 || byte < 0x20) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
  }
  return out + '"';
}

auto invalid(std::string_view whole) {
  return fail(fmt::format("time: invalid duration {}", quoted(whole)));
}

Result<std::uint64_t, std::string> take_unit(std::string_view& text, std::string_view whole) {
  std::size_t length = 0;
  while (length < text.size() && text[length] != '.' && !is_digit(text[length])) length++;
  const auto name = text.substr(0, length);
  if (name.empty()) return fail(fmt::format("time: missing unit in duration {}", quoted(whole)));
  for (const Unit& unit : kUnits) {
    if (unit.name != name) continue;
    text.remove_prefix(length);
    return unit.nanoseconds;
  }
  return fail(fmt::format("time: unknown unit {} in duration {}", quoted(name), quoted(whole)));
}

// One number with its unit, in nanoseconds, off the front of what is left of `all`.
Result<std::uint64_t, std::string> take_part(std::string_view& text, std::string_view all) {
  const std::size_t before = text.size();
  const auto whole = take_whole(text);
  if (!whole) return invalid(all);
  std::size_t digits = before - text.size();
  Fraction fraction;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    const std::size_t point = text.size();
    fraction = take_fraction(text);
    digits += point - text.size();
  }
  if (digits == 0) return invalid(all);
  ASSIGN_OR_RETURN(const std::uint64_t unit, take_unit(text, all));
  if (*whole > kMax / unit) return invalid(all);
  const auto rest =
      static_cast<double>(fraction.value) * (static_cast<double>(unit) / fraction.scale);
  const std::uint64_t total = *whole * unit + static_cast<std::uint64_t>(rest);
  if (total > kMax) return invalid(all);
  return total;
}

// "1.5" + unit from 1500 thousandths.
std::string decimal(std::uint64_t value, std::uint64_t scale, std::string_view unit) {
  std::string text = fmt::format("{}", value / scale);
  if (const std::uint64_t rest = value % scale; rest != 0) {
    std::string digits = fmt::format("{}", scale + rest).substr(1);  // with leading zeros
    while (digits.ends_with('0')) digits.pop_back();
    text += "." + digits;
  }
  return text.append(unit);
}

}  // namespace

Result<Duration, std::string> parse_duration(std::string_view text) {
  const std::string_view whole = text;
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text == "0") return Duration(0);
  if (text.empty()) return invalid(whole);
  std::uint64_t total = 0;
  while (!text.empty()) {
    ASSIGN_OR_RETURN(const std::uint64_t part, take_part(text, whole));
    if (part > kMax - total) return invalid(whole);
    total += part;
  }
  if (total == kMax && !negative) return invalid(whole);
  return Duration(static_cast<std::int64_t>(negative ? 0 - total : total));
}

std::string duration_text(Duration duration) {
  const std::int64_t count = duration.count();
  if (count == 0) return "0s";
  const auto size =
      count < 0 ? 0 - static_cast<std::uint64_t>(count) : static_cast<std::uint64_t>(count);
  std::string text = count < 0 ? "-" : "";
  if (size < 1'000) return text + fmt::format("{}ns", size);
  if (size < 1'000'000) return text + decimal(size, 1'000, "µs");
  if (size < 1'000'000'000) return text + decimal(size, 1'000'000, "ms");
  const std::uint64_t minutes = size / 60'000'000'000;
  if (minutes >= 60) text += fmt::format("{}h", minutes / 60);
  if (minutes >= 1) text += fmt::format("{}m", minutes % 60);
  return text + decimal(size % 60'000'000'000, 1'000'000'000, "s");
}

}  // namespace keelson::base
