#include "cmd/ctl/cluster_commands.h"

#include <fmt/format.h>

#include <chrono>
#include <future>

#include "base/duration.h"
#include "base/go_text.h"
#include "cmd/ctl/input.h"
#include "cmd/ctl/kv_commands.h"
#include "cmd/ctl/session.h"
#include "membership/urls.h"

namespace keelson::cmd::ctl {
namespace {

constexpr FlagSpec kClusterFlags[] = {
    {"cluster", FlagKind::kBool, "", "ask all members that the cluster has, not --endpoints"},
};

// Those of --endpoints, or with --cluster every client URL of every member.
base::Result<std::vector<std::string>, Exit> endpoints_to_ask(Session& session,
                                                              const Flags& flags) {
  if (!flags.flag("cluster")) return flags.strings("endpoints");
  auto response = session.call(client::kMemberList, [] {
    pb::MemberListRequest request;
    request.set_linearizable(true);
    return request;
  }());
  if (!response) {
    return exit_with(kExitError,
                     fmt::format("failed to fetch endpoints from etcd cluster member list: {}",
                                 response.error().text));
  }
  std::vector<std::string> endpoints;
  for (const pb::Member& member : response->members()) {
    endpoints.insert(endpoints.end(), member.clienturls().begin(), member.clienturls().end());
  }
  return endpoints;
}

class Stopwatch {
 public:
  std::string text() const {
    return base::duration_text(std::chrono::steady_clock::now() - begun_);
  }

