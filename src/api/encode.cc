#include "api/encode.h"

#include "base/field_writer.h"
#include "base/varint.h"

namespace keelson::api {
namespace {

using base::put_message_field;
using base::put_varint_field;

// A response inside a TxnResponse has a header with nothing but the revision. api.md 1.6
HeaderBytes inner_header(std::int64_t revision) { return encode(Header{.revision = revision}); }

std::string put_body(std::string_view header, const mvcc::PutResult& result) {
  std::string out;
  out.reserve(base::message_field_size(1, header.size()) +
              (result.previous ? base::message_field_size(2, result.previous->size()) : 0));
  put_message_field(out, 1, header);
  if (result.previous) put_message_field(out, 2, *result.previous);
  return out;
}

std::string delete_body(std::string_view header, const mvcc::DeleteResult& result) {
  std::string out;
  put_message_field(out, 1, header);
  put_varint_field(out, 2, static_cast<std::uint64_t>(result.deleted));
  for (const base::SharedBytes& kv : result.previous) put_message_field(out, 3, kv);
  return out;
}

std::string range_body(std::string_view header, const mvcc::RangeResult& result) {
  std::string out;
  put_message_field(out, 1, header);
  for (const base::SharedBytes& kv : result.kvs) put_message_field(out, 2, kv);
  out += range_tail(result.more, result.count);
  return out;
}

std::string txn_body(std::string_view header, const mvcc::TxnResult& result);

// One ResponseOp: range 1, put 2, delete_range 3, txn 4.
std::string operation_body(const mvcc::OpResult& operation) {
  std::string out;
  if (const auto* range = std::get_if<mvcc::RangeResult>(&operation)) {
    put_message_field(out, 1, range_body(inner_header(range->revision), *range));
  } else if (const auto* put = std::get_if<mvcc::PutResult>(&operation)) {
    put_message_field(out, 2, put_body(inner_header(put->revision), *put));
  } else if (const auto* deleted = std::get_if<mvcc::DeleteResult>(&operation)) {
    put_message_field(out, 3, delete_body(inner_header(deleted->revision), *deleted));
  } else {
    const auto& txn = *std::get<std::unique_ptr<mvcc::TxnResult>>(operation);
    put_message_field(out, 4, txn_body("", txn));
  }
  return out;
}

std::string txn_body(std::string_view header, const mvcc::TxnResult& result) {
  std::string out;
  put_message_field(out, 1, header);
  put_varint_field(out, 2, result.succeeded ? 1 : 0);
  for (const mvcc::OpResult& one : result.responses) put_message_field(out, 3, operation_body(one));
  return out;
}

}  // namespace

HeaderBytes::HeaderBytes(const Header& header) {
  base::FieldWriter out(bytes_);
  out.number(1, header.cluster_id);
  out.number(2, header.member_id);
  out.number(3, static_cast<std::uint64_t>(header.revision));
  out.number(4, header.raft_term);
  size_ = static_cast<std::size_t>(out.at() - bytes_);
}

std::string header_only(const Header& header) {
  std::string out;
  put_message_field(out, 1, encode(header));
  return out;
}

void put_kv_prefix(std::string& out, std::size_t kv_bytes) {
  base::put_varints(out, base::bytes_tag(2), kv_bytes);
}

std::size_t kv_field_bytes(std::size_t kv_bytes) { return base::message_field_size(2, kv_bytes); }

std::string range_tail(bool more, std::int64_t count) {
  std::string out;
  put_varint_field(out, 3, more ? 1 : 0);
  put_varint_field(out, 4, static_cast<std::uint64_t>(count));
  return out;
}

std::string encode_put(const Header& header, const mvcc::PutResult& result) {
  return put_body(encode(header), result);
}
std::string encode_delete(const Header& header, const mvcc::DeleteResult& result) {
  return delete_body(encode(header), result);
}
std::string encode_range(const Header& header, const mvcc::RangeResult& result) {
  return range_body(encode(header), result);
}
std::string encode_txn(const Header& header, const mvcc::TxnResult& result) {
  return txn_body(encode(header), result);
}

}  // namespace keelson::api
