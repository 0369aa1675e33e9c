#include "cmd/ctl/auth_commands.h"

#include <fmt/format.h>
#include <unistd.h>

#include "base/go_text.h"
#include "cmd/ctl/input.h"
#include "cmd/ctl/kv_commands.h"
#include "cmd/ctl/session.h"

namespace keelson::cmd::ctl {
namespace {

const std::string kOpenEnd(1, '\0');

// Users and roles are changed for as long as it takes; etcdctl sets these no time.
constexpr std::nullopt_t kNoTimeout = std::nullopt;

Outcome expect_arguments(const Invocation& invocation, std::size_t count, std::string_view text) {
  if (invocation.arguments().size() == count) return {};
  return exit_with(kExitBadArguments, std::string(text));
}

// auth -------------------------------------------------------------------------------------------

Outcome run_auth_status(Invocation& invocation) {
  RETURN_IF_ERROR(
      expect_arguments(invocation, 0, "auth status command does not accept any arguments"));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  ASSIGN_OR_RETURN(const auto response, session->call(client::kAuthStatus, {}));
  return session->printer().plain({response, response.header(),
                                   fmt::format("Authentication Status: {}\nAuthRevision: {}\n",
                                               response.enabled(), response.authrevision()),
                                   std::nullopt});
}

// The user root without the role root is given it, made if need be.
Outcome enable(Session& session) {
  while (true) {
    const auto enabled = session.call(client::kAuthEnable, {});
    if (enabled) return {};
    if (enabled.error().text != "etcdserver: root user does not have root role") {
      return base::fail(enabled.error());
    }
    pb::AuthRoleAddRequest add;
    add.set_name("root");
    RETURN_IF_ERROR(session.call(client::kRoleAdd, add));
    pb::AuthUserGrantRoleRequest grant;
    grant.set_user("root");
    grant.set_role("root");
    RETURN_IF_ERROR(session.call(client::kUserGrantRole, grant));
  }
}

Outcome run_auth_enable(Invocation& invocation) {
  RETURN_IF_ERROR(
      expect_arguments(invocation, 0, "auth enable command does not accept any arguments"));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  RETURN_IF_ERROR(enable(*session));
  invocation.output.print_line("Authentication Enabled");
  return {};
}

Outcome run_auth_disable(Invocation& invocation) {
  RETURN_IF_ERROR(
      expect_arguments(invocation, 0, "auth disable command does not accept any arguments"));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  RETURN_IF_ERROR(session->call(client::kAuthDisable, {}));
  invocation.output.print_line("Authentication Disabled");
  return {};
}

constexpr Command kAuthEnable = {
    .use = "enable",
    .summary = "Turns authentication on",
    .description = "",
    .run = run_auth_enable,
};
constexpr Command kAuthDisable = {
    .use = "disable",
    .summary = "Turns authentication off",
    .description = "",
    .run = run_auth_disable,
};
constexpr Command kAuthStatus = {
    .use = "status",
    .summary = "Says whether authentication is on",
    .description = "",
    .run = run_auth_status,
};
constexpr const Command* kAuthSubcommands[] = {&kAuthEnable, &kAuthDisable, &kAuthStatus};

// user -------------------------------------------------------------------------------------------

base::Result<std::string, Exit> type_password(const std::string& prompt) {
  const char* typed = getpass(prompt.c_str());
  if (typed == nullptr) return exit_with(kExitBadArguments, "failed to ask password");
  return std::string(typed);
}

base::Result<std::string, Exit> ask_password(const std::string& name) {
  ASSIGN_OR_RETURN(const std::string password,
                   type_password(fmt::format("Password of {}: ", name)));
  if (password.empty()) return exit_with(kExitBadArguments, "empty password");
  ASSIGN_OR_RETURN(
      const std::string again,
      type_password(fmt::format("Type password of {} again for confirmation: ", name)));
  if (password != again) return exit_with(kExitBadArguments, "given passwords are different");
  return password;
}

base::Result<std::string, Exit> read_password(const Flags& flags, const std::string& name) {
  if (flags.flag("interactive")) return ask_password(name);
  return read_input_word();
}

// Name and password, from the argument, a flag, or whoever types them.
base::Result<pb::AuthUserAddRequest, Exit> user_add_request(const Invocation& invocation) {
  const Flags& flags = invocation.flags;
  const std::string& argument = invocation.arguments()[0];
  pb::AuthUserAddRequest request;
  request.set_name(argument);
  request.mutable_options()->set_no_password(flags.flag("no-password"));
  if (flags.flag("no-password")) return request;
  if (!flags.text("new-user-password").empty()) {
    request.set_password(flags.text("new-user-password"));
    return request;
  }
  const std::size_t colon = argument.find(':');
  if (colon == std::string::npos) {
    ASSIGN_OR_RETURN(std::string password, read_password(flags, argument));
    request.set_password(std::move(password));
    return request;
  }
  request.set_name(argument.substr(0, colon));
  request.set_password(argument.substr(colon + 1));
  if (colon == 0) return exit_with(kExitBadArguments, "empty user name is not allowed");
  return request;
}

Outcome run_user_add(Invocation& invocation) {
  RETURN_IF_ERROR(
      expect_arguments(invocation, 1, "user add command requires user name as its argument"));
  ASSIGN_OR_RETURN(const auto request, user_add_request(invocation));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  return session->call_and_print(client::kUserAdd, request, kNoTimeout,
                                 fmt::format("User {} created\n", request.name()), "");
}

Outcome run_user_delete(Invocation& invocation) {
  RETURN_IF_ERROR(
      expect_arguments(invocation, 1, "user delete command requires user name as its argument"));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  pb::AuthUserDeleteRequest request;
  request.set_name(invocation.arguments()[0]);
  return session->call_and_print(client::kUserDelete, request, kNoTimeout,
                                 fmt::format("User {} deleted\n", request.name()), "");
}

Outcome print_role(Session& session, const std::string& role);

Outcome run_user_get(Invocation& invocation) {
  RETURN_IF_ERROR(
      expect_arguments(invocation, 1, "user get command requires user name as its argument"));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  const std::string& name = invocation.arguments()[0];
  pb::AuthUserGetRequest request;
  request.set_name(name);
  ASSIGN_OR_RETURN(const auto response,
                   session->call_within(client::kUserGet, request, kNoTimeout, kExitError));
  if (!invocation.flags.flag("detail")) {
    std::string roles;
    for (const std::string& role : response.roles()) roles += " " + role;
    return session->printer().plain({response, response.header(),
                                     fmt::format("User: {}\nRoles:{}\n", name, roles),
                                     std::nullopt});
  }
  invocation.output.print_line(fmt::format("User: {}", name));
  for (const std::string& role : response.roles()) {
    invocation.output.print_line("");
    RETURN_IF_ERROR(print_role(*session, role));
  }
  return {};
}

Outcome run_user_list(Invocation& invocation) {
  RETURN_IF_ERROR(expect_arguments(invocation, 0, "user list command requires no arguments"));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  ASSIGN_OR_RETURN(const auto response,
                   session->call_within(client::kUserList, {}, kNoTimeout, kExitError));
  std::string names;
  for (const std::string& user : response.users()) names += user + "\n";
  return session->printer().plain({response, response.header(), std::move(names), std::nullopt});
}

Outcome run_user_password(Invocation& invocation) {
  RETURN_IF_ERROR(
      expect_arguments(invocation, 1, "user passwd command requires user name as its argument"));
  pb::AuthUserChangePasswordRequest request;
  request.set_name(invocation.arguments()[0]);
  ASSIGN_OR_RETURN(std::string password, read_password(invocation.flags, request.name()));
  request.set_password(std::move(password));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  return session->call_and_print(client::kUserChangePassword, request, kNoTimeout,
                                 "Password updated\n", "");
}

Outcome run_user_grant_role(Invocation& invocation) {
  RETURN_IF_ERROR(expect_arguments(
      invocation, 2, "user grant command requires user name and role name as its argument"));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  pb::AuthUserGrantRoleRequest request;
  request.set_user(invocation.arguments()[0]);
  request.set_role(invocation.arguments()[1]);
  return session->call_and_print(
      client::kUserGrantRole, request, kNoTimeout,
      fmt::format("Role {} is granted to user {}\n", request.role(), request.user()), "");
}

Outcome run_user_revoke_role(Invocation& invocation) {
  RETURN_IF_ERROR(expect_arguments(
      invocation, 2, "user revoke-role requires user name and role name as its argument"));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  pb::AuthUserRevokeRoleRequest request;
  request.set_name(invocation.arguments()[0]);
  request.set_role(invocation.arguments()[1]);
  return session->call_and_print(
      client::kUserRevokeRole, request, kNoTimeout,
      fmt::format("Role {} is revoked from user {}\n", request.role(), request.name()), "");
}

constexpr FlagSpec kUserAddFlags[] = {
    {"interactive", FlagKind::kBool, "true", "ask for the password, or else read a word"},
    {"new-user-password", FlagKind::kString, "", "the password"},
    {"no-password", FlagKind::kBool, "", "known by a certificate only"},
};
constexpr FlagSpec kUserPasswordFlags[] = {
    {"interactive", FlagKind::kBool, "true", "ask for the password, or else read a word"},
};
constexpr FlagSpec kUserGetFlags[] = {
    {"detail", FlagKind::kBool, "", "show what the roles may do"},
};
constexpr Command kUserAdd = {
    .use = "add <user name or user:password> [options]",
    .summary = "Adds a user",
    .description = "",
    .flags = kUserAddFlags,
    .run = run_user_add,
};
constexpr Command kUserDelete = {
    .use = "delete <user name>",
    .summary = "Deletes a user",
    .description = "",
    .run = run_user_delete,
};
constexpr Command kUserGet = {
    .use = "get <user name> [options]",
    .summary = "Shows the roles of a user",
    .description = "",
    .flags = kUserGetFlags,
    .run = run_user_get,
};
constexpr Command kUserList = {
    .use = "list",
    .summary = "Lists all users",
    .description = "",
    .run = run_user_list,
};
constexpr Command kUserPassword = {
    .use = "passwd <user name> [options]",
    .summary = "Changes the password of a user",
    .description = "",
    .flags = kUserPasswordFlags,
    .run = run_user_password,
};
constexpr Command kUserGrantRole = {
    .use = "grant-role <user name> <role name>",
    .summary = "Gives a role to a user",
    .description = "",
    .run = run_user_grant_role,
};
constexpr Command kUserRevokeRole = {
    .use = "revoke-role <user name> <role name>",
    .summary = "Takes a role from a user",
    .description = "",
    .run = run_user_revoke_role,
};
constexpr const Command* kUserSubcommands[] = {&kUserAdd,       &kUserDelete,   &kUserGet,
                                               &kUserList,      &kUserPassword, &kUserGrantRole,
                                               &kUserRevokeRole};

// role -------------------------------------------------------------------------------------------

std::string range_text(const authpb::Permission& permission) {
  const std::string &key = permission.key(), &end = permission.range_end();
  if (end.empty()) return fmt::format("\t{}\n", key);
  const std::string range = end == kOpenEnd ? fmt::format("\t[{}, <open ended>", key)
                                            : fmt::format("\t[{}, {})", key, end);
  const bool is_prefix = !key.empty() && prefix_end(key) == end;
  return range + (is_prefix ? fmt::format(" (prefix {})\n", key) : "\n");
}

std::string role_text(const std::string& role, const pb::AuthRoleGetResponse& response) {
  std::string reads, writes;
  for (const authpb::Permission& permission : response.perm()) {
    if (permission.permtype() != authpb::Permission::WRITE) reads += range_text(permission);
    if (permission.permtype() != authpb::Permission::READ) writes += range_text(permission);
  }
  if (role == "root" && response.perm_size() == 0) reads = writes = "\t[, <open ended>\n";
  return fmt::format("Role {}\nKV Read:\n{}KV Write:\n{}", role, reads, writes);
}

std::string role_fields(const pb::AuthRoleGetResponse& response) {
  std::string out;
  for (const authpb::Permission& permission : response.perm()) {
    out += fmt::format("\"PermType\" :  {}\n\"Key\" : {}\n\"RangeEnd\" : {}\n",
                       authpb::Permission::Type_Name(permission.permtype()),
                       base::quote(permission.key()), base::quote(permission.range_end()));
  }
  return out;
}

Outcome print_role(Session& session, const std::string& role) {
  pb::AuthRoleGetRequest request;
  request.set_role(role);
  ASSIGN_OR_RETURN(const auto response,
                   session.call_within(client::kRoleGet, request, kNoTimeout, kExitError));
  return session.printer().plain(
      {response, response.header(), role_text(role, response), role_fields(response)});
}

Outcome run_role_add(Invocation& invocation) {
  RETURN_IF_ERROR(
      expect_arguments(invocation, 1, "role add command requires role name as its argument"));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  pb::AuthRoleAddRequest request;
  request.set_name(invocation.arguments()[0]);
  return session->call_and_print(client::kRoleAdd, request, kNoTimeout,
                                 fmt::format("Role {} created\n", request.name()), "");
}

Outcome run_role_delete(Invocation& invocation) {
  RETURN_IF_ERROR(
      expect_arguments(invocation, 1, "role delete command requires role name as its argument"));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  pb::AuthRoleDeleteRequest request;
  request.set_role(invocation.arguments()[0]);
  return session->call_and_print(client::kRoleDelete, request, kNoTimeout,
                                 fmt::format("Role {} deleted\n", request.role()), "");
}

Outcome run_role_get(Invocation& invocation) {
  RETURN_IF_ERROR(
      expect_arguments(invocation, 1, "role get command requires role name as its argument"));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  return print_role(*session, invocation.arguments()[0]);
}

Outcome run_role_list(Invocation& invocation) {
  RETURN_IF_ERROR(expect_arguments(invocation, 0, "role list command requires no arguments"));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  ASSIGN_OR_RETURN(const auto response,
                   session->call_within(client::kRoleList, {}, kNoTimeout, kExitError));
  std::string lines, fields = "\"Roles\" :";
  for (const std::string& role : response.roles()) {
    lines += role + "\n";
    fields += " " + base::quote(role);
  }
  return session->printer().plain({response, response.header(), std::move(lines), fields + "\n"});
}

struct KeyRange {
  std::string key, end;
};

// A key, a range, or with a flag what begins with the key or follows it.
base::Result<KeyRange, Exit> permission_range(const Flags& flags,
                                              std::span<const std::string> arguments) {
  const bool prefix = flags.flag("prefix"), from_key = flags.flag("from-key");
  const std::string& key = arguments[0];
  const bool only_key = arguments.size() == 1 || key.empty();
  if (only_key && prefix && from_key) {
    return exit_with(kExitBadArguments, "--from-key and --prefix flags are mutually exclusive");
  }
  if (key.empty()) return KeyRange{kOpenEnd, prefix || from_key ? kOpenEnd : ""};
  if (only_key) return KeyRange{key, prefix ? prefix_end(key) : from_key ? kOpenEnd : ""};
  if (prefix || from_key) {
    return exit_with(kExitBadArguments, fmt::format("unexpected endkey argument with --{} flag",
                                                    prefix ? "prefix" : "from-key"));
  }
  return KeyRange{key, arguments[1]};
}

Outcome run_role_grant(Invocation& invocation) {
  const auto& arguments = invocation.arguments();
  if (arguments.size() < 3) {
    return exit_with(kExitBadArguments,
                     "role grant command requires role name, permission type, and key [endkey] as "
                     "its argument");
  }
  authpb::Permission::Type type;
  if (!authpb::Permission::Type_Parse(upper(arguments[1]), &type)) {
    return exit_with(kExitBadArguments, fmt::format("invalid permission type: {}", arguments[1]));
  }
  ASSIGN_OR_RETURN(const KeyRange range,
                   permission_range(invocation.flags, std::span(arguments).subspan(2)));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  pb::AuthRoleGrantPermissionRequest request;
  request.set_name(arguments[0]);
  request.mutable_perm()->set_permtype(type);
  request.mutable_perm()->set_key(range.key);
  request.mutable_perm()->set_range_end(range.end);
  return session->call_and_print(client::kRoleGrantPermission, request, kNoTimeout,
                                 fmt::format("Role {} updated\n", arguments[0]), "");
}

std::string revoked_text(const std::string& role, const std::string& key, const std::string& end) {
  const std::string what = end.empty()       ? fmt::format("key {}", key)
                           : end == kOpenEnd ? fmt::format("range [{}, <open ended>", key)
                                             : fmt::format("range [{}, {})", key, end);
  return fmt::format("Permission of {} is revoked from role {}\n", what, role);
}

Outcome run_role_revoke(Invocation& invocation) {
  const auto& arguments = invocation.arguments();
  if (arguments.size() < 2) {
    return exit_with(
        kExitBadArguments,
        "role revoke-permission command requires role name and key [endkey] as its argument");
  }
  ASSIGN_OR_RETURN(const KeyRange range,
                   permission_range(invocation.flags, std::span(arguments).subspan(1)));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  pb::AuthRoleRevokePermissionRequest request;
  request.set_role(arguments[0]);
  request.set_key(range.key);
  request.set_range_end(range.end);
  return session->call_and_print(client::kRoleRevokePermission, request, kNoTimeout,
                                 revoked_text(arguments[0], arguments[1], range.end), "");
}

constexpr FlagSpec kPermissionFlags[] = {
    {"from-key", FlagKind::kBool, "", "all keys from this one on, by bytes"},
    {"prefix", FlagKind::kBool, "", "all keys that begin so"},
};
constexpr Command kRoleAdd = {
    .use = "add <role name>",
    .summary = "Adds a role",
    .description = "",
    .run = run_role_add,
};
constexpr Command kRoleDelete = {
    .use = "delete <role name>",
    .summary = "Deletes a role",
    .description = "",
    .run = run_role_delete,
};
constexpr Command kRoleGet = {
    .use = "get <role name>",
    .summary = "Shows what a role may do",
    .description = "",
    .run = run_role_get,
};
constexpr Command kRoleList = {
    .use = "list",
    .summary = "Lists all roles",
    .description = "",
    .run = run_role_list,
};
constexpr Command kRoleGrant = {
    .use = "grant-permission [options] <role name> <permission type> <key> [endkey]",
    .summary = "Lets a role read or write keys",
    .description = "",
    .flags = kPermissionFlags,
    .run = run_role_grant,
};
constexpr Command kRoleRevoke = {
    .use = "revoke-permission <role name> <key> [endkey]",
    .summary = "Takes that back",
    .description = "",
    .flags = kPermissionFlags,
    .run = run_role_revoke,
};
constexpr const Command* kRoleSubcommands[] = {&kRoleAdd,  &kRoleDelete, &kRoleGet,
                                               &kRoleList, &kRoleGrant,  &kRoleRevoke};

}  // namespace

constinit const Command kAuthCommand = {
    .use = "auth <enable or disable>",
    .summary = "Turns authentication on and off",
    .description = "",
    .group = Group::kAuthentication,
    .subcommands = kAuthSubcommands,
};
constinit const Command kUserCommand = {
    .use = "user <subcommand>",
    .summary = "Manages users",
    .description = "",
    .group = Group::kAuthentication,
    .subcommands = kUserSubcommands,
};
constinit const Command kRoleCommand = {
    .use = "role <subcommand>",
    .summary = "Manages roles and what they may do",
    .description = "",
    .group = Group::kAuthentication,
    .subcommands = kRoleSubcommands,
};

}  // namespace keelson::cmd::ctl
