// snapshot save: the data of one member as a file. cli.md A5.
#pragma once

#include "cmd/ctl/command.h"

namespace keelson::cmd::ctl {

extern const Command kSnapshotCommand;

}  // namespace keelson::cmd::ctl
