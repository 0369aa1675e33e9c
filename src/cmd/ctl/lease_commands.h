// lease grant, revoke, timetolive, list, keep-alive. cli.md A5.
#pragma once

#include "cmd/ctl/command.h"

namespace keelson::cmd::ctl {

extern const Command kLeaseCommand;

}  // namespace keelson::cmd::ctl
