// Commands of etcdctl that are known here, and not there yet.
#pragma once

#include <span>

#include "cmd/ctl/command.h"

namespace keelson::cmd::ctl {

extern const Command kMoveLeaderCommand, kSnapshotCommand, kMakeMirrorCommand, kLockCommand,
    kElectCommand, kAuthCommand, kUserCommand, kRoleCommand, kCheckCommand, kCompletionCommand,
    kDowngradeCommand;

}  // namespace keelson::cmd::ctl
