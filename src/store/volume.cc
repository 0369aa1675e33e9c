#include "store/volume.h"

#include <algorithm>

namespace keelson::store {
namespace {

constexpr std::uint64_t kSmallVolumeBytes = std::uint64_t{2} << 30;
constexpr std::uint64_t kSmallReserveBytesMin = std::uint64_t{1} << 20;

}  // namespace

bool is_no_space(const base::Error& error) { return error.code == std::errc::no_space_on_device; }

base::Result<> Volume::start(Config config) {
  config_ = config;
  segment_bytes_ = config.segment_bytes;
  if (!config.reserve) return {};
  ASSIGN_OR_RETURN(const auto space, files_.space(directory_));
  available_bytes_ = space.available;
  if (space.total < kSmallVolumeBytes) {
    const std::uint64_t room = std::max(kSmallReserveBytesMin, space.total / 16);
    segment_bytes_ = std::min(segment_bytes_, room / 4 * 3);
  }
  for (int i = 0; i < 2; i++) {
    ASSIGN_OR_RETURN(const auto status, files_.status(path(reserve_name(i))));
    if (!status) continue;
    held_[i] = status->size == reserve_bytes();
    // One of another size is the work of an interrupted maintain() or of other options.
    if (!held_[i]) RETURN_IF_ERROR(files_.remove(path(reserve_name(i))));
  }
  while (true) {
    ASSIGN_OR_RETURN(const bool filled, maintain());
    if (!filled) return {};
  }
}

std::optional<int> Volume::take_reserve() {
  if (config_.keep_shut) return std::nullopt;
  for (int i = 0; i < 2; i++) {
    if (!held_[i]) continue;
    held_[i] = false;
    reserve_used_++;
    return i;
  }
  return std::nullopt;
}

base::Result<> Volume::with_reserve(const std::function<base::Result<>()>& write) {
  while (true) {
    base::Result<> outcome = write();
    if (outcome || !is_no_space(outcome.error())) return outcome;
    const auto taken = take_reserve();
    if (!taken) return outcome;
    RETURN_IF_ERROR(files_.remove(path(reserve_name(*taken))));
  }
}

base::Result<std::unique_ptr<env::File>> Volume::create(const std::string& name,
                                                        const FileHeader& header) {
  std::unique_ptr<env::File> file;
  RETURN_IF_ERROR(with_reserve([&]() -> base::Result<> {
    ASSIGN_OR_RETURN(file, files_.open(path(name), env::OpenMode::kCreate));
    RETURN_IF_ERROR(file->truncate(0));
    return file->write_at(0, encode(header));
  }));
  return file;
}

base::Result<std::unique_ptr<env::File>> Volume::create_segment(std::uint64_t id,
                                                                std::uint64_t flags,
                                                                base::WallTime now) {
  const std::string name = path(segment_name(id));
  const FileHeader header{.magic = Magic::kSegment,
                          .store_id = store_id_,
                          .file_id = id,
                          .created_ns = now.time_since_epoch().count(),
                          .flags = flags};
  ASSIGN_OR_RETURN(auto file, files_.open(name, env::OpenMode::kCreate));
  RETURN_IF_ERROR(file->truncate(0));
  base::Result<> room = file->preallocate(reserve_bytes());
  if (!room && is_no_space(room.error())) {
    const auto taken = take_reserve();
    if (!taken) {
      file.reset();
      RETURN_IF_ERROR(files_.remove(name));
      return base::fail(std::move(room).error());
    }
    file.reset();
    RETURN_IF_ERROR(files_.rename(path(reserve_name(*taken)), name));
    ASSIGN_OR_RETURN(file, files_.open(name, env::OpenMode::kReadWrite));
  } else if (!room) {
    return base::fail(std::move(room).error());
  }
  RETURN_IF_ERROR(with_reserve([&] { return file->write_at(0, encode(header)); }));
  return file;
}

base::Result<bool> Volume::maintain() {
  if (!config_.reserve) return false;
  ASSIGN_OR_RETURN(const auto space, files_.space(directory_));
  available_bytes_ = space.available;
  for (int i = 0; i < 2; i++) {
    if (held_[i] || available_bytes_ < 2 * reserve_bytes()) continue;
    const std::string name = path(reserve_name(i));
    ASSIGN_OR_RETURN(auto file, files_.open(name, env::OpenMode::kCreate));
    RETURN_IF_ERROR(file->truncate(0));
    const base::Result<> room = file->preallocate(reserve_bytes());
    if (!room && is_no_space(room.error())) {
      file.reset();
      RETURN_IF_ERROR(files_.remove(name));
      return false;
    }
    RETURN_IF_ERROR(room);
    held_[i] = true;
    return true;
  }
  return false;
}

}  // namespace keelson::store
