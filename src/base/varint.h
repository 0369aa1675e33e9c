// Protobuf's wire primitives, for the few measured hot spots that do not go through generated
// messages.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace keelson::base {

constexpr std::size_t kVarintMax = 10;

constexpr std::size_t varint_size(std::uint64_t value) {
  return (static_cast<std::size_t>(std::bit_width(value | 1)) + 6) / 7;
}

// Into an array with room for kVarintMax bytes; the place behind it.
inline char* put_varint_at(char* out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) *out++ = static_cast<char>(value | 0x80);
  *out++ = static_cast<char>(value);
  return out;
}

inline void put_varint(std::string& out, std::uint64_t value) {
  char bytes[kVarintMax];
  const char* const end = put_varint_at(bytes, value);
  out.append(bytes, static_cast<std::size_t>(end - bytes));
}
// Two behind each other.
inline void put_varints(std::string& out, std::uint64_t first, std::uint64_t second) {
  char bytes[2 * kVarintMax];
  const char* const end = put_varint_at(put_varint_at(bytes, first), second);
  out.append(bytes, static_cast<std::size_t>(end - bytes));
}

// Takes a varint off the front; nullopt if `in` ends first or it is longer than ten bytes.
inline std::optional<std::uint64_t> take_varint(std::string_view& in) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < in.size() && i < 10; i++) {
    const auto byte = static_cast<unsigned char>(in[i]);
    value |= static_cast<std::uint64_t>(byte & 0x7F) << (7 * i);
    if (byte < 0x80) {
      in.remove_prefix(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

// Field tags: wire type 0 is a varint, 2 is length-delimited.
constexpr std::uint32_t varint_tag(std::uint32_t field) { return field << 3; }
constexpr std::uint32_t bytes_tag(std::uint32_t field) { return field << 3 | 2; }

// proto3 scalars: zero and empty are left out.
inline void put_varint_field(std::string& out, std::uint32_t field, std::uint64_t value) {
  if (value == 0) return;
  put_varints(out, varint_tag(field), value);
}
inline void put_bytes_field(std::string& out, std::uint32_t field, std::string_view bytes) {
  if (bytes.empty()) return;
  put_varints(out, bytes_tag(field), bytes.size());
  out.append(bytes);
}
// A message field is present even when empty.
inline void put_message_field(std::string& out, std::uint32_t field, std::string_view bytes) {
  put_varints(out, bytes_tag(field), bytes.size());
  out.append(bytes);
}
constexpr std::size_t varint_field_size(std::uint32_t field, std::uint64_t value) {
  return value == 0 ? 0 : varint_size(varint_tag(field)) + varint_size(value);
}
constexpr std::size_t message_field_size(std::uint32_t field, std::size_t length) {
  return varint_size(bytes_tag(field)) + varint_size(length) + length;
}
constexpr std::size_t bytes_field_size(std::uint32_t field, std::size_t length) {
  return length == 0 ? 0 : message_field_size(field, length);
}

}  // namespace keelson::base
