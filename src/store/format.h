// The bytes of the store's files: encoding and decoding of what docs/format/store.md describes, and
// the names of the files. No file is touched here.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/crc32c.h"
#include "base/little_endian.h"
#include "base/result.h"
#include "base/revision.h"
#include "base/time.h"

namespace keelson::store {

using base::append_le;
using base::load_le;
using base::store_le;

constexpr std::uint64_t round_up(std::uint64_t n, std::uint64_t unit) {
  return (n + unit - 1) / unit * unit;
}
inline constexpr std::uint64_t kAlign = 8;

// "file.seg at 4096: expected ..., found ...". The code is std::errc::bad_message.
base::Error corrupt(std::string_view path, std::uint64_t offset, std::string_view expected);

// ---- names ----

std::string segment_name(std::uint64_t id);
std::string log_name(std::uint64_t id);
std::string dead_name(std::uint64_t id, std::uint64_t generation);
std::string reserve_name(int which);
inline constexpr std::string_view kManifestName = "manifest";

// What a name says; nullopt if it is none of ours.
struct FileName {
  enum class Kind { kManifest, kSegment, kLog, kDead, kReserve } kind;
  std::uint64_t id = 0;
  std::uint64_t generation = 0;
};
std::optional<FileName> parse_name(std::string_view name);

// ---- file header ----

inline constexpr std::size_t kFileHeaderBytes = 64;
inline constexpr std::uint32_t kFormatVersion = 1;
inline constexpr std::uint64_t kCollectedFlag = 1;

enum class Magic : std::uint32_t {
  kManifest = 0x4E414D4B,  // "KMAN"
  kSegment = 0x4745534B,   // "KSEG"
  kLog = 0x474F4C4B,       // "KLOG"
  kDead = 0x4445444B,      // "KDED"
};

struct FileHeader {
  Magic magic{};
  std::uint64_t store_id = 0;
  std::uint64_t file_id = 0;
  std::int64_t created_ns = 0;
  std::uint64_t flags = 0;
};
std::string encode(const FileHeader& header);
// Fails if a checksum, the magic, the version or a cipher says that this cannot be read as `magic`.
base::Result<FileHeader> decode_file_header(std::string_view bytes, Magic magic,
                                            std::string_view path);

// ---- records ----

inline constexpr std::size_t kRecordHeaderBytes = 32;
inline constexpr std::uint64_t kPayloadBytesMax = (std::uint64_t{1} << 31) - 1;

enum class RecordType : std::uint8_t { kPut = 1, kTombstone = 2, kCheckpoint = 3 };

struct RecordHeader {
  RecordType type{};
  std::uint32_t body_crc = 0;
  std::uint32_t length = 0;
  base::Revision revision;  // of a checkpoint: its number, 0

  std::uint64_t extent() const { return round_up(kRecordHeaderBytes + length, kAlign); }
};
constexpr std::uint64_t record_extent(std::uint64_t payload_bytes) {
  return round_up(kRecordHeaderBytes + payload_bytes, kAlign);
}

// Writes kRecordHeaderBytes to `out`.
void encode(const RecordHeader& header, std::uint64_t segment_id, std::uint64_t offset, char* out);
// nullopt if its head crc or its type is wrong. `in` has kRecordHeaderBytes.
std::optional<RecordHeader> decode_record_header(const char* in, std::uint64_t segment_id,
                                                 std::uint64_t offset);
// What HashKV feeds for a change: revision key, then payload.
std::uint32_t body_crc(base::Revision revision, bool tombstone, std::string_view payload);
// Length of the same.
constexpr std::uint64_t body_bytes(bool tombstone, std::uint64_t payload_bytes) {
  return (tombstone ? base::kTombstoneKeyBytes : base::kRevisionKeyBytes) + payload_bytes;
}

// Crc over (file id, offset, bytes): ties a piece of a file to its place.
std::uint32_t placed_crc(std::uint64_t file_id, std::uint64_t offset, std::string_view bytes);

// ---- checkpoints ----

inline constexpr std::size_t kCheckpointPayloadBytes = 88;
inline constexpr std::uint64_t kCheckpointExtent = record_extent(kCheckpointPayloadBytes);

struct Checkpoint {
  std::uint64_t number = 0;  // in the record header
  std::uint64_t applied_index = 0;
  std::uint64_t applied_term = 0;
  base::Revision newest;
  std::uint64_t log_id = 0;
  std::uint64_t log_length = 0;
  std::uint32_t log_chain = 0;
  std::uint32_t segment_chain = 0;
  std::int64_t wall_ns = 0;
  std::uint64_t previous_offset = 0;
  std::uint64_t records = 0;
  std::int64_t floor = -1;
};
// The whole record, header included.
std::string encode(const Checkpoint& checkpoint, std::uint64_t segment_id, std::uint64_t offset);
// nullopt if the payload does not match the header.
std::optional<Checkpoint> decode_checkpoint(const RecordHeader& header, std::string_view payload);

// ---- stored KeyValues ----

// The fields of an encoded mvccpb.KeyValue that the index needs; nullopt if it is not one.
struct KeyValueFields {
  std::string_view key;
  std::int64_t create_revision = 0;
  std::int64_t version = 0;
  std::int64_t lease = 0;
};
std::optional<KeyValueFields> parse_key_value(std::string_view encoded);

}  // namespace keelson::store
