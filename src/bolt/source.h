// Source: where the bytes of a bbolt file are read from. A file that is there, or one that comes
// (coming_file.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "base/result.h"
#include "env/file.h"

namespace keelson::bolt {

class Source {
 public:
  virtual ~Source() = default;

  // Exactly out.size() bytes unless the file ends first; returns how many.
  virtual base::Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) const = 0;
  virtual base::Result<std::uint64_t> size() const = 0;
  virtual const std::string& path() const = 0;  // for errors
  // Whether its first `bytes` may be read: false where they have not come yet, though they may. Of
  // one that is whole: always, and what is not there is missing.
  virtual bool has(std::uint64_t bytes) const = 0;
  virtual bool is_whole() const = 0;
};

// `file` outlives it.
class WholeFile final : public Source {
 public:
  explicit WholeFile(const env::File& file) : file_(file) {}

  base::Result<std::size_t> read_at(std::uint64_t offset, std::span<char> out) const override {
    return file_.read_at(offset, out);
  }
  base::Result<std::uint64_t> size() const override { return file_.size(); }
  const std::string& path() const override { return file_.path(); }
  bool has(std::uint64_t) const override { return true; }
  bool is_whole() const override { return true; }

 private:
  const env::File& file_;
};

}  // namespace keelson::bolt
