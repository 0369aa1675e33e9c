// endpoint, member, alarm, defrag, move-leader, downgrade: what is asked of members rather than of
// the data. cli.md A5.
#pragma once

#include "cmd/ctl/command.h"

namespace keelson::cmd::ctl {

extern const Command kEndpointCommand, kMemberCommand, kAlarmCommand, kDefragCommand,
    kMoveLeaderCommand, kDowngradeCommand;

}  // namespace keelson::cmd::ctl
