// RevisionArray: from a revision to the place of its record in a sealed segment, 8.2 bytes a record
// in memory.
//
// The narrow form is blocks of 16 pairs (128 bytes, two cache lines) under a table indexed by the
// leading bits of m = main - base, so a look-up costs two or three cache misses at any size. A
// segment whose revisions or offsets do not fit (a sub beyond 511, offsets beyond 64 MiB, mains
// further apart than 2^32 - 1) has the wide form: 24 bytes a record, binary search.
// docs/format/store.md 2.4.
//
// Immutable once made; any lane.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/revision.h"

namespace keelson::store {

struct Place {
  base::Revision revision;
  std::uint64_t offset = 0;
  friend bool operator==(const Place&, const Place&) = default;
};

class RevisionArray {
 public:
  // What the narrow form can hold; smaller in tests.
  struct Limits {
    std::uint64_t offset_max = (std::uint64_t{64} << 20) - 8;
    std::uint64_t sub_max = 511;
  };

  // Gathers places in ascending order of revision and makes the narrow form of them if they allow
  // it.
  class Builder {
   public:
    explicit Builder(Limits limits) : limits_(limits) {}
    void make_room(std::size_t places) { places_.reserve(places); }
    void add(Place place);
    std::size_t size() const { return places_.size(); }
    const Place& operator[](std::size_t ordinal) const { return places_[ordinal]; }
    bool wide() const { return wide_; }
    RevisionArray build() const;

   private:
    const Limits limits_;
    std::vector<Place> places_;
    bool wide_ = false;
  };

  RevisionArray() = default;  // no records
  // The bytes of a footer; nullopt if their number or order is wrong.
  static std::optional<RevisionArray> decode(std::string_view bytes, std::uint64_t records,
                                             std::int64_t base, bool wide);
  std::string encode() const;
  static std::uint64_t encoded_bytes(std::uint64_t records, bool wide);

  std::size_t size() const { return records_; }
  bool wide() const { return wide_; }
  std::int64_t base() const { return base_; }
  Place operator[](std::size_t ordinal) const;
  std::uint64_t offset(std::size_t ordinal) const;
  // Fetches what operator[] will read.
  void prefetch(std::size_t ordinal) const {
    if (wide_) return __builtin_prefetch(&places_[ordinal]);
    const Block& block = blocks_[ordinal / kBlockPairs];
    __builtin_prefetch(block.m);
    __builtin_prefetch(block.so);
  }
  // The same for find(), in two steps with other work in between: the second reads what the first
  // fetches.
  void prefetch_table(base::Revision revision) const {
    if (const auto at = table_entry(revision)) __builtin_prefetch(&radix_[*at]);
  }
  void prefetch_block(base::Revision revision) const {
    const auto at = table_entry(revision);
    if (!at) return;
    const Block& block = blocks_[radix_[*at]];
    __builtin_prefetch(block.m);
    __builtin_prefetch(block.so);
  }
  // The ordinal of exactly this revision.
  std::optional<std::size_t> find(base::Revision revision) const;
  // The ordinal of the first record >= `revision`; size() if there is none.
  std::size_t lower_bound(base::Revision revision) const;

  std::size_t memory_bytes() const;

 private:
  static constexpr std::size_t kBlockPairs = 16;
  static constexpr std::uint32_t kSubShift = 23;
  struct alignas(128) Block {
    std::uint32_t m[kBlockPairs];
    std::uint32_t so[kBlockPairs];
  };
  static_assert(sizeof(Block) == 128);

  void index_blocks();
  // Of the narrow form; nullopt if no record is there.
  std::optional<std::size_t> table_entry(base::Revision revision) const {
    if (wide_ || revision.main < base_) return std::nullopt;
    const auto at =
        (static_cast<std::uint64_t>(revision.main) - static_cast<std::uint64_t>(base_)) >>
        radix_shift_;
    return at < radix_.size() ? std::optional<std::size_t>(at) : std::nullopt;
  }
  std::size_t block_of(std::uint32_t m, std::uint32_t sub) const;
  std::size_t narrow_lower_bound(std::uint32_t m, std::uint32_t sub) const;

  std::size_t records_ = 0;
  std::int64_t base_ = 0;
  bool wide_ = false;
  std::vector<Block> blocks_;
  // radix_[i]: the first block whose last m is not below i << radix_shift_; one more entry at the
  // end.
  std::vector<std::uint32_t> radix_;
  std::uint32_t radix_shift_ = 0;
  std::vector<Place> places_;  // wide
};

}  // namespace keelson::store
