// The bytes of a bbolt file: page headers, meta pages, elements. formats.md 3.1 to 3.5.
//
//   page n at n * page_size:  header | count elements | keys and values, each behind the last
//   pages 0 and 1: meta; the valid one with the higher txid holds
//   branch element: a child page and its first key; leaf element: a key and its value, or a bucket
//
// No file is touched here.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"

namespace keelson::bolt {

inline constexpr std::size_t kPageHeaderBytes = 16;
inline constexpr std::size_t kElementBytes = 16;
inline constexpr std::size_t kMetaBytes = 64;
inline constexpr std::size_t kBucketHeaderBytes = 16;

inline constexpr std::uint32_t kPageBytesDefault = 4096;
inline constexpr std::uint32_t kPageBytesMin = 1024;
inline constexpr std::uint32_t kPageBytesMax = std::uint32_t{1} << 24;
inline constexpr std::size_t kKeyBytesMax = 32768;
inline constexpr std::uint64_t kValueBytesMax = (std::uint64_t{1} << 31) - 2;
// 0xFFFF stands for a longer list in a freelist page, and is no count elsewhere.
inline constexpr std::uint16_t kElementsMax = 0xFFFE;

inline constexpr std::uint64_t kFirstPage = 2;  // behind the metas
inline constexpr std::uint64_t kNoFreelist = ~std::uint64_t{0};

enum class PageType : std::uint16_t {
  kBranch = 0x01,
  kLeaf = 0x02,
  kMeta = 0x04,
  kFreelist = 0x10
};
// Of a leaf element: its value is a bucket.
inline constexpr std::uint32_t kBucketFlag = 0x01;

struct PageHeader {
  std::uint64_t id = 0;
  std::uint16_t flags = 0;
  std::uint16_t count = 0;
  std::uint32_t overflow = 0;  // pages that follow and belong to this one

  bool is(PageType type) const { return flags == static_cast<std::uint16_t>(type); }
};
void encode(const PageHeader& header, char* out);
PageHeader decode_page_header(const char* in);

struct Meta {
  std::uint32_t page_bytes = 0;
  std::uint64_t root = 0;  // page of the bucket of buckets
  std::uint64_t sequence = 0;
  std::uint64_t freelist = kNoFreelist;  // its page
  std::uint64_t high_water = 0;          // the first page that was never used
  std::uint64_t txid = 0;

  friend bool operator==(const Meta&, const Meta&) = default;
};
// Writes kMetaBytes, checksum included.
void encode(const Meta& meta, char* out);
// nullopt if magic, version or checksum say that this is none, or its page size is impossible.
std::optional<Meta> decode_meta(const char* in);

// One element of either kind; `at` is where its own bytes begin.
struct Element {
  std::uint32_t flags = 0;
  std::uint32_t position = 0;  // of the key, from the element itself
  std::uint32_t key_bytes = 0;
  std::uint32_t value_bytes = 0;  // of a leaf
  std::uint64_t child = 0;        // of a branch
};
void encode_branch(const Element& element, char* out);
void encode_leaf(const Element& element, char* out);
Element decode_branch(const char* in);
Element decode_leaf(const char* in);

// "file at 4096: expected ...". The code is std::errc::bad_message.
base::Error damaged(std::string_view path, std::uint64_t offset, std::string_view expected);

}  // namespace keelson::bolt
