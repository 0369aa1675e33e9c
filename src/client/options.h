// What a Client is told at its making.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "http/grpc.h"

namespace keelson::client {

// An attempt of a unary call that did not succeed; what etcd's client logs.
struct FailedAttempt {
  std::string path;  // "/etcdserverpb.KV/Range"
  unsigned attempt = 0;
  http::Status status;
  std::string peer;              // where it was sent; empty: nowhere
  std::string connection_error;  // why the last dial failed, if no connection was to be had
};

struct Options {
  std::vector<std::string> endpoints = {"127.0.0.1:2379"};
  base::Duration dial_timeout = base::Seconds(2);
  // A connection that has been silent so long is pinged, and given up when no answer comes; 0:
  // never.
  base::Duration keepalive_time = base::Duration::zero();
  base::Duration keepalive_timeout = base::Seconds(20);
  std::size_t request_bytes_max = 2 << 20;
  std::size_t answer_bytes_max = http::kSendMessageBytesMax;
  // Goes with every call ("token", ...).
  std::vector<std::pair<std::string, std::string>> metadata = {{"client-api-version", "3.7"}};
  std::string user_agent = "keelson-client";
  // Calls that wait for a connection; what comes beyond ends with kResourceExhausted.
  std::size_t waiting_calls_max = 10'000;
  std::uint64_t seed = 1;  // of the jitter in waiting times
  std::function<void(const FailedAttempt&)> on_failed_attempt;
};

}  // namespace keelson::client
