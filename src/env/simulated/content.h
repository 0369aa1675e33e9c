// Content: the bytes of one simulated file. Pages that were never written, or with zeros only, take
// no memory, so preallocated logs of many megabytes are cheap.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/containers.h"

namespace keelson::env::simulated {

class Content {
 public:
  std::uint64_t size() const { return size_; }
  // Cuts, or extends with zeros.
  void resize(std::uint64_t size);
  // Extends as needed; a gap reads as zeros.
  void write(std::uint64_t offset, std::string_view bytes);
  // Up to the end; returns how many.
  std::size_t read(std::uint64_t offset, std::span<char> out) const;
  std::string all() const;

 private:
  static constexpr std::size_t kPageBytes = 4096;

  std::uint64_t size_ = 0;
  base::OrderedMap<std::uint64_t, std::string>
      pages_;  // by number; each kPageBytes, zeros beyond size_
};

}  // namespace keelson::env::simulated
