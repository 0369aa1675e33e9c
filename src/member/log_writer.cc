#include "member/log_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "env/log.h"

namespace keelson::member {
namespace {

// Appends in flight are bounded by the core: entries come from proposals, which are.
constexpr std::size_t kUnbounded = static_cast<std::size_t>(-1);
// Between the steps of a spare and after a full disk.
constexpr base::Duration kSpareRest = base::Milliseconds(10);
constexpr base::Duration kSpareRetry = base::Seconds(5);
// What is purged goes by so many steps a file, of a page at least: 256 KB of 64 MB. A disk that
// discards them is held up for 0.1 ms by each, and by one of 4 MB for 0.8.
constexpr std::uint64_t kLetGoSteps = 256;
constexpr std::uint64_t kLetGoBytesMin = 4096;
constexpr base::Duration kLetGoRest = base::Milliseconds(5);
constexpr base::Duration kSlowSync = base::Seconds(1);

template <class R>
void must(const R& result, std::string_view what) {
  if (!result) stop_process(fmt::format("write-ahead log: {}: {}", what, result.error().message()));
}

}  // namespace

LogWriter::LogWriter(env::Lane& lane, Shared& shared, Start start)
    : lane_(lane),
      shared_(shared),
      files_(*start.files),
      wal_(std::move(start.wal)),
      hard_state_(start.hard_state),
      wal_directory_(std::move(start.wal_directory)),
      snap_directory_(std::move(start.snap_directory)),
      inbox_(lane, kUnbounded,
             [this](std::vector<AppendWork> works) { on_work(std::move(works)); }) {}

void LogWriter::start() {
  prepare_spare();
  purge();
}

void LogWriter::stop() {
  stopped_ = true;
  must(wal_->flush_and_sync(), "last write");
  must(wal_->sync(), "last sync");
}

void LogWriter::on_work(std::vector<AppendWork> works) {
  CHECK(!stopped_);
  Persisted persisted;
  bool commits = false;
  for (AppendWork& work : works) {
    commits |= work.commits && !work.entries.empty();
    if (!work.hard_state.empty()) hard_state_ = work.hard_state;
    if (work.snapshot) {
      flush(std::exchange(persisted, {}));
      take_snapshot(*work.snapshot);
    }
    wal_->append(work.hard_state, work.entries);
    std::ranges::move(work.responses, std::back_inserter(persisted.responses));
    persisted.appends++;
  }
  flush(std::move(persisted));
  // It wakes while raft does.
  if (commits) shared_.apply_lane->rouse();
}

void LogWriter::flush(Persisted persisted) {
  const auto before = lane_.clock().now();
  auto flushed = wal_->flush_and_sync(
      [&] { shared_.metrics.wal_write_seconds.observe(lane_.clock().now() - before); });
  must(flushed, "write");
  const auto now = lane_.clock().now();
  const auto took = now - before;
  // The write goes to the disk itself, so it is of what the metric is asked for: how slow that is.
  if (flushed->synced) shared_.metrics.wal_fsync_seconds.observe(took);
  shared_.metrics.wal_write_bytes.add(static_cast<double>(flushed->bytes));
  if (took > kSlowSync) {
    env::log_warn("slow fdatasync", {{"took", took}, {"expected-duration", kSlowSync}});
  }
  if (persisted.appends > 0) shared_.to_raft_events->push_always(std::move(persisted));
  prepare_spare();
}

void LogWriter::save_snapshot(SnapshotWork work) {
  lane_.post([this, work = std::move(work)]() mutable {
    next_snapshot_ = std::move(work.snapshot);
    save_next_snapshot();
  });
}

void LogWriter::save_next_snapshot() {
  if (stopped_ || saving_ || !next_snapshot_) return;
  saving_ = true;
  // The file first, where it may block; its record only once the file is durable.
  shared_.any_worker().post(
      [this, snapshot = *std::exchange(next_snapshot_, std::nullopt)]() mutable {
        wal::Snapshotter snapshotter(files_, snap_directory_);
        const auto before = shared_.clock->now();
        must(snapshotter.save(snapshot), "snapshot file");
        const auto took = shared_.clock->now() - before;
        shared_.metrics.snapshot_sync_seconds.observe(took);
        shared_.metrics.snapshot_save_seconds.observe(took);
        lane_.post([this, snapshot = std::move(snapshot)]() mutable {
          saving_ = false;
          if (stopped_) return;
          record_snapshot(std::move(snapshot));
          save_next_snapshot();
        });
      });
}

void LogWriter::record_snapshot(raft::Snapshot snapshot) {
  // One from a leader may have been quicker, and leads further.
  if (snapshot.metadata.index <= marked_) return;
  mark(snapshot.metadata);
  env::log_info("saved snapshot to disk", {{"snapshot-index", snapshot.metadata.index}});
  shared_.to_raft_events->push_always(SnapshotSaved{std::move(snapshot)});
}

// From the record on the log no longer leads from the store to the present, and what is staged
// does.
void LogWriter::take_snapshot(const raft::Snapshot& snapshot) {
  wal::Snapshotter snapshotter(files_, snap_directory_);
  must(snapshotter.save(snapshot), "snapshot file");
  mark(snapshot.metadata);
  env::log_info("saved snapshot to disk", {{"snapshot-index", snapshot.metadata.index}});
  apply_->push_always({.install = snapshot.metadata.index});
}

void LogWriter::mark(const raft::SnapshotMetadata& metadata) {
  // A snapshot counts at a start only if the hard state's commit reaches it (formats.md 1.6), and
  // commit may lag on disk: so it is said again, behind the record (Wal::save_snapshot) and in the
  // same sync.
  hard_state_.commit = std::max(hard_state_.commit, metadata.index);
  wal_->save_snapshot(metadata);
  wal_->append(hard_state_, {});
  flush({});
  wal_->release_locks_to(metadata.index);
  marked_ = metadata.index;
}

void LogWriter::prepare_spare() {
  auto request = wal_->next_spare();
  if (!request) return;
  shared_.any_worker().post([this, request = *std::move(request)]() mutable {
    auto maker = wal::SpareMaker::begin(files_, std::move(request));
    if (!maker) return spare_failed(maker.error());
    make_spare(std::make_shared<wal::SpareMaker>(*std::move(maker)));
  });
}

// On a worker. A disk that is full or sick is not asked again at once.
void LogWriter::spare_failed(const wal::Error& error) {
  env::log_warn("cannot prepare a file of the write-ahead log", {{"error", error.message()}});
  lane_.post([this, no_space = error.code == wal::Errc::kNoSpace] {
    if (stopped_) return;
    wants_room_ = no_space;
    // The log's part of the reserve is gone.
    if (no_space && wal_->spares() == 0) shared_.to_raft_events->push_always(OutOfSpace{});
    lane_.after(kSpareRetry, [this] {
      wal_->spare_failed();
      if (!stopped_) prepare_spare();
    });
  });
}

void LogWriter::make_spare(std::shared_ptr<wal::SpareMaker> maker) {
  auto done = maker->step();
  if (!done) return spare_failed(done.error());
  if (*done) {
    return lane_.post([this, maker] {
      wants_room_ = false;
      wal_->add_spare(maker->finish());
    });
  }
  rest(kSpareRest, [this, maker = std::move(maker)]() mutable { make_spare(std::move(maker)); });
}

void LogWriter::purge() {
  if (stopped_) return;
  shared_.any_worker().post([this] {
    if (shared_.config.wals_max > 0) {
      auto purged = wal::purge(files_, wal_directory_, shared_.config.wals_max);
      if (purged) {
        let_go(*std::move(purged));
      } else {
        if (purged.error().code == wal::Errc::kInDoubt) must(purged, "purge");
        env::log_warn("cannot purge the write-ahead log", {{"error", purged.error().message()}});
      }
    }
    if (shared_.config.snapshots_max > 0) {
      wal::Snapshotter snapshotter(files_, snap_directory_);
      if (auto purged = snapshotter.purge(shared_.config.snapshots_max); !purged) {
        env::log_warn("cannot purge snapshots", {{"error", purged.error().message()}});
      }
    }
  });
  lane_.after(shared_.config.purge_interval, [this] { purge(); });
}

// A step, on a worker. What is left when the log stops, when its room is wanted, or cannot be
// shortened, goes at once.
void LogWriter::let_go(std::vector<std::unique_ptr<env::File>> purged) {
  if (purged.empty() || wants_room_.load(std::memory_order_relaxed)) return;
  const std::uint64_t step =
      std::max(shared_.config.wal_segment_bytes / kLetGoSteps, kLetGoBytesMin);
  const auto is_left = env::shorten(*purged.back(), step);
  if (!is_left) {
    env::log_warn("cannot shorten a purged file of the write-ahead log",
                  {{"error", is_left.error().message()}});
  }
  if (!is_left || !*is_left) purged.pop_back();
  rest(kLetGoRest, [this, purged = std::move(purged)]() mutable { let_go(std::move(purged)); });
}

// The timer is the log lane's, the work a worker's.
void LogWriter::rest(base::Duration duration, base::Job then) {
  lane_.post([this, duration, then = std::move(then)]() mutable {
    if (stopped_) return;
    lane_.after(duration, [this, then = std::move(then)]() mutable {
      if (!stopped_) shared_.any_worker().post(std::move(then));
    });
  });
}

}  // namespace keelson::member