 private:
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

// health -----------------------------------------------------------------------------------------

std::string alarm_text(const pb::AlarmResponse& response) {
  std::string text = "Active Alarm(s): ";
  for (const pb::AlarmMember& alarm : response.alarms()) {
    const bool known = alarm.alarm() == pb::NOSPACE || alarm.alarm() == pb::CORRUPT;
    text += known ? pb::AlarmType_Name(alarm.alarm()) : "UNKNOWN";
    text += ' ';
  }
  return text;
}

EndpointHealth health_of(client::Blocking& over, const std::string& endpoint,
                         base::Duration timeout) {
  EndpointHealth health{.endpoint = endpoint};
  pb::RangeRequest get;
  get.set_key("health");
  const Stopwatch stopwatch;
  const auto response = over.call(client::kRange, get, timeout);
  health.took = stopwatch.text();
  // Who may not read the key has still been through consensus.
  const bool answered =
      response.ok() || response.error().message == "etcdserver: permission denied";
  if (!answered) {
    health.error = client::error_text(response.error());
    return health;
  }
  pb::AlarmRequest list;
  list.set_action(pb::AlarmRequest::GET);
  const auto alarms = over.call(client::kAlarm, list, timeout);
  if (!alarms) {
    health.error = "Unable to fetch the alarm list";
  } else if (alarms->alarms_size() > 0) {
    health.error = alarm_text(*alarms);
  }
  health.health = health.error.empty();
  return health;
}

// Its client could not even be made: that too makes an endpoint unhealthy.
EndpointHealth ask_health(Session& session, const std::string& endpoint) {
  auto over = session.client_of(endpoint, "client");
  if (!over) return {.endpoint = endpoint, .error = over.error().text};
  return health_of(**over, endpoint, session.command_timeout());
}

Outcome run_health(Invocation& invocation) {
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  ASSIGN_OR_RETURN(const auto endpoints, endpoints_to_ask(*session, invocation.flags));
  std::vector<std::future<EndpointHealth>> asked;
  for (const std::string& endpoint : endpoints) {
    asked.push_back(std::async(std::launch::async, [&] { return ask_health(*session, endpoint); }));
  }
  std::vector<EndpointHealth> all;
  bool failed = false;
  for (auto& one : asked) {
    all.push_back(one.get());
    failed |= !all.back().error.empty();
  }
  RETURN_IF_ERROR(session->printer().endpoint_health(all));
  if (failed) return exit_with(kExitError, "unhealthy cluster");
  return {};
}

// status and hashkv ------------------------------------------------------------------------------

// Asks one after the other. What fails is complained about; the last failure is returned.
template <class Method, class Take>
base::Result<std::string, Exit> ask_each(Session& session, const Flags& flags, const Method& rpc,
                                         const typename Method::Request& request,
                                         std::string_view what, Take take) {
  ASSIGN_OR_RETURN(const auto endpoints, endpoints_to_ask(session, flags));
  std::string last_error;
  for (const std::string& endpoint : endpoints) {
    ASSIGN_OR_RETURN(const auto over, session.client_of(endpoint, "etcd-client"));
    auto response = over->call(rpc, request, session.command_timeout());
    if (response) {
      take(endpoint, *std::move(response));
      continue;
    }
    last_error = client::error_text(response.error());
    session.output().complain(
        fmt::format("Failed to get the {} of endpoint {} ({})\n", what, endpoint, last_error));
  }
  return last_error;
}

Outcome run_status(Invocation& invocation) {
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  std::vector<EndpointStatus> all;
  ASSIGN_OR_RETURN(const std::string error,
                   ask_each(*session, invocation.flags, client::kStatus, {}, "status",
                            [&](const std::string& endpoint, pb::StatusResponse response) {
                              all.push_back({endpoint, std::move(response)});
                            }));
  RETURN_IF_ERROR(session->printer().endpoint_status(all));
  if (!error.empty()) return exit_with(kExitError, "");
  return {};
}

Outcome run_hash_kv(Invocation& invocation) {
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  pb::HashKVRequest request;
  request.set_revision(invocation.flags.number("rev"));
  std::vector<EndpointHashKv> all;
  ASSIGN_OR_RETURN(const std::string error,
                   ask_each(*session, invocation.flags, client::kHashKv, request, "hash",
                            [&](const std::string& endpoint, pb::HashKVResponse response) {
                              all.push_back({endpoint, std::move(response)});
                            }));
  RETURN_IF_ERROR(session->printer().endpoint_hash_kv(all));
  if (!error.empty()) return exit_with(kExitError, error);
  return {};
}

constexpr Command kHealth = {
    .use = "health",
    .summary = "Says whether the members of --endpoints answer",
    .description = "",
    .run = run_health,
};
constexpr Command kStatus = {
    .use = "status",
    .summary = "Shows version, size, leader and log of the members of --endpoints",
    .description = R"(Shows version, size, leader and log of the members of --endpoints.
In simple output the columns are endpoint, ID, version, storage version, db size, in use, percentage not in use, quota, is leader, is learner, raft term, raft index, raft applied index, errors, downgrade target version, downgrade enabled.)",
    .run = run_status,
};
constexpr FlagSpec kHashKvFlags[] = {
    {"rev", FlagKind::kInt, "0", "hash up to this revision (0: the latest)"},
};
constexpr Command kHashKv = {
    .use = "hashkv",
    .summary = "Shows the hash of the history of each of --endpoints",
    .description = "",
    .passed_down = kHashKvFlags,
    .run = run_hash_kv,
};
constexpr const Command* kEndpointSubcommands[] = {&kHealth, &kStatus, &kHashKv};

}  // namespace

constinit const Command kEndpointCommand = {
    .use = "endpoint <subcommand>",
    .summary = "Asks members how they are",
    .description = "",
    .group = Group::kMaintenance,
    .passed_down = kClusterFlags,
    .subcommands = kEndpointSubcommands,
};

// defrag -----------------------------------------------------------------------------------------

namespace {

Outcome run_defrag(Invocation& invocation) {
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  ASSIGN_OR_RETURN(const auto endpoints, endpoints_to_ask(*session, invocation.flags));
  bool failed = false;
  for (const std::string& endpoint : endpoints) {
    ASSIGN_OR_RETURN(const auto over, session->client_of(endpoint, "etcd-client"));
    const Stopwatch stopwatch;
    const auto response = over->call(client::kDefragment, {}, session->command_timeout());
    const std::string took = stopwatch.text();
    if (response) {
      invocation.output.print_line(
          fmt::format("Finished defragmenting etcd member[{}]. took {}", endpoint, took));
      invocation.output.flush();
      continue;
    }
    failed = true;
    invocation.output.complain(fmt::format("Failed to defragment etcd member[{}]. took {}. ({})\n",
                                           endpoint, took, client::error_text(response.error())));
  }
  if (failed) return exit_with(kExitError, "");
  return {};
}

}  // namespace

constinit const Command kDefragCommand = {
    .use = "defrag",
    .summary = "Has the members of --endpoints give back space",
    .description = "",
    .group = Group::kMaintenance,
    .passed_down = kClusterFlags,
    .run = run_defrag,
};

// alarm ------------------------------------------------------------------------------------------

namespace {

Outcome no_arguments(const Invocation& invocation, std::string_view name) {
  if (invocation.arguments().empty()) return {};
  return exit_with(kExitBadArguments, fmt::format("{} command accepts no arguments", name));
}

base::Result<pb::AlarmResponse, Exit> list_alarms(Session& session) {
  pb::AlarmRequest request;
  request.set_action(pb::AlarmRequest::GET);
  return session.call(client::kAlarm, request);
}

Outcome run_alarm_list(Invocation& invocation) {
  RETURN_IF_ERROR(no_arguments(invocation, "alarm list"));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  ASSIGN_OR_RETURN(const auto response, list_alarms(*session));
  return session->printer().alarm(response);
}

// All alarms of all members: those there are, one after the other, as etcd's client library does.
Outcome run_alarm_disarm(Invocation& invocation) {
  RETURN_IF_ERROR(no_arguments(invocation, "alarm disarm"));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  ASSIGN_OR_RETURN(const auto listed, list_alarms(*session));
  pb::AlarmResponse all;
  for (const pb::AlarmMember& alarm : listed.alarms()) {
    pb::AlarmRequest request;
    request.set_action(pb::AlarmRequest::DEACTIVATE);
    request.set_memberid(alarm.memberid());
    request.set_alarm(alarm.alarm());
    ASSIGN_OR_RETURN(const auto response, session->call(client::kAlarm, request));
    all.mutable_alarms()->MergeFrom(response.alarms());
  }
  return session->printer().alarm(all);
}

constexpr Command kAlarmDisarm = {
    .use = "disarm",
    .summary = "Takes back all alarms",
    .description = "",
    .run = run_alarm_disarm,
};
constexpr Command kAlarmList = {
    .use = "list",
    .summary = "Lists all alarms",
    .description = "",
    .run = run_alarm_list,
};
constexpr const Command* kAlarmSubcommands[] = {&kAlarmDisarm, &kAlarmList};

}  // namespace

constinit const Command kAlarmCommand = {
    .use = "alarm <subcommand>",
    .summary = "Lists and takes back alarms",
    .description = "",
    .group = Group::kMaintenance,
    .subcommands = kAlarmSubcommands,
};

// member -----------------------------------------------------------------------------------------

namespace {

Outcome run_member_list(Invocation& invocation) {
  ASSIGN_OR_RETURN(const bool serializable, is_serializable(invocation.flags.text("consistency")));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  pb::MemberListRequest request;
  request.set_linearizable(!serializable);
  ASSIGN_OR_RETURN(const auto response, session->call(client::kMemberList, request));
  return session->printer().member_list(response);
}

constexpr FlagSpec kMemberListFlags[] = {
    {"consistency", FlagKind::kString, "l", "linearizable (l) or serializable (s)"},
};
constexpr Command kMemberList = {
    .use = "list",
    .summary = "Lists the members of the cluster",
    .description = R"(Lists the members of the cluster.
In simple output the columns are ID, Status, Name, Peer Addrs, Client Addrs, Is Learner.)",
    .flags = kMemberListFlags,
    .run = run_member_list,
};
// Changes ----------------------------------------------------------------------------------------

base::Result<std::uint64_t, Exit> member_argument(const Invocation& invocation) {
  if (invocation.arguments().size() != 1) {
    return exit_with(kExitBadArguments, "member ID is not provided");
  }
  const auto id = base::parse_uint(invocation.arguments()[0], 16);
  if (id) return *id;
  return exit_with(kExitBadArguments,
                   fmt::format("bad member ID arg ({}), expecting ID in Hex", id.error().text));
}

base::Result<std::vector<std::string>, Exit> peer_urls(const Flags& flags) {
  const std::string& text = flags.text("peer-urls");
  if (text.empty()) return exit_with(kExitBadArguments, "member peer urls not provided");
  std::vector<std::string> urls;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t comma = std::min(text.find(',', at), text.size());
    urls.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return urls;
}

// etcd's client library looks at the URLs before it sends them, and its server stops at bad ones.
Outcome check_urls(const std::string& text) {
  const auto parsed = membership::parse_url_list(text);
  if (parsed) return {};
  return exit_with(kExitError, parsed.error().text);
}

// Ids in these lines are padded with spaces, as etcdctl does.
std::string changed_text(std::uint64_t id, std::string_view what,
                         const pb::ResponseHeader& header) {
  return fmt::format("Member {:>16x} {} cluster {:>16x}\n", id, what, header.cluster_id());
}

// What the new member is started with.
std::string start_text(const std::string& name, const std::string& urls,
                       const pb::MemberAddResponse& response) {
  std::vector<std::string> cluster;
  for (const pb::Member& member : response.members()) {
    for (const std::string& url : member.peerurls()) {
      const bool is_new = member.id() == response.member().id();
      cluster.push_back(fmt::format("{}={}", is_new ? name : member.name(), url));
    }
  }
  return fmt::format(
      "\nETCD_NAME={}\nETCD_INITIAL_CLUSTER={}\nETCD_INITIAL_ADVERTISE_PEER_URLS={}\n"
      "ETCD_INITIAL_CLUSTER_STATE=\"existing\"\n",
      base::quote(name), base::quote(fmt::format("{}", fmt::join(cluster, ","))),
      base::quote(urls));
}

Outcome run_member_add(Invocation& invocation) {
  const auto& arguments = invocation.arguments();
  if (arguments.empty()) return exit_with(kExitBadArguments, "member name not provided");
  if (arguments.size() > 1) {
    std::string text = "too many arguments";
    for (const std::string& argument : arguments) {
      if (upper(argument).starts_with("HTTP")) {
        text += fmt::format(", did you mean --peer-urls={}", argument);
      }
    }
    return exit_with(kExitBadArguments, std::move(text));
  }
  ASSIGN_OR_RETURN(const auto urls, peer_urls(invocation.flags));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  RETURN_IF_ERROR(check_urls(invocation.flags.text("peer-urls")));
  pb::MemberAddRequest request;
  request.mutable_peerurls()->Assign(urls.begin(), urls.end());
  request.set_islearner(invocation.flags.flag("learner"));
  ASSIGN_OR_RETURN(const auto response, session->call(client::kMemberAdd, request));
  const std::string_view what = response.member().islearner() ? "added as learner to" : "added to";
  return session->printer().plain(
      {response, response.header(),
       changed_text(response.member().id(), what, response.header()) +
           start_text(arguments[0], invocation.flags.text("peer-urls"), response),
       std::nullopt});
}

template <class Method>
Outcome change_member(Session& session, const Method& rpc, const typename Method::Request& request,
                      std::string_view what) {
  ASSIGN_OR_RETURN(const auto response, session.call(rpc, request));
  return session.printer().plain({response, response.header(),
                                  changed_text(request.id(), what, response.header()),
                                  std::nullopt});
}

Outcome run_member_remove(Invocation& invocation) {
  pb::MemberRemoveRequest request;
  ASSIGN_OR_RETURN(const std::uint64_t id, member_argument(invocation));
  request.set_id(id);
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  return change_member(*session, client::kMemberRemove, request, "removed from");
}

Outcome run_member_update(Invocation& invocation) {
  pb::MemberUpdateRequest request;
  ASSIGN_OR_RETURN(const std::uint64_t id, member_argument(invocation));
  ASSIGN_OR_RETURN(const auto urls, peer_urls(invocation.flags));
  request.set_id(id);
  request.mutable_peerurls()->Assign(urls.begin(), urls.end());
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  RETURN_IF_ERROR(check_urls(invocation.flags.text("peer-urls")));
  return change_member(*session, client::kMemberUpdate, request, "updated in");
}

Outcome run_member_promote(Invocation& invocation) {
  pb::MemberPromoteRequest request;
  ASSIGN_OR_RETURN(const std::uint64_t id, member_argument(invocation));
  request.set_id(id);
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  return change_member(*session, client::kMemberPromote, request, "promoted in");
}

constexpr FlagSpec kPeerUrlsFlag = {"peer-urls", FlagKind::kString, "",
                                    "where other members reach it, separated by commas"};
constexpr FlagSpec kMemberAddFlags[] = {
    {"learner", FlagKind::kBool, "", "it does not vote until it is promoted"},
    kPeerUrlsFlag,
};
constexpr Command kMemberAdd = {
    .use = "add <memberName> [options]",
    .summary = "Adds a member to the cluster",
    .description = "",
    .flags = kMemberAddFlags,
    .run = run_member_add,
};
constexpr Command kMemberRemove = {
    .use = "remove <memberID>",
    .summary = "Removes a member from the cluster",
    .description = "",
    .run = run_member_remove,
};
constexpr Command kMemberUpdate = {
    .use = "update <memberID> [options]",
    .summary = "Changes the peer URLs of a member",
    .description = "",
    .flags = {&kPeerUrlsFlag, 1},
    .run = run_member_update,
};
constexpr Command kMemberPromote = {
    .use = "promote <memberID>",
    .summary = "Lets a learner vote",
    .description = "",
    .run = run_member_promote,
};
constexpr const Command* kMemberSubcommands[] = {&kMemberAdd, &kMemberRemove, &kMemberUpdate,
                                                 &kMemberList, &kMemberPromote};

}  // namespace

