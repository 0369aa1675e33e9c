#include "base/duration.h"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <limits>

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

std::optional<std::uint64_t> take_unit(std::string_view& text) {
  std::size_t length = 0;
  while (length < text.size() && text[length] != '.' && !is_digit(text[length])) length++;
  const auto name = text.substr(0, length);
  for (const Unit& unit : kUnits) {
    if (unit.name != name) continue;
    text.remove_prefix(length);
    return unit.nanoseconds;
  }
  return std::nullopt;
}

// One number with its unit, in nanoseconds.
std::optional<std::uint64_t> take_part(std::string_view& text) {
  const std::size_t before = text.size();
  const auto whole = take_whole(text);
  if (!whole) return std::nullopt;
  std::size_t digits = before - text.size();
  Fraction fraction;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    const std::size_t point = text.size();
    fraction = take_fraction(text);
    digits += point - text.size();
  }
  if (digits == 0) return std::nullopt;
  const auto unit = take_unit(text);
  if (!unit || *whole > kMax / *unit) return std::nullopt;
  const auto rest =
      static_cast<double>(fraction.value) * (static_cast<double>(*unit) / fraction.scale);
  const std::uint64_t total = *whole * *unit + static_cast<std::uint64_t>(rest);
  return total > kMax ? std::nullopt : std::optional(total);
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

std::optional<Duration> parse_duration(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text == "0") return Duration(0);
  if (text.empty()) return std::nullopt;
  std::uint64_t total = 0;
  while (!text.empty()) {
    const auto part = take_part(text);
    if (!part || *part > kMax - total) return std::nullopt;
    total += *part;
  }
  if (total == kMax && !negative) return std::nullopt;
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
