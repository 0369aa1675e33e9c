#include "wal/spare.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace keelson::wal {

namespace {
constexpr std::uint64_t kStepBytes = 1u << 20;
// Of one write. What others write and sync meanwhile waits behind one or two: 0.2 ms where a
// megabyte takes 0.7.
constexpr std::uint64_t kWriteBytes = 128u << 10;
constexpr std::uint64_t kVolumeShareLeft = 16;
alignas(env::File::kPageBytes) constexpr std::array<char, kWriteBytes> kZeros{};
}  // namespace

Result<SpareMaker> SpareMaker::begin(env::FileSystem& files, SpareRequest request) {
  ASSIGN_OR_RETURN(auto file, files.open(request.path, env::OpenMode::kCreate));
  ASSIGN_OR_RETURN(const bool locked, file->try_lock());
  if (!locked) {
    return base::fail(
        Error(Errc::kLocked, request.path, 0, "a spare file is in use by somebody else"));
  }
  RETURN_IF_ERROR(file->truncate(0));
  file->bypass_cache();
  return SpareMaker(files, std::move(request), std::move(file));
}

Result<bool> SpareMaker::step() {
  CHECK(file_ != nullptr);
  auto done = write_step();
  if (!done) {
    file_ = nullptr;
    MAYBE(files_->remove(request_.path).ok());  // opening the log removes it if this fails too
    return done;
  }
  done_ = *done;
  return done;
}

// While a spare grows the volume may fill up from elsewhere.
Result<> SpareMaker::check_room() const {
  if (!request_.leaves_room) return {};
  ASSIGN_OR_RETURN(const auto space, files_->space(request_.path));
  const std::uint64_t left_free = std::min(space.total / kVolumeShareLeft, request_.bytes);
  const std::uint64_t missing = request_.bytes - written_;
  if (space.available >= missing + left_free) return {};
  return base::fail(
      Error(Errc::kNoSpace, request_.path, written_,
            fmt::format("{} bytes are free, where {} should remain after the file's last {}: {}",
                        space.available, left_free, missing, std::strerror(ENOSPC))));
}

Result<bool> SpareMaker::write_step() {
  RETURN_IF_ERROR(check_room());
  const std::uint64_t begin = written_, end = std::min(begin + kStepBytes, request_.bytes);
  while (written_ < end) {
    const std::uint64_t bytes = std::min(kWriteBytes, end - written_);
    RETURN_IF_ERROR(file_->write_at(written_, std::string_view(kZeros.data(), bytes)));
    written_ += bytes;
  }
  if (!request_.unsafe_no_fsync)
    RETURN_IF_ERROR(file_->push_out(begin, end - begin, /*wait=*/true));
  if (written_ < request_.bytes) return false;
  if (!request_.unsafe_no_fsync) RETURN_IF_ERROR(file_->sync());
  return true;
}

Spare SpareMaker::finish() {
  CHECK(done_);
  return Spare{.path = request_.path, .file = std::move(file_)};
}

Result<Spare> make_spare(env::FileSystem& files, SpareRequest request) {
  ASSIGN_OR_RETURN(auto maker, SpareMaker::begin(files, std::move(request)));
  for (;;) {
    ASSIGN_OR_RETURN(const bool done, maker.step());
    if (done) return maker.finish();
  }
}

}  // namespace keelson::wal
