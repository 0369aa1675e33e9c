#include "store/output.h"

#include <algorithm>

namespace keelson::store {

base::Result<Slice> SegmentOutput::write() {
  const std::string_view chunk =
      std::string_view(buffer_).substr(0, std::min<std::uint64_t>(buffer_.size(), chunk_bytes_));
  RETURN_IF_ERROR(volume_.with_reserve([&] { return file_->file().write_at(at_, chunk); }));
  const std::uint64_t from = at_, length = chunk.size();
  at_ += length;
  buffer_.erase(0, length);
  return Slice{.next = Slice::Next::kWait, .wait = [file = file_, from, length] {
                 return file->file().push_out(from, length, true);
               }};
}

base::Result<Slice> SegmentOutput::step_footer(FooterBuilder& footer) {
  if (chunk_is_full() || (footer_made_ && !buffer_.empty())) return write();
  if (!footer_made_) {
    footer_made_ = !footer.step(kFooterSliceBytes, buffer_);
    return Slice{};
  }
  if (sync_asked_) return Slice{.next = Slice::Next::kDone};
  sync_asked_ = true;
  RETURN_IF_ERROR(file_->file().truncate(footer.end()));
  return Slice{.next = Slice::Next::kWait, .wait = [file = file_] { return file->file().sync(); }};
}

}  // namespace keelson::store
