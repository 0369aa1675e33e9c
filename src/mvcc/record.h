// The stored form of a change, mvccpb.KeyValue in canonical proto3 (formats.md 4.1), written and
// read in place.
//
// Every put is encoded once and these bytes are what members store, hash and send: they must be
// equal everywhere, to the bit. Written by hand, because a put and a sort by value are measured hot
// spots and a generated message would copy key and value once more.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "base/bytes.h"

namespace keelson::mvcc {

// Fields of a KeyValue; the bytes are borrowed.
struct KeyValueView {
  std::string_view key;
  std::int64_t create_revision = 0;
  std::int64_t mod_revision = 0;
  std::int64_t version = 0;
  std::string_view value;
  std::int64_t lease = 0;
};

std::size_t encoded_size(const KeyValueView& kv);
base::SharedBytes encode(const KeyValueView& kv);

// Encodes many small records of one operation: all but the first few share chunks of memory, so
// that a million tombstones are not a million allocations. A chunk lives as long as any record in
// it.
class PackedRecords {
 public:
  base::SharedBytes encode(const KeyValueView& kv);

 private:
  static constexpr std::size_t kChunkBytes = 64u << 10;
  static constexpr std::size_t kAlone = 64;  // records that are not worth a chunk

  std::size_t records_ = 0;
  std::shared_ptr<char[]> chunk_;
  std::size_t used_ = 0;
};

// Views into `encoded`. nullopt if it is no KeyValue: a damaged record. Zero bytes are an empty
// one, as a restore with a lifted revision leaves it.
std::optional<KeyValueView> decode(std::string_view encoded);

}  // namespace keelson::mvcc
