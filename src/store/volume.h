// Volume: the directory of one store: makes its files, and holds two preallocated files in reserve
// (D8).
//
// When a write finds no space, a file of the reserve is given up and the write is tried again; a
// new segment can take a reserve file as it is, blocks and all. So what makes room (collection,
// checkpoints, the batches of Compact and Delete) goes on while the volume is full, and the owner
// refuses what needs room (NOSPACE) from the moment whole() is false. maintain() fills the reserve
// again once there is space.
//
// Only "no space" is tried again: it says that nothing was promised. Any other failure is passed
// on.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "base/function.h"
#include "base/result.h"
#include "base/time.h"
#include "env/file.h"
#include "store/format.h"

namespace keelson::store {

class Volume {
 public:
  struct Config {
    std::uint64_t segment_bytes = 0;  // wanted; made smaller on a small volume
    bool reserve = true;
    bool keep_shut = false;  // BrokenRules::keep_reserve_shut
  };

  // `files` outlives this.
  Volume(env::FileSystem& files, std::string directory, std::uint64_t store_id)
      : files_(files), directory_(std::move(directory)), store_id_(store_id) {}

  // Looks at the volume's size and at what is left of the reserve; fills it if there is space.
  base::Result<> start(Config config);

  env::FileSystem& files() { return files_; }
  std::uint64_t store_id() const { return store_id_; }
  void set_store_id(std::uint64_t id) { store_id_ = id; }
  const std::string& directory() const { return directory_; }
  std::string path(std::string_view name) const { return env::join_path(directory_, name); }

  // Segments are sealed beyond this, and their files begin with room for a third more.
  std::uint64_t segment_bytes() const { return segment_bytes_; }

  // Runs `write`; as long as it fails for lack of space and there is a reserve, gives up a part and
  // runs it again. `write` must be one that may be repeated from the start.
  base::Result<> with_reserve(const std::function<base::Result<>()>& write);

  // A new file with its header, not synced. A segment has room for segment_bytes and a third; it
  // takes a reserve file if there is no other space.
  base::Result<std::unique_ptr<env::File>> create_segment(std::uint64_t id, std::uint64_t flags,
                                                          base::WallTime now);
  base::Result<std::unique_ptr<env::File>> create(const std::string& name,
                                                  const FileHeader& header);

  base::Result<> sync_directory() { return files_.sync_directory(directory_); }

  // True if both files of the reserve are there, or the store keeps none.
  bool whole() const { return !config_.reserve || (held_[0] && held_[1]); }
  // Looks at the free space; makes one missing reserve file if twice its size is free. False if
  // nothing was to do.
  base::Result<bool> maintain();
  // True if there is hardly more space than the reserve: collection is more eager then.
  bool is_short() const {
    return config_.reserve && (!whole() || available_bytes_ < 2 * reserve_bytes());
  }
  std::uint64_t available_bytes() const { return available_bytes_; }
  std::uint64_t reserve_used() const { return reserve_used_; }

 private:
  std::uint64_t reserve_bytes() const { return segment_bytes_ + segment_bytes_ / 3; }
  std::optional<int> take_reserve();

  env::FileSystem& files_;
  const std::string directory_;
  std::uint64_t store_id_;
  Config config_;
  std::uint64_t segment_bytes_ = 0;
  std::uint64_t available_bytes_ = 0;
  std::uint64_t reserve_used_ = 0;
  bool held_[2] = {false, false};
};

bool is_no_space(const base::Error& error);

}  // namespace keelson::store
