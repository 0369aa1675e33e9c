// Sealing: gives the oldest segment without footer its footer, in slices.
//
//   Reading --all records read--> Footer --written and synced--> (manifest saved, row swapped)
//
// Records that are remembered since they were appended are not read.
//
// Begun only for a segment that ended right after a synced checkpoint, so no footer covers what a
// start might drop. A crash on the way leaves a segment without footer, which the next start reads
// as such.
#pragma once

#include <cstddef>
#include <string>

#include "base/result.h"
#include "store/output.h"
#include "store/store_impl.h"

namespace keelson::store {

class Sealing {
 public:
  // `row` must have ended; it keeps its place among the rows while this lasts.
  Sealing(Store::Impl& store, std::size_t row);

  base::Result<Slice> step();

 private:
  base::Result<Slice> read_records();
  base::Result<Slice> swap();

  Store::Impl& store_;
  const std::size_t row_;
  FooterBuilder footer_;
  SegmentOutput output_;
  std::size_t next_;    // the record to be read next
  std::string buffer_;  // a slice's records; kept, for fresh memory is dear
};

}  // namespace keelson::store
