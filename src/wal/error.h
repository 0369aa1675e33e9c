// What can be wrong with a log directory, and where.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace keelson::wal {

enum class Errc : std::uint8_t {
  kIo,           // the disk refused; `what` says which call
  kNoSpace,      // the same, for lack of room
  kNotFound,     // no file, or a hole in the sequence of files, where the log should start
  kExists,       // create: there is a log already, or something else in its place
  kLocked,       // another process (or another Wal) has the file open for writing
  kTorn,         // the last file ends inside a record, as a crash leaves it; repaired once by open
  kCrcMismatch,  // bytes changed after they were written
  kBadRecord,    // a record that cannot be read although its checksum is right, or of unknown type
  kMetadataConflict,  // two files belong to different members
  kSnapshotMismatch,  // the record of the wanted snapshot has another term
  kSnapshotNotFound,  // no record of the wanted snapshot
  kGap,               // an entry is missing between the snapshot or an entry and the next entry
  kInDoubt,           // a change was made and could not be synced: nothing may be built on it
};

// A short name of our own ("crc mismatch").
std::string_view describe(Errc errc);

struct Error {
  Errc code = Errc::kIo;
  std::string file;          // its path; empty if no single file is meant
  std::uint64_t offset = 0;  // of the frame within it
  std::string what;          // what was found and what was expected

  Error(Errc errc, std::string file_path, std::uint64_t at, std::string text)
      : code(errc), file(std::move(file_path)), offset(at), what(std::move(text)) {}
  Error(base::Error error)  // NOLINT: passes up through RETURN_IF_ERROR
      : code(error.code == std::errc::no_space_on_device ? Errc::kNoSpace : Errc::kIo),
        what(error.message()) {}

  // "crc mismatch in /data/wal/0-0.wal at offset 512: found 1, expected 2"
  std::string message() const;
};

template <class T = void>
using Result = base::Result<T, Error>;

}  // namespace keelson::wal
