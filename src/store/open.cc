// How a store is opened: everything is read and judged first, then changed.

#include <fmt/format.h>

#include <algorithm>

#include "store/collect.h"
#include "store/seal.h"
#include "store/store_impl.h"

namespace keelson::store {
namespace {

using base::fail;
using base::make_error;

// Keys from a footer that is made again if a block of it does not match.
class HealingKeys final : public KeySource {
 public:
  HealingKeys(const Segment& segment, std::function<base::Result<>()> heal)
      : keys_(segment), heal_(std::move(heal)) {}
  base::Result<bool> next() override {
    auto more = keys_.next();
    if (!more && more.error().code == std::errc::bad_message && heal_) {
      const base::Result<> healed = std::exchange(heal_, nullptr)();
      if (!healed) return fail(healed.error());
      more = keys_.next();
    }
    if (more && *more) row_ = keys_.row();
    return more;
  }

 private:
  FooterKeys keys_;
  std::function<base::Result<>()> heal_;
};

bool is_successor(const Checkpoint& first, const Checkpoint& last) {
  return first.number == last.number + 1 && first.applied_index == last.applied_index &&
         first.newest == last.newest && first.floor == last.floor;
}

}  // namespace

base::Result<Recovered> Store::Impl::open() {
  RETURN_IF_ERROR(volume_.files().make_directories(volume_.directory()));
  ASSIGN_OR_RETURN(auto opened, Manifest::open(volume_));
  manifest_ = std::move(opened.manifest);
  ASSIGN_OR_RETURN(const auto names, volume_.files().list(volume_.directory()));
  if (!opened.state) {
    RETURN_IF_ERROR(refuse_orphans(names, 0));
    return create(options_.store_id);
  }
  volume_.set_store_id(opened.store_id);
  return recover(*std::move(opened.state), names);
}

// ---- a new store ----

base::Result<Recovered> Store::Impl::create(std::uint64_t store_id) {
  volume_.set_store_id(store_id);
  RETURN_IF_ERROR(volume_.start({.segment_bytes = options_.segment_bytes,
                                 .reserve = options_.reserve,
                                 .keep_shut = options_.broken.keep_reserve_shut}));
  ASSIGN_OR_RETURN(log_, BucketLog::create(volume_, next_log_id_++, options_.wall_now));
  RETURN_IF_ERROR(log_->sync());
  const std::uint64_t id = next_segment_id_++;
  ASSIGN_OR_RETURN(auto file, begin_segment(id, options_.wall_now));
  RETURN_IF_ERROR(volume_.sync_directory());
  tail_ = std::make_shared<TailIndex>();
  tail_file_ = std::make_shared<SegmentFile>(std::move(file), graveyard_);
  rows_.push_back({.saved = {.id = id},
                   .segment = std::make_shared<Segment>(id, base::Revision{}, tail_file_, tail_)});
  RETURN_IF_ERROR(manifest_->create(options_.wall_now));
  RETURN_IF_ERROR(save_manifest());
  RETURN_IF_ERROR(volume_.sync_directory());
  const std::string& directory = volume_.directory();
  if (const auto slash = directory.find_last_of('/'); slash != std::string::npos && slash > 0) {
    RETURN_IF_ERROR(volume_.files().sync_directory(directory.substr(0, slash)));
  }
  publish_table();
  return Recovered{.fresh = true};
}

// True if this segment took appends and holds more than its first checkpoint.
base::Result<bool> Store::Impl::holds_appended_records(std::uint64_t id) {
  ASSIGN_OR_RETURN(const auto file,
                   volume_.files().open(volume_.path(segment_name(id)), env::OpenMode::kRead));
  char head[kFileHeaderBytes];
  ASSIGN_OR_RETURN(const std::size_t got, file->read_at(0, head));
  const auto header =
      decode_file_header(std::string_view(head, got), Magic::kSegment, file->path());
  if (!header || (header->flags & kCollectedFlag) != 0 || header->file_id != id) return false;
  const std::uint64_t behind_first = kFileHeaderBytes + kCheckpointExtent;
  char record[kRecordHeaderBytes];
  ASSIGN_OR_RETURN(const std::size_t record_got, file->read_at(behind_first, record));
  return record_got == sizeof record && decode_record_header(record, id, behind_first).has_value();
}

// No manifest, or an old one, names what holds data: docs/format/store.md 4.3.
base::Result<> Store::Impl::refuse_orphans(const std::vector<std::string>& names,
                                           std::uint64_t from_id) {
  for (const std::string& name : names) {
    const auto parsed = parse_name(name);
    if (!parsed || parsed->kind != FileName::Kind::kSegment || parsed->id < from_id) continue;
    ASSIGN_OR_RETURN(const bool holds, holds_appended_records(parsed->id));
    if (holds) {
      return fail(corrupt(volume_.path(kManifestName), 0,
                          fmt::format("a valid slot that names segment {}", name)));
    }
  }
  return {};
}

// ---- an old one ----

base::Result<std::unique_ptr<env::File>> Store::Impl::open_segment_file(std::uint64_t id) {
  auto file = volume_.files().open(volume_.path(segment_name(id)), env::OpenMode::kReadWrite);
  if (!file) {
    return fail(
        base::Error{file.error().code, fmt::format("segment {} that the manifest names: {}",
                                                   segment_name(id), file.error().context)});
  }
  return file;
}

base::Result<> Store::Impl::open_sealed(const SegmentRow& saved) {
  ASSIGN_OR_RETURN(auto file, open_segment_file(saved.id));
  char head[kFileHeaderBytes];
  ASSIGN_OR_RETURN(const std::size_t got, file->read_at(0, head));
  ASSIGN_OR_RETURN(const FileHeader header,
                   decode_file_header(std::string_view(head, got), Magic::kSegment, file->path()));
  if (header.store_id != volume_.store_id() || header.file_id != saved.id) {
    return fail(corrupt(file->path(), 16, "this store's id and the segment's own"));
  }
  auto footer = open_footer(*file, saved.id, saved.end);
  if (options_.broken.start_reads_records ||
      (!footer && footer.error().code == std::errc::bad_message)) {
    footer = rebuild_footer(*file, saved);
  }
  if (!footer) return fail(footer.error());
  if (footer->array.size() != saved.records || footer->data_end != saved.array_offset) {
    return fail(corrupt(file->path(), saved.array_offset,
                        fmt::format("{} records before it, as the manifest says", saved.records)));
  }
  auto shared = std::make_shared<SegmentFile>(std::move(file), graveyard_);
  rows_.push_back({.saved = saved,
                   .segment = std::make_shared<Segment>(saved.id, saved.first, std::move(shared),
                                                        std::move(footer->array), footer->data_end,
                                                        footer->places)});
  return {};
}

// The same bytes at the same place: whatever a crash leaves of this is again a footer that does not
// match.
base::Result<OpenedFooter> Store::Impl::rebuild_footer(env::File& file, const SegmentRow& saved) {
  ASSIGN_OR_RETURN(const SegmentScan scan,
                   scan_segment(file, volume_.store_id(), saved.id, {.until = saved.array_offset}));
  if (scan.end != saved.array_offset || scan.tail->size() != saved.records) {
    return fail(corrupt(file.path(), scan.end,
                        fmt::format("{} (the footer does not match either)", scan.expected)));
  }
  FooterBuilder builder(footer_config(saved.id));
  std::string payload;
  for (std::size_t i = 0; i < scan.tail->size(); i++) {
    const TailEntry& entry = (*scan.tail)[i];
    payload.resize(entry.length());
    ASSIGN_OR_RETURN(const std::size_t got,
                     file.read_at(entry.offset + kRecordHeaderBytes, payload));
    if (got != payload.size()) return fail(corrupt(file.path(), entry.offset, "a record"));
    builder.add({entry.revision, entry.offset}, entry.body_crc, entry.tombstone(), payload);
  }
  builder.finish_records(saved.array_offset, scan.chain);
  std::string bytes;
  while (builder.step(std::size_t{1} << 20, bytes)) {
  }
  if (builder.end() != saved.end) {
    return fail(corrupt(file.path(), saved.array_offset,
                        fmt::format("a footer that ends at {}", saved.end)));
  }
  RETURN_IF_ERROR(volume_.with_reserve([&] { return file.write_at(saved.array_offset, bytes); }));
  RETURN_IF_ERROR(file.sync());
  stats_.footers_rebuilt++;
  return open_footer(file, saved.id, saved.end);
}

// nullptr if that log is not there or not readable: then the checkpoint is no candidate.
base::Result<const BucketLog*> Store::Impl::log_of(const Checkpoint& checkpoint) {
  const auto it = found_logs_.find(checkpoint.log_id);
  if (it != found_logs_.end()) return it->second.get();
  auto log = BucketLog::open(volume_, checkpoint.log_id);
  if (!log && log.error().code != std::errc::bad_message &&
      log.error().code != std::errc::no_such_file_or_directory) {
    return fail(log.error());
  }
  auto& place = found_logs_[checkpoint.log_id];
  if (log) place = *std::move(log);
  return place.get();
}

base::Result<Store::Impl::Chosen> Store::Impl::choose_checkpoint(const SegmentScan& scan,
                                                                 const std::string& path) {
  std::string expected = fmt::format("{} at {}", scan.expected, scan.end);
  for (auto it = scan.checkpoints.rbegin(); it != scan.checkpoints.rend(); ++it) {
    const Checkpoint& checkpoint = it->checkpoint;
    ASSIGN_OR_RETURN(const BucketLog* log, log_of(checkpoint));
    const LogPlace place{checkpoint.log_length, checkpoint.log_chain};
    const bool reaches =
        log != nullptr && (log->reaches(place) || (options_.broken.take_unclean_checkpoint));
    if (!reaches) {
      expected = fmt::format("bucket log {} with chain {:08x} at {}", log_name(checkpoint.log_id),
                             place.chain, place.length);
      continue;
    }
    const std::uint64_t needed = std::max(options_.replay_from, collected_index_);
    if (checkpoint.applied_index < needed && !options_.broken.take_unclean_checkpoint) {
      return fail(corrupt(path, it->offset,
                          fmt::format("a checkpoint at index {} or later, the last whole one is at "
                                      "{}; behind it {}",
                                      needed, checkpoint.applied_index, expected)));
    }
    return Chosen{.found = *it, .fell_back = it != scan.checkpoints.rbegin()};
  }
  return fail(corrupt(path, scan.end, "a whole checkpoint before; " + expected));
}

// Of an older segment without footer: its records end at the checkpoint that the next one begins
// with.
base::Result<> Store::Impl::cut_sealing(SegmentScan& scan, const SegmentScan& next,
                                        const std::string& path) {
  for (const FoundCheckpoint& found : scan.checkpoints) {
    if (next.checkpoints.empty()) break;
    if (!is_successor(next.checkpoints.front().checkpoint, found.checkpoint)) continue;
    scan.chain = found.chain_behind;
    scan.cut_to(found);
    return {};
  }
  return fail(corrupt(path, scan.end,
                      fmt::format("{}, and behind it the checkpoint with which the next segment "
                                  "begins",
                                  scan.expected)));
}

base::Result<Recovered> Store::Impl::recover(ManifestState state,
                                             const std::vector<std::string>& names) {
  RETURN_IF_ERROR(refuse_orphans(names, state.next_segment_id));
  next_segment_id_ = state.next_segment_id;
  next_log_id_ = state.next_log_id;
  next_dead_generation_ = state.next_dead_generation;
  archived_to_ = state.archived_to;
  collected_index_ = state.collected_index;

  // Read and judge.
  std::vector<std::pair<SegmentScan, std::shared_ptr<SegmentFile>>> scans;
  for (const SegmentRow& saved : state.segments) {
    if (saved.sealed()) {
      RETURN_IF_ERROR(open_sealed(saved));
      continue;
    }
    ASSIGN_OR_RETURN(auto file, open_segment_file(saved.id));
    // What is taken here counts as durable from now on. (A sealed one was when the manifest said
    // so.)
    RETURN_IF_ERROR(file->settle());
    ASSIGN_OR_RETURN(auto scan,
                     scan_segment(*file, volume_.store_id(), saved.id,
                                  {.unchecked = options_.broken.take_unclean_checkpoint}));
    scans.emplace_back(std::move(scan), std::make_shared<SegmentFile>(std::move(file), graveyard_));
  }
  const std::size_t sealed = rows_.size();
  for (std::size_t i = 0; i + 1 < scans.size(); i++) {
    RETURN_IF_ERROR(
        cut_sealing(scans[i].first, scans[i + 1].first, scans[i].second->file().path()));
  }
  auto& [last_scan, last_file] = scans.back();
  ASSIGN_OR_RETURN(Chosen chosen, choose_checkpoint(last_scan, last_file->file().path()));
  if (!chosen.fell_back && last_scan.end < last_scan.file_bytes) {
    char next[8] = {};
    ASSIGN_OR_RETURN(const std::size_t got, last_file->file().read_at(last_scan.end, next));
    if (got == sizeof next && load_le<std::uint64_t>(next) != 0) {
      ASSIGN_OR_RETURN(
          chosen.fell_back,
          has_checkpoint_behind(last_file->file(), state.segments.back().id, last_scan.end));
    }
  }
  Recovered recovered{
      .applied_index = chosen.found.checkpoint.applied_index,
      .applied_term = chosen.found.checkpoint.applied_term,
      .newest = chosen.found.checkpoint.newest,
      .checkpoint_time = base::WallTime(base::Duration(chosen.found.checkpoint.wall_ns)),
      .dropped_bytes = last_scan.end - chosen.found.end,
      .fell_back = chosen.fell_back};

  // Change.
  RETURN_IF_ERROR(volume_.start({.segment_bytes = options_.segment_bytes,
                                 .reserve = options_.reserve,
                                 .keep_shut = options_.broken.keep_reserve_shut}));
  last_scan.cut_to(chosen.found);
  for (std::size_t i = 0; i < scans.size(); i++) {
    auto& [scan, file] = scans[i];
    const SegmentRow& saved = state.segments[sealed + i];
    const bool is_last = i + 1 == scans.size();
    while (scan.keys->sort_step()) {
    }
    rows_.push_back({.saved = saved,
                     .segment = std::make_shared<Segment>(saved.id, saved.first, file, scan.tail),
                     .seal_end = is_last ? 0 : scan.end,
                     .seal_chain = scan.chain,
                     .keys = std::move(scan.keys)});
  }
  tail_ = last_scan.tail;
  tail_file_ = last_file;
  RETURN_IF_ERROR(take_tail(std::move(last_scan), chosen));
  RETURN_IF_ERROR(mark_saved_deaths());
  RETURN_IF_ERROR(remove_leftovers(names));
  publish_table();
  recovered.scheduled_compact = buckets_.compact_revision(base::kScheduledCompactKey);
  recovered.finished_compact = buckets_.compact_revision(base::kFinishedCompactKey);
  return recovered;
}

// Goes on behind the chosen checkpoint; what lies there now must never be met again.
base::Result<> Store::Impl::take_tail(SegmentScan scan, const Chosen& chosen) {
  const Checkpoint& checkpoint = chosen.found.checkpoint;
  tail_end_ = tail_pushed_ = chosen.found.end;
  tail_chain_ = chosen.found.chain_behind;
  last_checkpoint_offset_ = chosen.found.offset;
  applied_index_ = synced_applied_index_ = checkpoint.applied_index;
  applied_term_ = checkpoint.applied_term;
  newest_ = checkpoint.newest;
  checkpoint_number_ = checkpoint.number;
  log_ = std::move(found_logs_[checkpoint.log_id]);
  found_logs_.clear();
  RETURN_IF_ERROR(log_->recover({checkpoint.log_length, checkpoint.log_chain}, buckets_));
  floor_ = synced_floor_ = buckets_.compact_revision(base::kScheduledCompactKey);
  if (scan.file_bytes == tail_end_) return {};
  RETURN_IF_ERROR(tail_file_->file().truncate(tail_end_));
  const std::uint64_t room = volume_.segment_bytes() + volume_.segment_bytes() / 3;
  if (room > tail_end_) {
    const base::Result<> had = tail_file_->file().preallocate(room);
    if (!had && !is_no_space(had.error())) return had;  // room is a convenience here
  }
  return tail_file_->file().sync();
}

base::Result<> Store::Impl::mark_saved_deaths() {
  for (std::size_t i = 0; i < rows_.size(); i++) {
    const SegmentRow& saved = rows_[i].saved;
    if (saved.dead_generation == 0) continue;
    ASSIGN_OR_RETURN(const auto ordinals,
                     read_dead_file(volume_, saved.id, saved.dead_generation, saved.records));
    for (const std::uint32_t ordinal : ordinals) mark_one(i, ordinal);
    rows_[i].dead_records_saved = ordinals.size();
  }
  return {};
}

base::Result<> Store::Impl::remove_leftovers(const std::vector<std::string>& names) {
  using Kind = FileName::Kind;
  bool removed = false;
  for (const std::string& name : names) {
    const auto parsed = parse_name(name);
    if (!parsed) continue;
    const auto row = std::find_if(rows_.begin(), rows_.end(),
                                  [&](const Row& r) { return r.saved.id == parsed->id; });
    bool is_ours = true;
    if (parsed->kind == Kind::kSegment) {
      next_segment_id_ = std::max(next_segment_id_, parsed->id + 1);
      is_ours = row != rows_.end();
    } else if (parsed->kind == Kind::kLog) {
      next_log_id_ = std::max(next_log_id_, parsed->id + 1);
      is_ours = parsed->id == log_->id();
    } else if (parsed->kind == Kind::kDead) {
      next_dead_generation_ = std::max(next_dead_generation_, parsed->generation + 1);
      is_ours = row != rows_.end() && row->saved.dead_generation == parsed->generation;
    }
    if (is_ours) continue;
    RETURN_IF_ERROR(volume_.files().remove(volume_.path(name)));
    removed = true;
  }
  if (!removed) return {};
  return volume_.sync_directory();
}

// ---- load ----

// `history` is all records of one key that are not known dead already, ascending, each with its
// row. At floor R the newest <= R stays unless it is a tombstone below R; api.md 2.8.
void Store::Impl::mark_by_floor(std::int64_t floor,
                                std::vector<std::pair<std::size_t, KeyRow>>& history,
                                std::vector<LiveRevision>& live) {
  std::size_t first_live = 0;
  while (first_live < history.size() && history[first_live].second.mod.main <= floor) first_live++;
  if (first_live > 0) {
    const KeyRow& newest = history[first_live - 1].second;
    if (!newest.tombstone || newest.mod.main == floor) first_live--;
  }
  for (std::size_t i = 0; i < history.size(); i++) {
    const auto& [row, key] = history[i];
    if (i < first_live) {
      mark_one(row, key.ordinal);
    } else {
      live.push_back({.mod = key.mod,
                      .create_revision = key.create_revision,
                      .version = key.version,
                      .lease = key.lease,
                      .bytes = key.bytes,
                      .tombstone = key.tombstone});
    }
  }
}

base::Result<> Store::Impl::load(
    const std::function<void(std::string_view, std::span<const LiveRevision>)>& visit) {
  CHECK(!loaded_);
  std::vector<std::unique_ptr<KeySource>> sources;
  for (Row& row : rows_) {
    if (!row.segment->sealed()) {
      sources.push_back(row.keys ? std::move(row.keys) : std::make_unique<MemoryKeys>());
      continue;
    }
    sources.push_back(std::make_unique<HealingKeys>(*row.segment, [this, &row]() -> base::Result<> {
      auto rebuilt = rebuild_footer(row.segment->shared_file()->file(), row.saved);
      if (!rebuilt) return fail(rebuilt.error());
      return {};
    }));
  }
  KeyMerge merge(std::move(sources), options_.broken.load_unmerged);
  std::string key;
  std::vector<std::pair<std::size_t, KeyRow>> history;
  std::vector<LiveRevision> live;
  bool has_key = false;
  const auto finish_key = [&] {
    live.clear();
    mark_by_floor(floor_, history, live);
    if (!live.empty()) visit(key, live);
    history.clear();
  };
  while (true) {
    ASSIGN_OR_RETURN(const bool more, merge.next());
    if (!more) break;
    const KeyRow& row = merge.row();
    if (has_key && row.key != key) finish_key();
    if (!has_key || row.key != key) key.assign(row.key);
    has_key = true;
    if (!rows_[merge.source()].deaths.is_dead(row.ordinal)) {
      history.emplace_back(merge.source(), row);
    }
  }
  if (has_key) finish_key();
  loaded_ = true;
  return {};
}

}  // namespace keelson::store
