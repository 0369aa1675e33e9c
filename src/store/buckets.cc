#include "store/buckets.h"

#include <bit>

#include "base/crc32c.h"
#include "store/format.h"

namespace keelson::store {
namespace {

bool is_hashed(base::Bucket bucket, std::string_view key) {
  return bucket != base::Bucket::kMeta ||
         (key != base::kConsistentIndexKey && key != base::kTermKey &&
          key != base::kStorageVersionKey);
}

void feed(Sum& sum, std::string_view bytes) {
  sum.crc = base::crc32c(sum.crc, bytes);
  sum.length += bytes.size();
}

}  // namespace

const std::string* Buckets::find(base::Bucket bucket, std::string_view key) const {
  const Map& map = maps_[place(bucket)];
  const auto it = map.find(key);
  return it == map.end() ? nullptr : &it->second;
}

void Buckets::apply(const base::BucketChange& change) {
  Map& map = maps_[place(change.bucket)];
  const auto it = map.find(change.key);
  if (it != map.end()) bytes_ -= it->first.size() + it->second.size();
  if (!change.value) {
    if (it != map.end()) map.erase(it);
    return;
  }
  bytes_ += change.key.size() + change.value->size();
  if (it != map.end()) {
    it->second = *change.value;
  } else {
    map.emplace(change.key, *change.value);
  }
}

std::int64_t Buckets::compact_revision(std::string_view meta_key) const {
  const std::string* value = find(base::Bucket::kMeta, meta_key);
  if (value == nullptr || value->size() != base::kRevisionKeyBytes) return -1;
  return std::byteswap(load_le<std::int64_t>(value->data()));
}

Sum Buckets::hash_before_key() const {
  Sum sum;
  for (std::size_t i = 0; i < base::kBucketCount; i++) {
    const auto bucket = static_cast<base::Bucket>(i);
    if (base::bucket_name(bucket) > "key") break;
    feed(sum, base::bucket_name(bucket));
    for (const auto& [key, value] : maps_[i]) {
      feed(sum, key);
      feed(sum, value);
    }
  }
  return sum;
}

Sum Buckets::hash_after_key() const {
  Sum sum;
  for (std::size_t i = 0; i < base::kBucketCount; i++) {
    const auto bucket = static_cast<base::Bucket>(i);
    if (base::bucket_name(bucket) < "key") continue;
    feed(sum, base::bucket_name(bucket));
    for (const auto& [key, value] : maps_[i]) {
      if (!is_hashed(bucket, key)) continue;
      feed(sum, key);
      feed(sum, value);
    }
  }
  return sum;
}

}  // namespace keelson::store
