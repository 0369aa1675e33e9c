// JSON of protobuf messages as Go's encoding/json makes it from the generated structs: field names
// of the .proto, zero values left out, 64-bit integers as numbers, bytes as base64, enums as
// numbers. Not protobuf's own JSON.
#pragma once

#include <google/protobuf/message.h>

#include <string>
#include <string_view>

namespace keelson::cmd::ctl {

// An object or an array under way: commas where they belong.
class JsonWriter {
 public:
  JsonWriter(std::string& out, char open, char close) : out_(out), close_(close) { out_ += open; }
  ~JsonWriter() { out_ += close_; }
  JsonWriter(const JsonWriter&) = delete;
  JsonWriter& operator=(const JsonWriter&) = delete;

  // The value is written by whoever asked, next.
  std::string& key(std::string_view name);
  std::string& element();
  // Everything a message has.
  void fields_of(const google::protobuf::Message& message);

 private:
  std::string& out_;
  const char close_;
  bool first_ = true;
};

std::string json_text(const google::protobuf::Message& message);

}  // namespace keelson::cmd::ctl
