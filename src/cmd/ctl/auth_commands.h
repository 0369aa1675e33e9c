// auth, user, role: who may do what. cli.md A5.
#pragma once

#include "cmd/ctl/command.h"

namespace keelson::cmd::ctl {

extern const Command kAuthCommand, kUserCommand, kRoleCommand;

}  // namespace keelson::cmd::ctl
