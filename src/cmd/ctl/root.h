// The command tree of keelsonctl.
#pragma once

#include "cmd/ctl/command.h"

namespace keelson::cmd::ctl {

// The whole program, but for the process around it: `program` is what it was called as. Returns the
// exit code.
int run(Output& output, std::string program, std::vector<std::string> line,
        std::vector<std::string> environment);

}  // namespace keelson::cmd::ctl
