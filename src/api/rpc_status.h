// rpc_status: every error of the cores as etcd's gRPC code and text. The one table clients match
// on; closed enums and -Werror=switch keep it complete. api.md 6.2.
#pragma once

#include "apply/errc.h"
#include "http/grpc.h"
#include "member/errc.h"
#include "mvcc/types.h"

namespace keelson::api {

http::Status status_of(apply::Errc errc);
http::Status status_of(member::Errc errc);
http::Status status_of(mvcc::Errc errc);
http::Status status_of(const member::Failure& failure);

// What a service itself finds wrong with a request, before it is proposed or read.
enum class RequestErrc {
  kEmptyKey,
  kEmptyOperation,  // a RequestOp with nothing set
  kValueProvided,
  kLeaseProvided,
  kTooManyOps,
  kDuplicateKey,
  kInvalidSortOption,
  kInvalidClientApiVersion,
  kNoLeader,
  kNoSpace,
  kStreamSort,     // RangeStream with a sort order
  kStreamFilters,  // RangeStream with revision filters
  kUnknownAlarmAction,
  kMemberNotFound,
  kBadLeaderTransferee,
  kBadMemberUrls,
  kNotEnoughStarted,
  kUnhealthy,
  kLearnerNotReady,
  kNotForLearner,
  kHeldTooLong,
};
http::Status status_of(RequestErrc errc);

}  // namespace keelson::api
