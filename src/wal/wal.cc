#include "wal/wal.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"
#include "base/planted.h"
#include "wal/reader.h"

namespace keelson::wal {

namespace {

constexpr std::size_t kCopyBytes = 1u << 20;

// Each byte equals the one before it, and the first is zero: as fast as memory is compared.
bool is_zero(std::string_view bytes) {
  return bytes.empty() ||
         (bytes[0] == '\0' && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

std::string_view without_trailing_slashes(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return path;
}

std::string parent_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return std::string(path.substr(0, std::max<std::size_t>(slash, 1)));
}

// "20240131.175900.123456"
std::string time_suffix(base::WallTime now) {
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch());
  return fmt::format("{:%Y%m%d.%H%M%S}.{:06}",
                     fmt::gmtime(static_cast<std::time_t>(micros.count() / 1'000'000)),
                     micros.count() % 1'000'000);
}

// What the records say, taken in order. formats.md 1.6.
class Replay {
 public:
  explicit Replay(Start start) : start_(start) {}

  Result<> apply(const Reader& reader, const Record& record) {
    switch (record.type) {
      case static_cast<std::int64_t>(RecordType::kMetadata):
        return on_metadata(reader, record);
      case static_cast<std::int64_t>(RecordType::kEntry):
        return on_entry(reader, record);
      case static_cast<std::int64_t>(RecordType::kState):
        return on_state(reader, record);
      case static_cast<std::int64_t>(RecordType::kCrc):
        return {};
      case static_cast<std::int64_t>(RecordType::kSnapshot):
        return on_snapshot(reader, record);
      default:
        return error(reader, Errc::kBadRecord,
                     fmt::format("a record of unknown type {}", record.type));
    }
  }

  bool matched() const { return matched_; }
  raft::Index last_index() const { return last_index_; }
  Recovered take() { return std::move(recovered_); }

 private:
  static std::unexpected<Error> error(const Reader& reader, Errc code, std::string what) {
    return base::fail(Error(code, reader.path(), reader.record_offset(), std::move(what)));
  }

  Result<> on_metadata(const Reader& reader, const Record& record) {
    if (has_metadata_ && recovered_.metadata != record.data) {
      return error(reader, Errc::kMetadataConflict,
                   "metadata differs from that of an earlier file");
    }
    has_metadata_ = true;
    recovered_.metadata = std::string(record.data);
    return {};
  }

  Result<> on_entry(const Reader& reader, const Record& record) {
    auto entry = decode_entry(record.data);
    if (!entry) return error(reader, Errc::kBadRecord, "an entry that cannot be read");
    auto& entries = recovered_.entries;
    last_index_ = entry->index;
    if (entry->index <= start_.index) {
      // What was read of later ones it has replaced.
      entries.clear();
      term_at_start_ = entry->index == start_.index ? entry->term : 0;
      return {};
    }
    // A new leader may have replaced what was appended before: an entry ends the log behind it.
    const std::uint64_t place = entry->index - start_.index - 1;
    if (place > entries.size()) {
      return error(reader, Errc::kGap,
                   fmt::format("entry {} where at most {} was expected", entry->index,
                               start_.index + entries.size() + 1));
    }
    entries.resize(place);
    const raft::Term before = entries.empty() ? 0 : entries.back().term;
    if (entry->term < before) {
      return error(reader, Errc::kBadRecord,
                   fmt::format("entry {} has term {} after one of term {}", entry->index,
                               entry->term, before));
    }
    entries.push_back(std::move(*entry));
    return {};
  }

  Result<> on_state(const Reader& reader, const Record& record) {
    const auto state = decode_state(record.data);
    if (!state) return error(reader, Errc::kBadRecord, "a hard state that cannot be read");
    recovered_.hard_state = *state;
    return {};
  }

