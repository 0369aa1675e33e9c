#include "membership/quote.h"

#include <fmt/format.h>

#include <vector>

namespace keelson::membership {

namespace {
constexpr std::string_view kEscaped = "\a\b\f\n\r\t\v\\\"";
constexpr std::string_view kLetters = "abfnrtv\\\"";
}  // namespace

std::string go_quote(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (const std::size_t place = kEscaped.find(c); place != std::string_view::npos) {
      out += {'\\', kLetters[place]};
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out.push_back(c);
    }
  }
  return out + '"';
}

std::string go_quote(std::span<const std::string> texts) {
  std::vector<std::string> quoted;
  for (const std::string& text : texts) quoted.push_back(go_quote(std::string_view(text)));
  return fmt::format("[{}]", fmt::join(quoted, " "));
}

}  // namespace keelson::membership
