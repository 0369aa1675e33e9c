#include "http/grpc_wire.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <limits>

#include "base/go_text.h"
#include "base/utf8.h"

namespace keelson::http {
namespace {

bool plain(char c) { return c >= 0x20 && c <= 0x7E && c != '%'; }

std::optional<base::Duration> unit_of(char c) {
  using namespace std::chrono;
  switch (c) {
    case 'H':
      return hours(1);
    case 'M':
      return minutes(1);
    case 'S':
      return seconds(1);
    case 'm':
      return milliseconds(1);
    case 'u':
      return microseconds(1);
    case 'n':
      return nanoseconds(1);
    default:
      return std::nullopt;
  }
}

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

constexpr std::array<std::int8_t, 256> base64_values() {
  std::array<std::int8_t, 256> values{};
  for (auto& value : values) value = -1;
  for (std::size_t i = 0; i < kBase64.size(); ++i) {
    values[static_cast<unsigned char>(kBase64[i])] = static_cast<std::int8_t>(i);
  }
  return values;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Whether any of the eight bytes is below 0x20 or is 0x7F. A byte that hits may make its neighbour
// seem to; none that does not hit does.
bool may_hold_control(std::uint64_t word) {
  constexpr std::uint64_t kOnes = 0x0101'0101'0101'0101, kHighs = 0x8080'8080'8080'8080;
  const std::uint64_t from_delete = word ^ (kOnes * 0x7F);
  const std::uint64_t below = (word - kOnes * 0x20) & ~word;
  return ((below | ((from_delete - kOnes) & ~from_delete)) & kHighs) != 0;
}

}  // namespace

base::Result<base::Duration, std::string> parse_timeout(std::string_view text) {
  if (text.size() < 2) {
    return base::fail("transport: timeout string is too short: " + base::quote(text));
  }
  if (text.size() > 9) {
    return base::fail("transport: timeout string is too long: " + base::quote(text));
  }
  const auto unit = unit_of(text.back());
  if (!unit) return base::fail("transport: timeout unit is not recognized: " + base::quote(text));
  text.remove_suffix(1);
  const auto amount = base::parse_uint(text, 10);  // at most eight digits
  if (!amount) return base::fail(amount.error().text);
  constexpr auto kMax = std::numeric_limits<base::Duration::rep>::max();
  const auto count = static_cast<base::Duration::rep>(*amount);
  if (count > kMax / unit->count()) return base::Duration(kMax);
  return *unit * count;
}

std::string format_timeout(base::Duration timeout) {
  if (timeout <= base::Duration::zero()) return "0n";
  constexpr std::int64_t kAmountMax = 99'999'999;
  for (const char name : {'n', 'u', 'm', 'S', 'M', 'H'}) {
    const std::int64_t unit = unit_of(name)->count();
    const std::int64_t amount = timeout.count() / unit + (timeout.count() % unit != 0 ? 1 : 0);
    if (amount <= kAmountMax) return fmt::format("{}{}", amount, name);
  }
  return fmt::format("{}H", kAmountMax);
}

std::string encode_grpc_message(std::string_view message) {
  std::string out;
  out.reserve(message.size());
  while (!message.empty() && out.size() < kGrpcMessageBytesMax) {
    if (plain(message[0])) {
      out += message[0];
      message.remove_prefix(1);
      continue;
    }
    const auto next = base::next_code_point(message);
    const std::string_view bytes = next ? message.substr(0, next->length) : "\xEF\xBF\xBD";
    for (const char c : bytes) out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    message.remove_prefix(next ? next->length : 1);
  }
  return out;
}

std::string decode_grpc_message(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 &&
                        hex_value(text[i + 2]) >= 0;
    out +=
        escape ? static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2])) : text[i];
    if (escape) i += 2;
  }
  return out;
}

base::Result<std::string, std::string> decode_binary_header(std::string_view text) {
  static constexpr auto kValues = base64_values();
  const auto corrupt = [](std::size_t place) {
    return base::fail(fmt::format("illegal base64 data at input byte {}", place));
  };
  // Padding counts only where it fills the last group; elsewhere '=' is no digit.
  std::string_view digits = text;
  if (text.size() % 4 == 0) {
    for (int i = 0; i < 2 && digits.ends_with('='); ++i) digits.remove_suffix(1);
  }
  std::string out;
  out.reserve(digits.size() * 3 / 4);
  std::uint32_t bits = 0;
  int held = 0;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const int value = kValues[static_cast<unsigned char>(digits[i])];
    if (value < 0) return corrupt(i);
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    held += 6;
    if (held >= 8) {
      held -= 8;
      out += static_cast<char>(bits >> held & 0xFF);
    }
  }
  if (digits.size() % 4 == 1) return corrupt(digits.size() - 1);
  return out;
}

std::string encode_binary_header(std::string_view bytes) {
  std::string out;
  std::uint32_t bits = 0;
  int held = 0;
  for (const char c : bytes) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    for (held += 8; held >= 6; held -= 6) out += kBase64[bits >> (held - 6) & 63];
  }
  if (held > 0) out += kBase64[bits << (6 - held) & 63];
  return out;
}

std::optional<std::string_view> content_subtype(std::string_view content_type) {
  constexpr std::string_view kBase = "application/grpc";
  if (content_type == kBase) return "";
  if (!content_type.starts_with(kBase)) return std::nullopt;
  const char separator = content_type[kBase.size()];
  if (separator != '+' && separator != ';') return std::nullopt;
  return content_type.substr(kBase.size() + 1);
}

bool valid_header_name(std::string_view name) {
  static constexpr auto kToken = [] {
    std::array<bool, 256> token{};
    for (const char c : std::string_view("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")) {
      token[static_cast<unsigned char>(c)] = true;
    }
    return token;
  }();
  if (name.empty()) return false;
  for (const char c : name) {
    if (!kToken[static_cast<unsigned char>(c)]) return false;
  }
  return true;
}

bool valid_header_value(std::string_view value) {
  const auto valid = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte >= 0x20 || c == '\t') && byte != 0x7F;
  };
  // Eight bytes at a time: every call has a hundred of them, and hardly ever one to look at
  // closely.
  while (value.size() >= sizeof(std::uint64_t)) {
    std::uint64_t word;
    std::memcpy(&word, value.data(), sizeof word);
    if (may_hold_control(word) && !std::all_of(value.begin(), value.begin() + sizeof word, valid)) {
      return false;
    }
    value.remove_prefix(sizeof word);
  }
  return std::all_of(value.begin(), value.end(), valid);
}

}  // namespace keelson::http
