// Deaths: which records of one segment are dead, a bit each, and what that frees. Belongs to the
// store lane.
//
// The bits follow from the compaction floor and are made again at a start; only when a tombstone is
// about to go are they written to a file (docs/format/store.md 5).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "store/volume.h"

namespace keelson::store {

class Deaths {
 public:
  // False if it was dead already. `bytes` is the length of its extent.
  bool mark(std::size_t ordinal, std::uint64_t bytes);
  bool is_dead(std::size_t ordinal) const {
    return ordinal / 64 < words_.size() && (words_[ordinal / 64] >> (ordinal % 64) & 1) != 0;
  }
  std::uint64_t records() const { return records_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  std::vector<std::uint64_t> words_;
  std::uint64_t records_ = 0;
  std::uint64_t bytes_ = 0;
};

// Writes and syncs the .dead file of a segment with this many records. The directory is the
// caller's to sync.
base::Result<> write_dead_file(Volume& volume, std::uint64_t segment_id, std::uint64_t generation,
                               std::uint64_t records, const Deaths& deaths, base::WallTime now);
// The ordinals in a .dead file, ascending.
base::Result<std::vector<std::uint32_t>> read_dead_file(Volume& volume, std::uint64_t segment_id,
                                                        std::uint64_t generation,
                                                        std::uint64_t records);

}  // namespace keelson::store
