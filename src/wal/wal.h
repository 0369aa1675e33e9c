// Wal: the write-ahead log, in etcd's own files. formats.md 1.
//
// Everything raft must not forget goes through here before anybody is told: entries, hard states,
// and marks of the snapshots that make older entries needless.
//
//   wal/0000000000000000-0000000000000000.wal   crc, metadata, snapshot 0 | entries, states,
//   snapshots ... wal/0000000000000001-0000000000002f31.wal   crc, metadata, state | ... wal/0.tmp
//   a spare, zeros (spare.h)
//
// A file has 64,000,000 bytes, zeros after the last frame. When a batch does not fit any more, it
// opens the next file: its header and the batch are written and synced there under the spare's
// name, then the spare is renamed and the directory synced. So a file of the log always has its
// header, and all but the last end exactly as they were when the next one began.
//
// What a crash leaves: everything that flush_and_sync() answered for; of what it was writing, a
// prefix, or a frame with sectors of zeros, which open() cuts off after saving a copy
// (`<file>.broken`), once. Damage anywhere else is an error that names file and offset: the caller
// stops.
//
// Invariants   W1  frames of all files form one checksum chain; each file begins with its value
//              W2  an answered flush_and_sync() is on disk: entries, snapshots, and states that
//              change term
//                  or vote. A state that only moves commit is written but not synced for its own
//                  sake
//              W3  nothing is written into a file after the next one has begun
//              W4  after the last frame of the last file there are zeros or nothing
//              W5  every file from the one that holds the entry after the released index on is
//              locked
// One lane (the log lane) for a Wal. The free functions below may run on any lane that may block.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/time.h"
#include "env/file.h"
#include "raft/types.h"
#include "wal/error.h"
#include "wal/record.h"
#include "wal/segment_name.h"
#include "wal/spare.h"
#include "wal/tail_writer.h"

namespace keelson::wal {

inline constexpr std::uint64_t kSegmentBytes = 64'000'000;
// `wanted`, but on a small volume a sixteenth of it, at least a megabyte: with the file in use and
// two spares the log then takes no more than the store leaves it. The parent of `directory` is
// there.
Result<std::uint64_t> segment_bytes_in(env::FileSystem& files, std::string_view directory,
                                       std::uint64_t wanted);

struct Options {
  std::string directory;
  std::uint64_t segment_bytes = kSegmentBytes;
  std::size_t spares = 1;  // how many spares to hold ready; 2 is the reserve against a full disk
  bool unsafe_no_fsync = false;  // syncs nothing: for tests of others only
};

// A snapshot from which to read on.
struct Start {
  raft::Index index = 0;
  raft::Term term = 0;
};

struct Recovered {
  std::string metadata;              // whose log it is (record.h), as it was written
  raft::HardState hard_state;        // the last one; empty if there is none
  std::vector<raft::Entry> entries;  // what follows the start, without a gap
  bool repaired = false;             // a torn tail was cut off; its copy is `<last file>.broken`
};

class Wal {
 public:
  struct Opened;

  // A new log that holds the metadata and a snapshot record {0, 0}. Made in `<directory>.tmp`, so
  // that it is there as a whole or not at all. kExists if the directory has a log or anything else
  // in it. If it fails after the directory has its name, that is renamed to
  // `<directory>.broken.<time>`.
  static Result<std::unique_ptr<Wal>> create(env::FileSystem& files, Options options,
                                             std::string_view metadata, base::WallTime now);

  // A former life must have been settled (below). Locks the files from which to read what follows
  // `start`, reads them all, cuts off a torn tail (once, and a copy is kept), and is ready to
  // append. Memory: the entries and a buffer. Errors: kLocked, kNotFound, kSnapshotNotFound (no
  // record of `start`), kSnapshotMismatch, kGap, kMetadataConflict, kCrcMismatch, kBadRecord, kTorn
  // (the second time), kIo.
  static Result<Opened> open(env::FileSystem& files, Options options, Start start);

  Wal(const Wal&) = delete;
  Wal& operator=(const Wal&) = delete;

  // Gathers; nothing is written yet. Entries in order, then the state if it is not empty.
  void append(const raft::HardState& state, std::span<const raft::Entry> entries);
  // Marks a snapshot whose `.snap` file is durable. Before the next flush a state with commit >=
  // its index must have been appended: before the mark or, for a snapshot that a leader sent, after
  // it. (A crash may keep only the first of the two: a mark beyond commit is ignored, a commit
  // beyond the log would stop every start.)
  void save_snapshot(const raft::SnapshotMetadata& snapshot);
  bool empty() const { return pending_.empty(); }
  std::size_t pending_bytes() const { return pending_.bytes().size(); }

