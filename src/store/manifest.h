// Manifest: which segments make up the store, in order. One small file, locked while the store is
// open; its whole content is written anew with each save, into the place that is not valid now.
// docs/format/store.md 4.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/revision.h"
#include "env/file.h"
#include "store/volume.h"

namespace keelson::store {

struct SegmentRow {
  std::uint64_t id = 0;
  base::Revision first;   // revisions from here on belong to this segment
  std::uint64_t end = 0;  // of the file, with its footer; 0 = not sealed, as are the next two
  std::uint64_t array_offset = 0;  // = end of the records
  std::uint64_t records = 0;
  std::uint64_t dead_generation = 0;  // of its .dead file; 0 = none

  bool sealed() const { return end != 0; }
  friend bool operator==(const SegmentRow&, const SegmentRow&) = default;
};

struct ManifestState {
  std::uint64_t next_segment_id = 1;
  std::uint64_t next_log_id = 1;
  std::int64_t archived_to = 0;
  std::uint64_t collected_index = 0;
  std::uint64_t next_dead_generation = 1;
  std::vector<SegmentRow> segments;

  friend bool operator==(const ManifestState&, const ManifestState&) = default;
};

std::string encode(const ManifestState& state);
// nullopt if the bytes are not one, or the segments do not ascend.
std::optional<ManifestState> decode_manifest(std::string_view bytes);

class Manifest {
 public:
  struct Opened {
    std::unique_ptr<Manifest> manifest;
    std::optional<ManifestState> state;  // nullopt: nothing was ever saved, or it cannot be read
    std::uint64_t store_id = 0;          // with `state`
  };
  // Opens (makes) and locks the file of `volume`. std::errc::device_or_resource_busy if another has
  // it.
  static base::Result<Opened> open(Volume& volume);

  // Writes the header of a new store. Before the first save.
  base::Result<> create(base::WallTime now);
  // Durable when it returns.
  base::Result<> save(const ManifestState& state);

  // Bytes of the file.
  std::uint64_t bytes() const { return file_end_; }

 private:
  explicit Manifest(Volume& volume, std::unique_ptr<env::File> file)
      : volume_(volume), file_(std::move(file)) {}

  Volume& volume_;
  std::unique_ptr<env::File> file_;
  std::uint64_t sequence_ = 0;  // of the valid slot; 0 = none
  std::uint64_t body_at_ = 0;   // of the valid slot
  std::uint64_t body_bytes_ = 0;
  std::uint64_t file_end_ = 0;
};

}  // namespace keelson::store
