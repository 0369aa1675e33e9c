// Bytes as text, for the programs of this directory.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace keelson::tests {

inline std::string from_hex(std::string_view text) {
  std::string out;
  if (text == "-") return out;
  for (std::size_t i = 0; i + 1 < text.size(); i += 2) {
    out += static_cast<char>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16));
  }
  return out;
}

inline std::string to_hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out.empty() ? "-" : out;
}

}  // namespace keelson::tests