  Result<> on_snapshot(const Reader& reader, const Record& record) {
    const auto snapshot = decode_snapshot(record.data);
    if (!snapshot) return error(reader, Errc::kBadRecord, "a snapshot mark that cannot be read");
    last_index_ = std::max(last_index_, snapshot->index);
    if (snapshot->index != start_.index) return {};
    if (snapshot->term != start_.term) {
      return error(reader, Errc::kSnapshotMismatch,
                   fmt::format("snapshot {} has term {}, expected {}", snapshot->index,
                               snapshot->term, start_.term));
    }
    // A mark of a snapshot that our own log led to keeps what follows it. One that came from a
    // leader, because our log led elsewhere, replaced the log; what was read of that must not come
    // back.
    if (!matched_ && term_at_start_ != start_.term) recovered_.entries.clear();
    matched_ = true;
    return {};
  }

  Start start_;
  Recovered recovered_;
  bool has_metadata_ = false;
  bool matched_ = false;
  raft::Term term_at_start_ = 0;  // of the entry at start_.index as the log stood last; 0: not read
  raft::Index last_index_ = 0;
};

Error snapshot_not_found(const std::string& directory, Start start) {
  return Error(Errc::kSnapshotNotFound, directory, 0,
               fmt::format("no mark of snapshot {} of term {}", start.index, start.term));
}

// Files of a log opened to be read only.
struct OpenFiles {
  std::vector<std::unique_ptr<env::File>> files;
  std::vector<Reader::Source> sources;
};

Result<OpenFiles> open_to_read(env::FileSystem& files, const std::string& directory,
                               const std::vector<SegmentName>& names) {
  OpenFiles open;
  for (const SegmentName& name : names) {
    std::string path = env::join_path(directory, name.text());
    ASSIGN_OR_RETURN(auto file, files.open(path, env::OpenMode::kRead));
    open.sources.push_back({.file = file.get(), .path = std::move(path)});
    open.files.push_back(std::move(file));
  }
  return open;
}

// The next record; a torn tail counts as the end.
Result<std::optional<Record>> next_or_torn(Reader& reader) {
  auto record = reader.next();
  if (!record && record.error().code == Errc::kTorn) return std::optional<Record>{};
  return record;
}

bool is_full_disk(const base::Error& error) { return error.code == std::errc::no_space_on_device; }

}  // namespace

// --- create
// -----------------------------------------------------------------------------------------------

Result<std::unique_ptr<Wal>> Wal::create(env::FileSystem& files, Options options,
                                         std::string_view metadata, base::WallTime now) {
  options.directory = without_trailing_slashes(options.directory);
  const std::string directory = options.directory;
  const std::string parent = parent_of(directory);
  const std::string unfinished = directory + ".tmp";

  ASSIGN_OR_RETURN(const auto there, files.status(directory));
  if (there) {
    ASSIGN_OR_RETURN(const auto names, files.list(directory));
    if (!names.empty()) {
      return base::fail(
          Error(Errc::kExists, directory, 0, "not empty; a new log needs the whole directory"));
    }
    RETURN_IF_ERROR(files.remove(directory));
  }
  RETURN_IF_ERROR(files.remove_all(unfinished));
  RETURN_IF_ERROR(files.make_directories(unfinished));

  auto wal = std::unique_ptr<Wal>(new Wal(files, std::move(options)));
  wal->metadata_ = std::string(metadata);
  if (auto made = create_first(*wal, unfinished); !made) {
    MAYBE(files.remove_all(unfinished).ok());
    return base::fail(std::move(made).error());
  }
  if (!wal->options_.unsafe_no_fsync) RETURN_IF_ERROR(files.sync_directory(unfinished));
  RETURN_IF_ERROR(files.rename(unfinished, directory));
  if (!wal->options_.unsafe_no_fsync) {
    if (auto synced = files.sync_directory(parent); !synced) {
      // It must not be found by the next start: nobody knows whether it is durable.
      MAYBE(files.rename(directory, directory + ".broken." + time_suffix(now)).ok());
      return base::fail(Error(std::move(synced).error()));
    }
  }
  return wal;
}

Result<> Wal::create_first(Wal& wal, const std::string& directory) {
  const SegmentName name;
  ASSIGN_OR_RETURN(Spare spare,
                   make_spare(wal.files_, {.path = env::join_path(directory, name.text()),
                                           .bytes = wal.options_.segment_bytes,
                                           .leaves_room = false,
                                           .unsafe_no_fsync = wal.options_.unsafe_no_fsync}));
  wal.segments_.push_back({.name = name,
                           .path = env::join_path(wal.options_.directory, name.text()),
                           .file = std::move(spare.file)});
  RETURN_IF_ERROR(wal.writer_.begin(*wal.tail().file, 0));
  wal.gather_header();
  wal.pending_.add_snapshot({});
  RETURN_IF_ERROR(wal.write_to_tail());
  wal.account();
  return wal.sync_tail();
}

// --- open
// -------------------------------------------------------------------------------------------------

Result<Wal::Opened> Wal::open(env::FileSystem& files, Options options, Start start) {
  options.directory = without_trailing_slashes(options.directory);
  auto wal = std::unique_ptr<Wal>(new Wal(files, std::move(options)));
  RETURN_IF_ERROR(wal->lock_segments(start.index));
  wal->remove_leftovers();
  ASSIGN_OR_RETURN(auto recovered, wal->read_all(start, /*repair=*/true));
  wal->metadata_ = recovered.metadata;
  wal->state_ = wal->written_state_ = recovered.hard_state;
  // What is read counts as durable from now on: names too, which a process that was killed may have
  // given and not synced.
  if (!wal->options_.unsafe_no_fsync) {
    RETURN_IF_ERROR(files.sync_directory(wal->options_.directory));
    RETURN_IF_ERROR(files.sync_directory(parent_of(wal->options_.directory)));
  }
  wal->account();
  return Opened{.wal = std::move(wal), .recovered = std::move(recovered)};
}

Result<> Wal::lock_segments(raft::Index start) {
  ASSIGN_OR_RETURN(const auto names, select_segments(files_, options_.directory, start));
  for (const SegmentName& name : names) {
    Segment segment{
        .name = name, .path = env::join_path(options_.directory, name.text()), .file = {}};
    ASSIGN_OR_RETURN(segment.file, files_.open(segment.path, env::OpenMode::kReadWrite));
    ASSIGN_OR_RETURN(const bool locked, segment.file->try_lock());
    if (!locked) {
      return base::fail(Error(Errc::kLocked, segment.path, 0, "another process has this log open"));
    }
    segments_.push_back(std::move(segment));
  }
  return {};
}

// Spares of a former life. Nobody else makes any while we have the last file locked.
void Wal::remove_leftovers() {
  const auto names = files_.list(options_.directory);
  if (!names) return;
  for (const std::string& name : *names) {
    if (name.ends_with(".tmp")) MAYBE(files_.remove(env::join_path(options_.directory, name)).ok());
  }
}

Result<Recovered> Wal::read_all(Start start, bool repair) {
  std::vector<Reader::Source> sources;
  for (const Segment& segment : segments_) {
    sources.push_back({.file = segment.file.get(), .path = segment.path});
  }
  Reader reader(std::move(sources));
  Replay replay(start);
  for (;;) {
    auto record = reader.next();
    if (!record) {
      if (record.error().code != Errc::kTorn || !repair)
        return base::fail(std::move(record).error());
      RETURN_IF_ERROR(cut_torn_tail(reader.valid_bytes()));
      ASSIGN_OR_RETURN(auto recovered, read_all(start, /*repair=*/false));
      recovered.repaired = true;
      return recovered;
    }
    if (!*record) break;
    RETURN_IF_ERROR(replay.apply(reader, **record));
    segments_[reader.file()].bytes = reader.valid_bytes();
  }
  if (!replay.matched()) return base::fail(snapshot_not_found(options_.directory, start));
  last_index_ = written_index_ = replay.last_index();
  auto recovered = replay.take();
  metadata_ = recovered.metadata;
  state_ = recovered.hard_state;
  RETURN_IF_ERROR(prepare_tail(reader.valid_bytes(), reader.crc()));
  return recovered;
}

// Before anything is cut off, what is there is kept for people to look at.
Result<> Wal::cut_torn_tail(std::uint64_t valid_bytes) {
  Segment& torn = tail();
  ASSIGN_OR_RETURN(auto copy, files_.open(torn.path + ".broken", env::OpenMode::kCreate));
  RETURN_IF_ERROR(copy->truncate(0));
  std::string buffer;
  for (std::uint64_t offset = 0;; offset += buffer.size()) {
    buffer.resize(kCopyBytes);
    ASSIGN_OR_RETURN(const std::size_t got, torn.file->read_at(offset, buffer));
    if (got == 0) break;
    buffer.resize(got);
    RETURN_IF_ERROR(copy->write_at(offset, buffer));
  }
  RETURN_IF_ERROR(copy->sync());
  RETURN_IF_ERROR(files_.sync_directory(options_.directory));
  RETURN_IF_ERROR(torn.file->truncate(valid_bytes));
  RETURN_IF_ERROR(torn.file->sync());
  return {};
}

Result<> Wal::prepare_tail(std::uint64_t valid_bytes, std::uint32_t crc) {
  tail().bytes = valid_bytes;
  pending_ = FrameBuffer(crc, valid_bytes);
  pending_crc_ = crc;
  RETURN_IF_ERROR(clear_after(tail()));
  ASSIGN_OR_RETURN(const std::uint64_t size, tail().file->size());
  if (size < options_.segment_bytes) {
    // Only a matter of speed: on a full disk it goes without.
    auto grown = tail().file->preallocate(options_.segment_bytes);
    if (!grown && !is_full_disk(grown.error())) return base::fail(Error(std::move(grown).error()));
  }
  RETURN_IF_ERROR(sync_tail());
  return writer_.begin(*tail().file, valid_bytes);
}

// W4. A frame of zero length ends the file, whatever an unsynced write of a former life left behind
// it. That must go, and be gone durably, before new frames reach it: half overwritten it would look
// like damage.
Result<> Wal::clear_after(Segment& segment) {
  std::string buffer;
  std::uint64_t dirty_end = segment.bytes;
  for (std::uint64_t offset = segment.bytes;; offset += buffer.size()) {
    buffer.resize(kCopyBytes);
    ASSIGN_OR_RETURN(const std::size_t got, segment.file->read_at(offset, buffer));
    if (got == 0) break;
    buffer.resize(got);
    if (is_zero(buffer)) continue;
    const std::size_t last = buffer.find_last_not_of('\0');
    if (last != std::string::npos) dirty_end = offset + last + 1;
  }
  for (std::uint64_t offset = segment.bytes; offset < dirty_end; offset += buffer.size()) {
    buffer.assign(std::min<std::uint64_t>(kCopyBytes, dirty_end - offset), '\0');
    RETURN_IF_ERROR(segment.file->write_at(offset, buffer));
    unsynced_ = true;
  }
  return {};
}

// --- append
// -----------------------------------------------------------------------------------------------

void Wal::append(const raft::HardState& state, std::span<const raft::Entry> entries) {
  for (const raft::Entry& entry : entries) {
    pending_.add_entry(entry);
    last_index_ = entry.index;
    must_sync_ = true;
  }
  if (state.empty()) return;
  const bool votes = state.term != state_.term || state.vote != state_.vote;
  if (votes && !KEELSON_PLANTED(kVoteBeforeSync)) must_sync_ = true;
  pending_.add_state(state);
  state_ = state;
}

void Wal::save_snapshot(const raft::SnapshotMetadata& snapshot) {
  CHECK(snapshot.index == 0 || !snapshot.conf_state.voters.empty());
  pending_.add_snapshot(snapshot);
  last_index_ = std::max(last_index_, snapshot.index);
  marked_index_ = std::max(marked_index_, snapshot.index);
  must_sync_ = true;
}

Result<Wal::Flushed> Wal::flush_and_sync(const std::function<void()>& written) {
  CHECK(!failed_);
  CHECK_GE(state_.commit, marked_index_);  // else no start would ever take that snapshot
  Flushed flushed{.bytes = pending_.bytes().size(), .synced = must_sync_};
  if (pending_.empty()) return flushed;
  failed_ = true;  // until it is done
  if (tail().bytes > 0 && tail().bytes + pending_.bytes().size() > options_.segment_bytes) {
    flushed.cut = true;
    flushed.synced = true;
    RETURN_IF_ERROR(write_to_new_segment());
  } else {
    RETURN_IF_ERROR(write_to_tail());
    if (written) written();
    if (must_sync_ && !KEELSON_PLANTED(kAckBeforeSync)) RETURN_IF_ERROR(sync_tail());
  }
  must_sync_ = false;
  written_state_ = state_;
  written_index_ = last_index_;
  account();
  failed_ = false;
  return flushed;
}

Result<> Wal::sync() {
  CHECK(!failed_);
  return unsynced_ ? sync_tail() : Result<>{};
}

void Wal::gather_header() {
  pending_.add_crc();
  pending_.add_metadata(metadata_);
  if (!written_state_.empty()) pending_.add_state(written_state_);
}

Result<> Wal::write_to_tail() {
  RETURN_IF_ERROR(writer_.write(pending_.bytes()));
  tail().bytes += pending_.bytes().size();
  stats_.bytes_written += pending_.bytes().size();
  unsynced_ = true;
  pending_.clear();
  pending_crc_ = pending_.crc();
  return {};
}

// What is pending was chained to the old file's frames; behind the new file's header it is chained
// anew.
Result<> Wal::write_to_new_segment() {
  if (unsynced_) RETURN_IF_ERROR(sync_tail());  // W3
  ASSIGN_OR_RETURN(Spare spare, take_spare());

  FrameBuffer gathered = std::exchange(pending_, FrameBuffer(pending_crc_));
  gather_header();
  CHECK(pending_.add_frames_of(gathered.bytes()));

  const SegmentName name{.sequence = tail().name.sequence + 1, .index = written_index_ + 1};
  Segment segment{.name = name,
                  .path = env::join_path(options_.directory, name.text()),
                  .file = std::move(spare.file)};
  segments_.push_back(std::move(segment));
  RETURN_IF_ERROR(writer_.begin(*tail().file, 0));
  RETURN_IF_ERROR(write_to_tail());
  RETURN_IF_ERROR(sync_tail());
  RETURN_IF_ERROR(files_.rename(spare.path, tail().path));
  if (!options_.unsafe_no_fsync) RETURN_IF_ERROR(files_.sync_directory(options_.directory));
  stats_.cuts++;
  return {};
}

Result<Spare> Wal::take_spare() {
  if (!spares_.empty()) {
    Spare spare = std::move(spares_.front());
    spares_.erase(spares_.begin());
    return spare;
  }
  stats_.cuts_without_spare++;
  std::string path = env::join_path(options_.directory, fmt::format("{}.tmp", spare_number_++));
  ASSIGN_OR_RETURN(auto file, files_.open(path, env::OpenMode::kCreateNew));
  ASSIGN_OR_RETURN(const bool locked, file->try_lock());
  if (!locked)
    return base::fail(Error(Errc::kLocked, path, 0, "expected to be alone with a new file"));
  // Without room for all of it, what there is must do: the file grows as it is written.
  const auto room = file->preallocate(options_.segment_bytes);
  if (!room && room.error().code == std::errc::no_space_on_device) {
    RETURN_IF_ERROR(file->truncate(0));
  } else if (!room) {
    return base::fail(Error(room.error()));
  }
  return Spare{.path = std::move(path), .file = std::move(file)};
}

Result<> Wal::sync_tail() {
  if (!options_.unsafe_no_fsync) RETURN_IF_ERROR(tail().file->sync());
  unsynced_ = false;
  stats_.syncs++;
  return {};
}

// --- spares, locks
// ----------------------------------------------------------------------------------------

Result<std::uint64_t> segment_bytes_in(env::FileSystem& files, std::string_view directory,
                                       std::uint64_t wanted) {
  constexpr std::uint64_t kLeast = std::uint64_t{1} << 20;
  ASSIGN_OR_RETURN(const auto space, files.space(parent_of(directory)));
  const std::uint64_t share = space.total / 16 / env::File::kPageBytes * env::File::kPageBytes;
  return std::min(wanted, std::max(kLeast, share));
}

std::optional<SpareRequest> Wal::next_spare() {
  if (spare_requested_ || spares_.size() >= options_.spares) return std::nullopt;
  spare_requested_ = true;
  return SpareRequest{
      .path = env::join_path(options_.directory, fmt::format("{}.tmp", spare_number_++)),
      .bytes = options_.segment_bytes,
      .unsafe_no_fsync = options_.unsafe_no_fsync};
}

void Wal::add_spare(Spare spare) {
  CHECK(spare_requested_);
  spare_requested_ = false;
  spares_.push_back(std::move(spare));
}

void Wal::release_locks_to(raft::Index index) {
  // The last file whose name's index is below `index` may hold the entry before it.
  while (segments_.size() > 1 && segments_[1].name.index < index) segments_.pop_front();
  account();
}

void Wal::account() {
  stats_.held_files = segments_.size();
  stats_.held_bytes = 0;
  for (const Segment& segment : segments_) stats_.held_bytes += segment.bytes;
}

// --- free functions
// ---------------------------------------------------------------------------------------

Result<> settle(env::FileSystem& files, const std::string& directory) {
  ASSIGN_OR_RETURN(const auto names, list_segments(files, directory));
  if (names.empty()) return {};
  ASSIGN_OR_RETURN(const auto last, files.open(env::join_path(directory, names.back().text()),
                                               env::OpenMode::kRead));
  RETURN_IF_ERROR(last->settle());
  return {};
}

Result<Recovered> read_log(env::FileSystem& files, const std::string& directory, Start start) {
  ASSIGN_OR_RETURN(const auto names, select_segments(files, directory, start.index));
  ASSIGN_OR_RETURN(auto open, open_to_read(files, directory, names));
  Reader reader(std::move(open.sources));
  Replay replay(start);
  for (;;) {
    ASSIGN_OR_RETURN(const auto record, next_or_torn(reader));
    if (!record) break;
    RETURN_IF_ERROR(replay.apply(reader, *record));
  }
  if (!replay.matched()) return base::fail(snapshot_not_found(directory, start));
  return replay.take();
}

Result<std::vector<raft::SnapshotMetadata>> valid_snapshots(env::FileSystem& files,
                                                            const std::string& directory) {
  ASSIGN_OR_RETURN(const auto names, list_segments(files, directory));
  ASSIGN_OR_RETURN(auto open, open_to_read(files, directory, names));
  Reader reader(std::move(open.sources));
  std::vector<raft::SnapshotMetadata> snapshots;
  raft::HardState state;
  for (;;) {
    ASSIGN_OR_RETURN(const auto record, next_or_torn(reader));
    if (!record) break;
    const auto bad = [&](std::string what) {
      return base::fail(
          Error(Errc::kBadRecord, reader.path(), reader.record_offset(), std::move(what)));
    };
    if (record->type == static_cast<std::int64_t>(RecordType::kState)) {
      const auto read = decode_state(record->data);
      if (!read) return bad("a hard state that cannot be read");
      state = *read;
    } else if (record->type == static_cast<std::int64_t>(RecordType::kSnapshot)) {
      auto read = decode_snapshot(record->data);
      if (!read) return bad("a snapshot mark that cannot be read");
      snapshots.push_back(std::move(*read));
    }
  }
  std::erase_if(snapshots, [&](const auto& snapshot) { return snapshot.index > state.commit; });
  return snapshots;
}

Result<std::vector<std::unique_ptr<env::File>>> purge(env::FileSystem& files,
                                                      const std::string& directory,
                                                      std::size_t max_files) {
  ASSIGN_OR_RETURN(const auto names, list_segments(files, directory));
  std::vector<std::unique_ptr<env::File>> purged;
  for (std::size_t i = 0; i + max_files < names.size(); i++) {
    const std::string path = env::join_path(directory, names[i].text());
    ASSIGN_OR_RETURN(auto file, files.open(path, env::OpenMode::kReadWrite));
    ASSIGN_OR_RETURN(const bool locked, file->try_lock());
    if (!locked) break;
    RETURN_IF_ERROR(files.remove(path));
    // Oldest first on disk too: a crash that brought back an older file but not its successor would
    // leave a log with a hole.
    if (const auto synced = files.sync_directory(directory); !synced) {
      return base::fail(Error(Errc::kInDoubt, path, 0, "removed; " + synced.error().message()));
    }
    purged.push_back(std::move(file));
  }
  return purged;
}

}  // namespace keelson::wal
