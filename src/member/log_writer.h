// LogWriter: the jobs of the log lane. Appends gathered while the last batch was being synced go
// out together: one write, one fdatasync, then the core hears of them (group commit).
//
//   AppendWork* -> Wal::append* -> flush_and_sync -> responses to the raft lane
//   SnapshotWork -> .snap file (worker) -> hard state, snapshot record, sync -> SnapshotSaved,
//   release, purge
//
// What must not leave before it is durable is in AppendWork::responses and leaves from here only
// (L1); how many appends that was is told too (RaftDriver D5). A write or sync that failed stops
// the process (L2). That no file can be prepared for lack of room, and none is ready, is told to
// the raft lane (OutOfSpace). Files that are purged go by steps, so that no sync waits for the
// blocks of a whole one, unless that room is wanted.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "env/channel.h"
#include "env/file.h"
#include "env/lane.h"
#include "member/applier.h"
#include "member/shared.h"
#include "wal/snapshotter.h"
#include "wal/wal.h"

namespace keelson::member {

struct AppendWork {
  raft::HardState hard_state;  // empty: unchanged
  // One from a leader, whose store is staged; before the entries, and the applier hears of it
  // before the core does.
  std::optional<raft::Snapshot> snapshot;
  std::vector<raft::Entry> entries;
  std::vector<raft::Message> responses;
  bool commits = false;  // entries that are durable here are committed: they are applied at once
};

class LogWriter {
 public:
  struct Start {
    env::FileSystem* files = nullptr;
    std::unique_ptr<wal::Wal> wal;
    raft::HardState hard_state;  // as recovered
    std::string wal_directory;
    std::string snap_directory;
  };
  LogWriter(env::Lane& lane, Shared& shared, Start start);
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  env::Channel<AppendWork>& inbox() { return inbox_; }
  // From any lane. One after the other: marks of the log that were out of order would name a start
  // that has been purged. One that waits gives way to a newer one.
  void save_snapshot(SnapshotWork work);

  // Wiring, before start.
  void connect(env::Channel<ApplyWork>* apply) { apply_ = apply; }

  // Begins to prepare files and to purge old ones. On the log lane, once.
  void start();
  // Syncs what is left. On the log lane.
  void stop();

 private:
  void on_work(std::vector<AppendWork> works);
  void flush(Persisted persisted);
  void save_next_snapshot();
  void record_snapshot(raft::Snapshot snapshot);
  void take_snapshot(const raft::Snapshot& snapshot);
  void mark(const raft::SnapshotMetadata& metadata);
  void prepare_spare();
  void spare_failed(const wal::Error& error);
  void make_spare(std::shared_ptr<wal::SpareMaker> maker);
  void purge();
  void let_go(std::vector<std::unique_ptr<env::File>> purged);
  // Between two steps of a worker.
  void rest(base::Duration duration, base::Job then);

  env::Lane& lane_;
  Shared& shared_;
  env::FileSystem& files_;
  std::unique_ptr<wal::Wal> wal_;
  raft::HardState hard_state_;  // the last one appended
  raft::Index marked_ = 0;      // the newest snapshot that has a record
  env::Channel<ApplyWork>* apply_ = nullptr;
  const std::string wal_directory_;
  const std::string snap_directory_;
  bool stopped_ = false;
  std::atomic<bool> wants_room_ = false;         // there was none for the last file prepared
  bool saving_ = false;                          // a worker has a snapshot
  std::optional<raft::Snapshot> next_snapshot_;  // waits for that
  env::Channel<AppendWork> inbox_;
};

}  // namespace keelson::member
