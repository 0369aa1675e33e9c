#include "store/collect.h"

#include <algorithm>

namespace keelson::store {
namespace {

constexpr std::size_t kWindowMax = 4;
constexpr std::uint64_t kGapBytesMax = 64 * 1024;  // of the dead, read over rather than read twice
constexpr std::size_t kLateSlice = 1000;

}  // namespace

std::optional<Window> choose_window(std::span<const WindowCandidate> rows, std::uint64_t gain_bytes,
                                    std::uint64_t segment_bytes) {
  std::optional<Window> best;
  double best_ratio = 0;
  for (std::size_t first = 0; first < rows.size(); first++) {
    std::uint64_t files = 0, rewritten = 0, live = 0;
    for (std::size_t i = first; i < std::min(rows.size(), first + kWindowMax); i++) {
      const WindowCandidate& row = rows[i];
      if (!row.collectable) break;
      files += row.file_bytes;
      live += row.live_bytes;
      // The live records with their share of a footer.
      rewritten += row.record_bytes == 0
                       ? 0
                       : static_cast<std::uint64_t>(static_cast<double>(row.file_bytes) *
                                                    static_cast<double>(row.live_bytes) /
                                                    static_cast<double>(row.record_bytes));
      if (live > segment_bytes) break;
      const std::uint64_t freed = files > rewritten ? files - rewritten : 0;
      if (freed < gain_bytes || freed == 0) continue;
      const double ratio = static_cast<double>(freed) / static_cast<double>(rewritten + 1);
      if (ratio <= best_ratio) continue;
      best_ratio = ratio;
      best = Window{first, i - first + 1};
    }
  }
  return best;
}

Collection::Collection(Store::Impl& store, Window window)
    : store_(store), window_(window), relied_on_(store.synced_applied_index_) {
  for (std::size_t i = 0; i < window.count; i++) {
    const Row& row = store.rows_[window.first + i];
    sources_.push_back({.segment = row.segment, .deaths = row.deaths});
  }
}

void Collection::died(std::size_t row, base::Revision revision) {
  if (row >= window_.first && row < window_.first + window_.count) late_.push_back(revision);
}

base::Result<Slice> Collection::step(base::WallTime wall_now) {
  switch (phase_) {
    case Phase::kJudging:
      return judged_ < sources_.size() ? judge() : open_output(wall_now);
    case Phase::kCopying:
      return copy();
    case Phase::kFooter: {
      ASSIGN_OR_RETURN(Slice slice, output_->step_footer(*footer_));
      if (slice.next != Slice::Next::kDone) return slice;
      made_ = std::make_shared<Segment>(id_, sources_.front().segment->first(), file_,
                                        footer_->take_array(), data_end_, footer_->places());
      phase_ = Phase::kLate;
      return Slice{};
    }
    case Phase::kLate:
      return mark_late();
    case Phase::kGuarding:
      return guard(wall_now);
  }
  CHECK(false);
}

// Finds out, a source at a time, whether tombstones are among the dead.
base::Result<Slice> Collection::judge() {
  const Source& source = sources_[judged_++];
  if (drops_tombstones_ || source.deaths.records() == 0) return Slice{};
  const Segment& segment = *source.segment;
  std::string rows(segment.records() * kHashRowBytes, '\0');
  const auto got = segment.file().read_at(segment.footer().hash_rows, rows);
  if (!got || *got != rows.size() || base::crc32c(0, rows) != segment.footer().hash_rows_crc) {
    drops_tombstones_ = true;  // for all that is known
    return Slice{};
  }
  for (std::size_t i = 0; i < segment.records() && !drops_tombstones_; i++) {
    const auto length = load_le<std::uint32_t>(&rows[i * kHashRowBytes + 4]);
    drops_tombstones_ = (length & TailEntry::kTombstoneBit) != 0 && source.deaths.is_dead(i);
  }
  return Slice{};
}

std::size_t Collection::next_live(const Source& source, std::size_t ordinal) const {
  const std::size_t count = source.segment->records();
  while (ordinal < count && source.deaths.is_dead(ordinal)) ordinal++;
  return ordinal;
}

base::Result<Slice> Collection::open_output(base::WallTime wall_now) {
  while (!is_over() && next_live(sources_[source_], 0) == sources_[source_].segment->records()) {
    source_++;
  }
  if (is_over()) {
    phase_ = Phase::kLate;
    return Slice{};
  }
  id_ = store_.next_segment_id_++;
  auto file = store_.volume_.create_segment(id_, kCollectedFlag, wall_now);
  if (!file && is_no_space(file.error())) return Slice{.next = Slice::Next::kGaveUp};
  if (!file) return base::fail(std::move(file).error());
  file_ = std::make_shared<SegmentFile>(*std::move(file), store_.graveyard_);
  footer_ = std::make_unique<FooterBuilder>(store_.footer_config(id_));
  output_ = std::make_unique<SegmentOutput>(store_.volume_, file_, kFileHeaderBytes,
                                            store_.options_.push_out_bytes);
  phase_ = Phase::kCopying;
  return Slice{};
}

base::Result<Slice> Collection::copy() {
  if (output_->chunk_is_full()) return output_->write();
  const Source& source = sources_[source_];
  const std::size_t count = source.segment->records();
  ordinal_ = next_live(source, ordinal_);
  if (ordinal_ == count) {
    source_++;
    ordinal_ = 0;
    if (!is_over()) return Slice{};
    data_end_ = output_->end();
    footer_->finish_records(data_end_, chain_);
    phase_ = Phase::kFooter;
    return Slice{};
  }
  // A run: from here on, over short gaps of the dead, until a slice is full.
  const std::uint64_t from = source.segment->extent(ordinal_, count).offset;
  std::uint64_t to = from;
  std::size_t end = ordinal_;
  for (std::size_t i = ordinal_; i < count; i = next_live(source, i + 1)) {
    const Extent extent = source.segment->extent(i, count);
    if (i > ordinal_ && (extent.offset - to > kGapBytesMax ||
                         extent.offset - from > store_.options_.collection_slice_bytes)) {
      break;
    }
    to = extent.offset + extent.length;
    end = i + 1;
  }
  std::string bytes(to - from, '\0');
  const auto got = source.segment->file().read_at(from, bytes);
  if (!got) {
    store_.counters_->failed++;
    return give_up();
  }
  bytes.resize(*got);
  if (!copy_run(source, end, bytes, from)) {
    store_.counters_->corrupt++;
    return give_up();
  }
  return Slice{};
}

// Copies the live records from ordinal_ to `end`; false if one of them does not match.
bool Collection::copy_run(const Source& source, std::size_t end, std::string_view bytes,
                          std::uint64_t from) {
  for (; ordinal_ < end; ordinal_++) {
    if (source.deaths.is_dead(ordinal_)) continue;
    const Place place = source.segment->array()[ordinal_];
    const std::uint64_t skip = std::min<std::uint64_t>(place.offset - from, bytes.size());
    const auto record =
        check_record(bytes.substr(skip), source.segment->id(), place.offset, place.revision);
    if (!record) return false;
    copy_record(place.revision, *record);
  }
  return true;
}

void Collection::copy_record(base::Revision revision, const CheckedRecord& record) {
  std::string& out = output_->buffer();
  const std::uint64_t offset = output_->end();
  const RecordHeader header{.type = record.tombstone ? RecordType::kTombstone : RecordType::kPut,
                            .body_crc = record.body_crc,
                            .length = static_cast<std::uint32_t>(record.payload.size()),
                            .revision = revision};
  char head[kRecordHeaderBytes];
  encode(header, id_, offset, head);
  out.append(head, sizeof head);
  out.append(record.payload);
  out.append(header.extent() - kRecordHeaderBytes - record.payload.size(), '\0');
  chain_ = base::crc32c(chain_, std::string_view(head, sizeof head));
  footer_->add({revision, offset}, record.body_crc, record.tombstone, record.payload);
  store_.stats_.collected_bytes_rewritten += header.extent();
}

base::Result<Slice> Collection::give_up() {
  store_.rows_[window_.first + source_].damaged = true;
  store_.stats_.collections_given_up++;
  file_->condemn();
  store_.condemned_++;
  return Slice{.next = Slice::Next::kGaveUp};
}

base::Result<Slice> Collection::mark_late() {
  for (std::size_t n = 0; n < kLateSlice && !late_.empty(); n++) {
    const auto ordinal = made_ ? made_->find(late_.back(), made_->records()) : std::nullopt;
    if (ordinal) {
      made_deaths_.mark(*ordinal, made_->extent(*ordinal, made_->records()).length);
    }
    late_.pop_back();
  }
  if (late_.empty()) phase_ = Phase::kGuarding;
  return Slice{};
}

// Writes one .dead file, or swaps once there is no more to write.
base::Result<Slice> Collection::guard(base::WallTime wall_now) {
  if (!late_.empty()) {
    phase_ = Phase::kLate;
    return Slice{};
  }
  const bool guards = drops_tombstones_ && !store_.options_.broken.drop_tombstones_unguarded;
  while (guards && guarded_ < window_.first) {
    const std::size_t i = guarded_++;
    const Row& row = store_.rows_[i];
    if (row.deaths.records() == row.dead_records_saved) continue;
    const std::uint64_t generation = store_.next_dead_generation_++;
    RETURN_IF_ERROR(write_dead_file(store_.volume_, row.saved.id, generation, row.saved.records,
                                    row.deaths, wall_now));
    guards_.push_back({i, generation, row.deaths.records()});
    return Slice{};
  }
  return swap();
}

base::Result<Slice> Collection::swap() {
  std::vector<Row>& rows = store_.rows_;
  std::uint64_t files_before = 0;
  for (const Guard& guard : guards_) {
    Row& row = rows[guard.row];
    if (row.saved.dead_generation != 0) {
      store_.dead_names_.push_back(dead_name(row.saved.id, row.saved.dead_generation));
    }
    row.saved.dead_generation = guard.generation;
    row.dead_records_saved = guard.dead_records;
  }
  const auto begin = rows.begin() + static_cast<std::ptrdiff_t>(window_.first);
  const auto end = begin + static_cast<std::ptrdiff_t>(window_.count);
  std::vector<std::shared_ptr<SegmentFile>> old_files;
  for (auto it = begin; it != end; ++it) {
    files_before += it->saved.end;
    old_files.push_back(it->segment->shared_file());
    if (it->saved.dead_generation != 0) {
      store_.dead_names_.push_back(dead_name(it->saved.id, it->saved.dead_generation));
    }
  }
  if (made_) {
    *begin = Row{.saved = {.id = id_,
                           .first = made_->first(),
                           .end = footer_->end(),
                           .array_offset = data_end_,
                           .records = made_->records()},
                 .segment = made_,
                 .deaths = std::move(made_deaths_)};
  }
  rows.erase(begin + (made_ ? 1 : 0), end);
  store_.collected_index_ = std::max(store_.collected_index_, relied_on_);
  RETURN_IF_ERROR(store_.volume_.sync_directory());
  RETURN_IF_ERROR(store_.save_manifest());
  for (const auto& file : old_files) {
    if (store_.options_.broken.reuse_files_at_once) RETURN_IF_ERROR(file->file().truncate(0));
    file->condemn();
    store_.condemned_++;
  }
  store_.stats_.collections++;
  store_.stats_.collected_bytes_freed += files_before - (made_ ? footer_->end() : 0);
  store_.publish_table();
  return Slice{.next = Slice::Next::kDone};
}

}  // namespace keelson::store
