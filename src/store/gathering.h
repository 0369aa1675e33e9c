// Gathering: bytes that are appended to a file, kept back until they make a large piece.
//
// A piece ends at a multiple of kPieceBytes in the file and lies in whole pages of memory, so it
// can go around the page cache (env::File::bypass_cache). The first one, and what is asked for
// before it is full, may be shorter. One lane.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "env/page_memory.h"

namespace keelson::store {

class Gathering {
 public:
  static constexpr std::size_t kPieceBytes = 128 * 1024;

  // Forgets what is here; the next byte is to lie at `offset`.
  void begin(std::uint64_t offset) {
    offset_ = offset;
    bytes_ = 0;
  }
  // Takes of `bytes` what it has room for, and cuts that off.
  void take(std::string_view& bytes) {
    const std::size_t taken = std::min(bytes.size(), room());
    std::memcpy(memory_.data() + bytes_, bytes.data(), taken);
    bytes_ += taken;
    bytes.remove_prefix(taken);
  }
  bool is_full() const { return room() == 0; }
  bool is_empty() const { return bytes_ == 0; }
  // Whether the piece is whole pages.
  bool is_whole() const { return offset_ % kPieceBytes == 0 && is_full(); }

  std::uint64_t offset() const { return offset_; }
  std::string_view piece() const { return {memory_.data(), bytes_}; }
  // It is written.
  void next() { begin(offset_ + bytes_); }

 private:
  std::size_t room() const { return kPieceBytes - offset_ % kPieceBytes - bytes_; }

  env::PageMemory memory_{kPieceBytes};
  std::uint64_t offset_ = 0;  // of its first byte
  std::size_t bytes_ = 0;
};

}  // namespace keelson::store
