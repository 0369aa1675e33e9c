#include "store/recovery.h"

#include <fmt/format.h>

#include <algorithm>

namespace keelson::store {
namespace {

constexpr std::size_t kWindowBytes = std::size_t{1} << 20;

// The bytes of a file through a window that moves forward.
class Window {
 public:
  Window(const env::File& file, std::uint64_t end) : file_(file), end_(end) {}

  // Bytes [offset, offset + length); shorter at the end of the file. The view ends with the next
  // call.
  base::Result<std::string_view> at(std::uint64_t offset, std::uint64_t length) {
    length = offset < end_ ? std::min(length, end_ - offset) : 0;
    if (length == 0) return std::string_view();
    if (offset < from_ || offset + length > from_ + bytes_.size()) {
      bytes_.resize(
          std::min<std::uint64_t>(std::max<std::uint64_t>(length, kWindowBytes), end_ - offset));
      ASSIGN_OR_RETURN(const std::size_t got, file_.read_at(offset, bytes_));
      bytes_.resize(got);
      from_ = offset;
      length = std::min<std::uint64_t>(length, got);
    }
    return std::string_view(bytes_).substr(offset - from_, length);
  }

 private:
  const env::File& file_;
  const std::uint64_t end_;
  std::uint64_t from_ = 0;
  std::string bytes_;
};

class Scanner {
 public:
  Scanner(Window& window, std::uint64_t segment_id, ScanOptions options, SegmentScan& scan)
      : window_(window), segment_id_(segment_id), options_(options), scan_(scan) {}

  // Reads one record; false where the scan ends, scan_.expected saying why.
  base::Result<bool> step() {
    const std::uint64_t at = scan_.end;
    if (at >= options_.until) return stop("no more records");
    ASSIGN_OR_RETURN(const std::string_view head, window_.at(at, kRecordHeaderBytes));
    if (head.size() < kRecordHeaderBytes) return stop("a record");
    const auto header = decode_record_header(head.data(), segment_id_, at);
    if (!header) return stop("a record header of its checksum");
    char header_bytes[kRecordHeaderBytes];
    std::memcpy(header_bytes, head.data(), sizeof header_bytes);
    ASSIGN_OR_RETURN(const std::string_view record, window_.at(at, header->extent()));
    if (record.size() < header->extent()) return stop("a whole record");
    const std::string_view payload = record.substr(kRecordHeaderBytes, header->length);
    if (header->type == RecordType::kCheckpoint) {
      if (!add_checkpoint(*header, payload)) return false;
    } else if (!add_record(*header, payload)) {
      return false;
    }
    chain_ = base::crc32c(chain_, std::string_view(header_bytes, sizeof header_bytes));
    scan_.chain = chain_;
    scan_.end = at + header->extent();
    if (header->type == RecordType::kCheckpoint) {
      scan_.checkpoints.back().end = scan_.end;
      scan_.checkpoints.back().chain_behind = chain_;
    }
    return true;
  }

 private:
  bool stop(std::string expected) {
    scan_.expected = std::move(expected);
    return false;
  }

  bool add_checkpoint(const RecordHeader& header, std::string_view payload) {
    const auto checkpoint = decode_checkpoint(header, payload);
    if (!checkpoint) return stop("a checkpoint of its checksum");
    if (!options_.unchecked &&
        (checkpoint->segment_chain != chain_ || checkpoint->records != scan_.tail->size())) {
      return stop(
          fmt::format("a checkpoint of chain {:08x} over {} records", chain_, scan_.tail->size()));
    }
    scan_.checkpoints.push_back({.checkpoint = *checkpoint, .offset = scan_.end});
    return true;
  }

  bool add_record(const RecordHeader& header, std::string_view payload) {
    TailIndex& tail = *scan_.tail;
    const std::size_t ordinal = tail.size();
    if (ordinal > 0 && header.revision <= tail[ordinal - 1].revision) {
      return stop("a newer revision than before");
    }
    const bool tombstone = header.type == RecordType::kTombstone;
    if (!options_.unchecked && body_crc(header.revision, tombstone, payload) != header.body_crc) {
      return stop(fmt::format("revision {} of its checksum", header.revision));
    }
    tail.append(
        {.revision = header.revision,
         .offset = scan_.end,
         .body_crc = header.body_crc,
         .length_and_tombstone = header.length | (tombstone ? TailEntry::kTombstoneBit : 0)});
    const KeyValueFields fields = parse_key_value(payload).value_or(KeyValueFields{});
    scan_.keys->add({.key = fields.key,
                     .ordinal = static_cast<std::uint32_t>(ordinal),
                     .bytes = header.length,
                     .tombstone = tombstone,
                     .mod = header.revision,
                     .create_revision = fields.create_revision,
                     .version = fields.version,
                     .lease = fields.lease});
    return true;
  }

  Window& window_;
  const std::uint64_t segment_id_;
  const ScanOptions options_;
  SegmentScan& scan_;
  std::uint32_t chain_ = 0;
};

}  // namespace

void SegmentScan::cut_to(const FoundCheckpoint& found) {
  const auto records = static_cast<std::uint32_t>(found.checkpoint.records);
  tail->truncate(records);
  keys->truncate(records);
  end = found.end;
}

base::Result<SegmentScan> scan_segment(const env::File& file, std::uint64_t store_id,
                                       std::uint64_t segment_id, ScanOptions options) {
  SegmentScan scan;
  ASSIGN_OR_RETURN(scan.file_bytes, file.size());
  Window window(file, scan.file_bytes);
  ASSIGN_OR_RETURN(const std::string_view head, window.at(0, kFileHeaderBytes));
  ASSIGN_OR_RETURN(scan.header, decode_file_header(head, Magic::kSegment, file.path()));
  if (scan.header.store_id != store_id || scan.header.file_id != segment_id) {
    return base::fail(corrupt(file.path(), 16, "this store's id and the segment's own"));
  }
  scan.end = kFileHeaderBytes;
  Scanner scanner(window, segment_id, options, scan);
  while (true) {
    ASSIGN_OR_RETURN(const bool more, scanner.step());
    if (!more) return scan;
  }
}

base::Result<bool> has_checkpoint_behind(const env::File& file, std::uint64_t segment_id,
                                         std::uint64_t from) {
  ASSIGN_OR_RETURN(const std::uint64_t size, file.size());
  Window window(file, size);
  for (std::uint64_t at = round_up(from, kAlign); at + kCheckpointExtent <= size; at += kAlign) {
    ASSIGN_OR_RETURN(const std::string_view bytes, window.at(at, kCheckpointExtent));
    if (bytes.size() < kCheckpointExtent) return false;
    if (load_le<std::uint64_t>(bytes.data()) == 0) continue;  // never written: most of it
    const auto header = decode_record_header(bytes.data(), segment_id, at);
    if (header && header->type == RecordType::kCheckpoint) return true;
  }
  return false;
}

}  // namespace keelson::store
