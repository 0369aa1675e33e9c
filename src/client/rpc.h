// The methods of etcd's client API that the library calls, each with its messages and whether it
// may be sent twice. A write is sent again only if the server cannot have seen it.
#pragma once

#include <string_view>

#include "proto/rpc.pb.h"

namespace keelson::client {

enum class Repeat {
  kNever,   // a second one would do it twice
  kSafely,  // reads, and what is the same when done twice
};

template <class RequestMessage, class ResponseMessage>
struct Rpc {
  using Request = RequestMessage;
  using Response = ResponseMessage;
  const char* path;
  Repeat repeat = Repeat::kNever;
};

namespace pb = etcdserverpb;

inline constexpr Rpc<pb::RangeRequest, pb::RangeResponse> kRange{"/etcdserverpb.KV/Range",
                                                                 Repeat::kSafely};
inline constexpr Rpc<pb::PutRequest, pb::PutResponse> kPut{"/etcdserverpb.KV/Put"};
inline constexpr Rpc<pb::DeleteRangeRequest, pb::DeleteRangeResponse> kDeleteRange{
    "/etcdserverpb.KV/DeleteRange"};
inline constexpr Rpc<pb::TxnRequest, pb::TxnResponse> kTxn{"/etcdserverpb.KV/Txn"};
inline constexpr Rpc<pb::CompactionRequest, pb::CompactionResponse> kCompact{
    "/etcdserverpb.KV/Compact"};

inline constexpr Rpc<pb::LeaseGrantRequest, pb::LeaseGrantResponse> kLeaseGrant{
    "/etcdserverpb.Lease/LeaseGrant", Repeat::kSafely};
inline constexpr Rpc<pb::LeaseRevokeRequest, pb::LeaseRevokeResponse> kLeaseRevoke{
    "/etcdserverpb.Lease/LeaseRevoke", Repeat::kSafely};
inline constexpr Rpc<pb::LeaseTimeToLiveRequest, pb::LeaseTimeToLiveResponse> kLeaseTimeToLive{
    "/etcdserverpb.Lease/LeaseTimeToLive", Repeat::kSafely};
inline constexpr Rpc<pb::LeaseLeasesRequest, pb::LeaseLeasesResponse> kLeaseLeases{
    "/etcdserverpb.Lease/LeaseLeases", Repeat::kSafely};

inline constexpr Rpc<pb::MemberListRequest, pb::MemberListResponse> kMemberList{
    "/etcdserverpb.Cluster/MemberList", Repeat::kSafely};
inline constexpr Rpc<pb::MemberAddRequest, pb::MemberAddResponse> kMemberAdd{
    "/etcdserverpb.Cluster/MemberAdd"};
inline constexpr Rpc<pb::MemberRemoveRequest, pb::MemberRemoveResponse> kMemberRemove{
    "/etcdserverpb.Cluster/MemberRemove"};
inline constexpr Rpc<pb::MemberUpdateRequest, pb::MemberUpdateResponse> kMemberUpdate{
    "/etcdserverpb.Cluster/MemberUpdate"};
inline constexpr Rpc<pb::MemberPromoteRequest, pb::MemberPromoteResponse> kMemberPromote{
    "/etcdserverpb.Cluster/MemberPromote"};

inline constexpr Rpc<pb::AlarmRequest, pb::AlarmResponse> kAlarm{"/etcdserverpb.Maintenance/Alarm",
                                                                 Repeat::kSafely};
inline constexpr Rpc<pb::StatusRequest, pb::StatusResponse> kStatus{
    "/etcdserverpb.Maintenance/Status", Repeat::kSafely};
inline constexpr Rpc<pb::DefragmentRequest, pb::DefragmentResponse> kDefragment{
    "/etcdserverpb.Maintenance/Defragment"};
inline constexpr Rpc<pb::HashRequest, pb::HashResponse> kHash{"/etcdserverpb.Maintenance/Hash",
                                                              Repeat::kSafely};
inline constexpr Rpc<pb::HashKVRequest, pb::HashKVResponse> kHashKv{
    "/etcdserverpb.Maintenance/HashKV", Repeat::kSafely};
inline constexpr Rpc<pb::MoveLeaderRequest, pb::MoveLeaderResponse> kMoveLeader{
    "/etcdserverpb.Maintenance/MoveLeader", Repeat::kSafely};

inline constexpr Rpc<pb::DowngradeRequest, pb::DowngradeResponse> kDowngrade{
    "/etcdserverpb.Maintenance/Downgrade"};

inline constexpr Rpc<pb::AuthenticateRequest, pb::AuthenticateResponse> kAuthenticate{
    "/etcdserverpb.Auth/Authenticate"};
inline constexpr Rpc<pb::AuthEnableRequest, pb::AuthEnableResponse> kAuthEnable{
    "/etcdserverpb.Auth/AuthEnable"};
inline constexpr Rpc<pb::AuthDisableRequest, pb::AuthDisableResponse> kAuthDisable{
    "/etcdserverpb.Auth/AuthDisable"};
inline constexpr Rpc<pb::AuthStatusRequest, pb::AuthStatusResponse> kAuthStatus{
    "/etcdserverpb.Auth/AuthStatus"};
inline constexpr Rpc<pb::AuthUserAddRequest, pb::AuthUserAddResponse> kUserAdd{
    "/etcdserverpb.Auth/UserAdd"};
inline constexpr Rpc<pb::AuthUserGetRequest, pb::AuthUserGetResponse> kUserGet{
    "/etcdserverpb.Auth/UserGet", Repeat::kSafely};
inline constexpr Rpc<pb::AuthUserListRequest, pb::AuthUserListResponse> kUserList{
    "/etcdserverpb.Auth/UserList", Repeat::kSafely};
inline constexpr Rpc<pb::AuthUserDeleteRequest, pb::AuthUserDeleteResponse> kUserDelete{
    "/etcdserverpb.Auth/UserDelete"};
inline constexpr Rpc<pb::AuthUserChangePasswordRequest, pb::AuthUserChangePasswordResponse>
    kUserChangePassword{"/etcdserverpb.Auth/UserChangePassword"};
inline constexpr Rpc<pb::AuthUserGrantRoleRequest, pb::AuthUserGrantRoleResponse> kUserGrantRole{
    "/etcdserverpb.Auth/UserGrantRole"};
inline constexpr Rpc<pb::AuthUserRevokeRoleRequest, pb::AuthUserRevokeRoleResponse> kUserRevokeRole{
    "/etcdserverpb.Auth/UserRevokeRole"};
inline constexpr Rpc<pb::AuthRoleAddRequest, pb::AuthRoleAddResponse> kRoleAdd{
    "/etcdserverpb.Auth/RoleAdd"};
inline constexpr Rpc<pb::AuthRoleGetRequest, pb::AuthRoleGetResponse> kRoleGet{
    "/etcdserverpb.Auth/RoleGet", Repeat::kSafely};
inline constexpr Rpc<pb::AuthRoleListRequest, pb::AuthRoleListResponse> kRoleList{
    "/etcdserverpb.Auth/RoleList", Repeat::kSafely};
inline constexpr Rpc<pb::AuthRoleDeleteRequest, pb::AuthRoleDeleteResponse> kRoleDelete{
    "/etcdserverpb.Auth/RoleDelete"};
inline constexpr Rpc<pb::AuthRoleGrantPermissionRequest, pb::AuthRoleGrantPermissionResponse>
    kRoleGrantPermission{"/etcdserverpb.Auth/RoleGrantPermission"};
inline constexpr Rpc<pb::AuthRoleRevokePermissionRequest, pb::AuthRoleRevokePermissionResponse>
    kRoleRevokePermission{"/etcdserverpb.Auth/RoleRevokePermission"};

// Streams.
inline constexpr std::string_view kRangeStreamPath = "/etcdserverpb.KV/RangeStream";
inline constexpr std::string_view kSnapshotPath = "/etcdserverpb.Maintenance/Snapshot";
inline constexpr std::string_view kWatchPath = "/etcdserverpb.Watch/Watch";
inline constexpr std::string_view kLeaseKeepAlivePath = "/etcdserverpb.Lease/LeaseKeepAlive";

}  // namespace keelson::client
