#include "cmd/ctl/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>

#include "cmd/ctl/go_text.h"

namespace keelson::cmd::ctl {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (const std::string& text : texts) all.push_back(const_cast<char*>(text.c_str()));
  all.push_back(nullptr);
  return all;
}

base::Result<void, std::string> outcome_of(int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  if (WIFEXITED(status)) return base::fail(fmt::format("exit status {}", WEXITSTATUS(status)));
  std::string name = strsignal(WTERMSIG(status));
  name[0] = static_cast<char>(name[0] | 0x20);
  return base::fail(fmt::format("signal: {}", name));
}

}  // namespace

base::Result<void, std::string> run_child(const std::vector<std::string>& command,
                                          const std::vector<std::string>& environment) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  pid_t pid = 0;
  const int failed = posix_spawnp(&pid, command[0].c_str(), &actions, nullptr,
                                  pointers(command).data(), pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  if (failed == ENOENT) {
    return base::fail(
        fmt::format("exec: {}: executable file not found in $PATH", quote(command[0])));
  }
  if (failed != 0)
    return base::fail(fmt::format("exec: {}: {}", quote(command[0]), strerror(failed)));
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return base::fail(std::string("wait: ") + strerror(errno));
  }
  return outcome_of(status);
}

}  // namespace keelson::cmd::ctl
