#include "cmd/server/version_text.h"

#include <fmt/format.h>

#include "member/config.h"

namespace keelson::cmd {

std::string version_lines() {
  return fmt::format("etcd Version: {}\nGit SHA: {}\nGo Version: {}\nGo OS/Arch: {}/{}\n",
                     member::kServerVersion.text(), kGitSha, kRuntime, kOs, kArchitecture);
}

}  // namespace keelson::cmd
