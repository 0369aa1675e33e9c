// The server's flags and what they mean: table, validation, and the configuration they make.
// operations.md 1.4-1.6.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "cmd/server/flags.h"
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
  std::string log_level = "info";
  std::string log_format = "json";
  std::vector<std::string> log_outputs;
  std::vector<std::string> warnings;  // to be logged, in order
};

FlagSet server_flags();

// Everything that may be wrong with values which are well formed each by itself; the error is
// etcd's text.
base::Result<ServerConfig, std::string> make_server_config(const FlagValues& values);

}  // namespace keelson::cmd
