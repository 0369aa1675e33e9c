// Outcome: how a command, or a part of it, ended. cli.md A2.
#pragma once

#include <string>

#include "base/result.h"

namespace keelson::cmd::ctl {

enum ExitCode : int {
  kExitError = 1,
  kExitBadConnection = 2,
  kExitInvalidInput = 3,  // txn, watch commands
  kExitBadFeature = 4,    // output formats and the like
  kExitInterrupted = 5,
  kExitBadArguments = 128,
};

// The end of a program that did not succeed. `text` goes to stderr behind "Error: ", unless it is
// empty; then `usage` as it is.
struct Exit {
  int code = kExitError;
  std::string text = "";
  std::string usage = "";
};

using Outcome = base::Result<void, Exit>;

inline std::unexpected<Exit> exit_with(int code, std::string text) {
  return base::fail(Exit{code, std::move(text)});
}

}  // namespace keelson::cmd::ctl
