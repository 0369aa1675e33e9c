// A child process, run to its end.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"

namespace keelson::cmd::ctl {

// `command[0]` is looked for in PATH. Output and errors go where ours go; there is no input. The
// error is what Go's os/exec says: "exit status 3".
base::Result<void, std::string> run_child(const std::vector<std::string>& command,
                                          const std::vector<std::string>& environment);

}  // namespace keelson::cmd::ctl
