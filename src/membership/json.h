// JSON exactly as Go's encoding/json writes it, and read as it reads. formats.md 0.3. Internal to
// membership/.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace keelson::membership::json {

// Writes one object, its members in the order of the calls: no spaces, `<`, `>`, `&` escaped.
class ObjectWriter {
 public:
  void number(std::string_view name, std::uint64_t value);
  void boolean(std::string_view name, bool value);
  void text(std::string_view name, std::string_view value);
  // A list without elements is Go's nil: null.
  void texts(std::string_view name, const std::vector<std::string>& values);
  void numbers(std::string_view name, const std::vector<std::uint64_t>& values);
  // What is JSON already.
  void raw(std::string_view name, std::string_view json);
  std::string finish() && { return std::move(out_) + '}'; }

 private:
  void begin(std::string_view name);
  std::string out_ = "{";
};

// The whole text as one value; nullopt if it is none.
std::optional<nlohmann::json> parse(std::string_view text);

// Reads members of an object by name: exactly, else in any case. What is absent or null leaves its
// target as it was; what is of another type makes ok() false.
class ObjectReader {
 public:
  explicit ObjectReader(const nlohmann::json& value);
  void number(std::string_view name, std::uint64_t& target);
  void boolean(std::string_view name, bool& target);
  void text(std::string_view name, std::string& target);
  void texts(std::string_view name, std::vector<std::string>& target);
  bool ok() const { return ok_; }

 private:
  const nlohmann::json* find(std::string_view name) const;
  const nlohmann::json& value_;
  bool ok_ = true;
};

}  // namespace keelson::membership::json
