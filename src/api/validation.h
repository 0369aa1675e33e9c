// validation: what etcd's front end refuses before a request goes any further, in its order. api.md
// 2, 6.1.
#pragma once

#include <optional>

#include "api/rpc_status.h"
#include "proto/rpc.pb.h"

namespace keelson::api {

std::optional<RequestErrc> check(const etcdserverpb::RangeRequest& request);
std::optional<RequestErrc> check_stream(const etcdserverpb::RangeRequest& request);
std::optional<RequestErrc> check(const etcdserverpb::PutRequest& request);
std::optional<RequestErrc> check(const etcdserverpb::DeleteRangeRequest& request);
// Counts and fields of the whole tree, then duplicate keys of success, then of failure.
std::optional<RequestErrc> check(const etcdserverpb::TxnRequest& request,
                                 std::size_t operations_max);

// Every operation of both branches is a range: it is answered by a read, not through the log.
bool is_read_only(const etcdserverpb::TxnRequest& request);
// ... and each of them is serializable (true if there is none).
bool is_serializable(const etcdserverpb::TxnRequest& request);

// True if the bytes `request` was parsed from, `encoded_bytes` long, are what any protobuf library
// would write for it: then they may go into the log as they are.
bool is_canonical(const etcdserverpb::PutRequest& request, std::size_t encoded_bytes);
bool is_canonical(const etcdserverpb::DeleteRangeRequest& request, std::size_t encoded_bytes);
bool is_canonical(const etcdserverpb::TxnRequest& request, std::size_t encoded_bytes);

}  // namespace keelson::api
