// What a start says in the log, in etcd's words and fields: tools wait for these lines and read the
// configuration out of them. operations.md 5.2.
#pragma once

#include "cmd/server/server_config.h"

namespace keelson::cmd {

void log_environment(const EnvironmentUse& use);  // ends the process on a conflict
void log_warnings(const ServerConfig& config);
// "starting an etcd server" with the whole configuration.
void log_configuration(const ServerConfig& config, bool member_initialized, unsigned cores);

}  // namespace keelson::cmd
