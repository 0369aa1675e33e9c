#include "cmd/ctl/lease_commands.h"

#include <fmt/format.h>

#include <future>

#include "base/go_text.h"
#include "client/lease_keeper.h"
#include "cmd/ctl/session.h"

namespace keelson::cmd::ctl {
namespace {

base::Result<std::int64_t, Exit> lease_argument(const Invocation& invocation,
                                                std::string_view missing) {
  if (invocation.arguments().size() != 1) {
    return exit_with(kExitBadArguments, std::string(missing));
  }
  auto id = base::parse_int(invocation.arguments()[0], 16);
  if (id) return *id;
  return exit_with(kExitBadArguments,
                   fmt::format("bad lease ID arg ({}), expecting ID in Hex", id.error().text));
}

Outcome run_grant(Invocation& invocation) {
  if (invocation.arguments().size() != 1) {
    return exit_with(kExitBadArguments, "lease grant command needs TTL argument");
  }
  const auto ttl = base::parse_int(invocation.arguments()[0], 10);
  if (!ttl) return exit_with(kExitBadArguments, fmt::format("bad TTL ({})", ttl.error().text));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  pb::LeaseGrantRequest request;
  request.set_ttl(*ttl);
  const auto response = session->call(client::kLeaseGrant, request);
  if (response) return session->printer().lease_grant(*response);
  return exit_with(response.error().code,
                   fmt::format("failed to grant lease ({})", response.error().text));
}

Outcome run_revoke(Invocation& invocation) {
  ASSIGN_OR_RETURN(const std::int64_t id,
                   lease_argument(invocation, "lease revoke command needs 1 argument"));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  pb::LeaseRevokeRequest request;
  request.set_id(id);
  const auto response = session->call(client::kLeaseRevoke, request);
  if (response) return session->printer().lease_revoke(id, *response);
  return exit_with(response.error().code,
                   fmt::format("failed to revoke lease ({})", response.error().text));
}

Outcome run_time_to_live(Invocation& invocation) {
  ASSIGN_OR_RETURN(
      const std::int64_t id,
      lease_argument(invocation, "lease timetolive command needs lease ID as argument"));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  const bool keys = invocation.flags.flag("keys");
  pb::LeaseTimeToLiveRequest request;
  request.set_id(id);
  request.set_keys(keys);
  ASSIGN_OR_RETURN(const auto response, session->call_within(client::kLeaseTimeToLive, request,
                                                             std::nullopt, kExitBadConnection));
  return session->printer().lease_time_to_live(response, keys);
}

Outcome run_list(Invocation& invocation) {
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  ASSIGN_OR_RETURN(const auto response, session->call_within(client::kLeaseLeases, {}, std::nullopt,
                                                             kExitBadConnection));
  return session->printer().lease_list(response);
}

// keep-alive -------------------------------------------------------------------------------------

// Prints renewals until the lease has ended or printing has.
class PrintRenewals final : public client::LeaseHandler {
 public:
  explicit PrintRenewals(Session& session) : session_(session) {}
  void on_renewed(const pb::LeaseKeepAliveResponse& response) override {
    if (!printed_) return;
    printed_ = session_.printer().lease_keep_alive(response);
    session_.output().flush();
    if (!printed_) over_.set_value();
  }
  // etcdctl says nothing of why the stream ended.
  void on_end(http::Status) override {
    if (printed_) over_.set_value();
  }
  Outcome wait() {
    over_.get_future().wait();
    return printed_;
  }

 private:
  Session& session_;
  Outcome printed_;
  std::promise<void> over_;
};

Outcome keep_alive(Session& session, std::int64_t id) {
  ASSIGN_OR_RETURN(client::Blocking * over, session.client());
  PrintRenewals renewals(session);
  std::unique_ptr<client::LeaseKeeper> keeper;
  over->run([&](client::Client& client) {
    keeper = std::make_unique<client::LeaseKeeper>(client);
    keeper->keep(id, renewals);
  });
  Outcome printed = renewals.wait();
  over->run([&](client::Client&) { keeper.reset(); });
  RETURN_IF_ERROR(std::move(printed));
  if (session.format() == "simple") {
    session.output().print_line(
        fmt::format("lease {:016x} expired or revoked.", static_cast<std::uint64_t>(id)));
  }
  return {};
}

Outcome run_keep_alive(Invocation& invocation) {
  ASSIGN_OR_RETURN(
      const std::int64_t id,
      lease_argument(invocation, "lease keep-alive command needs lease ID as argument"));
  ASSIGN_OR_RETURN(const auto session, Session::open(invocation));
  if (!invocation.flags.flag("once")) return keep_alive(*session, id);
  ASSIGN_OR_RETURN(client::Blocking * over, session->client());
  const auto response = over->keep_alive_once(id, std::nullopt);
  if (response) return session->printer().lease_keep_alive(*response);
  return exit_with(kExitBadConnection, client::error_text(response.error()));
}

constexpr Command kGrant = {
    .use = "grant <ttl>",
    .summary = "Grants a lease of so many seconds",
    .description = "",
    .run = run_grant,
};
constexpr Command kRevoke = {
    .use = "revoke <leaseID>",
    .summary = "Ends a lease and deletes its keys",
    .description = "",
    .run = run_revoke,
};
constexpr FlagSpec kTimeToLiveFlags[] = {
    {"keys", FlagKind::kBool, "", "name the keys that hang on it"},
};
constexpr Command kTimeToLive = {
    .use = "timetolive <leaseID> [options]",
    .summary = "Shows how long a lease has to live",
    .description = "",
    .flags = kTimeToLiveFlags,
    .run = run_time_to_live,
};
constexpr Command kList = {
    .use = "list",
    .summary = "Lists all leases",
    .description = "",
    .run = run_list,
};
constexpr FlagSpec kKeepAliveFlags[] = {
    {"once", FlagKind::kBool, "", "renew it once and leave"},
};
constexpr Command kKeepAlive = {
    .use = "keep-alive [options] <leaseID>",
    .summary = "Renews a lease again and again",
    .description = "",
    .flags = kKeepAliveFlags,
    .run = run_keep_alive,
};
constexpr const Command* kSubcommands[] = {&kGrant, &kRevoke, &kTimeToLive, &kList, &kKeepAlive};

}  // namespace

constinit const Command kLeaseCommand = {
    .use = "lease <subcommand>",
    .summary = "Grants, renews, shows and revokes leases",
    .description = "",
    .group = Group::kKeyValue,
    .subcommands = kSubcommands,
};

}  // namespace keelson::cmd::ctl
