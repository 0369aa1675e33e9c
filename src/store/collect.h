// Collection: rewrites a window of neighbouring sealed segments without their dead, in slices; D5,
// D6.
//
//   Judging --hash rows read--> Copying --all copied--> Footer --written and synced--> Late
//   --drained--> Guarding --.dead files written--> (manifest saved, rows swapped, old files
//   condemned)
//
// Which records are dead is frozen when it begins; what dies meanwhile is marked in the new segment
// at the end. The bitmaps hold only deaths by floors of synced checkpoints (Store::Impl settles
// them then), so whatever is dropped here stays dead whatever a crash does.
//
// Invariants
//   C1  A live record of the window is in the new segment, with its checksum, before the manifest
//   names that. C2  If a tombstone is dropped, each older record that is dead now is known to be in
//   a .dead file, named by
//       the same manifest that names the new segment.
//   C3  A record that cannot be read ends the collection without effect; its segment is left alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/output.h"
#include "store/store_impl.h"

namespace keelson::store {

// ---- which window ----

struct WindowCandidate {
  bool collectable = false;        // sealed and undamaged
  std::uint64_t file_bytes = 0;    // with footer
  std::uint64_t record_bytes = 0;  // of all its records
  std::uint64_t live_bytes = 0;    // of the live ones
};
struct Window {
  std::size_t first = 0;
  std::size_t count = 0;
  friend bool operator==(const Window&, const Window&) = default;
};
// The 1-4 neighbours that free most per byte rewritten, at least `gain_bytes`, whose live records
// fit in `segment_bytes`; nullopt if there are none.
std::optional<Window> choose_window(std::span<const WindowCandidate> rows, std::uint64_t gain_bytes,
                                    std::uint64_t segment_bytes);

// ---- its collection ----

class Collection {
 public:
  Collection(Store::Impl& store, Window window);

  base::Result<Slice> step(base::WallTime wall_now);
  // A record of row `row` was marked dead.
  void died(std::size_t row, base::Revision revision);

 private:
  enum class Phase { kJudging, kCopying, kFooter, kLate, kGuarding };
  struct Source {
    std::shared_ptr<const Segment> segment;
    Deaths deaths;  // as they were at the start
  };
  struct Guard {
    std::size_t row = 0;
    std::uint64_t generation = 0;
    std::uint64_t dead_records = 0;
  };

  base::Result<Slice> judge();
  base::Result<Slice> open_output(base::WallTime wall_now);
  base::Result<Slice> copy();
  bool copy_run(const Source& source, std::size_t end, std::string_view bytes, std::uint64_t from);
  void copy_record(base::Revision revision, const CheckedRecord& record);
  base::Result<Slice> give_up();
  base::Result<Slice> mark_late();
  base::Result<Slice> guard(base::WallTime wall_now);
  base::Result<Slice> swap();
  bool is_over() const { return source_ == sources_.size(); }
  std::size_t next_live(const Source& source, std::size_t ordinal) const;

  Store::Impl& store_;
  const Window window_;
  const std::uint64_t
      relied_on_;  // applied index of the checkpoint whose floor the deaths follow from
  std::vector<Source> sources_;
  Phase phase_ = Phase::kJudging;
  std::size_t judged_ = 0;
  bool drops_tombstones_ = false;

  std::uint64_t id_ = 0;
  std::shared_ptr<SegmentFile> file_;  // nullptr: nothing of the window is alive
  std::unique_ptr<FooterBuilder> footer_;
  std::unique_ptr<SegmentOutput> output_;
  std::uint32_t chain_ = 0;
  std::uint64_t data_end_ = 0;
  std::size_t source_ = 0;  // what is copied next
  std::size_t ordinal_ = 0;

  std::shared_ptr<const Segment> made_;
  Deaths made_deaths_;
  std::vector<base::Revision> late_;
  std::vector<Guard> guards_;
  std::size_t guarded_ = 0;  // rows looked at
};

}  // namespace keelson::store
