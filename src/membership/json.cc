#include "membership/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/go_text.h"

namespace keelson::membership::json {

namespace {

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

void ObjectWriter::begin(std::string_view name) {
  if (out_.size() > 1) out_.push_back(',');
  out_ += base::json_string(name);
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
void ObjectWriter::text(std::string_view name, std::string_view value) {
  raw(name, base::json_string(value));
}
void ObjectWriter::texts(std::string_view name, const std::vector<std::string>& values) {
  raw(name, list(values, [](const std::string& value) { return base::json_string(value); }));
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
