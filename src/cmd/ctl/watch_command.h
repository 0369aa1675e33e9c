// watch: events as they come, once or for lines of standard input. cli.md A5.
#pragma once

#include <string>
#include <vector>

#include "cmd/ctl/command.h"
#include "proto/rpc.pb.h"

namespace keelson::cmd::ctl {

// What to watch, and the command to run for each event (empty: none).
struct WatchPlan {
  etcdserverpb::WatchCreateRequest request;
  std::vector<std::string> command;
};

// From flags and arguments; `key` and `range_end` are those of the environment, empty: none.
base::Result<WatchPlan, Exit> plan_watch(const Flags& flags, const std::string& key,
                                         const std::string& range_end);

extern const Command kWatchCommand;

}  // namespace keelson::cmd::ctl
