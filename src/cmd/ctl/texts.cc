#include "cmd/ctl/texts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace keelson::cmd::ctl {

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
