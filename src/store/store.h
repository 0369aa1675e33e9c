// Store: the durable home of all history and of the small buckets. Append-only segments;
// docs/format/store.md has them by the byte, docs/design of the store the reasons (D1 to D10).
//
//   open -> load -> { append ... checkpoint_due? checkpoint ... step } ...
//
// The WAL, not the store, makes a write durable: the store appends what has been applied, some time
// later, and a checkpoint now and then makes all appended so far durable. After a crash the store
// is what it was at its newest intact checkpoint, and the log is replayed from there.
//
// Invariants
//   R1  What a start recovers is exactly the state at one checkpoint, never less than the newest
//   synced one
//       unless the log can replay from it (Options::replay_from), never a mixture.
//   R2  Nothing dead at a checkpoint's floor is alive after a start at it, and nothing alive is
//   lost. R3  A collection drops only what is dead by the floor of a synced checkpoint; a tombstone
//   only once all
//       older dead records are known as such without it.
//   R4  A row of the segment table changes only in the manifest first, then in memory; readers keep
//   theirs. R5  No record is handed out whose checksums do not match its place and its revision.
//
// Lanes: all calls belong to one lane (store), but for Step::wait and what readers of a Snapshot
// do. Calls block in writes and syncs. Time is an argument.
//
// Errors: append, checkpoint, step and waited fail only if a write or sync failed where the reserve
// could not help (D8). Durability is then in doubt and the owner stops the process; further calls
// are refused.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/function.h"
#include "base/result.h"
#include "base/storage.h"
#include "base/time.h"
#include "env/file.h"
#include "store/buckets.h"
#include "store/snapshot.h"

namespace keelson::store {

// Rules that a test may break, one at a time, to show that breaking them is noticed. Never set
// elsewhere.
struct BrokenRules {
  bool collect_ahead_of_checkpoint = false;  // R3: uses floors that no synced checkpoint holds
  bool drop_tombstones_unguarded = false;    // R3: writes no .dead files
  bool checkpoint_without_sync = false;      // D3: says synced without syncing
  bool checkpoint_before_buckets = false;    // D3: syncs the bucket log after the checkpoint
  bool take_unclean_checkpoint = false;      // R1: does not look at payloads and chains at a start
  bool reuse_files_at_once = false;          // R4: does not wait for the last Snapshot
  bool serve_unchecked = false;              // R5
  bool keep_reserve_shut = false;            // D8: never uses the reserve
  bool seal_without_checkpoint = false;      // D3: footers may cover a tail that goes
  bool overlapping_segments = false;         // D1: a segment's range begins with the last one's end
  bool rewrite_misses_changes = false;  // D2: what changes during a rewrite is not in the new log
  bool footers_without_leases = false;  // D4: a footer's keys say nothing of leases
  bool load_unmerged = false;           // D4: a start takes one segment's keys after the other's
  bool start_reads_records = false;     // D4: a start reads what footers cover
};

struct Options {
  std::uint64_t store_id = 0;     // of a directory that is made new: random, not 0
  std::uint64_t replay_from = 0;  // the log can replay all entries above this index
  base::WallTime wall_now{};      // for the headers of new files

  std::uint64_t segment_bytes = std::uint64_t{48} << 20;  // sealed at the first checkpoint beyond
  std::uint64_t narrow_bytes_max = std::uint64_t{64} << 20;  // beyond: wide arrays. At most 64 MiB
  std::uint64_t narrow_sub_max = 511;                        // beyond: wide arrays. At most 511
  std::uint64_t key_block_bytes = 60 * 1024;

  base::Duration checkpoint_interval = std::chrono::seconds(1);
  std::uint64_t checkpoint_bytes = std::uint64_t{16} << 20;
  std::uint64_t push_out_bytes = 256 * 1024;  // write-back is started every so many bytes

  // Collection: begins while files exceed live bytes by `files_over_live` (`..._near_reserve` when
  // space is short), takes windows of 1-4 neighbours that free at least `collection_gain_bytes`.
  double files_over_live = 1.6;
  double files_over_live_near_reserve = 1.4;
  std::uint64_t collection_gain_bytes = std::uint64_t{4} << 20;
  std::uint64_t reclaim_gain_bytes = std::uint64_t{64} << 10;  // of a window, after reclaim()
  std::size_t collection_slice_bytes = 200 * 1024;
  base::Duration collection_rest = std::chrono::microseconds(2500);
  std::uint64_t cut_bytes = std::uint64_t{4} << 20;  // dead files are cut in such steps
  base::Duration cut_rest = std::chrono::milliseconds(10);

  std::uint64_t bucket_log_dead_bytes = std::uint64_t{1}
                                        << 20;  // rewritten when that much and most is dead

  // The footer of the last segment is made from what is appended, not from the file, as long as the
  // segment has so many bytes for each that is kept for that.
  std::uint64_t bytes_per_remembered = 3;
  // Of a store that is filled and closed, and opened anew before anybody reads of it: what is
  // appended is written in large pieces around the page cache, and remembered whatever its size.
  bool only_filled = false;

  // Reserve: two files of segment_bytes (+1/3), on a volume below 2 GiB of 1/16 of it, at least 1
  // MB. Off in tests that do not speak of it.
  bool reserve = true;

