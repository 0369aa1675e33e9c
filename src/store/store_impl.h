// Store::Impl: the state of an open store. Not for other directories.
//
// open.cc makes it from the files, store.cc appends and checkpoints, background.cc and collect.cc
// do in slices what can wait. The order of `rows_` is that of the manifest and of the segment
// table; the last row takes appends.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "store/bucket_log.h"
#include "store/deaths.h"
#include "store/footer.h"
#include "store/gathering.h"
#include "store/manifest.h"
#include "store/merge.h"
#include "store/recovery.h"
#include "store/segment.h"
#include "store/store.h"
#include "store/volume.h"

namespace keelson::store {

// A segment as the store lane knows it.
struct Row {
  SegmentRow saved;  // as in the manifest
  std::shared_ptr<const Segment> segment;
  Deaths deaths;
  std::uint64_t dead_records_saved = 0;  // how many of them its .dead file has
  std::uint64_t seal_end = 0;            // of one that waits for its footer: where its records end
  std::uint32_t seal_chain = 0;
  bool damaged = false;                   // a bad record was met in the background: left as it is
  std::unique_ptr<FooterBuilder> footer;  // of one that waits for it: the first of its records
  std::unique_ptr<MemoryKeys> keys;       // until load(): of one that is not sealed

  std::uint64_t record_bytes(std::uint64_t tail_end) const {
    const std::uint64_t end = segment->sealed() ? segment->data_end()
                              : seal_end != 0   ? seal_end
                                                : tail_end;
    return end - kFileHeaderBytes;
  }
};

class Sealing;
class Collection;
struct Window;

class Store::Impl {
 public:
  Impl(env::FileSystem& files, std::string directory, Options options);
  ~Impl();

  // open.cc
  base::Result<Recovered> open();
  base::Result<> load(
      const std::function<void(std::string_view, std::span<const LiveRevision>)>& visit);

  // store.cc
  base::Result<> append(const base::Batch& batch);
  bool checkpoint_due(base::TimePoint now) const;
  base::Result<> checkpoint(base::TimePoint now, base::WallTime wall_now);
  void mark_dead(std::span<const base::Revision> revisions);
  std::shared_ptr<const Snapshot> snapshot() const { return snapshot_; }
  Space space() const;
  Stats stats() const;
  base::Result<> set_archived_to(std::int64_t revision);

  // background.cc
  base::Result<Step> step(base::TimePoint now, base::WallTime wall_now);
  base::Result<Step> waited(base::Result<> outcome, base::TimePoint now);
  void reclaim() { reclaiming_ = Reclaiming::kBegun; }
  void end_tail() { tail_ends_ = dirty_ = true; }

 private:
  friend class Store;
  friend class Sealing;
  friend class Collection;
  struct Chosen {  // of the checkpoints of the last segment
    FoundCheckpoint found;
    bool fell_back = false;
  };

  // open.cc
  base::Result<Recovered> create(std::uint64_t store_id);
  base::Result<> refuse_orphans(const std::vector<std::string>& names, std::uint64_t from_id);
  base::Result<bool> holds_appended_records(std::uint64_t id);
  base::Result<Recovered> recover(ManifestState state, const std::vector<std::string>& names);
  base::Result<std::unique_ptr<env::File>> open_segment_file(std::uint64_t id);
  base::Result<> open_sealed(const SegmentRow& saved);
  base::Result<OpenedFooter> rebuild_footer(env::File& file, const SegmentRow& saved);
  base::Result<Chosen> choose_checkpoint(const SegmentScan& scan, const std::string& path);
  base::Result<const BucketLog*> log_of(const Checkpoint& checkpoint);
  base::Result<> cut_sealing(SegmentScan& scan, const SegmentScan& next, const std::string& path);
  base::Result<> take_tail(SegmentScan scan, const Chosen& chosen);
  base::Result<> mark_saved_deaths();
  base::Result<> remove_leftovers(const std::vector<std::string>& names);
  void mark_by_floor(std::int64_t floor, std::vector<std::pair<std::size_t, KeyRow>>& history,
                     std::vector<LiveRevision>& live);

  // store.cc
  base::Result<> append_records(const base::Batch& batch);
  FooterBuilder* footer_to_come(std::size_t records, std::uint64_t end);
  base::Result<> write_tail(std::string_view bytes);
  base::Result<> gather(std::string_view bytes);
  base::Result<> write_gathered();
  base::Result<> append_changes(const base::Batch& batch);
  Checkpoint next_checkpoint(base::WallTime wall_now) const;
  base::Result<> write_checkpoint(base::WallTime wall_now);
  base::Result<> roll(base::WallTime wall_now);
  base::Result<std::unique_ptr<env::File>> begin_segment(std::uint64_t id, base::WallTime wall_now);
  ManifestState manifest_state() const;
  base::Result<> save_manifest();
  void publish_table();
  void publish_snapshot();
  bool mark_one(std::size_t row, std::size_t ordinal);
  FooterBuilder::Config footer_config(std::uint64_t segment_id) const {
    return {.segment_id = segment_id,
            .limits = {.offset_max = options_.narrow_bytes_max - kAlign,
                       .sub_max = options_.narrow_sub_max},
            .key_block_bytes = options_.key_block_bytes,
            .without_leases = options_.broken.footers_without_leases};
  }
  template <class T>
  base::Result<T> remember(base::Result<T> result) {
    if (!result) failed_ = true;
    return result;
  }