  // Writes all that was gathered, and syncs it unless it is only commit that moved: one write, one
  // sync. After an error durability is in doubt: the caller stops the process; any further call is
  // a bug.
  struct Flushed {
    std::size_t bytes = 0;
    bool synced = false;
    bool cut = false;  // went on to a new file
  };
  // `written`, if given, is called between the write and the sync; not where a file ended.
  Result<Flushed> flush_and_sync(const std::function<void()>& written = nullptr);
  // Syncs what was written without one. For a clean end.
  Result<> sync();

  // A spare should be made by somebody who may block: nullopt if there are enough, or one is being
  // made. It ends with add_spare, or spare_failed (a full disk: ask again later).
  std::optional<SpareRequest> next_spare();
  void add_spare(Spare spare);
  void spare_failed() { spare_requested_ = false; }
  std::size_t spares() const { return spares_.size(); }

  // Unlocks the files that hold nothing after `index` (the newest durable snapshot's), for purge().
  void release_locks_to(raft::Index index);

  raft::Index last_index() const { return last_index_; }
  const std::string& metadata() const { return metadata_; }

  struct Stats {
    std::uint64_t bytes_written = 0;  // since it was opened
    std::uint64_t syncs = 0;
    std::uint64_t cuts = 0;
    std::uint64_t cuts_without_spare = 0;  // had to make the file on the spot
    std::uint64_t held_files = 0;          // locked ones, spares apart
    std::uint64_t held_bytes = 0;          // their frames, without the zeros
  };
  const Stats& stats() const { return stats_; }

 private:
  struct Segment {
    SegmentName name;
    std::string path;
    std::unique_ptr<env::File> file;
    std::uint64_t bytes = 0;  // to the end of its last frame
  };

  Wal(env::FileSystem& files, Options options) : files_(files), options_(std::move(options)) {}

  static Result<> create_first(Wal& wal, const std::string& directory);
  Result<> lock_segments(raft::Index start);
  Result<Recovered> read_all(Start start, bool repair);
  Result<> cut_torn_tail(std::uint64_t valid_bytes);
  Result<> prepare_tail(std::uint64_t valid_bytes, std::uint32_t crc);
  Result<> clear_after(Segment& tail);
  void remove_leftovers();

  void gather_header();
  Result<> write_to_tail();
  Result<> write_to_new_segment();
  Result<Spare> take_spare();
  Result<> sync_tail();
  void account();
  Segment& tail() { return segments_.back(); }

  env::FileSystem& files_;
  Options options_;
  std::string metadata_;
  std::deque<Segment> segments_;  // locked, in order; the last one is written to
  std::vector<Spare> spares_;
  std::uint64_t spare_number_ = 0;
  bool spare_requested_ = false;

  TailWriter writer_;  // of tail()
  FrameBuffer pending_;
  std::uint32_t pending_crc_ = 0;  // the chain before what is pending
  bool must_sync_ = false;         // for what is pending
  bool unsynced_ = false;          // the tail has bytes written and not synced
  bool failed_ = false;
  raft::Index marked_index_ = 0;   // of the greatest snapshot marked since it was opened
  raft::HardState state_;          // the last one appended
  raft::HardState written_state_;  // the last one before what is pending
  raft::Index last_index_ = 0;     // of the last entry, or a later snapshot
  raft::Index written_index_ = 0;  // the same before what is pending
  Stats stats_;
};

struct Wal::Opened {
  std::unique_ptr<Wal> wal;
  Recovered recovered;
};

// What a start does before it reads anything: makes durable what a process that was killed had
// written, and reads show what the disk has (env::File::settle). Bytes of a sync that failed
// can be in the last file only: no file is begun before the one before it is synced, and none gets
// its name before it is. What is then missing at its end nobody was told of, and is a torn tail.
Result<> settle(env::FileSystem& files, const std::string& directory);

// Reads what follows `start` without locking or changing anything: for tools, and beside a running
// member. A torn tail is where it ends.
Result<Recovered> read_log(env::FileSystem& files, const std::string& directory, Start start);

// The snapshots from which a member may start: all records whose index is not beyond the last hard
// state's commit, in the order they were written; the first is {0, 0} while its file exists. Read
// as read_log does.
Result<std::vector<raft::SnapshotMetadata>> valid_snapshots(env::FileSystem& files,
                                                            const std::string& directory);

// Removes the oldest files beyond `max_files` as long as nobody has them locked. They are given as
// they were opened: their names are gone, their blocks go with the objects, or before by
// env::shorten().
// kInDoubt if it is not known whether a removal is durable: then no other may follow, for a crash
// that undid the first alone would leave a log with a hole.
Result<std::vector<std::unique_ptr<env::File>>> purge(env::FileSystem& files,
                                                      const std::string& directory,
                                                      std::size_t max_files);

}  // namespace keelson::wal
