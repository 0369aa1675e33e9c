#include "base/field_reader.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "base/varint.h"

namespace keelson::base {
namespace {

std::string fields_of(std::string_view message) {
  FieldReader fields(message);
  std::string out;
  while (const auto field = fields.next()) {
    out += fmt::format(
        "{}:{} ", field->number,
        field->is_bytes ? fmt::format("\"{}\"", field->bytes) : fmt::format("{}", field->value));
  }
  return out + (fields.malformed() ? "malformed" : "end");
}

TEST(FieldReader, ReadsNumbersAndBytesInOrder) {
  std::string message;
  put_varint_field(message, 3, 300);
  put_bytes_field(message, 1, "key");
  put_message_field(message, 500'000'000, "");
  EXPECT_EQ(fields_of(message), "3:300 1:\"key\" 500000000:\"\" end");
  EXPECT_EQ(fields_of(""), "end");
}

TEST(FieldReader, SkipsFixedWidths) {
  const std::string message = std::string("\x09") + "12345678" + "\x15" + "1234" + "\x08\x05";
  EXPECT_EQ(fields_of(message), "1:5 end");
}

TEST(FieldReader, TellsWhatIsMalformed) {
  const struct {
    const char* why;
    std::string message;
  } rows[] = {
      {"field zero", std::string("\x00\x01", 2)},
      {"a group", "\x0B"},
      {"an unknown wire type", "\x0F"},
      {"a tag beyond 32 bits", "\xF8\xFF\xFF\xFF\x7F\x01"},
      {"a number that ends early", "\x08\x80"},
      {"a length beyond the message", "\x0A\x05xyz"},
      {"a fixed width beyond the message", "\x09xyz"},
      {"a number of eleven bytes", "\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"},
  };
  for (const auto& row : rows) EXPECT_EQ(fields_of(row.message), "malformed") << row.why;
}

}  // namespace
}  // namespace keelson::base
