// Commands of etcdctl that are known here, and not there yet.
#pragma once

#include <span>

#include "cmd/ctl/command.h"

namespace keelson::cmd::ctl {

extern const Command kMakeMirrorCommand, kLockCommand, kElectCommand, kCheckCommand,
    kCompletionCommand;

}  // namespace keelson::cmd::ctl
