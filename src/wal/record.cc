#include "wal/record.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/field_reader.h"
#include "base/varint.h"
#include "raft/wire.h"

namespace keelson::wal {

namespace {

using base::FieldReader;
using base::put_varints;
using base::varint_tag;

constexpr std::size_t kKeptCapacityBytes = 4u << 20;

std::uint64_t padding_of(std::uint64_t record_bytes) { return (8 - record_bytes % 8) % 8; }

// A field whose zero is written too, as proto2 writes what was set.
void put_set_field(std::string& out, std::uint32_t field, std::uint64_t value) {
  put_varints(out, varint_tag(field), value);
}

}  // namespace

void FrameBuffer::clear() {
  offset_ += bytes_.size();
  bytes_.clear();
  if (bytes_.capacity() > kKeptCapacityBytes) bytes_.shrink_to_fit();
}

void FrameBuffer::add(RecordType type, std::string_view data) { add(type, data, {}); }

void FrameBuffer::add(RecordType type, std::string_view head, std::string_view payload) {
  const std::size_t start = bytes_.size();
  const std::uint32_t crc = crc_;
  put(type, head, payload, EmptyData::kLeftOut);
  if (!is_ambiguous(start)) return;
  for (const auto empty_data : {EmptyData::kLeftOut, EmptyData::kWritten}) {
    bytes_.resize(start);
    crc_ = crc;
    put(RecordType::kCrc, {}, {}, empty_data);
    if (!is_ambiguous(start)) break;
  }
  put(type, head, payload, EmptyData::kLeftOut);
}

bool FrameBuffer::is_ambiguous(std::size_t frame) const {
  return ends_a_sector(offset_ + frame) &&
         std::has_single_bit(decode_length_field(std::string_view(bytes_).substr(frame)));
}

void FrameBuffer::put(RecordType type, std::string_view head, std::string_view payload,
                      EmptyData empty_data) {
  crc_ = base::crc32c(base::crc32c(crc_, head), payload);
  const std::size_t start = bytes_.size();
  bytes_.append(kLengthBytes, '\0');
  put_set_field(bytes_, 1, static_cast<std::uint64_t>(type));
  put_set_field(bytes_, 2, crc_);
  const std::size_t data_bytes = head.size() + payload.size();
  if (data_bytes > 0 || empty_data == EmptyData::kWritten) {
    put_varints(bytes_, base::bytes_tag(3), data_bytes);
    bytes_.append(head);
    bytes_.append(payload);
  }
  const std::uint64_t record_bytes = bytes_.size() - start - kLengthBytes;
  const std::uint64_t field = length_field(record_bytes);
  for (std::size_t i = 0; i < kLengthBytes; i++) {
    bytes_[start + i] = static_cast<char>(field >> (8 * i));
  }
  bytes_.append(padding_of(record_bytes), '\0');
}

bool FrameBuffer::add_frames_of(std::string_view frames) {
  while (!frames.empty()) {
    if (frames.size() < kLengthBytes) return false;
    const auto length = decode_frame_length(decode_length_field(frames));
    frames.remove_prefix(kLengthBytes);
    if (!length || frames.size() < length->record + length->padding) return false;
    const auto record = decode_record(frames.substr(0, length->record));
    if (!record) return false;
    const auto type = static_cast<RecordType>(record->type);
    if (type != RecordType::kCrc) add(type, record->data);
    frames.remove_prefix(length->record + length->padding);
  }
  return true;
}

void FrameBuffer::add_crc() { add(RecordType::kCrc, {}); }

void FrameBuffer::add_metadata(std::string_view metadata) { add(RecordType::kMetadata, metadata); }

void FrameBuffer::add_entry(const raft::Entry& entry) {
  std::string head;
  raft::encode_head(entry, head);
  add(RecordType::kEntry, head, entry.data);
}

void FrameBuffer::add_state(const raft::HardState& state) {
  add(RecordType::kState, raft::encode(state));
}

void FrameBuffer::add_snapshot(const raft::SnapshotMetadata& snapshot) {
  std::string data;
  put_set_field(data, 1, snapshot.index);
  put_set_field(data, 2, snapshot.term);
  if (snapshot.index > 0) base::put_message_field(data, 3, raft::encode(snapshot.conf_state));
  add(RecordType::kSnapshot, data);
}

std::uint64_t decode_length_field(std::string_view bytes) {
  CHECK_GE(bytes.size(), kLengthBytes);
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < kLengthBytes; i++) {
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  }
  return value;
}