constinit const Command kMemberCommand = {
    .use = "member <subcommand>",
    .summary = "Shows and changes who belongs to the cluster",
    .description = "",
    .group = Group::kMaintenance,
    .subcommands = kMemberSubcommands,
};

// move-leader ------------------------------------------------------------------------------------

namespace {

struct Leader {
  std::unique_ptr<client::Blocking> client;
  std::uint64_t id = 0;
};

// Asks each endpoint until one leads.
base::Result<Leader, Exit> find_leader(Session& session) {
  for (const std::string& endpoint : session.endpoints()) {
    ASSIGN_OR_RETURN(auto over, session.client_of(endpoint, "etcd-client"));
    const auto status = over->call(client::kStatus, {}, session.command_timeout());
    if (!status) return exit_with(kExitError, client::error_text(status.error()));
    if (status->header().member_id() == status->leader()) {
      return Leader{std::move(over), status->leader()};
    }
  }
  return exit_with(kExitBadArguments, fmt::format("no leader endpoint given at [{}]",
                                                  fmt::join(session.endpoints(), " ")));
}

Outcome run_move_leader(Invocation& invocation) {
  if (invocation.arguments().size() != 1) {
    return exit_with(kExitBadArguments, "move-leader command needs 1 argument");
  }
  const auto target = base::parse_uint(invocation.arguments()[0], 16);
  if (!target) return exit_with(kExitBadArguments, target.error().text);
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  ASSIGN_OR_RETURN(const Leader leader, find_leader(*session));
  pb::MoveLeaderRequest request;
  request.set_targetid(*target);
  const auto response =
      leader.client->call(client::kMoveLeader, request, session->command_timeout());
  if (!response) return exit_with(kExitError, client::error_text(response.error()));
  return session->printer().plain(
      {*response, response->header(),
       fmt::format("Leadership transferred from {:x} to {:x}\n", leader.id, *target),
       std::nullopt});
}

}  // namespace

