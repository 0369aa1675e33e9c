#include "wal/reader.h"

#include <algorithm>
#include <bit>

#include "base/crc32c.h"
#include "base/planted.h"

namespace keelson::wal {

namespace {

constexpr std::uint64_t kBufferBytes = 256u << 10;
constexpr std::uint64_t kRecordBytesMax =
    1u << 30;  // of what any writer writes; far above a raft message

bool all_zero(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == 0; });
}

}  // namespace

std::unexpected<Error> Reader::error(Errc code, std::string what) const {
  return base::fail(Error(code, path(), offset_, std::move(what)));
}

Result<std::string_view> Reader::peek(std::uint64_t skip, std::uint64_t length) {
  const std::uint64_t begin = offset_ + skip;
  length = begin < size_ ? std::min(length, size_ - begin) : 0;
  if (begin < buffer_offset_ || begin + length > buffer_offset_ + buffer_.size()) {
    // The caller has checked that a frame of this length fits the file.
    buffer_.resize(std::min(std::max(length, kBufferBytes), size_ - begin));
    ASSIGN_OR_RETURN(const std::size_t got, sources_[current_].file->read_at(begin, buffer_));
    buffer_.resize(got);
    buffer_offset_ = begin;
    length = std::min<std::uint64_t>(length, got);
  }
  return std::string_view(buffer_).substr(begin - buffer_offset_, length);
}

Result<std::optional<Record>> Reader::next() {
  while (current_ < sources_.size()) {
    if (!opened_) {
      ASSIGN_OR_RETURN(size_, sources_[current_].file->size());
      opened_ = true;
      has_metadata_ = false;
      offset_ = 0;
      buffer_.clear();
      buffer_offset_ = 0;
    }
    ASSIGN_OR_RETURN(auto record, next_in_file());
    if (record) return record;
    if (!has_metadata_) return error(Errc::kBadRecord, "the file ends before its metadata record");
    if (in_last_file()) return std::optional<Record>{};
    current_++;
    opened_ = false;
  }
  return std::optional<Record>{};
}

Result<std::optional<Record>> Reader::next_in_file() {
  record_offset_ = offset_;
  ASSIGN_OR_RETURN(const std::string_view head, peek(0, kLengthBytes));
  if (head.empty()) return std::optional<Record>{};
  if (head.size() < kLengthBytes) {
    return error(cut_short(), fmt::format("{} bytes where a frame's length takes 8", head.size()));
  }
  const std::uint64_t field = decode_length_field(head);
  if (field == 0) {
    ASSIGN_OR_RETURN(const bool wrong, length_is_wrong(0));
    ASSIGN_OR_RETURN(const bool unwritten, length_is_unwritten());
    if (wrong && unwritten) {
      return error(Errc::kTorn, "a record whose frame's length was not written");
    }
    if (wrong) return error(Errc::kBadRecord, "a whole record whose frame has length 0");
    return std::optional<Record>{};
  }
  const auto length = decode_frame_length(field);
  if (!length || length->record > kRecordBytesMax) {
    return error(Errc::kBadRecord, fmt::format("no frame has the length {:016x}", field));
  }
  const std::uint64_t frame = length->record + length->padding;
  const std::uint64_t left = size_ - offset_ - kLengthBytes;
  if (frame > left) {
    ASSIGN_OR_RETURN(const bool wrong, length_is_wrong(length->record));
    return error(wrong ? Errc::kBadRecord : cut_short(),
                 fmt::format("a record of {} bytes, {} are left in the file", frame, left));
  }
  ASSIGN_OR_RETURN(const std::string_view bytes, peek(kLengthBytes, frame));
  if (bytes.size() < frame) {
    return error(cut_short(), fmt::format("{} bytes of a record of {}", bytes.size(), frame));
  }
  const auto record = decode_record(bytes.substr(0, length->record));
  if (record) return verified(*record, bytes);
  return unreadable(Errc::kBadRecord, bytes,
                    fmt::format("{} bytes that are no record", length->record));
}

Result<std::optional<Record>> Reader::verified(const Record& record, std::string_view frame) {
  if (record.type == static_cast<std::int64_t>(RecordType::kCrc)) {
    // At the head of a file the chain of the file before must be at the same value; at the head of
    // the first file there is nothing to compare with.
    if (crc_ != 0 && crc_ != record.crc) {
      return error(
          Errc::kCrcMismatch,
          fmt::format("the file begins with checksum {:08x}, the one before it ended with {:08x}",
                      record.crc, crc_));
    }
    crc_ = record.crc;
  } else {
    const std::uint32_t computed = base::crc32c(crc_, record.data);
    if (computed != record.crc && !KEELSON_PLANTED(kTornTailTaken)) {
      return unreadable(
          Errc::kCrcMismatch, frame,
          fmt::format("checksum {:08x} stored, {:08x} computed", record.crc, computed));
    }
    crc_ = computed;
  }
  if (record.type == static_cast<std::int64_t>(RecordType::kMetadata)) has_metadata_ = true;
  offset_ += kLengthBytes + frame.size();
  return std::optional(record);
}

// Outside the last file nothing may be cut short: later files were begun after this one was synced.
Errc Reader::cut_short() const {
  return in_last_file() && has_metadata_ ? Errc::kTorn : Errc::kBadRecord;
}

// The frame fits the file, and is wrong.
std::unexpected<Error> Reader::unreadable(Errc code, std::string_view frame, std::string what) {
  if (cut_short() != Errc::kTorn || !has_zero_sector(frame, offset_ + kLengthBytes)) {
    return error(code, std::move(what));
  }
  const auto wrong = length_is_wrong(frame.size());
  if (!wrong) return base::fail(wrong.error());
  return error(*wrong ? Errc::kBadRecord : Errc::kTorn, std::move(what));
}

// A crash leaves sectors of an unsynced write unwritten, which in a file filled with zeros
// beforehand shows as a sector of zeros.
bool Reader::has_zero_sector(std::string_view bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const std::size_t chunk =
        std::min<std::size_t>(bytes.size(), kSectorBytes - offset % kSectorBytes);
    if (all_zero(bytes.substr(0, chunk))) return true;
    bytes.remove_prefix(chunk);
    offset += chunk;
  }
  return false;
}

// Whether a record stands here that is right by itself (its checksum says so) and does not have the
// length that its frame claims.
Result<bool> Reader::length_is_wrong(std::uint64_t claimed) {
  ASSIGN_OR_RETURN(const std::string_view head, peek(kLengthBytes, kRecordHeadBytesMax));
  const auto length = record_length(head);
  if (!length || *length == claimed || *length > size_ - offset_ - kLengthBytes) return false;
  ASSIGN_OR_RETURN(const std::string_view bytes, peek(kLengthBytes, *length));
  const auto record = decode_record(bytes);
  return record && record->type != 0 && base::crc32c(crc_, record->data) == record->crc;
}

// Where a length of zero fills the end of a sector, a crash may have left just that sector
// unwritten, and written the next one with the record. Unless one bit that turned over would
// explain it as well, which FrameBuffer does not let happen; earlier builds and etcd do.
Result<bool> Reader::length_is_unwritten() {
  if (cut_short() != Errc::kTorn || !ends_a_sector(offset_)) return false;
  ASSIGN_OR_RETURN(const std::string_view head, peek(kLengthBytes, kRecordHeadBytesMax));
  const auto length = record_length(head);
  return length && !std::has_single_bit(length_field(*length));
}

}  // namespace keelson::wal
