#include "api/rpc_status.h"

#include "base/check.h"

namespace keelson::api {
namespace {

using http::Status;
using http::StatusCode;

Status compacted() {
  return {StatusCode::kOutOfRange, "etcdserver: mvcc: required revision has been compacted"};
}
Status future_revision() {
  return {StatusCode::kOutOfRange, "etcdserver: mvcc: required revision is a future revision"};
}
Status key_not_found() { return {StatusCode::kInvalidArgument, "etcdserver: key not found"}; }
Status lease_not_found() {
  return {StatusCode::kNotFound, "etcdserver: requested lease not found"};
}
Status no_space() {
  return {StatusCode::kResourceExhausted, "etcdserver: mvcc: database space exceeded"};
}
Status no_leader() { return {StatusCode::kUnavailable, "etcdserver: no leader"}; }
// A record of this member's own that cannot be read; not one of etcd's errors.
Status unreadable() {
  return {StatusCode::kInternal, "keelson: a stored record cannot be read on this member"};
}
Status too_much_memory() {
  return {StatusCode::kResourceExhausted,
          "keelson: the answer needs more memory than one request may use"};
}

}  // namespace

Status status_of(mvcc::Errc errc) {
  switch (errc) {
    case mvcc::Errc::kCompacted:
      return compacted();
    case mvcc::Errc::kFutureRevision:
      return future_revision();
    case mvcc::Errc::kKeyNotFound:
      return key_not_found();
    case mvcc::Errc::kLeaseNotFound:
      return lease_not_found();
    case mvcc::Errc::kUnreadable:
      return unreadable();
    case mvcc::Errc::kTooMuchMemory:
      return too_much_memory();
  }
  CHECK(false);
}

Status status_of(apply::Errc errc) {
  using enum apply::Errc;
  switch (errc) {
    case kCompacted:
      return compacted();
    case kFutureRevision:
      return future_revision();
    case kKeyNotFound:
      return key_not_found();
    case kUnreadable:
      return unreadable();
    case kTooMuchMemory:
      return too_much_memory();
    case kLeaseNotFound:
      return lease_not_found();
    case kLeaseExists:
      return {StatusCode::kFailedPrecondition, "etcdserver: lease already exists"};
    case kLeaseTtlTooLarge:
      return {StatusCode::kOutOfRange, "etcdserver: too large lease TTL"};
    case kNoSpace:
      return no_space();
    case kCorrupt:
      return {StatusCode::kDataLoss, "etcdserver: corrupt cluster"};
    case kMemberIdRemoved:
    case kMemberIdNotFound:
      return {StatusCode::kNotFound, "etcdserver: member not found"};
    case kMemberIdExists:
      return {StatusCode::kFailedPrecondition, "etcdserver: member ID already exist"};
    case kPeerUrlExists:
      return {StatusCode::kFailedPrecondition, "etcdserver: Peer URLs already exists"};
    case kNotLearner:
      return {StatusCode::kFailedPrecondition, "etcdserver: can only promote a learner member"};
    case kTooManyLearners:
      return {StatusCode::kFailedPrecondition, "etcdserver: too many learner members in cluster"};
    case kUnknownAlarmAction:
      return {StatusCode::kInvalidArgument, "keelson: unknown alarm action"};
    case kUnsupported:
      return {StatusCode::kUnimplemented, "keelson: this request is not there yet"};
  }
  CHECK(false);
}

Status status_of(member::Errc errc) {
  using enum member::Errc;
  switch (errc) {
    // etcd's server sends this one without its code (api.md 6.2).
    case kTooManyRequests:
      return {StatusCode::kUnknown, "etcdserver: too many requests"};
    case kRequestTooLarge:
      return {StatusCode::kInvalidArgument, "etcdserver: request is too large"};
    case kTimeout:
      return {StatusCode::kUnavailable, "etcdserver: request timed out"};
    case kTimeoutLeaderFailure:
      return {StatusCode::kUnavailable,
              "etcdserver: request timed out, possibly due to previous leader failure"};
    case kTimeoutConnectionLost:
      return {StatusCode::kUnavailable,
              "etcdserver: request timed out, possibly due to connection lost"};
    case kTimeoutApplied:
      return {StatusCode::kUnavailable,
              "etcdserver: request timed out, waiting for the applied index took too long"};
    case kContextDeadline:
      return {StatusCode::kDeadlineExceeded, "context deadline exceeded"};
    case kLeaderChanged:
      return {StatusCode::kUnavailable, "etcdserver: leader changed"};
    case kNoLeader:
      return no_leader();
    case kNotLeader:
      return {StatusCode::kFailedPrecondition, "etcdserver: not leader"};
    case kNotPrimaryLessor:
      return {StatusCode::kUnknown, "not a primary lessor"};
    case kProposalDropped:
      return {StatusCode::kUnknown, "raft proposal dropped"};
    case kStopped:
      return {StatusCode::kUnavailable, "etcdserver: server stopped"};
    case kLeaseNotFound:
      return lease_not_found();
  }
  CHECK(false);
}

Status status_of(const member::Failure& failure) {
  return std::visit([](auto errc) { return status_of(errc); }, failure);
}

Status status_of(RequestErrc errc) {
  using enum RequestErrc;
  switch (errc) {
    case kEmptyKey:
      return {StatusCode::kInvalidArgument, "etcdserver: key is not provided"};
    case kEmptyOperation:
      return key_not_found();
    case kValueProvided:
      return {StatusCode::kInvalidArgument, "etcdserver: value is provided"};
    case kLeaseProvided:
      return {StatusCode::kInvalidArgument, "etcdserver: lease is provided"};
    case kTooManyOps:
      return {StatusCode::kInvalidArgument, "etcdserver: too many operations in txn request"};
    case kDuplicateKey:
      return {StatusCode::kInvalidArgument, "etcdserver: duplicate key given in txn request"};
    case kInvalidSortOption:
      return {StatusCode::kInvalidArgument, "etcdserver: invalid sort option"};
    case kInvalidClientApiVersion:
      return {StatusCode::kInvalidArgument, "etcdserver: invalid client api version"};
    case kNoLeader:
      return no_leader();
    case kNoSpace:
      return no_space();
    case kStreamSort:
      return {StatusCode::kUnimplemented, "RangeStream does not support custom sort orders"};
    case kStreamFilters:
      return {StatusCode::kUnimplemented, "RangeStream does not support revision filters"};
    case kUnknownAlarmAction:
      return status_of(apply::Errc::kUnknownAlarmAction);
    case kMemberNotFound:
      return {StatusCode::kNotFound, "etcdserver: member not found"};
    case kHeldTooLong:
      return {StatusCode::kResourceExhausted,
              "keelson: the read held too much of the past for too long"};
    case kBadMemberUrls:
      return {StatusCode::kInvalidArgument, "etcdserver: given member URLs are invalid"};
    // etcd's server sends this one without its code (api.md 6.2).
    case kNotEnoughStarted:
      return {StatusCode::kUnknown,
              "etcdserver: re-configuration failed due to not enough started members"};
    case kUnhealthy:
      return {StatusCode::kUnavailable, "etcdserver: unhealthy cluster"};
    case kLearnerNotReady:
      return {StatusCode::kFailedPrecondition,
              "etcdserver: can only promote a learner member which is in sync with leader"};
    case kNotForLearner:
      return {StatusCode::kFailedPrecondition, "etcdserver: rpc not supported for learner"};
    case kBadLeaderTransferee:
      return {StatusCode::kFailedPrecondition, "etcdserver: bad leader transferee"};
  }
  CHECK(false);
}

}  // namespace keelson::api
