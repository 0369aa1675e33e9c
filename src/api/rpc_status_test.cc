// Every error that clients see, by code and text: what they match on, byte for byte. api.md 6.2.
#include "api/rpc_status.h"

#include <gtest/gtest.h>

namespace keelson::api {
namespace {

using enum http::StatusCode;
using Apply = apply::Errc;
using Member = member::Errc;
using Keys = mvcc::Errc;
using Request = RequestErrc;

struct Row {
  http::Status status;
  http::StatusCode code;
  const char* text;
};

TEST(RpcStatus, HasEtcdsCodesAndTexts) {
  const Row rows[] = {
      // Of the key store, met by a read.
      {status_of(Keys::kCompacted), kOutOfRange,
       "etcdserver: mvcc: required revision has been compacted"},
      {status_of(Keys::kFutureRevision), kOutOfRange,
       "etcdserver: mvcc: required revision is a future revision"},
      {status_of(Keys::kKeyNotFound), kInvalidArgument, "etcdserver: key not found"},
      {status_of(Keys::kLeaseNotFound), kNotFound, "etcdserver: requested lease not found"},
      // Of applied entries.
      {status_of(Apply::kCompacted), kOutOfRange,
       "etcdserver: mvcc: required revision has been compacted"},
      {status_of(Apply::kFutureRevision), kOutOfRange,
       "etcdserver: mvcc: required revision is a future revision"},
      {status_of(Apply::kKeyNotFound), kInvalidArgument, "etcdserver: key not found"},
      {status_of(Apply::kLeaseNotFound), kNotFound, "etcdserver: requested lease not found"},
      {status_of(Apply::kLeaseExists), kFailedPrecondition, "etcdserver: lease already exists"},
      {status_of(Apply::kLeaseTtlTooLarge), kOutOfRange, "etcdserver: too large lease TTL"},
      {status_of(Apply::kNoSpace), kResourceExhausted, "etcdserver: mvcc: database space exceeded"},
      {status_of(Apply::kCorrupt), kDataLoss, "etcdserver: corrupt cluster"},
      {status_of(Apply::kMemberIdRemoved), kNotFound, "etcdserver: member not found"},
      {status_of(Apply::kMemberIdNotFound), kNotFound, "etcdserver: member not found"},
      {status_of(Apply::kMemberIdExists), kFailedPrecondition,
       "etcdserver: member ID already exist"},
      {status_of(Apply::kPeerUrlExists), kFailedPrecondition,
       "etcdserver: Peer URLs already exists"},
      {status_of(Apply::kNotLearner), kFailedPrecondition,
       "etcdserver: can only promote a learner member"},
      {status_of(Apply::kTooManyLearners), kFailedPrecondition,
       "etcdserver: too many learner members in cluster"},
      {status_of(Apply::kUnknownAlarmAction), kInvalidArgument, "keelson: unknown alarm action"},
      {status_of(Apply::kUnsupported), kUnimplemented, "keelson: this request is not there yet"},
      // Of the member: no answer of the state machine. The first has no code of its own on etcd's
      // wire.
      {status_of(Member::kTooManyRequests), kUnknown, "etcdserver: too many requests"},
      {status_of(Member::kRequestTooLarge), kInvalidArgument, "etcdserver: request is too large"},
      {status_of(Member::kTimeout), kUnavailable, "etcdserver: request timed out"},
      {status_of(Member::kTimeoutLeaderFailure), kUnavailable,
       "etcdserver: request timed out, possibly due to previous leader failure"},
      {status_of(Member::kTimeoutConnectionLost), kUnavailable,
       "etcdserver: request timed out, possibly due to connection lost"},
      {status_of(Member::kTimeoutApplied), kUnavailable,
       "etcdserver: request timed out, waiting for the applied index took too long"},
      {status_of(Member::kContextDeadline), kDeadlineExceeded, "context deadline exceeded"},
      {status_of(Member::kLeaderChanged), kUnavailable, "etcdserver: leader changed"},
      {status_of(Member::kNoLeader), kUnavailable, "etcdserver: no leader"},
      {status_of(Member::kNotLeader), kFailedPrecondition, "etcdserver: not leader"},
      {status_of(Member::kNotPrimaryLessor), kUnknown, "not a primary lessor"},
      {status_of(Member::kProposalDropped), kUnknown, "raft proposal dropped"},
      {status_of(Member::kStopped), kUnavailable, "etcdserver: server stopped"},
      {status_of(Member::kLeaseNotFound), kNotFound, "etcdserver: requested lease not found"},
      // Of the services.
      {status_of(Request::kEmptyKey), kInvalidArgument, "etcdserver: key is not provided"},
      {status_of(Request::kEmptyOperation), kInvalidArgument, "etcdserver: key not found"},
      {status_of(Request::kValueProvided), kInvalidArgument, "etcdserver: value is provided"},
      {status_of(Request::kLeaseProvided), kInvalidArgument, "etcdserver: lease is provided"},
      {status_of(Request::kTooManyOps), kInvalidArgument,
       "etcdserver: too many operations in txn request"},
      {status_of(Request::kDuplicateKey), kInvalidArgument,
       "etcdserver: duplicate key given in txn request"},
      {status_of(Request::kInvalidSortOption), kInvalidArgument, "etcdserver: invalid sort option"},
      {status_of(Request::kInvalidClientApiVersion), kInvalidArgument,
       "etcdserver: invalid client api version"},
      {status_of(Request::kNoLeader), kUnavailable, "etcdserver: no leader"},
      {status_of(Request::kNoSpace), kResourceExhausted,
       "etcdserver: mvcc: database space exceeded"},
      {status_of(Request::kStreamSort), kUnimplemented,
       "RangeStream does not support custom sort orders"},
      {status_of(Request::kStreamFilters), kUnimplemented,
       "RangeStream does not support revision filters"},
      {status_of(Request::kUnknownAlarmAction), kInvalidArgument, "keelson: unknown alarm action"},
      {status_of(Request::kMemberNotFound), kNotFound, "etcdserver: member not found"},
      {status_of(Request::kBadMemberUrls), kInvalidArgument,
       "etcdserver: given member URLs are invalid"},
      {status_of(Request::kNotEnoughStarted), kUnknown,
       "etcdserver: re-configuration failed due to not enough started members"},
      {status_of(Request::kUnhealthy), kUnavailable, "etcdserver: unhealthy cluster"},
      {status_of(Request::kLearnerNotReady), kFailedPrecondition,
       "etcdserver: can only promote a learner member which is in sync with leader"},
      {status_of(Request::kNotForLearner), kFailedPrecondition,
       "etcdserver: rpc not supported for learner"},
      {status_of(Request::kBadLeaderTransferee), kFailedPrecondition,
       "etcdserver: bad leader transferee"},
      // Ours alone: they must not look like one of etcd's.
      {status_of(Keys::kUnreadable), kInternal,
       "keelson: a stored record cannot be read on this member"},
      {status_of(Apply::kUnreadable), kInternal,
       "keelson: a stored record cannot be read on this member"},
      {status_of(Keys::kTooMuchMemory), kResourceExhausted,
       "keelson: the answer needs more memory than one request may use"},
      {status_of(Apply::kTooMuchMemory), kResourceExhausted,
       "keelson: the answer needs more memory than one request may use"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(row.status.message, row.text);
    EXPECT_EQ(row.status.code, row.code) << row.text;
  }
}

TEST(RpcStatus, OfAFailureIsThatOfItsErrc) {
  EXPECT_EQ(status_of(member::Failure(Member::kTimeout)), status_of(Member::kTimeout));
  EXPECT_EQ(status_of(member::Failure(Apply::kNoSpace)), status_of(Apply::kNoSpace));
}

}  // namespace
}  // namespace keelson::api
