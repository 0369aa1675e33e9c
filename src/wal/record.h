// Records of the log and their frames, by the byte. formats.md 1.2, 1.3.
//
//   frame  := length (8 bytes, little endian) | record (N bytes) | padding (P zeros)
//   length := N, or N | (0x80 | P) << 56 when P > 0; N + P is a multiple of 8
//   record := walpb.Record { type = 1, crc = 2, data = 3 }
//
// The checksum of a record covers the data of all records before it and its own, through all files
// of the directory; a crc record at the head of each file says where the chain stands.
//
// A power failure may leave a sector of a write unwritten, zeros, and keep the one behind it. Where
// a frame's length fills the end of the lost sector, a record without a length remains. If that
// length has one bit set, so would a durable record whose bit turned over, which must not be taken
// for the end of the log. So no such length is written there: a crc record, which may stand
// anywhere, goes first, with a length of several bits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "raft/types.h"

namespace keelson::wal {

enum class RecordType : std::uint8_t {
  kMetadata = 1,
  kEntry = 2,
  kState = 3,
  kCrc = 4,
  kSnapshot = 5,
};

struct Record {
  std::int64_t type = 0;  // as it was read; a RecordType if it is known
  std::uint32_t crc = 0;
  std::string_view data;
};

inline constexpr std::uint64_t kSectorBytes = 512;  // what a disk writes whole or not at all
inline constexpr std::uint64_t kLengthBytes = 8;

// Frames gathered for one write. Hot: no message objects, no copies but one.
class FrameBuffer {
 public:
  // The chain goes on from `crc`, the file from `offset`.
  explicit FrameBuffer(std::uint32_t crc = 0, std::uint64_t offset = 0)
      : crc_(crc), offset_(offset) {}

  void add_crc();  // the head of a file
  void add_metadata(std::string_view metadata);
  void add_entry(const raft::Entry& entry);
  void add_state(const raft::HardState& state);
  void add_snapshot(const raft::SnapshotMetadata& snapshot);
  // The records of frames of another buffer, but crc records, chained to what is here. False if
  // they cannot be read.
  [[nodiscard]] bool add_frames_of(std::string_view frames);

  std::string_view bytes() const { return bytes_; }
  bool empty() const { return bytes_.empty(); }
  std::uint32_t crc() const { return crc_; }
  // Forgets the bytes, which are in the file now, and keeps the chain; gives back what a huge batch
  // made it hold.
  void clear();

 private:
  void add(RecordType type, std::string_view data);
  void add(RecordType type, std::string_view head, std::string_view payload);
  enum class EmptyData : std::uint8_t { kLeftOut, kWritten };
  void put(RecordType type, std::string_view head, std::string_view payload, EmptyData empty_data);
  // Whether its length cannot be told from a bit that turned over, once its sector is lost.
  bool is_ambiguous(std::size_t frame) const;

  std::string bytes_;
  std::uint32_t crc_;
  std::uint64_t offset_;  // of bytes_ in the file
};

struct FrameLength {
  std::uint64_t record = 0;   // N
  std::uint64_t padding = 0;  // P
};
std::uint64_t decode_length_field(std::string_view bytes);  // needs eight
std::uint64_t length_field(std::uint64_t record_bytes);
// Whether a length at this offset of the file is the last of its sector.
inline bool ends_a_sector(std::uint64_t offset) {
  return offset % kSectorBytes == kSectorBytes - kLengthBytes;
}
// nullopt for a length that no writer writes: P must complete N to a multiple of 8.
std::optional<FrameLength> decode_frame_length(std::uint64_t field);

// nullopt for what is no walpb.Record. The data borrows from `bytes`.
std::optional<Record> decode_record(std::string_view bytes);
// How long the record is that begins with these bytes (at most kRecordHeadBytesMax are looked at),
// by its own fields: type, crc, data if any.
inline constexpr std::size_t kRecordHeadBytesMax = 32;
std::optional<std::uint64_t> record_length(std::string_view head);

// The data of each type. Readers take zeros written or left out, packed and unpacked lists, and
// ignore fields they do not know; nullopt for what is malformed.
std::optional<raft::Entry> decode_entry(std::string_view data);  // copies the payload
std::optional<raft::HardState> decode_state(std::string_view data);
std::optional<raft::SnapshotMetadata> decode_snapshot(std::string_view data);

// Whose log it is: the metadata record.
struct Identity {
  std::uint64_t node_id = 0;
  std::uint64_t cluster_id = 0;
  friend bool operator==(const Identity&, const Identity&) = default;
};
std::string encode_identity(const Identity& identity);
std::optional<Identity> decode_identity(std::string_view metadata);

}  // namespace keelson::wal