std::uint64_t length_field(std::uint64_t record_bytes) {
  const std::uint64_t padding = padding_of(record_bytes);
  return padding == 0 ? record_bytes : record_bytes | (0x80 | padding) << 56;
}

std::optional<FrameLength> decode_frame_length(std::uint64_t field) {
  const std::uint64_t record = field & 0x00FF'FFFF'FFFF'FFFFu;
  if (field != length_field(record)) return std::nullopt;
  return FrameLength{.record = record, .padding = padding_of(record)};
}

std::optional<std::uint64_t> record_length(std::string_view head) {
  std::string_view rest = head.substr(0, kRecordHeadBytesMax);
  for (const std::uint32_t field : {1u, 2u}) {
    if (base::take_varint(rest) != varint_tag(field) || !base::take_varint(rest))
      return std::nullopt;
  }
  const std::uint64_t before_data = std::min(head.size(), kRecordHeadBytesMax) - rest.size();
  if (base::take_varint(rest) != base::bytes_tag(3)) return before_data;
  const auto data = base::take_varint(rest);
  if (!data || *data > ~std::uint64_t{0} / 2) return std::nullopt;
  return std::min(head.size(), kRecordHeadBytesMax) - rest.size() + *data;
}

std::optional<Record> decode_record(std::string_view bytes) {
  Record record;
  FieldReader fields(bytes);
  while (const auto field = fields.next()) {
    if (field->number == 1 && !field->is_bytes) {
      record.type = static_cast<std::int64_t>(field->value);
    } else if (field->number == 2 && !field->is_bytes) {
      record.crc = static_cast<std::uint32_t>(field->value);
    } else if (field->number == 3 && field->is_bytes) {
      record.data = field->bytes;
    }
  }
  if (fields.malformed()) return std::nullopt;
  return record;
}

std::optional<raft::Entry> decode_entry(std::string_view data) {
  auto entry = raft::decode_entry(base::SharedBytes::copy_of(data));
  if (!entry) return std::nullopt;
  return std::move(entry).value();
}

std::optional<raft::HardState> decode_state(std::string_view data) {
  raft::HardState state;
  FieldReader fields(data);
  while (const auto field = fields.next()) {
    // Which type a record is of is not under its checksum: an entry must not pass for a state.
    if (field->is_bytes) return std::nullopt;
    if (field->number == 1) state.term = field->value;
    if (field->number == 2) state.vote = field->value;
    if (field->number == 3) state.commit = field->value;
  }
  if (fields.malformed() || state.term == 0) return std::nullopt;
  return state;
}

std::optional<raft::SnapshotMetadata> decode_snapshot(std::string_view data) {
  raft::SnapshotMetadata snapshot;
  FieldReader fields(data);
  while (const auto field = fields.next()) {
    if (field->number == 3 && field->is_bytes) {
      auto state = raft::decode_conf_state(field->bytes);
      if (!state) return std::nullopt;
      snapshot.conf_state = std::move(state).value();
    } else if (!field->is_bytes) {
      if (field->number == 1) snapshot.index = field->value;
      if (field->number == 2) snapshot.term = field->value;
    }
  }
  if (fields.malformed()) return std::nullopt;
  return snapshot;
}

std::string encode_identity(const Identity& identity) {
  std::string out;
  put_set_field(out, 1, identity.node_id);
  put_set_field(out, 2, identity.cluster_id);
  return out;
}

std::optional<Identity> decode_identity(std::string_view metadata) {
  Identity identity;
  FieldReader fields(metadata);
  while (const auto field = fields.next()) {
    if (field->is_bytes) continue;
    if (field->number == 1) identity.node_id = field->value;
    if (field->number == 2) identity.cluster_id = field->value;
  }
  if (fields.malformed()) return std::nullopt;
  return identity;
}

}  // namespace keelson::wal
