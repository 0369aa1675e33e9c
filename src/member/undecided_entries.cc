#include "member/undecided_entries.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/check.h"
#include "base/crc32c.h"
#include "wal/segment_name.h"

namespace keelson::member {
namespace {

constexpr std::size_t kDigits = 16;
constexpr std::size_t kLineBytes = kDigits + 1 + kDigits + 1 + 8 + 1;
constexpr std::size_t kTidyAt = 4096;

std::string line_of(raft::Term term, raft::Index index) {
  const std::string digits = fmt::format("{:016x}-{:016x}", term, index);
  return fmt::format("{} {:08x}\n", digits, base::crc32c(0, digits));
}

struct Place {
  raft::Term term = 0;
  raft::Index index = 0;
};
std::optional<Place> parse_line(std::string_view line) {
  if (line.size() != kLineBytes) return std::nullopt;
  Place place;
  std::from_chars(line.data(), line.data() + kDigits, place.term, 16);
  std::from_chars(line.data() + kDigits + 1, line.data() + 2 * kDigits + 1, place.index, 16);
  if (line_of(place.term, place.index) != line) return std::nullopt;
  return place;
}

}  // namespace

UndecidedEntries::UndecidedEntries(env::FileSystem& files, std::string directory,
                                   std::string wal_directory)
    : files_(files),
      directory_(std::move(directory)),
      path_(env::join_path(directory_, "undecided")),
      wal_directory_(std::move(wal_directory)),
      tidy_at_(kTidyAt) {}

base::Result<std::unique_ptr<UndecidedEntries>> UndecidedEntries::open(env::FileSystem& files,
                                                                       std::string directory,
                                                                       std::string wal_directory) {
  std::unique_ptr<UndecidedEntries> entries(
      new UndecidedEntries(files, std::move(directory), std::move(wal_directory)));
  RETURN_IF_ERROR(entries->read());
  return entries;
}

base::Result<> UndecidedEntries::read() {
  ASSIGN_OR_RETURN(const auto status, files_.status(path_));
  if (!status) return {};
  ASSIGN_OR_RETURN(file_, files_.open(path_, env::OpenMode::kReadWrite));
  RETURN_IF_ERROR(file_->settle());
  ASSIGN_OR_RETURN(const std::string text, env::read_file(files_, path_));
  bool is_torn = false;
  for (std::size_t at = 0; at < text.size(); at += kLineBytes) {
    const auto place = parse_line(std::string_view(text).substr(at, kLineBytes));
    is_torn = !place;
    if (is_torn && at + kLineBytes < text.size()) {
      return base::fail(base::make_error(
          std::errc::bad_message,
          fmt::format("{}: at {} there is no term and index with their checksum", path_, at)));
    }
    if (place) entries_.emplace(place->index, place->term);
  }
  ASSIGN_OR_RETURN(const bool forgot, forget_what_the_log_has_not());
  if (is_torn || forgot) return write_anew();
  return {};
}

// Of the names of its files, whose index the next entry was to have.
base::Result<bool> UndecidedEntries::forget_what_the_log_has_not() {
  auto segments = wal::list_segments(files_, wal_directory_);
  if (!segments) {
    return base::fail(base::make_error(std::errc::io_error, segments.error().message()));
  }
  if (segments->empty()) return false;
  const auto first_kept = entries_.lower_bound(segments->front().index);
  const bool any = first_kept != entries_.begin();
  entries_.erase(entries_.begin(), first_kept);
  return any;
}

base::Result<> UndecidedEntries::write_anew() {
  file_.reset();
  std::string text;
  for (const auto& [index, term] : entries_) text += line_of(term, index);
  const std::string unfinished = path_ + ".tmp";
  RETURN_IF_ERROR(env::write_file(files_, unfinished, text));
  RETURN_IF_ERROR(files_.rename(unfinished, path_));
  RETURN_IF_ERROR(files_.sync_directory(directory_));
  ASSIGN_OR_RETURN(file_, files_.open(path_, env::OpenMode::kReadWrite));
  return {};
}

base::Result<> UndecidedEntries::add(const raft::Entry& entry) {
  CHECK_GT(entry.index, newest());
  entries_.emplace(entry.index, entry.term);
  if (entries_.size() > tidy_at_) {
    RETURN_IF_ERROR(forget_what_the_log_has_not());
    tidy_at_ = std::max(kTidyAt, 2 * entries_.size());
    return write_anew();
  }
  if (file_ == nullptr) return write_anew();
  RETURN_IF_ERROR(
      file_->write_at((entries_.size() - 1) * kLineBytes, line_of(entry.term, entry.index)));
  return file_->sync();
}

}  // namespace keelson::member
