#include "bolt/coming_file.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace keelson::bolt {

base::Result<> ComingFile::come(base::SharedBytes piece) {
  CHECK(!is_whole_);
  RETURN_IF_ERROR(write_rest());
  older_ = std::move(newest_);
  newest_ = {.begin = older_.end(), .bytes = std::move(piece)};
  return {};
}

base::Result<> ComingFile::on_page(std::uint64_t id, std::uint64_t pages) {
  const Range range{.begin = std::clamp(id * page_bytes_, older_.begin, newest_.end()),
                    .end = std::clamp((id + pages) * page_bytes_, older_.begin, newest_.end())};
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
  const std::uint64_t end = older_.end();
  std::uint64_t at = older_.begin;
  for (const Range& range : taken_) {
    if (range.begin >= end) break;
    if (at < range.begin) RETURN_IF_ERROR(write({at, range.begin}));
    at = std::max(at, range.end);
  }
  if (at < end) RETURN_IF_ERROR(write({at, end}));
  std::erase_if(taken_, [end](const Range& range) { return range.end <= end; });
  return {};
}

base::Result<> ComingFile::write(Range range) {
  return file_->write_at(
      range.begin, older_.bytes.view().substr(range.begin - older_.begin, range.end - range.begin));
}

base::Result<std::size_t> ComingFile::read_at(std::uint64_t offset, std::span<char> out) const {
  const std::uint64_t end = newest_.end();
  const std::uint64_t length = std::min<std::uint64_t>(out.size(), end - std::min(offset, end));
  std::uint64_t done = std::min(length, older_.begin - std::min(offset, older_.begin));
  if (done > 0) {
    ASSIGN_OR_RETURN(const std::size_t got, file_->read_at(offset, out.first(done)));
    // A hole at the end of what is on the disk.
    std::memset(out.data() + got, 0, done - got);
  }
  for (const Piece* piece : {&older_, &newest_}) {
    const std::uint64_t from = offset + done - piece->begin;
    if (done == length || from >= piece->bytes.size()) continue;
    const std::uint64_t some = std::min(length - done, piece->bytes.size() - from);
    std::memcpy(out.data() + done, piece->bytes.data() + from, some);
    done += some;
  }
  return length;
}

}  // namespace keelson::bolt
