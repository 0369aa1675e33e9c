// Endpoint: where a client was told to find a member, in the forms etcd's tools take.
//
//   127.0.0.1:2379   http://host:2379   https://host:2379
//   unix:path   unix://path   unix:///path   and the same with unixs:
//
// A text that is none of these is taken as an address as it stands, and the dial says what is wrong
// with it.
#pragma once

#include <string>
#include <string_view>

namespace keelson::client {

enum class Security {
  kEither,  // TLS if the client was given anything that speaks of TLS
  kPlain,   // whatever it was given
  kTls,
};

struct Endpoint {
  std::string text;       // as given
  std::string address;    // for env::Network
  std::string authority;  // of HTTP/2; of a unix socket its file name
  Security security = Security::kEither;
};

Endpoint parse_endpoint(std::string_view text);

}  // namespace keelson::client
