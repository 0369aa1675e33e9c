// UTF-8 (RFC 3629): neither overlong forms, nor surrogates, nor anything beyond U+10FFFF.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace keelson::base {

struct CodePoint {
  char32_t value;
  std::size_t length;  // bytes
};
// The first code point of `text`; nullopt if there is none or its bytes are none.
std::optional<CodePoint> next_code_point(std::string_view text);
// Appends one; what is no valid code point becomes U+FFFD.
void append_utf8(std::string& out, char32_t code_point);
bool is_utf8(std::string_view text);

}  // namespace keelson::base
