// FieldWriter: fields of protobuf messages, written to where there is room enough for them
// (varint.h says how much they need): for what is encoded into memory of its exact size.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "base/varint.h"

namespace keelson::base {

class FieldWriter {
 public:
  explicit FieldWriter(char* at) : at_(at) {}

  // proto3 scalars: zero and empty are left out.
  void number(std::uint32_t field, std::uint64_t value) {
    if (value == 0) return;
    at_ = put_varint_at(at_, varint_tag(field));
    at_ = put_varint_at(at_, value);
  }
  void bytes(std::uint32_t field, std::string_view value) {
    if (!value.empty()) message(field, value);
  }
  // A message field is present even when empty.
  void message(std::uint32_t field, std::string_view body) {
    head(field, body.size());
    at_ = std::ranges::copy(body, at_).out;
  }
  // Of a field of so many bytes, which are written next.
  void head(std::uint32_t field, std::uint64_t bytes) {
    at_ = put_varint_at(at_, bytes_tag(field));
    at_ = put_varint_at(at_, bytes);
  }
  // Behind what was written.
  char* at() const { return at_; }

 private:
  char* at_;
};

}  // namespace keelson::base
