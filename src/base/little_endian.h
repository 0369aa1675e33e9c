// Fixed-width integers in little-endian order, at any alignment, as our own files and bbolt's have
// them.
#pragma once

#include <bit>
#include <cstring>
#include <string>

namespace keelson::base {

static_assert(std::endian::native == std::endian::little, "the files are little-endian");

template <class T>
void store_le(char* at, T value) {
  std::memcpy(at, &value, sizeof value);
}
template <class T>
T load_le(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}
template <class T>
void append_le(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace keelson::base
