// Names of the log's files: `%016x-%016x.wal`, a sequence number and the index that the next entry
// was expected to have when the file was begun. formats.md 1.1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "env/file.h"
#include "wal/error.h"

namespace keelson::wal {

struct SegmentName {
  std::uint64_t sequence = 0;
  std::uint64_t index = 0;

  std::string text() const;
  friend auto operator<=>(const SegmentName&, const SegmentName&) = default;
};
std::optional<SegmentName> parse_segment_name(std::string_view name);

// The log's files in a directory, ascending by sequence; names that are none of ours are ignored.
// Empty if the directory is not there.
Result<std::vector<SegmentName>> list_segments(env::FileSystem& files,
                                               const std::string& directory);
// At least one name ends in `.wal`: that alone decides between a restart and a new member.
Result<bool> has_log(env::FileSystem& files, const std::string& directory);
// The files from which to read what follows `index`: the last whose name's index is <= it, and all
// later ones. kNotFound if there is none, or if a number is missing among them.
Result<std::vector<SegmentName>> select_segments(env::FileSystem& files,
                                                 const std::string& directory, std::uint64_t index);

}  // namespace keelson::wal
