#include "membership/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace keelson::membership::json {

namespace {

constexpr std::string_view kReplacement = "\\ufffd";

// The length of the UTF-8 sequence at the front, 0 if it is none.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; i++) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Neither overlong forms, nor surrogates, nor beyond the last code point.
  if (first == 0xE0 && byte(1) < 0xA0) return 0;
  if (first == 0xED && byte(1) >= 0xA0) return 0;
  if (first == 0xF0 && byte(1) < 0x90) return 0;
  if (first == 0xF4 && byte(1) >= 0x90) return 0;
  return length;
}

void append_ascii(std::string& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  if (static_cast<unsigned char>(c) < 0x20 || c == '<' || c == '>' || c == '&') {
    out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
  } else {
    out.push_back(c);
  }
}

bool equal_in_any_case(std::string_view a, std::string_view b) {
  const auto lower = [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [&](char x, char y) { return lower(x) == lower(y); });
}

template <class T, class Write>
std::string list(const std::vector<T>& values, Write write) {
  if (values.empty()) return "null";
  std::string out;
  for (const T& value : values) out += (out.empty() ? "[" : ",") + write(value);
  return out + ']';
}

}  // namespace

std::string quote(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    const std::string_view sequence = text.substr(0, std::max<std::size_t>(length, 1));
    if (length == 0) {
      out += kReplacement;
    } else if (length == 1) {
      append_ascii(out, text[0]);
    } else if (sequence == "\u2028") {
      out += "\\u2028";
    } else if (sequence == "\u2029") {
      out += "\\u2029";
    } else {
      out += sequence;
    }
    text.remove_prefix(sequence.size());
  }
  return out + '"';
}

void ObjectWriter::begin(std::string_view name) {
  if (out_.size() > 1) out_.push_back(',');
  out_ += quote(name);
  out_.push_back(':');
}
void ObjectWriter::raw(std::string_view name, std::string_view json) {
  begin(name);
  out_ += json;
}
void ObjectWriter::number(std::string_view name, std::uint64_t value) {
  raw(name, std::to_string(value));
}
void ObjectWriter::boolean(std::string_view name, bool value) {
  raw(name, value ? "true" : "false");
}
void ObjectWriter::text(std::string_view name, std::string_view value) { raw(name, quote(value)); }
void ObjectWriter::texts(std::string_view name, const std::vector<std::string>& values) {
  raw(name, list(values, [](const std::string& value) { return quote(value); }));
}
void ObjectWriter::numbers(std::string_view name, const std::vector<std::uint64_t>& values) {
  raw(name, list(values, [](std::uint64_t value) { return std::to_string(value); }));
}

std::optional<nlohmann::json> parse(std::string_view text) {
  auto value = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return std::nullopt;
  return value;
}

ObjectReader::ObjectReader(const nlohmann::json& value)
    : value_(value), ok_(value.is_object() || value.is_null()) {}

const nlohmann::json* ObjectReader::find(std::string_view name) const {
  if (!value_.is_object()) return nullptr;
  const nlohmann::json* found = nullptr;
  for (auto it = value_.begin(); it != value_.end(); ++it) {
    if (it.key() == name) return it->is_null() ? nullptr : &*it;
    if (equal_in_any_case(it.key(), name)) found = &*it;
  }
  return found == nullptr || found->is_null() ? nullptr : found;
}

void ObjectReader::number(std::string_view name, std::uint64_t& target) {
  const auto* value = find(name);
  if (value == nullptr) return;
  ok_ = ok_ && value->is_number_unsigned();
  if (ok_) target = value->get<std::uint64_t>();
}
void ObjectReader::boolean(std::string_view name, bool& target) {
  const auto* value = find(name);
  if (value == nullptr) return;
  ok_ = ok_ && value->is_boolean();
  if (ok_) target = value->get<bool>();
}
void ObjectReader::text(std::string_view name, std::string& target) {
  const auto* value = find(name);
  if (value == nullptr) return;
  ok_ = ok_ && value->is_string();
  if (ok_) target = value->get<std::string>();
}
void ObjectReader::texts(std::string_view name, std::vector<std::string>& target) {
  const auto* value = find(name);
  if (value == nullptr) return;
  ok_ = ok_ && value->is_array();
  if (!ok_) return;
  target.clear();
  for (const auto& element : *value) {
    ok_ = ok_ && (element.is_string() || element.is_null());
    if (!ok_) return;
    target.push_back(element.is_null() ? "" : element.get<std::string>());
  }
}

}  // namespace keelson::membership::json
