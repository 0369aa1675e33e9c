// TailWriter: puts bytes behind the last frame of a file of the log, in whole pages around the page
// cache.
//
// The log is written once and read at the next start at the earliest. In the page cache it would
// only push out the store's pages, and each page of it would have to be found and cleared first.
//
// A page that is begun is kept here and written again with what follows it: the same bytes at the
// same places, so a crash in between changes none that was durable. Behind the last byte the page
// has zeros (Wal, W4). One lane.
#pragma once

#include <cstdint>
#include <string_view>

#include "env/page_memory.h"
#include "wal/error.h"

namespace keelson::wal {

class TailWriter {
 public:
  // From now on writes into `file`, which outlives that and is read by nobody meanwhile (not
  // through this handle), behind its first `end` bytes. The page that holds the last of them is
  // read.
  Result<> begin(env::File& file, std::uint64_t end);

  // Afterwards a sync makes them durable. After an error any prefix may have been written.
  Result<> write(std::string_view bytes);

 private:
  static constexpr std::size_t kBufferBytes = std::size_t{256} << 10;

  // As many of `bytes` as the buffer has room for, which are cut off.
  Result<> write_some(std::string_view& bytes);

  env::PageMemory buffer_{kBufferBytes};  // begins with the page that is begun
  std::size_t begun_ = 0;                 // bytes of that page, less than a page
  std::uint64_t page_offset_ = 0;         // where it stands in the file
  env::File* file_ = nullptr;
};

}  // namespace keelson::wal
