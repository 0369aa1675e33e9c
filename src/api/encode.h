// encode: answers as protobuf bytes. By hand, because stored bytes are the mvccpb.KeyValue encoding
// already and go into an answer as they are; generated messages would parse and write each value
// again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "mvcc/range.h"
#include "mvcc/state.h"
#include "raft/types.h"

namespace keelson::api {

struct Header {
  std::uint64_t cluster_id = 0;
  std::uint64_t member_id = 0;
  std::int64_t revision = 0;
  raft::Term raft_term = 0;
};

// The fields of a ResponseHeader. Every answer has one, so they need no allocation.
class HeaderBytes {
 public:
  explicit HeaderBytes(const Header& header);
  operator std::string_view() const { return {bytes_, size_}; }  // NOLINT: reads as a view
  std::size_t size() const { return size_; }

 private:
  char bytes_[4 * 11];
  std::size_t size_;
};
inline HeaderBytes encode(const Header& header) { return HeaderBytes(header); }
// A message that is nothing but its header (field 1).
std::string header_only(const Header& header);

// Field `kvs` of a RangeResponse: tag and length, before the bytes of one KeyValue.
inline constexpr std::size_t kKvPrefixBytesMax = 6;
void put_kv_prefix(std::string& out, std::size_t kv_bytes);
std::size_t kv_field_bytes(std::size_t kv_bytes);

// What stands behind the kvs of a RangeResponse: more (3) and count (4).
std::string range_tail(bool more, std::int64_t count);

std::string encode_put(const Header& header, const mvcc::PutResult& result);
std::string encode_delete(const Header& header, const mvcc::DeleteResult& result);
std::string encode_range(const Header& header, const mvcc::RangeResult& result);
std::string encode_txn(const Header& header, const mvcc::TxnResult& result);

}  // namespace keelson::api
