// Reader: the records of one or more log files, one after the other. formats.md 1.3, 1.6, 1.7.
//
// It holds one buffer (256 KiB, more for a larger record) whatever the size of the log, and
// believes no length before it fits the file. What a crash may leave at the end of the last file
// (zeros, a record cut short, sectors never written) is told apart from damage:
//
//   zeros or the file's end where a frame should begin    the end of this file
//   a frame that does not fit the file                    kTorn in the last file, else kBadRecord
//   checksum or record wrong, and a sector of it is all
//   zeros, in the last file                               kTorn
//   checksum wrong otherwise                              kCrcMismatch
//   record wrong otherwise                                kBadRecord
//
// Three things look torn at first, and no crash can leave them, because a length lies in one sector
// and a file's head is synced before the file gets its name. They are kBadRecord:
//
//   a length that no writer would write (its padding does not complete it to 8, or above a
//   gigabyte) a length that is wrong about a record which by itself is whole the end, or a torn
//   frame, before a file's crc and metadata records
//
// The files must outlive it. One lane.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "env/file.h"
#include "wal/error.h"
#include "wal/record.h"

namespace keelson::wal {

class Reader {
 public:
  struct Source {
    const env::File* file = nullptr;
    std::string path;  // for messages
  };
  explicit Reader(std::vector<Source> sources) : sources_(std::move(sources)) {}

  // The next record, its checksum verified; nullopt at the end of the last file. Its data lives
  // until the next call. After an error, do not go on.
  Result<std::optional<Record>> next();

  // Of the file being read (at the end: the last one): where the last good frame ends.
  std::uint64_t valid_bytes() const { return offset_; }
  // The chain after the last record.
  std::uint32_t crc() const { return crc_; }
  // Which file the last record came from, and where its frame began.
  std::size_t file() const { return current_; }
  std::uint64_t record_offset() const { return record_offset_; }
  const std::string& path() const { return sources_[current_].path; }

 private:
  // As many bytes at `offset_ + skip` as there are, at most `length`.
  Result<std::string_view> peek(std::uint64_t skip, std::uint64_t length);
  Result<std::optional<Record>> next_in_file();
  Result<std::optional<Record>> verified(const Record& record, std::string_view frame);
  bool in_last_file() const { return current_ + 1 == sources_.size(); }
  Errc cut_short() const;
  std::unexpected<Error> unreadable(Errc code, std::string_view frame, std::string what);
  static bool has_zero_sector(std::string_view bytes, std::uint64_t offset);
  Result<bool> length_is_wrong(std::uint64_t claimed);
  Result<bool> length_is_unwritten();
  std::unexpected<Error> error(Errc code, std::string what) const;

  std::vector<Source> sources_;
  std::size_t current_ = 0;
  bool opened_ = false;  // size_ is that of the current file
  std::uint64_t size_ = 0;
  std::uint64_t offset_ = 0;         // end of the last good frame
  std::uint64_t record_offset_ = 0;  // its beginning
  std::uint32_t crc_ = 0;
  bool has_metadata_ = false;  // the current file's head was read
  std::string buffer_;         // bytes of the current file from buffer_offset_ on
  std::uint64_t buffer_offset_ = 0;
};

}  // namespace keelson::wal
