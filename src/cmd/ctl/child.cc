#include "cmd/ctl/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>

#include "base/go_text.h"

namespace keelson::cmd::ctl {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> all;
  for (const std::string& text : texts) all.push_back(const_cast<char*>(text.c_str()));
  all.push_back(nullptr);
  return all;
}

// "No such file or directory" as Go writes it.
std::string small(std::string text) {
  if (!text.empty()) text[0] = static_cast<char>(text[0] | 0x20);
  return text;
}

std::string failure_text(const std::string& program, int error) {
  if (program.find('/') == std::string::npos) {
    return fmt::format("exec: {}: executable file not found in $PATH", base::quote(program));
  }
  return fmt::format("fork/exec {}: {}", program, small(strerror(error)));
}

base::Result<void, std::string> outcome_of(int status) {
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  if (WIFEXITED(status)) return base::fail(fmt::format("exit status {}", WEXITSTATUS(status)));
  return base::fail(fmt::format("signal: {}", small(strsignal(WTERMSIG(status)))));
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
  if (failed != 0) return base::fail(failure_text(command[0], failed));
  int status = 0;
  while (waitpid(pid, &status, 0) < 0) {
    if (errno != EINTR) return base::fail(std::string("wait: ") + strerror(errno));
  }
  return outcome_of(status);
}

}  // namespace keelson::cmd::ctl
