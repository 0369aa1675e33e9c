// How etcd's client library words a call that failed; its tools print this.
#pragma once

#include <string>

#include "http/grpc.h"

namespace keelson::client {

// The server's own text if it is one of etcd's ("etcdserver: ..."); "context deadline exceeded" for
// a deadline; else "rpc error: code = Unavailable desc = ...".
std::string error_text(const http::Status& status);
// Always in the long form.
std::string rpc_error_text(const http::Status& status);

}  // namespace keelson::client
