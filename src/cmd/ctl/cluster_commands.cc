#include "cmd/ctl/cluster_commands.h"

#include <fmt/format.h>

#include <chrono>
#include <future>

#include "cmd/ctl/go_text.h"
#include "cmd/ctl/kv_commands.h"
#include "cmd/ctl/session.h"

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
  std::string text() const { return duration_text(std::chrono::steady_clock::now() - begun_); }

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

Outcome run_health(Invocation& invocation) {
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  ASSIGN_OR_RETURN(const auto endpoints, endpoints_to_ask(*session, invocation.flags));
  std::vector<std::unique_ptr<client::Blocking>> clients;
  for (const std::string& endpoint : endpoints) {
    ASSIGN_OR_RETURN(clients.emplace_back(), session->client_of(endpoint, "client"));
  }
  std::vector<std::future<EndpointHealth>> asked;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    asked.push_back(std::async(std::launch::async, [&, i] {
      return health_of(*clients[i], endpoints[i], session->command_timeout());
    }));
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
constexpr const Command* kMemberSubcommands[] = {&kMemberList};

}  // namespace

constinit const Command kMemberCommand = {
    .use = "member <subcommand>",
    .summary = "Shows and changes who belongs to the cluster",
    .description = "",
    .group = Group::kMaintenance,
    .subcommands = kMemberSubcommands,
};

}  // namespace keelson::cmd::ctl
