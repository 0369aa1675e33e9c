#include "wal/spare.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

namespace keelson::wal {

namespace {
// What others write and sync meanwhile waits for one of them: 0.2 ms where a megabyte is 0.7.
constexpr std::uint64_t kStepBytes = 128u << 10;
constexpr std::uint64_t kVolumeShareLeft = 16;
constexpr std::size_t kZeroBytes = 64u << 10;
alignas(env::File::kPageBytes) constexpr std::array<char, kZeroBytes> kZeros{};
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
  const std::uint64_t step = std::min(kStepBytes, request_.bytes - written_);
  std::vector<std::string_view> parts;
  for (std::uint64_t left = step; left > 0;) {
    const std::uint64_t part = std::min<std::uint64_t>(left, kZeroBytes);
    parts.emplace_back(kZeros.data(), part);
    left -= part;
  }
  RETURN_IF_ERROR(file_->write_at(written_, parts));
  if (!request_.unsafe_no_fsync) RETURN_IF_ERROR(file_->push_out(written_, step, /*wait=*/true));
  written_ += step;
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