constinit const Command kMoveLeaderCommand = {
    .use = "move-leader <transferee-member-id>",
    .summary = "Hands the leadership to another member",
    .description = "",
    .group = Group::kMaintenance,
    .run = run_move_leader,
};

// downgrade --------------------------------------------------------------------------------------

namespace {

Outcome downgrade(Invocation& invocation, pb::DowngradeRequest::DowngradeAction action,
                  const std::string& version, std::string_view what) {
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  pb::DowngradeRequest request;
  request.set_action(action);
  request.set_version(version);
  ASSIGN_OR_RETURN(const auto response, session->call(client::kDowngrade, request));
  return session->printer().plain(
      {response, response.header(),
       fmt::format("Downgrade {} success, cluster version {}\n", what, response.version()),
       std::nullopt});
}

Outcome with_version(Invocation& invocation, pb::DowngradeRequest::DowngradeAction action,
                     std::string_view what) {
  const auto& arguments = invocation.arguments();
  if (arguments.empty()) return exit_with(kExitBadArguments, "TARGET_VERSION not provided");
  if (arguments.size() > 1) return exit_with(kExitBadArguments, "too many arguments");
  if (arguments[0].empty()) return exit_with(kExitBadArguments, "target version not provided");
  return downgrade(invocation, action, arguments[0], what);
}

Outcome run_downgrade_validate(Invocation& invocation) {
  return with_version(invocation, pb::DowngradeRequest::VALIDATE, "validate");
}
Outcome run_downgrade_enable(Invocation& invocation) {
  return with_version(invocation, pb::DowngradeRequest::ENABLE, "enable");
}
Outcome run_downgrade_cancel(Invocation& invocation) {
  return downgrade(invocation, pb::DowngradeRequest::CANCEL, "", "cancel");
}

constexpr Command kDowngradeValidate = {
    .use = "validate <TARGET_VERSION>",
    .summary = "Says whether the cluster could go back to a version",
    .description = "",
    .run = run_downgrade_validate,
};
constexpr Command kDowngradeEnable = {
    .use = "enable <TARGET_VERSION>",
    .summary = "Begins to go back to a version",
    .description = "",
    .run = run_downgrade_enable,
};
constexpr Command kDowngradeCancel = {
    .use = "cancel",
    .summary = "Gives it up",
    .description = "",
    .run = run_downgrade_cancel,
};
constexpr const Command* kDowngradeSubcommands[] = {&kDowngradeValidate, &kDowngradeEnable,
                                                    &kDowngradeCancel};

}  // namespace

constinit const Command kDowngradeCommand = {
    .use = "downgrade <TARGET_VERSION>",
    .summary = "Prepares a cluster for an older version",
    .description = "",
    .group = Group::kMaintenance,
    .subcommands = kDowngradeSubcommands,
};

}  // namespace keelson::cmd::ctl
