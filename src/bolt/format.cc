#include "bolt/format.h"

#include <fmt/format.h>

#include <bit>

#include "base/little_endian.h"

namespace keelson::bolt {
namespace {

using base::load_le;
using base::store_le;

constexpr std::uint32_t kMagic = 0xED0CDAED;
constexpr std::uint32_t kVersion = 2;
constexpr std::size_t kChecksummedBytes = 56;

// FNV-1a, 64 bits.
std::uint64_t checksum(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : bytes) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3;
  }
  return hash;
}

}  // namespace

void encode(const PageHeader& header, char* out) {
  store_le(out, header.id);
  store_le(out + 8, header.flags);
  store_le(out + 10, header.count);
  store_le(out + 12, header.overflow);
}

PageHeader decode_page_header(const char* in) {
  return {.id = load_le<std::uint64_t>(in),
          .flags = load_le<std::uint16_t>(in + 8),
          .count = load_le<std::uint16_t>(in + 10),
          .overflow = load_le<std::uint32_t>(in + 12)};
}

void encode(const Meta& meta, char* out) {
  store_le(out, kMagic);
  store_le(out + 4, kVersion);
  store_le(out + 8, meta.page_bytes);
  store_le(out + 12, std::uint32_t{0});
  store_le(out + 16, meta.root);
  store_le(out + 24, meta.sequence);
  store_le(out + 32, meta.freelist);
  store_le(out + 40, meta.high_water);
  store_le(out + 48, meta.txid);
  store_le(out + kChecksummedBytes, checksum({out, kChecksummedBytes}));
}

std::optional<Meta> decode_meta(const char* in) {
  const Meta meta{.page_bytes = load_le<std::uint32_t>(in + 8),
                  .root = load_le<std::uint64_t>(in + 16),
                  .sequence = load_le<std::uint64_t>(in + 24),
                  .freelist = load_le<std::uint64_t>(in + 32),
                  .high_water = load_le<std::uint64_t>(in + 40),
                  .txid = load_le<std::uint64_t>(in + 48)};
  if (load_le<std::uint32_t>(in) != kMagic || load_le<std::uint32_t>(in + 4) != kVersion ||
      load_le<std::uint64_t>(in + kChecksummedBytes) != checksum({in, kChecksummedBytes})) {
    return std::nullopt;
  }
  if (!std::has_single_bit(meta.page_bytes) || meta.page_bytes < kPageBytesMin ||
      meta.page_bytes > kPageBytesMax) {
    return std::nullopt;
  }
  return meta;
}

void encode_branch(const Element& element, char* out) {
  store_le(out, element.position);
  store_le(out + 4, element.key_bytes);
  store_le(out + 8, element.child);
}

void encode_leaf(const Element& element, char* out) {
  store_le(out, element.flags);
  store_le(out + 4, element.position);
  store_le(out + 8, element.key_bytes);
  store_le(out + 12, element.value_bytes);
}

Element decode_branch(const char* in) {
  return {.position = load_le<std::uint32_t>(in),
          .key_bytes = load_le<std::uint32_t>(in + 4),
          .child = load_le<std::uint64_t>(in + 8)};
}

Element decode_leaf(const char* in) {
  return {.flags = load_le<std::uint32_t>(in),
          .position = load_le<std::uint32_t>(in + 4),
          .key_bytes = load_le<std::uint32_t>(in + 8),
          .value_bytes = load_le<std::uint32_t>(in + 12)};
}

base::Error damaged(std::string_view path, std::uint64_t offset, std::string_view expected) {
  return base::make_error(std::errc::bad_message,
                          fmt::format("{} at {}: expected {}", path, offset, expected));
}

}  // namespace keelson::bolt
