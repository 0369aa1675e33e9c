#include "wal/tail_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "base/check.h"

namespace keelson::wal {

namespace {

constexpr std::size_t kPage = env::File::kPageBytes;

std::size_t to_whole_pages(std::size_t bytes) { return (bytes + kPage - 1) / kPage * kPage; }

}  // namespace

Result<> TailWriter::begin(env::File& file, std::uint64_t end) {
  file_ = &file;
  begun_ = end % kPage;
  page_offset_ = end - begun_;
  if (begun_ > 0) {
    ASSIGN_OR_RETURN(const std::size_t got,
                     file.read_at(page_offset_, std::span(buffer_.data(), begun_)));
    if (got != begun_) {
      return base::fail(Error(Errc::kIo, file.path(), page_offset_,
                              fmt::format("{} bytes where {} were expected", got, begun_)));
    }
  }
  file.bypass_cache();
  return {};
}

Result<> TailWriter::write(std::string_view bytes) {
  CHECK(file_ != nullptr);
  while (!bytes.empty()) RETURN_IF_ERROR(write_some(bytes));
  return {};
}

Result<> TailWriter::write_some(std::string_view& bytes) {
  const std::size_t taken = std::min(bytes.size(), kBufferBytes - begun_);
  const std::size_t end = begun_ + taken;
  const std::size_t padded = to_whole_pages(end);
  char* const buffer = buffer_.data();
  std::memcpy(buffer + begun_, bytes.data(), taken);
  std::memset(buffer + end, 0, padded - end);
  RETURN_IF_ERROR(file_->write_at(page_offset_, std::string_view(buffer, padded)));

  bytes.remove_prefix(taken);
  begun_ = end % kPage;
  std::memmove(buffer, buffer + end - begun_, begun_);
  page_offset_ += end - begun_;
  return {};
}

}  // namespace keelson::wal
