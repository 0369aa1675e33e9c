#include "store/format.h"

#include <fmt/format.h>

#include <charconv>

#include "base/varint.h"

namespace keelson::store {
namespace {

constexpr std::string_view kSegmentSuffix = ".seg";
constexpr std::string_view kLogSuffix = ".log";
constexpr std::string_view kDeadSuffix = ".dead";

std::optional<std::uint64_t> parse_hex(std::string_view digits, std::size_t width) {
  if (digits.size() != width) return std::nullopt;
  std::uint64_t value = 0;
  const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  if (ec != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

bool take_suffix(std::string_view& name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return false;
  name.remove_suffix(suffix.size());
  return true;
}

void encode_revision_key(base::Revision revision, char* out) {
  store_le(out, std::byteswap(revision.main));
  out[8] = '_';
  store_le(out + 9, std::byteswap(revision.sub));
  out[17] = 't';
}

}  // namespace

base::Error corrupt(std::string_view path, std::uint64_t offset, std::string_view expected) {
  return base::make_error(std::errc::bad_message,
                          fmt::format("{} at {}: expected {}", path, offset, expected));
}

std::string segment_name(std::uint64_t id) { return fmt::format("{:016x}{}", id, kSegmentSuffix); }
std::string log_name(std::uint64_t id) { return fmt::format("{:016x}{}", id, kLogSuffix); }
std::string dead_name(std::uint64_t id, std::uint64_t generation) {
  return fmt::format("{:016x}.{:08x}{}", id, generation, kDeadSuffix);
}
std::string reserve_name(int which) { return fmt::format("reserve-{}", which); }

std::optional<FileName> parse_name(std::string_view name) {
  using Kind = FileName::Kind;
  if (name == kManifestName) return FileName{Kind::kManifest};
  if (name == reserve_name(0)) return FileName{Kind::kReserve, 0};
  if (name == reserve_name(1)) return FileName{Kind::kReserve, 1};
  if (take_suffix(name, kSegmentSuffix)) {
    if (const auto id = parse_hex(name, 16)) return FileName{Kind::kSegment, *id};
  } else if (take_suffix(name, kLogSuffix)) {
    if (const auto id = parse_hex(name, 16)) return FileName{Kind::kLog, *id};
  } else if (take_suffix(name, kDeadSuffix) && name.size() == 25 && name[16] == '.') {
    const auto id = parse_hex(name.substr(0, 16), 16);
    const auto generation = parse_hex(name.substr(17), 8);
    if (id && generation) return FileName{Kind::kDead, *id, *generation};
  }
  return std::nullopt;
}

std::string encode(const FileHeader& header) {
  std::string out(kFileHeaderBytes, '\0');
  store_le(&out[4], header.magic);
  store_le(&out[8], kFormatVersion);
  store_le(&out[16], header.store_id);
  store_le(&out[24], header.file_id);
  store_le(&out[40], header.created_ns);
  store_le(&out[48], header.flags);
  store_le(&out[0], base::crc32c(0, std::string_view(out).substr(4)));
  return out;
}

base::Result<FileHeader> decode_file_header(std::string_view bytes, Magic magic,
                                            std::string_view path) {
  if (bytes.size() < kFileHeaderBytes) {
    return base::fail(corrupt(path, 0, fmt::format("a header, found {} bytes", bytes.size())));
  }
  const char* in = bytes.data();
  const std::uint32_t crc = base::crc32c(0, bytes.substr(4, kFileHeaderBytes - 4));
  if (load_le<std::uint32_t>(in) != crc) {
    return base::fail(corrupt(
        path, 0, fmt::format("header checksum {:08x}, found {:08x}", crc, load_le<uint32_t>(in))));
  }
  if (load_le<Magic>(in + 4) != magic) {
    return base::fail(corrupt(path, 4, fmt::format("magic {:08x}", static_cast<uint32_t>(magic))));
  }
  if (const auto version = load_le<std::uint32_t>(in + 8); version != kFormatVersion) {
    return base::fail(base::make_error(
        std::errc::not_supported, fmt::format("{}: format version {}, this program knows {}", path,
                                              version, kFormatVersion)));
  }
  if (load_le<std::uint32_t>(in + 12) != 0 || load_le<std::uint64_t>(in + 32) != 0) {
    return base::fail(
        base::make_error(std::errc::not_supported,
                         fmt::format("{}: encrypted (cipher {}, key {})", path,
                                     load_le<uint32_t>(in + 12), load_le<uint64_t>(in + 32))));
  }
  return FileHeader{.magic = magic,
                    .store_id = load_le<std::uint64_t>(in + 16),
                    .file_id = load_le<std::uint64_t>(in + 24),
                    .created_ns = load_le<std::int64_t>(in + 40),
                    .flags = load_le<std::uint64_t>(in + 48)};
}

std::uint32_t placed_crc(std::uint64_t file_id, std::uint64_t offset, std::string_view bytes) {
  char place[16];
  store_le(place, file_id);
  store_le(place + 8, offset);
  return base::crc32c(base::crc32c(0, std::string_view(place, sizeof place)), bytes);
}

void encode(const RecordHeader& header, std::uint64_t segment_id, std::uint64_t offset, char* out) {
  std::memset(out, 0, kRecordHeaderBytes);
  store_le(out + 4, header.body_crc);
  store_le(out + 8, header.length);
  store_le(out + 12, header.type);
  store_le(out + 16, header.revision.main);
  store_le(out + 24, header.revision.sub);
  store_le(out, placed_crc(segment_id, offset, std::string_view(out + 4, kRecordHeaderBytes - 4)));
}

std::optional<RecordHeader> decode_record_header(const char* in, std::uint64_t segment_id,
                                                 std::uint64_t offset) {
  const auto type = load_le<std::uint8_t>(in + 12);
  if (type < 1 || type > 3) return std::nullopt;
  const std::uint32_t crc =
      placed_crc(segment_id, offset, std::string_view(in + 4, kRecordHeaderBytes - 4));
  if (load_le<std::uint32_t>(in) != crc) return std::nullopt;
  RecordHeader header{.type = static_cast<RecordType>(type),
                      .body_crc = load_le<std::uint32_t>(in + 4),
                      .length = load_le<std::uint32_t>(in + 8),
                      .revision = {load_le<std::int64_t>(in + 16), load_le<std::int64_t>(in + 24)}};
  if (header.length > kPayloadBytesMax) return std::nullopt;
  return header;
}

std::uint32_t body_crc(base::Revision revision, bool tombstone, std::string_view payload) {
  char key[base::kTombstoneKeyBytes];
  encode_revision_key(revision, key);
  const std::size_t length = tombstone ? base::kTombstoneKeyBytes : base::kRevisionKeyBytes;
  return base::crc32c(base::crc32c(0, std::string_view(key, length)), payload);
}

std::string encode(const Checkpoint& checkpoint, std::uint64_t segment_id, std::uint64_t offset) {
  std::string out(kCheckpointExtent, '\0');
  char* payload = out.data() + kRecordHeaderBytes;
  store_le(payload + 0, checkpoint.applied_index);
  store_le(payload + 8, checkpoint.applied_term);
  store_le(payload + 16, checkpoint.newest.main);
  store_le(payload + 24, checkpoint.newest.sub);
  store_le(payload + 32, checkpoint.log_id);
  store_le(payload + 40, checkpoint.log_length);
  store_le(payload + 48, checkpoint.log_chain);
  store_le(payload + 52, checkpoint.segment_chain);
  store_le(payload + 56, checkpoint.wall_ns);
  store_le(payload + 64, checkpoint.previous_offset);
  store_le(payload + 72, checkpoint.records);
  store_le(payload + 80, checkpoint.floor);
  const RecordHeader header{
      .type = RecordType::kCheckpoint,
      .body_crc = base::crc32c(0, std::string_view(payload, kCheckpointPayloadBytes)),
      .length = kCheckpointPayloadBytes,
      .revision = {static_cast<std::int64_t>(checkpoint.number), 0}};
  encode(header, segment_id, offset, out.data());
  return out;
}

std::optional<Checkpoint> decode_checkpoint(const RecordHeader& header, std::string_view payload) {
  if (header.type != RecordType::kCheckpoint || payload.size() != kCheckpointPayloadBytes ||
      base::crc32c(0, payload) != header.body_crc) {
    return std::nullopt;
  }
  const char* in = payload.data();
  return Checkpoint{.number = static_cast<std::uint64_t>(header.revision.main),
                    .applied_index = load_le<std::uint64_t>(in + 0),
                    .applied_term = load_le<std::uint64_t>(in + 8),
                    .newest = {load_le<std::int64_t>(in + 16), load_le<std::int64_t>(in + 24)},
                    .log_id = load_le<std::uint64_t>(in + 32),
                    .log_length = load_le<std::uint64_t>(in + 40),
                    .log_chain = load_le<std::uint32_t>(in + 48),
                    .segment_chain = load_le<std::uint32_t>(in + 52),
                    .wall_ns = load_le<std::int64_t>(in + 56),
                    .previous_offset = load_le<std::uint64_t>(in + 64),
                    .records = load_le<std::uint64_t>(in + 72),
                    .floor = load_le<std::int64_t>(in + 80)};
}

std::optional<KeyValueFields> parse_key_value(std::string_view encoded) {
  KeyValueFields fields;
  while (!encoded.empty()) {
    const auto tag = base::take_varint(encoded);
    if (!tag) return std::nullopt;
    const auto value = base::take_varint(encoded);  // or the length
    if (!value) return std::nullopt;
    if ((*tag & 7) == 2) {
      if (*value > encoded.size()) return std::nullopt;
      if (*tag == base::bytes_tag(1)) fields.key = encoded.substr(0, *value);
      encoded.remove_prefix(*value);
    } else if ((*tag & 7) == 0) {
      switch (*tag >> 3) {
        case 2:
          fields.create_revision = static_cast<std::int64_t>(*value);
          break;
        case 4:
          fields.version = static_cast<std::int64_t>(*value);
          break;
        case 6:
          fields.lease = static_cast<std::int64_t>(*value);
          break;
        default:
          break;  // mod_revision is the record's own
      }
    } else {
      return std::nullopt;
    }
  }
  return fields;
}

}  // namespace keelson::store