  BrokenRules broken;
};

// What a start found.
struct Recovered {
  std::uint64_t applied_index = 0;  // of the checkpoint taken
  std::uint64_t applied_term = 0;
  base::Revision newest;                // the newest revision ever appended; {0, 0} = none
  std::int64_t scheduled_compact = -1;  // floors, -1 = never
  std::int64_t finished_compact = -1;
  base::WallTime checkpoint_time{};
  std::uint64_t dropped_bytes = 0;  // behind the checkpoint, to be replayed
  bool fell_back = false;  // a later checkpoint was there but not clean; the log has what it had
  bool fresh = false;      // the store was made just now
};

// A revision that a start found alive, as much of it as the key index and the leases need.
struct LiveRevision {
  base::Revision mod;
  std::int64_t create_revision = 0;
  std::int64_t version = 0;
  std::int64_t lease = 0;
  std::uint32_t bytes = 0;  // of the stored KeyValue
  bool tombstone = false;
};

// What step() wants.
struct Step {
  // Call step() again then; nullopt: after the next append, checkpoint or mark_dead.
  std::optional<base::TimePoint> again;
  // If set: run it where blocking is allowed and disturbs nobody (a worker, not this lane), then
  // give its outcome to waited(), which says when to step again. It owns what it needs.
  base::Function<base::Result<>()> wait;
};

struct Space {
  std::uint64_t live_bytes = 0;       // records not dead, and the buckets: what the quota counts
  std::uint64_t file_bytes = 0;       // of the files it needs, without room not yet used (dbSize)
  std::uint64_t available_bytes = 0;  // free on the volume, as of the last look in step()
  bool reserve_available = true;      // false: raise NOSPACE until collection has made room again
};

struct Stats {
  std::uint64_t batches = 0;
  std::uint64_t records = 0;
  std::uint64_t record_bytes = 0;  // payloads appended
  std::uint64_t checkpoints = 0;
  std::uint64_t segments_sealed = 0;
  std::uint64_t seal_reads = 0;  // records that were read for that: not remembered
  std::uint64_t bucket_log_rewrites = 0;
  std::uint64_t records_dead = 0;  // marked since the start, the start's own included
  std::uint64_t dead_unknown = 0;  // marked but not there (collected before)
  std::uint64_t collections = 0;
  std::uint64_t collected_bytes_rewritten = 0;
  std::uint64_t collected_bytes_freed = 0;
  std::uint64_t collections_given_up = 0;  // a damaged record was in the window
  std::uint64_t files_removed = 0;
  std::uint64_t reserve_used = 0;
  std::uint64_t footers_rebuilt = 0;
  std::uint64_t reads_missing =
      0;  // reads that found no such revision, a wrong checksum, a failing disk
  std::uint64_t reads_corrupt = 0;
  std::uint64_t reads_failed = 0;
};

class Store {
 public:
  struct Opened {
    std::unique_ptr<Store> store;
    Recovered recovered;
  };

  // Opens the store in `directory`, or makes a new one where there is none. Locks it
  // (kDeviceOrResourceBusy if somebody else has it). A store that cannot be had whole is an error
  // that names file, offset and what was expected; nothing is changed then. `files` outlives the
  // store.
  static base::Result<Opened> open(env::FileSystem& files, const std::string& directory,
                                   Options options);
  ~Store();
  Store(const Store&) = delete;
  Store& operator=(const Store&) = delete;

  // Hands out all keys in ascending order, each with its live revisions ascending, without reading
  // a value (D4); the views end with the call. Once, before the first append. Also marks the dead.
  base::Result<> load(
      const std::function<void(std::string_view key, std::span<const LiveRevision>)>& visit);

  // The small buckets after all batches appended so far.
  const Buckets& buckets() const;

  // Appends one applied batch: newer revisions than all before, applied index not lower. Not
  // durable before the next checkpoint. A change of scheduledCompactRev in it raises the floor.
  base::Result<> append(std::shared_ptr<const base::Batch> batch);

  // After the last append; cheap, one for each View.
  std::shared_ptr<const Snapshot> snapshot() const;

  // True if something was appended and a second has passed since the last checkpoint, or 16 MB have
  // come.
  bool checkpoint_due(base::TimePoint now) const;
  // Makes all appended so far durable (blocks in one or two syncs).
  base::Result<> checkpoint(base::TimePoint now, base::WallTime wall_now);
  // The next checkpoint, for which checkpoint_due() asks, ends the last segment, however short it
  // is. A start reads its footer then instead of its records.
  void end_tail();
  // The applied index up to which everything is durable here. A raft snapshot at S waits for it
  // (D7).
  std::uint64_t synced_applied_index() const;

  // These revisions died with the floor of the newest appended batch (or one before it): all
  // changes of one key together, tombstones included.
  void mark_dead(std::span<const base::Revision> revisions);

  // A slice of background work: footers, rewriting of the bucket log, collection, removal of dead
  // files, the reserve. At most some 200 us of work or one paced write.
  base::Result<Step> step(base::TimePoint now, base::WallTime wall_now);
  base::Result<Step> waited(base::Result<> outcome, base::TimePoint now);
  // True while files that were collected wait for their last Snapshot to go, or to be cut up.
  // Nobody tells when that is: step now and then.
  bool has_condemned() const;
  // What is dead now is to be reclaimed as far as it can be, below the thresholds of Options too:
  // the steps to come collect until nothing worth a few pages is left. The tail is ended for it if
  // it holds such; that takes a checkpoint, for which checkpoint_due() asks. Step at once.
  void reclaim();

  // Revisions up to here are in an archive; kept in the manifest for later use.
  base::Result<> set_archived_to(std::int64_t revision);
  std::int64_t archived_to() const;

  Space space() const;
  Stats stats() const;
  std::uint64_t store_id() const;

  class Impl;  // store_impl.h; of this directory alone

 private:
  explicit Store(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace keelson::store
