#include "wal/error.h"

namespace keelson::wal {

std::string_view describe(Errc errc) {
  switch (errc) {
    case Errc::kIo:
      return "i/o error";
    case Errc::kNoSpace:
      return "no room";
    case Errc::kNotFound:
      return "file not found";
    case Errc::kExists:
      return "already exists";
    case Errc::kLocked:
      return "file already locked";
    case Errc::kTorn:
      return "unexpected end of file";
    case Errc::kCrcMismatch:
      return "crc mismatch";
    case Errc::kBadRecord:
      return "bad record";
    case Errc::kMetadataConflict:
      return "conflicting metadata found";
    case Errc::kSnapshotMismatch:
      return "snapshot mismatch";
    case Errc::kSnapshotNotFound:
      return "snapshot not found";
    case Errc::kGap:
      return "missing entries";
    case Errc::kInDoubt:
      return "not durable";
  }
  CHECK(false);
}

std::string Error::message() const {
  if (file.empty()) return fmt::format("wal: {}: {}", describe(code), what);
  return fmt::format("wal: {} in {} at offset {}: {}", describe(code), file, offset, what);
}

}  // namespace keelson::wal
