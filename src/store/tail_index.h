// TailIndex: the places of the records of a segment that still takes appends.
//
// Grows by appending only, in chunks that never move and double in size. So a Snapshot is a pointer
// and a number: entries below the number it was made with were written before it was handed over,
// and are never written again. One lane appends; any lane reads below its number.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <memory>

#include "base/check.h"
#include "base/revision.h"
#include "base/search.h"

namespace keelson::store {

struct TailEntry {
  base::Revision revision;
  std::uint64_t offset = 0;
  std::uint32_t body_crc = 0;
  std::uint32_t length_and_tombstone = 0;  // bit 31: tombstone

  std::uint32_t length() const { return length_and_tombstone & ~kTombstoneBit; }
  bool tombstone() const { return (length_and_tombstone & kTombstoneBit) != 0; }
  static constexpr std::uint32_t kTombstoneBit = 1u << 31;
};

class TailIndex {
 public:
  void append(const TailEntry& entry) {
    const auto [chunk, slot] = locate(size_);
    CHECK_LT(chunk, chunks_.size());
    if (slot == 0 && chunks_[chunk] == nullptr) {
      chunks_[chunk] = std::make_unique_for_overwrite<TailEntry[]>(kFirstChunk << chunk);
    }
    chunks_[chunk][slot] = entry;
    size_++;
  }
  // Forgets all but the first `size` entries. Before the first Snapshot.
  void truncate(std::size_t size) {
    CHECK_LE(size, size_);
    size_ = size;
  }
  // Of the appending lane only.
  std::size_t size() const { return size_; }

  const TailEntry& operator[](std::size_t ordinal) const {
    const auto [chunk, slot] = locate(ordinal);
    return chunks_[chunk][slot];
  }
  // The first among the first `count` that is >= `revision`; `count` if there is none.
  std::size_t lower_bound(base::Revision revision, std::size_t count) const {
    return base::partition_place(std::size_t{0}, count, [&](std::size_t ordinal) {
      return (*this)[ordinal].revision < revision;
    });
  }

 private:
  static constexpr std::size_t kFirstChunk = 1024;
  struct Location {
    std::size_t chunk, slot;
  };
  // Chunk k begins at kFirstChunk * (2^k - 1).
  static Location locate(std::size_t ordinal) {
    const std::size_t n = ordinal / kFirstChunk + 1;
    const auto chunk = static_cast<std::size_t>(std::bit_width(n)) - 1;
    return {chunk, ordinal - kFirstChunk * ((std::size_t{1} << chunk) - 1)};
  }

  std::array<std::unique_ptr<TailEntry[]>, 32> chunks_;
  std::size_t size_ = 0;
};

}  // namespace keelson::store
