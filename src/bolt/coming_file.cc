#include "bolt/coming_file.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace keelson::bolt {

base::Result<> ComingFile::come(base::SharedBytes piece) {
  CHECK(!is_whole_);
  RETURN_IF_ERROR(write_rest());
  piece_at_ += piece_.size();
  piece_ = std::move(piece);
  taken_.clear();
  return {};
}

base::Result<> ComingFile::on_page(std::uint64_t id, std::uint64_t pages) {
  const std::uint64_t end = piece_at_ + piece_.size();
  const Range range{.begin = std::clamp(id * page_bytes_, piece_at_, end),
                    .end = std::clamp((id + pages) * page_bytes_, piece_at_, end)};
  if (range.begin == range.end) return {};
  if (!taken_.empty() && taken_.back().end == range.begin) {
    taken_.back().end = range.end;
  } else {
    taken_.push_back(range);
  }
  return {};
}

base::Result<> ComingFile::write_rest() {
  std::ranges::sort(taken_, {}, &Range::begin);
  std::uint64_t at = piece_at_;
  for (const Range& range : taken_) {
    if (at < range.begin) RETURN_IF_ERROR(write({at, range.begin}));
    at = std::max(at, range.end);
  }
  const std::uint64_t end = piece_at_ + piece_.size();
  return at < end ? write({at, end}) : base::Result<>();
}

base::Result<> ComingFile::write(Range range) {
  return file_->write_at(range.begin,
                         piece_.view().substr(range.begin - piece_at_, range.end - range.begin));
}

base::Result<std::size_t> ComingFile::read_at(std::uint64_t offset, std::span<char> out) const {
  const std::uint64_t end = piece_at_ + piece_.size();
  const std::uint64_t length = std::min<std::uint64_t>(out.size(), end - std::min(offset, end));
  const std::uint64_t on_disk = std::min(length, piece_at_ - std::min(offset, piece_at_));
  if (on_disk > 0) {
    ASSIGN_OR_RETURN(const std::size_t got, file_->read_at(offset, out.first(on_disk)));
    // A hole at the end of what is on the disk.
    std::memset(out.data() + got, 0, on_disk - got);
  }
  if (length > on_disk) {
    std::memcpy(out.data() + on_disk, piece_.data() + (offset + on_disk - piece_at_),
                length - on_disk);
  }
  return length;
}

}  // namespace keelson::bolt
