// Buckets: the content of etcd's small buckets (all but `key`), in memory. formats.md 4.
//
// Touched on the store lane only; others get copies.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/containers.h"
#include "base/storage.h"

namespace keelson::store {

// A checksum together with the length of what it sums, so that two can be joined.
struct Sum {
  std::uint32_t crc = 0;
  std::uint64_t length = 0;
};

class Buckets {
 public:
  using Map = base::OrderedMap<std::string, std::string>;

  const Map& operator[](base::Bucket bucket) const { return maps_[place(bucket)]; }
  // The value of a key, nullptr if it is not there.
  const std::string* find(base::Bucket bucket, std::string_view key) const;
  void apply(const base::BucketChange& change);

  // Bytes of all keys and values.
  std::uint64_t bytes() const { return bytes_; }

  // Main of the revision that a compaction key of the meta bucket holds; -1 if absent or not 17
  // bytes long.
  std::int64_t compact_revision(std::string_view meta_key) const;

  // The two parts of what Maintenance.Hash feeds (api.md 9.6): names, keys and values of the
  // buckets before and after `key` in order of names. Left out of meta: consistent_index, term,
  // storageVersion.
  //   hash = combine(hasher->finish(crc32c(before.crc, "key")), after)
  Sum hash_before_key() const;
  Sum hash_after_key() const;

 private:
  static std::size_t place(base::Bucket bucket) { return static_cast<std::size_t>(bucket); }

  std::array<Map, base::kBucketCount> maps_;
  std::uint64_t bytes_ = 0;
};

}  // namespace keelson::store
