#include "wal/segment_name.h"

#include <algorithm>
#include <charconv>

namespace keelson::wal {

namespace {

constexpr std::size_t kHexDigits = 16;
constexpr std::string_view kSuffix = ".wal";

std::optional<std::uint64_t> parse_hex(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<std::vector<std::string>> names_in(env::FileSystem& files, const std::string& directory) {
  ASSIGN_OR_RETURN(const auto status, files.status(directory));
  if (!status) return std::vector<std::string>{};
  ASSIGN_OR_RETURN(auto names, files.list(directory));
  return names;
}

}  // namespace

std::string SegmentName::text() const {
  return fmt::format("{:016x}-{:016x}{}", sequence, index, kSuffix);
}

std::optional<SegmentName> parse_segment_name(std::string_view name) {
  if (name.size() != 2 * kHexDigits + 1 + kSuffix.size() || !name.ends_with(kSuffix) ||
      name[kHexDigits] != '-') {
    return std::nullopt;
  }
  const auto sequence = parse_hex(name.substr(0, kHexDigits));
  const auto index = parse_hex(name.substr(kHexDigits + 1, kHexDigits));
  if (!sequence || !index) return std::nullopt;
  return SegmentName{.sequence = *sequence, .index = *index};
}

Result<std::vector<SegmentName>> list_segments(env::FileSystem& files,
                                               const std::string& directory) {
  ASSIGN_OR_RETURN(const auto names, names_in(files, directory));
  std::vector<SegmentName> segments;
  for (const std::string& name : names) {
    if (const auto segment = parse_segment_name(name)) segments.push_back(*segment);
  }
  std::sort(segments.begin(), segments.end());
  return segments;
}

Result<bool> has_log(env::FileSystem& files, const std::string& directory) {
  ASSIGN_OR_RETURN(const auto names, names_in(files, directory));
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return name.ends_with(kSuffix); });
}

Result<std::vector<SegmentName>> select_segments(env::FileSystem& files,
                                                 const std::string& directory,
                                                 std::uint64_t index) {
  ASSIGN_OR_RETURN(auto segments, list_segments(files, directory));
  const auto last = std::find_if(segments.rbegin(), segments.rend(),
                                 [&](const SegmentName& name) { return name.index <= index; });
  if (last == segments.rend()) {
    return base::fail(Error(Errc::kNotFound, directory, 0,
                            fmt::format("no log file that begins at or before index {}", index)));
  }
  segments.erase(segments.begin(), last.base() - 1);
  for (std::size_t i = 1; i < segments.size(); i++) {
    if (segments[i].sequence == segments[i - 1].sequence + 1) continue;
    return base::fail(Error(Errc::kNotFound, env::join_path(directory, segments[i].text()), 0,
                            fmt::format("sequence {} follows {}: a file between them is missing",
                                        segments[i].sequence, segments[i - 1].sequence)));
  }
  return segments;
}

}  // namespace keelson::wal
