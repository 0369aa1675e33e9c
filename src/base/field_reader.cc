#include "base/field_reader.h"

#include "base/varint.h"

namespace keelson::base {
namespace {

constexpr std::uint64_t kTagMax = 0xFFFF'FFFF;

}  // namespace

bool FieldReader::skip(std::size_t bytes) {
  if (rest_.size() < bytes) return false;
  rest_.remove_prefix(bytes);
  return true;
}

std::optional<Field> FieldReader::next() {
  while (!rest_.empty()) {
    const auto tag = take_varint(rest_);
    if (!tag || *tag >> 3 == 0 || *tag > kTagMax) return bad();
    Field field{.number = static_cast<std::uint32_t>(*tag >> 3)};
    switch (*tag & 7) {
      case 0: {
        const auto value = take_varint(rest_);
        if (!value) return bad();
        field.value = *value;
        return field;
      }
      case 1:
        if (!skip(8)) return bad();
        break;
      case 2: {
        const auto length = take_varint(rest_);
        if (!length || *length > rest_.size()) return bad();
        field.is_bytes = true;
        field.bytes = rest_.substr(0, *length);
        rest_.remove_prefix(*length);
        return field;
      }
      case 5:
        if (!skip(4)) return bad();
        break;
      default:
        return bad();
    }
  }
  return std::nullopt;
}

}  // namespace keelson::base
