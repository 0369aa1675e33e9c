#include "cmd/ctl/input.h"

#include <cctype>
#include <cstdio>

namespace keelson::cmd::ctl {

std::optional<std::string> read_input_line() {
  std::string line;
  while (true) {
    const int c = std::getchar();
    if (c == EOF) return std::nullopt;
    if (c == '\n') return line;
    line += static_cast<char>(c);
  }
}

std::string read_input_word() {
  std::string word;
  for (int c = std::getchar(); c != EOF; c = std::getchar()) {
    if (std::isspace(c) == 0) {
      word += static_cast<char>(c);
    } else if (!word.empty()) {
      break;
    }
  }
  return word;
}

std::string upper(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

std::string_view trim_space(std::string_view text) {
  const auto is_space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

}  // namespace keelson::cmd::ctl
