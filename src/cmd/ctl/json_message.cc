#include "cmd/ctl/json_message.h"

#include <fmt/format.h>

#include "base/go_text.h"
#include "cmd/ctl/texts.h"

namespace keelson::cmd::ctl {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string text_of(const FieldDescriptor& field, const std::string& value) {
  if (field.type() == FieldDescriptor::TYPE_BYTES) return '"' + base64(value) + '"';
  return base::json_string(value);
}

// `at` of a repeated field, or the field itself.
std::string value_text(const Message& message, const FieldDescriptor* field, int at) {
  const Reflection& from = *message.GetReflection();
  const bool many = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return fmt::format(
          "{}", many ? from.GetRepeatedInt32(message, field, at) : from.GetInt32(message, field));
    case FieldDescriptor::CPPTYPE_INT64:
      return fmt::format(
          "{}", many ? from.GetRepeatedInt64(message, field, at) : from.GetInt64(message, field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return fmt::format(
          "{}", many ? from.GetRepeatedUInt32(message, field, at) : from.GetUInt32(message, field));
    case FieldDescriptor::CPPTYPE_UINT64:
      return fmt::format(
          "{}", many ? from.GetRepeatedUInt64(message, field, at) : from.GetUInt64(message, field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return fmt::format(
          "{}", many ? from.GetRepeatedDouble(message, field, at) : from.GetDouble(message, field));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return fmt::format(
          "{}", many ? from.GetRepeatedFloat(message, field, at) : from.GetFloat(message, field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return (many ? from.GetRepeatedBool(message, field, at) : from.GetBool(message, field))
                 ? "true"
                 : "false";
    case FieldDescriptor::CPPTYPE_ENUM:
      return fmt::format("{}", many ? from.GetRepeatedEnumValue(message, field, at)
                                    : from.GetEnumValue(message, field));
    case FieldDescriptor::CPPTYPE_STRING:
      return text_of(*field, many ? from.GetRepeatedString(message, field, at)
                                  : from.GetString(message, field));
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return json_text(many ? from.GetRepeatedMessage(message, field, at)
                            : from.GetMessage(message, field));
  }
  __builtin_unreachable();
}

}  // namespace

std::string& JsonWriter::key(std::string_view name) {
  element() += base::json_string(name);
  return out_ += ':';
}

std::string& JsonWriter::element() {
  if (!std::exchange(first_, false)) out_ += ',';
  return out_;
}

void JsonWriter::fields_of(const Message& message) {
  const Reflection& from = *message.GetReflection();
  const auto& descriptor = *message.GetDescriptor();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor* field = descriptor.field(i);
    if (!field->is_repeated()) {
      if (from.HasField(message, field)) key(field->name()) += value_text(message, field, -1);
      continue;
    }
    const int count = from.FieldSize(message, field);
    if (count == 0) continue;
    JsonWriter array(key(field->name()), '[', ']');
    for (int at = 0; at < count; ++at) array.element() += value_text(message, field, at);
  }
}

std::string json_text(const Message& message) {
  std::string out;
  JsonWriter(out, '{', '}').fields_of(message);
  return out;
}

}  // namespace keelson::cmd::ctl
