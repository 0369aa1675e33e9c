#include "api/missing.h"

namespace keelson::api {

void add_missing_services(http::Router& router, Context& context) {
  using enum http::MethodKind;
  for (const std::string_view name :
       {"AuthEnable", "AuthDisable", "AuthStatus", "Authenticate", "UserAdd", "UserGet", "UserList",
        "UserDelete", "UserChangePassword", "UserGrantRole", "UserRevokeRole", "RoleAdd", "RoleGet",
        "RoleList", "RoleDelete", "RoleGrantPermission", "RoleRevokePermission"}) {
    add_missing(router, context, "etcdserverpb.Auth", name, kUnary);
  }
  for (const std::string_view name : {"Lock", "Unlock"}) {
    add_missing(router, context, "v3lockpb.Lock", name, kUnary);
  }
  for (const std::string_view name : {"Campaign", "Proclaim", "Leader", "Resign"}) {
    add_missing(router, context, "v3electionpb.Election", name, kUnary);
  }
  add_missing(router, context, "v3electionpb.Election", "Observe", kServerStream);
}

}  // namespace keelson::api
