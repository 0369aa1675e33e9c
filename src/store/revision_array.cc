#include "store/revision_array.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/search.h"
#include "store/format.h"

namespace keelson::store {
namespace {

constexpr std::size_t kWideBytes = 24;
constexpr std::uint32_t kUnused = 0xFFFFFFFF;

}  // namespace

void RevisionArray::Builder::add(Place place) {
  CHECK(place.offset % kAlign == 0);
  if (!places_.empty()) CHECK(places_.back().revision < place.revision);
  const std::int64_t base = places_.empty() ? place.revision.main : places_.front().revision.main;
  // The pair of all ones marks an unused place, so no m may be that.
  if (place.offset > limits_.offset_max || place.revision.sub < 0 ||
      static_cast<std::uint64_t>(place.revision.sub) > limits_.sub_max ||
      static_cast<std::uint64_t>(place.revision.main) - static_cast<std::uint64_t>(base) >=
          kUnused) {
    wide_ = true;
  }
  places_.push_back(place);
}

RevisionArray RevisionArray::Builder::build() const {
  RevisionArray array;
  array.records_ = places_.size();
  array.wide_ = wide_;
  if (places_.empty()) return array;
  array.base_ = places_.front().revision.main;
  if (wide_) {
    array.places_ = places_;
    return array;
  }
  array.blocks_.resize((places_.size() + kBlockPairs - 1) / kBlockPairs);
  for (std::size_t i = 0; i < array.blocks_.size() * kBlockPairs; i++) {
    Block& block = array.blocks_[i / kBlockPairs];
    const bool used = i < places_.size();
    block.m[i % kBlockPairs] =
        used ? static_cast<std::uint32_t>(places_[i].revision.main - array.base_) : kUnused;
    block.so[i % kBlockPairs] = used ? static_cast<std::uint32_t>(places_[i].revision.sub)
                                               << kSubShift |
                                           static_cast<std::uint32_t>(places_[i].offset / kAlign)
                                     : kUnused;
  }
  array.index_blocks();
  return array;
}

std::uint64_t RevisionArray::encoded_bytes(std::uint64_t records, bool wide) {
  return wide ? records * kWideBytes : (records + kBlockPairs - 1) / kBlockPairs * sizeof(Block);
}

std::optional<RevisionArray> RevisionArray::decode(std::string_view bytes, std::uint64_t records,
                                                   std::int64_t base, bool wide) {
  // Without this a made-up number could overflow the product.
  if (records > bytes.size() || bytes.size() != encoded_bytes(records, wide)) return std::nullopt;
  RevisionArray array;
  array.records_ = records;
  array.base_ = base;
  array.wide_ = wide;
  if (wide) {
    array.places_.resize(records);
    for (std::size_t i = 0; i < records; i++) {
      const char* in = bytes.data() + i * kWideBytes;
      array.places_[i] = {{load_le<std::int64_t>(in), load_le<std::int64_t>(in + 8)},
                          load_le<std::uint64_t>(in + 16)};
    }
  } else {
    array.blocks_.resize(bytes.size() / sizeof(Block));
    if (!bytes.empty()) std::memcpy(array.blocks_.data(), bytes.data(), bytes.size());
    array.index_blocks();
  }
  for (std::size_t i = 1; i < records; i++) {
    const Place before = array[i - 1], place = array[i];
    if (before.revision >= place.revision || before.offset >= place.offset) return std::nullopt;
  }
  if (records > 0 && array[0].revision.main != base) return std::nullopt;
  return array;
}

std::string RevisionArray::encode() const {
  std::string out;
  out.reserve(encoded_bytes(records_, wide_));
  if (!wide_) {
    out.append(reinterpret_cast<const char*>(blocks_.data()), blocks_.size() * sizeof(Block));
    return out;
  }
  for (const Place& place : places_) {
    append_le(out, place.revision.main);
    append_le(out, place.revision.sub);
    append_le(out, place.offset);
  }
  return out;
}

void RevisionArray::index_blocks() {
  if (blocks_.empty()) return;
  const auto last_m = [this](std::size_t block) {
    const std::size_t last = std::min(records_, (block + 1) * kBlockPairs) - 1;
    return blocks_[block].m[last % kBlockPairs];
  };
  const std::uint32_t span = last_m(blocks_.size() - 1);
  // About one entry a block.
  const auto block_bits = static_cast<std::uint32_t>(std::bit_width(blocks_.size()));
  const auto span_bits = static_cast<std::uint32_t>(std::bit_width(span));
  radix_shift_ = span_bits > block_bits ? span_bits - block_bits : 0;
  const std::size_t entries = (span >> radix_shift_) + std::size_t{1};
  radix_.assign(entries + 1, static_cast<std::uint32_t>(blocks_.size() - 1));
  std::size_t block = 0;
  for (std::size_t i = 0; i < entries; i++) {
    while (last_m(block) < (static_cast<std::uint64_t>(i) << radix_shift_)) block++;
    radix_[i] = static_cast<std::uint32_t>(block);
  }
}

Place RevisionArray::operator[](std::size_t ordinal) const {
  if (wide_) return places_[ordinal];
  const Block& block = blocks_[ordinal / kBlockPairs];
  const std::uint32_t so = block.so[ordinal % kBlockPairs];
  return {{base_ + block.m[ordinal % kBlockPairs], so >> kSubShift},
          std::uint64_t{so & ((1u << kSubShift) - 1)} * kAlign};
}

std::uint64_t RevisionArray::offset(std::size_t ordinal) const {
  if (wide_) return places_[ordinal].offset;
  const std::uint32_t so = blocks_[ordinal / kBlockPairs].so[ordinal % kBlockPairs];
  return std::uint64_t{so & ((1u << kSubShift) - 1)} * kAlign;
}

// The first block whose last pair is not below (m, sub), which is not beyond the last record. The
// block that the next radix entry names ends above m, so it bounds the search.
std::size_t RevisionArray::block_of(std::uint32_t m, std::uint32_t sub) const {
  const std::size_t low = radix_[m >> radix_shift_], high = radix_[(m >> radix_shift_) + 1];
  const std::uint32_t so_from = sub << kSubShift;
  const auto is_below = [&](std::size_t block) {
    const std::uint32_t last_m = blocks_[block].m[kBlockPairs - 1];
    return last_m < m || (last_m == m && blocks_[block].so[kBlockPairs - 1] < so_from);
  };
  return base::partition_place(low, high, is_below);
}

std::size_t RevisionArray::narrow_lower_bound(std::uint32_t m, std::uint32_t sub) const {
  const std::size_t at = block_of(m, sub);
  const Block& block = blocks_[at];
  const std::uint32_t so_from = sub << kSubShift;
  std::size_t below = 0;  // pairs below (m, sub): counted without a branch, sixteen at a time
  for (std::size_t i = 0; i < kBlockPairs; i++) {
    below +=
        static_cast<std::size_t>((block.m[i] < m) | ((block.m[i] == m) & (block.so[i] < so_from)));
  }
  return std::min(records_, at * kBlockPairs + below);
}

std::size_t RevisionArray::lower_bound(base::Revision revision) const {
  if (wide_) {
    const auto it = std::lower_bound(
        places_.begin(), places_.end(), revision,
        [](const Place& place, base::Revision wanted) { return place.revision < wanted; });
    return static_cast<std::size_t>(it - places_.begin());
  }
  if (records_ == 0 || revision <= (*this)[0].revision) return 0;
  if (revision > (*this)[records_ - 1].revision) return records_;
  const auto m = static_cast<std::uint32_t>(revision.main - base_);
  if (revision.sub > 511) return lower_bound({revision.main + 1, 0});
  return narrow_lower_bound(m, revision.sub < 0 ? 0 : static_cast<std::uint32_t>(revision.sub));
}

std::optional<std::size_t> RevisionArray::find(base::Revision revision) const {
  const std::size_t ordinal = lower_bound(revision);
  if (ordinal == records_ || (*this)[ordinal].revision != revision) return std::nullopt;
  return ordinal;
}

std::size_t RevisionArray::memory_bytes() const {
  return blocks_.size() * sizeof(Block) + radix_.size() * sizeof(radix_[0]) +
         places_.size() * sizeof(Place);
}

}  // namespace keelson::store
