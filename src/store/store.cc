#include "store/store.h"

#include <algorithm>
#include <utility>

#include "store/collect.h"
#include "store/seal.h"
#include "store/store_impl.h"

namespace keelson::store {
namespace {

constexpr std::size_t kWriteBytes = 256 * 1024;  // of one write of records

}  // namespace

Store::Impl::Impl(env::FileSystem& files, std::string directory, Options options)
    : options_(options), volume_(files, std::move(directory), options.store_id) {
  CHECK_LE(options_.narrow_bytes_max, std::uint64_t{64} << 20);
  CHECK_LE(options_.narrow_sub_max, 511u);
}
Store::Impl::~Impl() = default;

// ---- append ----

base::Result<> Store::Impl::append(const base::Batch& batch) {
  CHECK(loaded_ && !failed_);
  CHECK_GE(batch.applied_index(), applied_index_);
  if (!batch.records().empty()) CHECK(newest_ < batch.records().oldest());
  RETURN_IF_ERROR(remember(append_records(batch)));
  RETURN_IF_ERROR(remember(append_changes(batch)));
  applied_index_ = batch.applied_index();
  applied_term_ = batch.applied_term();
  floor_ = buckets_.compact_revision(base::kScheduledCompactKey);
  dirty_ = true;
  stats_.batches++;
  if (options_.broken.seal_without_checkpoint && tail_end_ > volume_.segment_bytes()) {
    RETURN_IF_ERROR(remember(roll(options_.wall_now)));
  }
  publish_snapshot();
  return {};
}

// Records go into one buffer, and out whenever it is full; the index learns of them after the
// write.
base::Result<> Store::Impl::append_records(const base::Batch& batch) {
  const std::size_t records = batch.records().size();
  std::string& buffer = append_buffer_;
  std::vector<TailEntry> entries;
  buffer.clear();
  buffer.reserve(
      std::min(batch.record_bytes() + records * (kRecordHeaderBytes + kAlign), kWriteBytes));
  entries.reserve(std::min(records, kWriteBytes / kRecordHeaderBytes));
  const auto flush = [&]() -> base::Result<> {
    RETURN_IF_ERROR(write_tail(buffer));
    for (const TailEntry& entry : entries) tail_->append(entry);
    newest_ = entries.back().revision;
    buffer.clear();
    entries.clear();
    return {};
  };
  for (const base::Record& record : batch.records()) {
    CHECK_LE(record.encoded.size(), kPayloadBytesMax);
    const std::uint64_t offset = tail_end_ + buffer.size();
    const RecordHeader header{
        .type = record.tombstone ? RecordType::kTombstone : RecordType::kPut,
        .body_crc = body_crc(record.revision, record.tombstone, record.encoded),
        .length = static_cast<std::uint32_t>(record.encoded.size()),
        .revision = record.revision};
    char head[kRecordHeaderBytes];
    encode(header, rows_.back().saved.id, offset, head);
    buffer.append(head, sizeof head);
    buffer.append(record.encoded.view());
    buffer.resize(round_up(buffer.size(), kAlign));
    tail_chain_ = base::crc32c(tail_chain_, std::string_view(head, sizeof head));
    if (FooterBuilder* footer = footer_to_come(tail_->size() + entries.size(), offset)) {
      footer->add({header.revision, offset}, header.body_crc, record.tombstone,
                  record.encoded.view());
    }
    entries.push_back({.revision = header.revision,
                       .offset = offset,
                       .body_crc = header.body_crc,
                       .length_and_tombstone =
                           header.length | (record.tombstone ? TailEntry::kTombstoneBit : 0)});
    stats_.records++;
    stats_.record_bytes += header.length;
    if (buffer.size() >= kWriteBytes) RETURN_IF_ERROR(flush());
  }
  if (!entries.empty()) RETURN_IF_ERROR(flush());
  if (buffer.capacity() > 2 * kWriteBytes) buffer = std::string();  // a large record went through
  return {};
}

// That of the last segment, if the record that is to follow so many, which end there, is to be
// remembered in it. From the first one on that is not, all are read back: those a start found, and
// those that are not much longer than what is kept of them.
FooterBuilder* Store::Impl::footer_to_come(std::size_t records, std::uint64_t end) {
  if (records == 0) {
    tail_footer_ = std::make_unique<FooterBuilder>(footer_config(rows_.back().saved.id));
    // As many as the last one had; there is none of it before the first.
    if (options_.only_filled && rows_.size() > 1) {
      tail_footer_->make_room(rows_[rows_.size() - 2].segment->records());
    }
  }
  if (tail_footer_ == nullptr || tail_footer_->records() != records) return nullptr;
  const bool is_little =
      options_.only_filled || end >= options_.bytes_per_remembered * tail_footer_->memory_bytes();
  return is_little ? tail_footer_.get() : nullptr;
}

// What is gathered counts as written: nobody reads it before it is.
base::Result<> Store::Impl::write_tail(std::string_view bytes) {
  env::File& file = tail_file_->file();
  if (options_.only_filled) {
    RETURN_IF_ERROR(gather(bytes));
  } else {
    RETURN_IF_ERROR(volume_.with_reserve([&] { return file.write_at(tail_end_, bytes); }));
  }
  tail_end_ += bytes.size();
  bytes_since_checkpoint_ += bytes.size();
  if (options_.only_filled || tail_end_ - tail_pushed_ < options_.push_out_bytes) return {};
  RETURN_IF_ERROR(file.push_out(tail_pushed_, tail_end_ - tail_pushed_, false));
  tail_pushed_ = tail_end_;
  return {};
}

base::Result<> Store::Impl::gather(std::string_view bytes) {
  if (!gathering_) gathering_.emplace();
  if (gathering_->is_empty()) gathering_->begin(tail_end_);
  while (!bytes.empty()) {
    gathering_->take(bytes);
    if (gathering_->is_full()) RETURN_IF_ERROR(write_gathered());
  }
  return {};
}

base::Result<> Store::Impl::write_gathered() {
  if (!gathering_ || gathering_->is_empty()) return {};
  env::File& file = tail_file_->file();
  if (gathering_->is_whole() && tail_footer_ != nullptr) file.bypass_cache();
  RETURN_IF_ERROR(volume_.with_reserve(
      [&] { return file.write_at(gathering_->offset(), gathering_->piece()); }));
  gathering_->next();
  return {};
}

base::Result<> Store::Impl::append_changes(const base::Batch& batch) {
  if (batch.changes().empty()) return {};
  const std::uint64_t before = log_->place().length;
  RETURN_IF_ERROR(log_->append(batch.changes()));
  bytes_since_checkpoint_ += log_->place().length - before;
  if (rewrite_ && !options_.broken.rewrite_misses_changes) {
    RETURN_IF_ERROR(rewrite_->log->append(batch.changes()));
  }
  for (const base::BucketChange& change : batch.changes()) buckets_.apply(change);
  return {};
}

void Store::Impl::publish_snapshot() {
  snapshot_ = std::make_shared<Snapshot>(table_, tail_->size(), newest_, applied_index_);
}

void Store::Impl::publish_table() {
  std::vector<std::shared_ptr<const Segment>> segments;
  segments.reserve(rows_.size());
  for (const Row& row : rows_) segments.push_back(row.segment);
  table_ = std::make_shared<SegmentTable>(std::move(segments), counters_,
                                          options_.broken.serve_unchecked);
  publish_snapshot();
}

// ---- checkpoint ----

bool Store::Impl::checkpoint_due(base::TimePoint now) const {
  if (!dirty_) return false;
  if (tail_ends_) return true;
  return bytes_since_checkpoint_ >= options_.checkpoint_bytes || !last_checkpoint_at_ ||
         now - *last_checkpoint_at_ >= options_.checkpoint_interval;
}

base::Result<> Store::Impl::checkpoint(base::TimePoint now, base::WallTime wall_now) {
  CHECK(loaded_ && !failed_);
  const bool buckets_first = !options_.broken.checkpoint_before_buckets;
  // A rewritten log that is complete takes over; nothing of the old one is needed from here on.
  if (rewrite_ && rewrite_->complete) {
    old_log_ = std::exchange(log_, std::move(rewrite_->log));
    old_log_may_go_ = false;
    rewrite_.reset();
    stats_.bucket_log_rewrites++;
    RETURN_IF_ERROR(remember(volume_.sync_directory()));
  } else if (old_log_) {
    old_log_may_go_ = true;  // once this checkpoint is synced
  }
  if (buckets_first) RETURN_IF_ERROR(remember(log_->sync()));
  RETURN_IF_ERROR(remember(write_checkpoint(wall_now)));
  RETURN_IF_ERROR(remember(write_gathered()));
  if (!options_.broken.checkpoint_without_sync) {
    RETURN_IF_ERROR(remember(tail_file_->file().sync()));
  }
  tail_pushed_ = tail_end_;
  synced_applied_index_ = applied_index_;
  synced_floor_ = floor_;
  last_checkpoint_at_ = now;
  dirty_ = false;
  bytes_since_checkpoint_ = 0;
  stats_.checkpoints++;
  if (old_log_ && old_log_may_go_) {
    dead_names_.push_back(log_name(old_log_->id()));
    old_log_.reset();
  }
  const bool ends = std::exchange(tail_ends_, false);
  if (reclaiming_ == Reclaiming::kTailEnds) reclaiming_ = Reclaiming::kCollecting;
  if ((tail_end_ > volume_.segment_bytes() || ends) && tail_->size() > 0) {
    RETURN_IF_ERROR(remember(roll(wall_now)));
    publish_table();
  }
  return {};
}

// Of what is in here; its place is that of the first in a segment.
Checkpoint Store::Impl::next_checkpoint(base::WallTime wall_now) const {
  return {.number = checkpoint_number_ + 1,
          .applied_index = applied_index_,
          .applied_term = applied_term_,
          .newest = newest_,
          .log_id = log_->id(),
          .log_length = log_->place().length,
          .log_chain = log_->place().chain,
          .wall_ns = wall_now.time_since_epoch().count(),
          .floor = floor_};
}

base::Result<> Store::Impl::write_checkpoint(base::WallTime wall_now) {
  Checkpoint checkpoint = next_checkpoint(wall_now);
  checkpoint.segment_chain = tail_chain_;
  checkpoint.previous_offset = last_checkpoint_offset_;
  checkpoint.records = tail_->size();
  checkpoint_number_ = checkpoint.number;
  const std::string bytes = encode(checkpoint, rows_.back().saved.id, tail_end_);
  const std::uint64_t at = tail_end_;
  RETURN_IF_ERROR(write_tail(bytes));
  tail_chain_ = base::crc32c(tail_chain_, std::string_view(bytes).substr(0, kRecordHeaderBytes));
  last_checkpoint_offset_ = at;
  return {};
}

// A segment that takes appends, with its header and first checkpoint, synced; the directory is not.
base::Result<std::unique_ptr<env::File>> Store::Impl::begin_segment(std::uint64_t id,
                                                                    base::WallTime wall_now) {
  ASSIGN_OR_RETURN(auto file, volume_.create_segment(id, 0, wall_now));
  const std::string bytes = encode(next_checkpoint(wall_now), id, kFileHeaderBytes);
  RETURN_IF_ERROR(volume_.with_reserve([&] { return file->write_at(kFileHeaderBytes, bytes); }));
  RETURN_IF_ERROR(file->sync());
  checkpoint_number_++;
  tail_end_ = tail_pushed_ = kFileHeaderBytes + bytes.size();
  tail_chain_ = base::crc32c(0, std::string_view(bytes).substr(0, kRecordHeaderBytes));
  last_checkpoint_offset_ = kFileHeaderBytes;
  return file;
}

// Ends the last segment, just checkpointed, and begins the next. Without room for one it goes on
// growing.
base::Result<> Store::Impl::roll(base::WallTime wall_now) {
  const std::uint64_t ended_at = tail_end_;
  const std::uint32_t ended_chain = tail_chain_;
  const std::uint64_t id = next_segment_id_;
  auto file = begin_segment(id, wall_now);
  if (!file && is_no_space(file.error())) return {};
  if (!file) return base::fail(file.error());
  next_segment_id_++;
  RETURN_IF_ERROR(volume_.sync_directory());
  CHECK(!gathering_ || gathering_->is_empty());
  rows_.back().seal_end = ended_at;
  rows_.back().seal_chain = ended_chain;
  rows_.back().footer = std::move(tail_footer_);
  tail_ = std::make_shared<TailIndex>();
  tail_file_ = std::make_shared<SegmentFile>(*std::move(file), graveyard_);
  const base::Revision first{newest_.main,
                             newest_.sub + (options_.broken.overlapping_segments ? 0 : 1)};
  rows_.push_back({.saved = {.id = id, .first = first},
                   .segment = std::make_shared<Segment>(id, first, tail_file_, tail_)});
  RETURN_IF_ERROR(save_manifest());
  if (options_.broken.seal_without_checkpoint) publish_table();
  return {};
}

ManifestState Store::Impl::manifest_state() const {
  ManifestState state{.next_segment_id = next_segment_id_,
                      .next_log_id = next_log_id_,
                      .archived_to = archived_to_,
                      .collected_index = collected_index_,
                      .next_dead_generation = next_dead_generation_};
  for (const Row& row : rows_) state.segments.push_back(row.saved);
  return state;
}

base::Result<> Store::Impl::save_manifest() { return manifest_->save(manifest_state()); }

base::Result<> Store::Impl::set_archived_to(std::int64_t revision) {
  CHECK(!failed_);
  archived_to_ = revision;
  return remember(save_manifest());
}

// ---- the dead ----

bool Store::Impl::mark_one(std::size_t row, std::size_t ordinal) {
  const Segment& segment = *rows_[row].segment;
  const Extent extent = segment.extent(ordinal, segment.records());
  if (!rows_[row].deaths.mark(ordinal, extent.length)) return false;
  stats_.records_dead++;
  return true;
}

void Store::Impl::mark_dead(std::span<const base::Revision> revisions) {
  for (const base::Revision revision : revisions) dying_.push_back({floor_, revision});
}

// ---- figures ----

Space Store::Impl::space() const {
  Space space{.live_bytes = buckets_.bytes(),
              .file_bytes = log_->place().length + manifest_->bytes(),
              .available_bytes = volume_.available_bytes(),
              .reserve_available = volume_.whole()};
  for (const Row& row : rows_) {
    space.live_bytes += row.record_bytes(tail_end_) - row.deaths.bytes();
    space.file_bytes += row.saved.sealed()  ? row.saved.end
                        : row.seal_end != 0 ? row.seal_end
                                            : tail_end_;
  }
  return space;
}

Stats Store::Impl::stats() const {
  Stats stats = stats_;
  stats.reserve_used = volume_.reserve_used();
  stats.reads_missing = counters_->missing;
  stats.reads_corrupt = counters_->corrupt;
  stats.reads_failed = counters_->failed;
  return stats;
}

// ---- Store ----

Store::Store(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Store::~Store() = default;

base::Result<Store::Opened> Store::open(env::FileSystem& files, const std::string& directory,
                                        Options options) {
  auto impl = std::make_unique<Impl>(files, directory, options);
  ASSIGN_OR_RETURN(const Recovered recovered, impl->open());
  return Opened{.store = std::unique_ptr<Store>(new Store(std::move(impl))),
                .recovered = recovered};
}

base::Result<> Store::load(
    const std::function<void(std::string_view, std::span<const LiveRevision>)>& visit) {
  return impl_->load(visit);
}
const Buckets& Store::buckets() const { return impl_->buckets_; }
base::Result<> Store::append(std::shared_ptr<const base::Batch> batch) {
  return impl_->append(*batch);
}
std::shared_ptr<const Snapshot> Store::snapshot() const { return impl_->snapshot(); }
bool Store::checkpoint_due(base::TimePoint now) const { return impl_->checkpoint_due(now); }
base::Result<> Store::checkpoint(base::TimePoint now, base::WallTime wall_now) {
  return impl_->checkpoint(now, wall_now);
}
std::uint64_t Store::synced_applied_index() const { return impl_->synced_applied_index_; }
void Store::mark_dead(std::span<const base::Revision> revisions) { impl_->mark_dead(revisions); }
base::Result<Step> Store::step(base::TimePoint now, base::WallTime wall_now) {
  return impl_->step(now, wall_now);
}
bool Store::has_condemned() const { return impl_->condemned_ > 0; }
void Store::reclaim() { impl_->reclaim(); }
void Store::end_tail() { impl_->end_tail(); }
base::Result<Step> Store::waited(base::Result<> outcome, base::TimePoint now) {
  return impl_->waited(std::move(outcome), now);
}
base::Result<> Store::set_archived_to(std::int64_t revision) {
  return impl_->set_archived_to(revision);
}
std::int64_t Store::archived_to() const { return impl_->archived_to_; }
Space Store::space() const { return impl_->space(); }
Stats Store::stats() const { return impl_->stats(); }
std::uint64_t Store::store_id() const { return impl_->volume_.store_id(); }

}  // namespace keelson::store
