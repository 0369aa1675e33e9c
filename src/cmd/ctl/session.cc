#include "cmd/ctl/session.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cctype>

#include "client/endpoint.h"
#include "cmd/ctl/input.h"
#include "cmd/ctl/log.h"

namespace keelson::cmd::ctl {
namespace {

constexpr FlagSpec kGlobalFlags[] = {
    {"auth-jwt-token", FlagKind::kString, "",
     "token to authenticate with, in place of --user and --password"},
    {"cacert", FlagKind::kString, "",
     "certificates of the authorities that servers are trusted by"},
    {"cert", FlagKind::kString, "", "certificate to show to TLS servers"},
    {"command-timeout", FlagKind::kDuration, "5s", "how long a short command may take"},
    {"debug", FlagKind::kBool, "", "show the values of all flags"},
    {"dial-timeout", FlagKind::kDuration, "2s", "how long one attempt to connect may take"},
    {"discovery-srv", FlagKind::kString, "", "domain whose SRV records name the endpoints", 'd'},
    {"discovery-srv-name", FlagKind::kString, "", "suffix of the service name in SRV records"},
    {"endpoints", FlagKind::kStrings, "127.0.0.1:2379", "where the members are"},
    {"hex", FlagKind::kBool, "", "print byte strings and ids in hexadecimal"},
    {"insecure-discovery", FlagKind::kBool, "true", "accept SRV records of endpoints without TLS"},
    {"insecure-skip-tls-verify", FlagKind::kBool, "",
     "do not check the servers' certificates (for tests only)"},
    {"insecure-transport", FlagKind::kBool, "true", "connect without TLS"},
    {"keepalive-time", FlagKind::kDuration, "2s", "ping a connection that was silent for so long"},
    {"keepalive-timeout", FlagKind::kDuration, "6s", "give it up when the answer takes so long"},
    {"key", FlagKind::kString, "", "private key of --cert"},
    {"max-recv-bytes", FlagKind::kInt, "0", "largest answer to take, in bytes (0: 2 GiB - 1)"},
    {"max-request-bytes", FlagKind::kInt, "0", "largest request to send, in bytes (0: 2 MiB)"},
    {"password", FlagKind::kString, "", "password of --user"},
    {"user", FlagKind::kString, "", "name[:password] to authenticate with (asks for a password)"},
    {"write-out", FlagKind::kString, "simple",
     "output format (fields, json, protobuf, simple, table)", 'w'},
};

constexpr std::string_view kPrefix = "ETCDCTL_";

// "command-timeout" -> "ETCDCTL_COMMAND_TIMEOUT"
std::string variable_name(std::string_view flag) {
  std::string name(kPrefix);
  for (const char c : flag) {
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

std::string log_variable(std::string_view level, std::string_view message,
                         std::string_view variable) {
  return log_text({.level = level,
                   .caller = "ctl/session.cc",
                   .message = message,
                   .fields = {{"environment-variable", std::string(variable)}}});
}

}  // namespace

std::span<const FlagSpec> global_flags() { return kGlobalFlags; }

std::string environment_value(const std::vector<std::string>& environment, std::string_view name) {
  for (const std::string& variable : environment) {
    if (variable.size() > name.size() && variable.starts_with(name) &&
        variable[name.size()] == '=') {
      return variable.substr(name.size() + 1);
    }
  }
  return "";
}

base::Result<std::unique_ptr<Session>, Exit> Session::open(Invocation& invocation) {
  std::unique_ptr<Session> session(new Session(invocation));
  RETURN_IF_ERROR(session->read_environment(invocation));
  RETURN_IF_ERROR(session->read_flags(invocation.flags));
  RETURN_IF_ERROR(session->read_security(invocation.flags));
  RETURN_IF_ERROR(session->read_authentication(invocation.flags));
  session->format_ = invocation.flags.text("write-out");
  session->hex_ = invocation.flags.flag("hex");
  session->printer_ = make_printer(invocation.output, session->format_, session->hex_);
  if (session->printer_ == nullptr) {
    return exit_with(kExitBadFeature, "unsupported output format");
  }
  return session;
}

Outcome Session::read_environment(Invocation& invocation) {
  Flags& flags = invocation.flags;
  std::vector<std::string> known;  // variables that are looked at elsewhere, or done with
  if (invocation.path.back()->name() == "watch") {
    known = {"ETCDCTL_WATCH_KEY", "ETCDCTL_WATCH_RANGE_END"};
  }
  std::vector<std::string> shadowed;
  for (const FlagSpec& spec : kGlobalFlags) {
    const std::string name = variable_name(spec.name);
    if (flags.is_set(spec.name)) {
      shadowed.push_back(name);
      continue;
    }
    const std::string value = environment_value(environment_, name);
    if (value.empty()) continue;
    known.push_back(name);
    if (!flags.set(spec.name, value)) {
      output_.complain(log_variable("warn", "ignored environment variable with an invalid value",
                                    fmt::format("{}={}", name, value)));
    }
  }
  for (const std::string& variable : environment_) {
    const std::string name = variable.substr(0, variable.find('='));
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    if (std::find(shadowed.begin(), shadowed.end(), name) != shadowed.end()) {
      return base::fail(
          Exit{kExitError, "",
               log_variable("fatal",
                            "conflicting environment variable is shadowed by corresponding "
                            "command-line flag (either unset environment variable or disable "
                            "flag))",
                            name)});
    }
    if (variable.starts_with(kPrefix)) {
      output_.complain(log_variable("warn", "unrecognized environment variable", variable));
    }
  }
  return {};
}

Outcome Session::read_flags(const Flags& flags) {
  if (flags.flag("debug")) {
    for (const FlagSpec& spec : kGlobalFlags) {
      output_.complain(fmt::format("{}={}\n", variable_name(spec.name), flags.shown(spec.name)));
    }
  }
  if (!flags.text("discovery-srv").empty()) {
    return exit_with(kExitError, "--discovery-srv is not there yet");
  }
  options_.endpoints.clear();
  for (const std::string& endpoint : flags.strings("endpoints")) {
    options_.endpoints.emplace_back(trim_space(endpoint));
  }
  command_timeout_ = flags.duration("command-timeout");
  options_.dial_timeout = flags.duration("dial-timeout");
  options_.keepalive_time = flags.duration("keepalive-time");
  options_.keepalive_timeout = flags.duration("keepalive-timeout");
  if (flags.number("max-request-bytes") > 0) {
    options_.request_bytes_max = static_cast<std::size_t>(flags.number("max-request-bytes"));
  }
  if (flags.number("max-recv-bytes") > 0) {
    options_.answer_bytes_max = static_cast<std::size_t>(flags.number("max-recv-bytes"));
  }
  return {};
}

Outcome Session::read_security(const Flags& flags) {
  for (const std::string_view name : {"cert", "key", "cacert"}) {
    if (flags.text(name).empty() && flags.is_set(name)) {
      return exit_with(kExitBadArguments,
                       fmt::format("empty string is passed to --{} option", name));
    }
    tls_wanted_ |= !flags.text(name).empty();
  }
  tls_wanted_ |= flags.flag("insecure-skip-tls-verify") || !flags.flag("insecure-transport");
  return {};
}

Outcome Session::read_authentication(const Flags& flags) {
  user_ = flags.text("user");
  password_ = flags.text("password");
  const std::string& token = flags.text("auth-jwt-token");
  if (!token.empty()) {
    options_.metadata.emplace_back("token", token);
    user_.clear();
    password_.clear();
  }
  if (user_.empty()) {
    password_.clear();
    return {};
  }
  if (!password_.empty()) return {};
  if (const std::size_t colon = user_.find(':'); colon != std::string::npos) {
    password_ = user_.substr(colon + 1);
    user_.resize(colon);
    return {};
  }
  const char* typed = getpass("Password: ");
  if (typed == nullptr) return exit_with(kExitError, "the password cannot be read");
  password_ = typed;
  return {};
}

base::Result<client::Blocking*, Exit> Session::client() {
  if (client_ == nullptr) {
    ASSIGN_OR_RETURN(client_, connect(options_, "etcd-client"));
  }
  return client_.get();
}

base::Result<std::unique_ptr<client::Blocking>, Exit> Session::client_of(
    const std::string& endpoint, std::string_view logger) {
  client::Options options = options_;
  options.endpoints = {endpoint};
  return connect(std::move(options), logger);
}

base::Result<std::unique_ptr<client::Blocking>, Exit> Session::connect(client::Options options,
                                                                       std::string_view logger) {
  if (options.endpoints.empty()) {
    return exit_with(kExitBadConnection, "etcdclient: no available endpoints");
  }
  for (const std::string& text : options.endpoints) {
    const client::Security security = client::parse_endpoint(text).security;
    if (security == client::Security::kTls ||
        (security == client::Security::kEither && tls_wanted_)) {
      return exit_with(kExitBadConnection, fmt::format("endpoint {}: TLS is not there yet", text));
    }
  }
  options.on_failed_attempt = [&output = output_, logger = std::string(logger),
                               endpoint = options.endpoints[0]](const auto& failed) {
    output.complain(failed_attempt_text(failed, logger, endpoint));
  };
  if (!user_.empty() && !password_.empty()) RETURN_IF_ERROR(authenticate(options));
  return std::make_unique<client::Blocking>(std::move(options));
}

// A token for this user goes with all further calls. A server without authentication wants none.
Outcome Session::authenticate(client::Options& options) {
  client::Blocking over(options);
  pb::AuthenticateRequest request;
  request.set_name(user_);
  request.set_password(password_);
  auto response = over.call(client::kAuthenticate, request, options.dial_timeout);
  if (response) {
    options.metadata.emplace_back("token", response->token());
    return {};
  }
  if (response.error().message == "etcdserver: authentication is not enabled") return {};
  return exit_with(kExitBadConnection, client::error_text(response.error()));
}

}  // namespace keelson::cmd::ctl
