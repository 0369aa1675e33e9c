// SegmentOutput: writes the end of a segment file, paced: whole chunks of 256 KB, each pushed out
// and waited for before the next, so that syncs of the WAL beside it are not held up (design of the
// store: "Writing").
//
// It takes bytes of records (of a collection) and then makes the footer. The owner asks for one
// slice at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/function.h"
#include "base/result.h"
#include "store/footer.h"
#include "store/segment.h"
#include "store/volume.h"

namespace keelson::store {

// What one slice of background work asks for.
struct Slice {
  // kGaveUp: over without effect; not to be tried again at once.
  enum class Next { kMore, kWait, kDone, kGaveUp } next = Next::kMore;
  base::Function<base::Result<>()> wait;  // with kWait: run where blocking is allowed, then rest
};

class SegmentOutput {
 public:
  SegmentOutput(Volume& volume, std::shared_ptr<SegmentFile> file, std::uint64_t at,
                std::uint64_t chunk_bytes)
      : volume_(volume), file_(std::move(file)), at_(at), chunk_bytes_(chunk_bytes) {}

  // Bytes to be written next; the owner appends to it.
  std::string& buffer() { return buffer_; }
  // Where the next byte put into the buffer will lie.
  std::uint64_t end() const { return at_ + buffer_.size(); }
  bool chunk_is_full() const { return buffer_.size() >= chunk_bytes_; }

  // Writes one chunk, or what there is.
  base::Result<Slice> write();
  // A slice of the footer, whose records are finished. At its end: cut to size and synced (by a
  // wait), kDone.
  base::Result<Slice> step_footer(FooterBuilder& footer);

 private:
  static constexpr std::size_t kFooterSliceBytes = 64 * 1024;

  Volume& volume_;
  const std::shared_ptr<SegmentFile> file_;
  std::uint64_t at_;
  const std::uint64_t chunk_bytes_;
  std::string buffer_;
  bool footer_made_ = false;
  bool sync_asked_ = false;
};

}  // namespace keelson::store
