// Recovery: what a start reads from the files, before anything is changed.
// docs/format/store.md 2.3.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "env/file.h"
#include "store/footer.h"
#include "store/format.h"
#include "store/tail_index.h"

namespace keelson::store {

// A checkpoint met while scanning a segment.
struct FoundCheckpoint {
  Checkpoint checkpoint;
  std::uint64_t offset = 0;
  std::uint64_t end = 0;           // of its record
  std::uint32_t chain_behind = 0;  // of the segment, this record included
};

// The records of a segment without footer, read in order until something does not match.
struct SegmentScan {
  FileHeader header;
  std::shared_ptr<TailIndex> tail = std::make_shared<TailIndex>();
  std::unique_ptr<MemoryKeys> keys = std::make_unique<MemoryKeys>();
  std::vector<FoundCheckpoint> checkpoints;  // whose checksums and chain are right, ascending
  std::uint64_t end = 0;                     // where the scan stopped
  std::uint32_t chain = 0;                   // of the segment there
  std::uint64_t file_bytes = 0;
  std::string expected;  // what was not found there, for messages

  // Forgets the records behind `found`.
  void cut_to(const FoundCheckpoint& found);
};

struct ScanOptions {
  bool unchecked = false;  // BrokenRules::take_unclean_checkpoint
  std::uint64_t until =
      ~std::uint64_t{0};  // where the records end, if that is known (a sealed one)
};

base::Result<SegmentScan> scan_segment(const env::File& file, std::uint64_t store_id,
                                       std::uint64_t segment_id, ScanOptions options);

// True if a checkpoint record of this segment lies anywhere from `from` on: then what lies between
// was damaged, not never written.
base::Result<bool> has_checkpoint_behind(const env::File& file, std::uint64_t segment_id,
                                         std::uint64_t from);

}  // namespace keelson::store
