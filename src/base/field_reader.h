// FieldReader: walks the fields of one protobuf message, for the measured hot spots and the disk
// formats that do not go through generated messages.
//
//   FieldReader fields(bytes);
//   while (const auto field = fields.next()) { ... }
//   if (fields.malformed()) ...
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace keelson::base {

// A number (wire type 0), or the bytes of a length-delimited field (2), borrowed from the message.
struct Field {
  std::uint32_t number = 0;
  bool is_bytes = false;
  std::uint64_t value = 0;
  std::string_view bytes = {};
};

class FieldReader {
 public:
  explicit FieldReader(std::string_view message) : rest_(message) {}

  // nullopt at the end, or at the first byte that cannot be: then malformed(). Fields of fixed
  // width, of which etcd's messages have none, are skipped; groups are malformed.
  std::optional<Field> next();
  bool malformed() const { return malformed_; }

 private:
  std::nullopt_t bad() {
    malformed_ = true;
    return std::nullopt;
  }
  bool skip(std::size_t bytes);

  std::string_view rest_;
  bool malformed_ = false;
};

}  // namespace keelson::base
