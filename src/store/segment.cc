#include "store/segment.h"

#include <algorithm>

namespace keelson::store {

std::optional<std::size_t> Segment::find(base::Revision revision, std::size_t count) const {
  if (sealed()) return array_.find(revision);
  const std::size_t ordinal = tail_->lower_bound(revision, count);
  if (ordinal == count || (*tail_)[ordinal].revision != revision) return std::nullopt;
  return ordinal;
}

std::size_t Segment::lower_bound(base::Revision revision, std::size_t count) const {
  return sealed() ? array_.lower_bound(revision) : tail_->lower_bound(revision, count);
}

base::Revision Segment::revision(std::size_t ordinal) const {
  return sealed() ? array_[ordinal].revision : (*tail_)[ordinal].revision;
}

Extent Segment::extent(std::size_t ordinal, std::size_t count) const {
  if (!sealed()) {
    const TailEntry& entry = (*tail_)[ordinal];
    return {ordinal, entry.offset, record_extent(entry.length())};
  }
  const std::uint64_t offset = array_.offset(ordinal);
  const std::uint64_t end = ordinal + 1 < count ? array_.offset(ordinal + 1) : data_end_;
  return {ordinal, offset, end - offset};
}

std::size_t SegmentTable::segment_of(base::Revision revision) const {
  const auto it = std::upper_bound(
      segments_.begin(), segments_.end(), revision,
      [](base::Revision wanted, const auto& segment) { return wanted < segment->first(); });
  if (it == segments_.begin()) return segments_.size();
  return static_cast<std::size_t>(it - segments_.begin()) - 1;
}

base::Result<std::string, base::StorageErrc> read_hash_rows(const Segment& segment,
                                                            ReadCounters& counters) {
  std::string rows(segment.records() * kHashRowBytes, '\0');
  const auto got = segment.file().read_at(segment.footer().hash_rows, rows);
  if (!got) {
    counters.failed++;
    return base::fail(base::StorageErrc::kIo);
  }
  if (*got != rows.size() || base::crc32c(0, rows) != segment.footer().hash_rows_crc) {
    counters.corrupt++;
    return base::fail(base::StorageErrc::kCorrupt);
  }
  return rows;
}

HashRow decode_hash_row(std::string_view rows, std::size_t ordinal) {
  const char* row = rows.data() + ordinal * kHashRowBytes;
  const auto length = load_le<std::uint32_t>(row + 4);
  return {.body_crc = load_le<std::uint32_t>(row),
          .length = length & ~TailEntry::kTombstoneBit,
          .tombstone = (length & TailEntry::kTombstoneBit) != 0};
}

base::Result<CheckedRecord, base::StorageErrc> check_record(std::string_view bytes,
                                                            std::uint64_t segment_id,
                                                            std::uint64_t offset,
                                                            base::Revision revision) {
  const auto corrupt = base::fail(base::StorageErrc::kCorrupt);
  if (bytes.size() < kRecordHeaderBytes) return corrupt;
  const auto header = decode_record_header(bytes.data(), segment_id, offset);
  if (!header || header->type == RecordType::kCheckpoint || header->revision != revision ||
      header->length > bytes.size() - kRecordHeaderBytes) {
    return corrupt;
  }
  const std::string_view payload = bytes.substr(kRecordHeaderBytes, header->length);
  const bool tombstone = header->type == RecordType::kTombstone;
  if (body_crc(revision, tombstone, payload) != header->body_crc) return corrupt;
  return CheckedRecord{tombstone, header->body_crc, payload};
}

}  // namespace keelson::store
