// ServerConfig: what a server is started with, made from the values of its flags and checked as a
// whole. operations.md 1.1, 1.4.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cmd/server/flags.h"
#include "env/log.h"
#include "http/server.h"
#include "member/config.h"
#include "membership/urls.h"

namespace keelson::cmd {

struct ServerConfig {
  member::Config member;
  http::ServerOptions http;
  membership::Urls listen_client_urls;
  membership::Urls listen_peer_urls;
  membership::Urls listen_metrics_urls;
  bool reuse_port = false;
  bool reuse_address = false;
  bool default_data_dir = false;
  // To be logged. etcd checks its configuration when it is read and once more at the start, and
  // says these each time; the others once.
  std::vector<std::string> repeated_warnings;
  std::vector<std::string> warnings;
  FlagValues values;  // to be echoed
};

// Where the values come from: a file leaves --advertise-client-urls alone.
enum class ConfigSource { kCommandLine, kFile };

// The text that etcd repeats in a line of its own.
inline constexpr std::string_view kUnsetAdvertiseClientUrls =
    "--advertise-client-urls is required when --listen-client-urls is set explicitly";

// Where and how to log; needed before everything else so that what is wrong with the rest can be
// said there. The error is etcd's text.
base::Result<env::LogOptions, std::string> make_log_options(const FlagValues& values);

// Everything that may be wrong with values which are well formed each by itself; the error is
// etcd's text, "NAME=VALUE is not supported yet" for a feature that is not there.
base::Result<ServerConfig, std::string> make_server_config(const FlagValues& values,
                                                           ConfigSource source);

// What etcd finds out only when it starts: the members of the new cluster, URLs that need TLS.
base::Result<void, std::string> complete_server_config(ServerConfig& config);

}  // namespace keelson::cmd
