#include "base/record.h"

#include "base/check.h"
#include "base/varint.h"

namespace keelson::base {
namespace {

constexpr std::uint32_t kKeyField = 1;

std::int64_t take_number(std::string_view& row) {
  const auto number = take_varint(row);
  CHECK(number.has_value());
  return static_cast<std::int64_t>(*number);
}

}  // namespace

std::string_view encoded_key(std::string_view encoded) {
  if (encoded.empty() || encoded.front() != static_cast<char>(bytes_tag(kKeyField))) return {};
  encoded.remove_prefix(1);
  const auto length = take_varint(encoded);
  if (!length || *length > encoded.size()) return {};
  return encoded.substr(0, *length);
}

std::string_view Record::key() const { return encoded_key(encoded); }

Record Record::of(const Tombstones& tombstones, std::size_t i) { return tombstones.record(i); }

// The next chunk is as large as the last one was: neighbouring keys are alike.
Tombstones::Chunk& Tombstones::chunk_for_next() {
  if (size_ % kRowsPerChunk == 0) {
    auto next = std::make_shared<Chunk>();
    if (!chunks_.empty()) {
      next->rows.reserve(chunks_.back()->rows.size() * 17 / 16);
      next->ends.reserve(kRowsPerChunk);
    }
    chunks_.push_back(std::move(next));
  }
  return *chunks_.back();
}

std::uint32_t Tombstones::add(std::string_view key, Revision superseded) {
  Chunk& chunk = chunk_for_next();
  put_varint(chunk.rows, static_cast<std::uint64_t>(superseded.main));
  put_varint(chunk.rows, static_cast<std::uint64_t>(superseded.sub));
  const std::size_t begin = chunk.rows.size();
  put_bytes_field(chunk.rows, kKeyField, key);
  CHECK_EQ(chunk.rows.size() >> 32, 0u);
  chunk.ends.push_back(static_cast<std::uint32_t>(chunk.rows.size()));
  const std::size_t length = chunk.rows.size() - begin;
  encoded_bytes_ += length;
  size_++;
  return static_cast<std::uint32_t>(length);
}

std::string_view Tombstones::row(std::size_t i) const {
  const Chunk& chunk = chunk_of(i);
  const std::size_t at = i % kRowsPerChunk;
  const std::size_t begin = at == 0 ? 0 : chunk.ends[at - 1];
  return std::string_view(chunk.rows).substr(begin, chunk.ends[at] - begin);
}

std::string_view Tombstones::encoded(std::size_t i) const {
  std::string_view rest = row(i);
  take_number(rest);
  take_number(rest);
  return rest;
}

Revision Tombstones::superseded(std::size_t i) const {
  std::string_view rest = row(i);
  const std::int64_t main = take_number(rest);
  return {main, take_number(rest)};
}

Record Tombstones::record(std::size_t i) const {
  return {.revision = revision(i),
          .tombstone = true,
          .encoded = SharedBytes(chunks_[i / kRowsPerChunk], encoded(i))};
}

std::size_t Tombstones::lower_bound(std::string_view wanted) const {
  return partition_place(std::size_t{0}, size_, [&](std::size_t i) { return key(i) < wanted; });
}

}  // namespace keelson::base
