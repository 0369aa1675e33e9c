// Files: the FileSystem of this machine.
//
// Holds no state, so that tools and tests make one where they need it; usable from any thread. A
// File it opens may be read from any number of threads at a time; writes, syncs and locks belong to
// one lane.
//
// Interrupted and short calls are continued here. An error names the call and the path:
// "open /data/member/wal/0.wal: Permission denied".
#pragma once

#include "env/file.h"

namespace keelson::env::posix {

class Files final : public FileSystem {
 public:
  base::Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode,
                                           unsigned permissions = 0600) override;
  base::Result<std::optional<FileStatus>> status(const std::string& path) override;
  base::Result<std::vector<std::string>> list(const std::string& path) override;
  base::Result<> make_directories(const std::string& path) override;
  base::Result<> rename(const std::string& from, const std::string& to) override;
  base::Result<> remove(const std::string& path) override;
  base::Result<> remove_all(const std::string& path) override;
  base::Result<> link(const std::string& from, const std::string& to) override;
  base::Result<> sync_directory(const std::string& path) override;
  base::Result<Space> space(const std::string& path) override;
};

}  // namespace keelson::env::posix