  // background.cc
  base::Result<Step> step_one(base::TimePoint now, base::WallTime wall_now);
  bool settle_deaths();
  base::Result<bool> remove_dead_name();
  base::Result<bool> step_graveyard(base::TimePoint now);
  base::Result<bool> step_log_rewrite(base::WallTime wall_now);
  base::Result<> copy_buckets();
  bool begin_paced();
  void reclaim_tail();
  std::optional<Window> window_due() const;
  base::Result<std::optional<Step>> step_paced(base::TimePoint now, base::WallTime wall_now);

  const Options options_;
  Volume volume_;
  std::unique_ptr<Manifest> manifest_;
  std::vector<Row> rows_;
  std::uint64_t next_segment_id_ = 1;
  std::uint64_t next_log_id_ = 1;
  std::uint64_t next_dead_generation_ = 1;
  std::int64_t archived_to_ = 0;
  std::uint64_t collected_index_ = 0;
  bool loaded_ = false;
  bool failed_ = false;  // a write or sync failed: nothing goes on

  // The last segment.
  std::shared_ptr<TailIndex> tail_;
  std::shared_ptr<SegmentFile> tail_file_;
  std::uint64_t tail_end_ = 0;
  std::uint64_t tail_pushed_ = 0;       // write-back was begun up to here
  std::string append_buffer_;           // kept, for fresh memory is dear
  std::optional<Gathering> gathering_;  // only_filled: what was appended and is not written yet
  std::unique_ptr<FooterBuilder> tail_footer_;  // has its first records, or none: not there
  std::uint32_t tail_chain_ = 0;
  std::uint64_t last_checkpoint_offset_ = 0;

  // What has been appended, and what a synced checkpoint has of it.
  std::uint64_t applied_index_ = 0;
  std::uint64_t applied_term_ = 0;
  base::Revision newest_;
  std::int64_t floor_ = -1;
  std::uint64_t checkpoint_number_ = 0;
  std::uint64_t synced_applied_index_ = 0;
  std::int64_t synced_floor_ = -1;
  bool dirty_ = false;  // appended to since the last checkpoint
  std::uint64_t bytes_since_checkpoint_ = 0;
  std::optional<base::TimePoint> last_checkpoint_at_;

  Buckets buckets_;
  std::unique_ptr<BucketLog> log_;
  std::map<std::uint64_t, std::unique_ptr<BucketLog>> found_logs_;  // while opening
  // A rewrite of the bucket log: the next generation and how far the content has been copied.
  struct LogRewrite {
    std::unique_ptr<BucketLog> log;
    std::size_t bucket = 0;
    std::string after;  // keys up to here are copied; meaningful once `begun`
    bool begun = false;
    bool complete = false;
  };
  std::unique_ptr<LogRewrite> rewrite_;
  std::unique_ptr<BucketLog>
      old_log_;  // no longer named by the newest checkpoint, but by the one before
  bool old_log_may_go_ = false;

  // Died, but not yet marked: by a floor that no synced checkpoint holds, or since the last step.
  struct Dying {
    std::int64_t floor;
    base::Revision revision;
  };
  std::deque<Dying> dying_;

  std::shared_ptr<Graveyard> graveyard_ = std::make_shared<Graveyard>();
  std::size_t condemned_ = 0;  // files that are on their way there, or in dead_files_
  std::deque<std::unique_ptr<env::File>> dead_files_;
  std::optional<base::TimePoint> next_cut_at_;
  std::vector<std::string> dead_names_;  // small files to remove at the next step

  std::unique_ptr<Sealing> sealing_;
  std::unique_ptr<Collection> collection_;
  bool waiting_ = false;  // for waited()
  std::optional<base::TimePoint> rest_until_;
  std::optional<base::TimePoint> next_maintain_at_;
  // kBegun --all deaths settled, the tail holds dead--> kTailEnds --checkpoint--> kCollecting
  //        --all deaths settled, it does not----------------------------------/
  // kCollecting --no window left--> kNo
  enum class Reclaiming : std::uint8_t { kNo, kBegun, kTailEnds, kCollecting };
  Reclaiming reclaiming_ = Reclaiming::kNo;
  bool tail_ends_ = false;  // with the next checkpoint, whatever its length

  std::shared_ptr<ReadCounters> counters_ = std::make_shared<ReadCounters>();
  std::shared_ptr<const SegmentTable> table_;
  std::shared_ptr<const Snapshot> snapshot_;
  Stats stats_;
};

}  // namespace keelson::store
