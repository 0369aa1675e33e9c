#include "store/seal.h"

#include <span>

namespace keelson::store {

namespace {

// With those records that are remembered.
FooterBuilder footer_of(Row& row, FooterBuilder::Config config) {
  FooterBuilder footer = row.footer ? std::move(*row.footer) : FooterBuilder(config);
  row.footer.reset();
  const std::size_t records = row.segment->records();
  if (footer.records() < records) {
    footer.make_room(records);
  } else {
    footer.finish_records(row.seal_end, row.seal_chain);
  }
  return footer;
}

}  // namespace

Sealing::Sealing(Store::Impl& store, std::size_t row)
    : store_(store),
      row_(row),
      footer_(footer_of(store.rows_[row], store.footer_config(store.rows_[row].saved.id))),
      output_(store.volume_, store.rows_[row].segment->shared_file(), store.rows_[row].seal_end,
              store.options_.push_out_bytes),
      next_(footer_.records()) {}

base::Result<Slice> Sealing::step() {
  if (next_ < store_.rows_[row_].segment->records()) return read_records();
  ASSIGN_OR_RETURN(Slice slice, output_.step_footer(footer_));
  if (slice.next != Slice::Next::kDone) return slice;
  return swap();
}

base::Result<Slice> Sealing::read_records() {
  const Row& row = store_.rows_[row_];
  const Segment& segment = *row.segment;
  const TailIndex& tail = *segment.tail();
  const std::size_t count = segment.records();
  const std::uint64_t from = tail[next_].offset;
  std::size_t end = next_;
  std::uint64_t to = from;
  while (end < count && (end == next_ || to - from < store_.options_.collection_slice_bytes)) {
    to = tail[end].offset + record_extent(tail[end].length());
    end++;
  }
  if (buffer_.size() < to - from) buffer_.resize(to - from);
  const std::span bytes(buffer_.data(), to - from);
  ASSIGN_OR_RETURN(const std::size_t got, segment.file().read_at(from, bytes));
  store_.stats_.seal_reads += end - next_;
  for (; next_ < end; next_++) {
    const TailEntry& entry = tail[next_];
    const std::uint64_t skip = entry.offset - from;
    const auto record = skip < got
                            ? check_record(std::string_view(buffer_).substr(skip, got - skip),
                                           segment.id(), entry.offset, entry.revision)
                            : base::Result<CheckedRecord, base::StorageErrc>(
                                  base::fail(base::StorageErrc::kCorrupt));
    if (!record) {
      // It was right when it was appended or at the start. Without its key no footer can be made;
      // the segment stays as it is, and readers are told which record it is.
      store_.rows_[row_].damaged = true;
      store_.counters_->corrupt++;
      return Slice{.next = Slice::Next::kDone};
    }
    footer_.add({entry.revision, entry.offset}, entry.body_crc, entry.tombstone(), record->payload);
  }
  if (next_ == count) footer_.finish_records(row.seal_end, row.seal_chain);
  return Slice{};
}

base::Result<Slice> Sealing::swap() {
  Row& row = store_.rows_[row_];
  row.saved.end = footer_.end();
  row.saved.array_offset = row.seal_end;
  row.saved.records = footer_.records();
  RETURN_IF_ERROR(store_.save_manifest());
  row.segment = std::make_shared<Segment>(row.saved.id, row.saved.first, row.segment->shared_file(),
                                          footer_.take_array(), row.seal_end, footer_.places());
  row.seal_end = 0;
  store_.stats_.segments_sealed++;
  store_.publish_table();
  return Slice{.next = Slice::Next::kDone};
}

}  // namespace keelson::store
