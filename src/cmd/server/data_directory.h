// A look at the data directory before anything is bound or written, and what there is to say of it.
// operations.md 8.2.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "env/file.h"
#include "member/config.h"

namespace keelson::cmd {

struct DataDirectory {
  bool initialized = false;              // a log is there: the member has begun
  bool has_member = false;               // "member" is there, whatever is in it
  bool has_proxy = false;                // of an etcd proxy, which there is no more
  std::vector<std::string> foreign;      // names that are not ours
  std::vector<std::string> permissions;  // directories others may enter, in etcd's words
};

// The error is one of reading a directory; one that is not there is an empty one.
base::Result<DataDirectory> look_at_data_directory(env::FileSystem& files,
                                                   const member::Config& config);

}  // namespace keelson::cmd
