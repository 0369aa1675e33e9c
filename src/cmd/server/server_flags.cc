#include "cmd/server/server_flags.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "membership/bootstrap.h"

namespace keelson::cmd {
namespace {

using base::fail;

// A flag whose feature is not there yet: its default is accepted, any other value ends the start.
constexpr std::array kNotYet = {
    "listen-client-http-urls",
    "discovery-token",
    "discovery-endpoints",
    "discovery-cert",
    "discovery-key",
    "discovery-cacert",
    "discovery-user",
    "discovery-password",
    "discovery-srv",
    "discovery-srv-name",
    "cert-file",
    "key-file",
    "client-cert-file",
    "client-key-file",
    "client-cert-auth",
    "client-crl-file",
    "client-cert-allowed-hostname",
    "trusted-ca-file",
    "auto-tls",
    "peer-cert-file",
    "peer-key-file",
    "peer-client-cert-file",
    "peer-client-key-file",
    "peer-client-cert-auth",
    "peer-trusted-ca-file",
    "peer-cert-allowed-cn",
    "peer-cert-allowed-hostname",
    "peer-auto-tls",
    "peer-crl-file",
    "peer-skip-client-san-verification",
    "cipher-suites",
    "tls-min-version",
    "tls-max-version",
    "self-signed-cert-validity",
    "auth-token",
    "auto-compaction-retention",
    "config-file",
    "enable-distributed-tracing",
    "corrupt-check-time",
    "force-new-cluster",
    "enable-pprof",
    "enable-log-rotation",
    "initial-cluster-state",
};
// Without a meaning here: bbolt's, its batches, mlock.
constexpr std::array kMeaningless = {
    "memory-mlock",
    "backend-bbolt-freelist-type",
    "backend-batch-interval",
    "backend-batch-limit",
    "bootstrap-defrag-threshold-megabytes",
    "compaction-batch-limit",
    "compaction-sleep-interval",
};

std::optional<std::string> one_of(std::string_view value,
                                  std::initializer_list<std::string_view> allowed) {
  if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return std::nullopt;
  return fmt::format("invalid value \"{}\"", value);
}

std::optional<std::string> url_list(std::string_view value) {
  if (value.empty()) return std::nullopt;
  auto urls = membership::parse_url_list(value);
  if (urls) return std::nullopt;
  return urls.error().text;
}

std::optional<std::string> fits_uint32(std::string_view value) {
  if (*parse_uint(value) <= 0xFFFF'FFFFu) return std::nullopt;
  return "value out of range";
}

// The URLs of a flag; an empty value leaves the default.
membership::Urls urls_of(const FlagValues& values, std::string_view name,
                         std::string_view fallback) {
  const std::string& text = values.text(name);
  auto urls = membership::parse_url_list(text.empty() ? fallback : std::string_view(text));
  CHECK(urls.ok());  // checked when it was parsed
  membership::Urls unique;
  for (membership::Url& url : *urls) {
    if (unique.empty() || !(unique.back() == url)) unique.push_back(std::move(url));
  }
  return unique;
}

bool is_ip(std::string_view host) {
  if (host.find(':') != std::string_view::npos) return true;  // IPv6, brackets taken off
  int dots = 0;
  for (const char c : host) {
    if (c == '.') dots++;
    if (c != '.' && (c < '0' || c > '9')) return false;
  }
  return dots == 3;
}

std::optional<std::string> check_listen(const membership::Urls& urls) {
  for (const membership::Url& url : urls) {
    if (url.scheme == "unix" || url.scheme == "unixs") continue;
    if (url.hostname() != "localhost" && !is_ip(url.hostname())) {
      return fmt::format("expected IP in URL for binding ({})", url.text());
    }
    if (url.scheme == "https")
      return fmt::format("{} needs TLS, which is not supported yet", url.text());
  }
  return std::nullopt;
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t at = 0; at <= text.size() && !text.empty();) {
    const auto comma = std::min(text.find(',', at), text.size());
    parts.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return parts;
}

struct Gate {
  std::string_view name;
  bool fallback;
  bool alpha;
  bool there;  // the feature exists here
};
constexpr std::array kGates = {
    Gate{"StopGRPCServiceOnDefrag", false, true, false},
    Gate{"InitialCorruptCheck", false, true, false},
    Gate{"CompactHashCheck", false, true, false},
    Gate{"TxnModeWriteWithSharedBuffer", true, false, true},
    Gate{"LeaseCheckpoint", false, true, true},
    Gate{"LeaseCheckpointPersist", false, true, true},
    Gate{"SetMemberLocalAddr", false, true, false},
    Gate{"FastLeaseKeepAlive", true, false, true},
    Gate{"PriorityRequest", false, true, false},
};

base::Result<base::OrderedMap<std::string, bool>, std::string> parse_gates(
    const std::string& text) {
  base::OrderedMap<std::string, bool> gates;
  for (const Gate& gate : kGates) gates[std::string(gate.name)] = gate.fallback;
  base::OrderedMap<std::string, bool> given;
  for (const std::string& part : split(text)) {
    if (part.empty()) continue;
    const auto equals = part.find('=');
    const std::string name = part.substr(0, equals);
    if (equals == std::string::npos) return fail(fmt::format("missing bool value for {}", name));
    const std::string value = part.substr(equals + 1);
    const auto on = parse_bool(value);
    if (!on) {
      return fail(fmt::format(
          "invalid value of {}={}, err: strconv.ParseBool: parsing \"{}\": invalid syntax", name,
          value, value));
    }
    if (name != "AllAlpha" && name != "AllBeta" && !gates.contains(name)) {
      return fail(fmt::format("unrecognized feature gate: {}", name));
    }
    given[name] = *on;
  }
  for (const Gate& gate : kGates) {
    const std::string name(gate.name);
    const auto all = given.find(gate.alpha ? "AllAlpha" : "AllBeta");
    if (all != given.end()) gates[name] = all->second;
    if (const auto it = given.find(name); it != given.end()) gates[name] = it->second;
    if (gates[name] != gate.fallback && !gate.there) {
      return fail(fmt::format("feature-gates={}={} is not supported yet", name, gates[name]));
    }
  }
  return gates;
}

}  // namespace

FlagSet server_flags() {
  std::vector<FlagSpec> specs;
  const auto add = [&specs](
                       std::string name, FlagKind kind, std::string fallback, std::string help,
                       std::function<std::optional<std::string>(std::string_view)> check = {}) {
    specs.push_back({.name = std::move(name),
                     .kind = kind,
                     .fallback = std::move(fallback),
                     .help = std::move(help),
                     .check = std::move(check)});
  };
  using enum FlagKind;
  add("name", kString, "default", "Name of this member, as --initial-cluster has it.");
  add("data-dir", kString, "", "Where the data lies; <name>.etcd if not given.");
  add("wal-dir", kString, "", "Where the write-ahead log lies, if not under the data directory.");
  add("snapshot-count", kUint, "10000", "Applied entries between snapshots of the log.");
  add("snapshot-catchup-entries", kUint, "5000", "Entries kept in memory behind a snapshot.");
  add("heartbeat-interval", kUint, "100", "Milliseconds of one raft tick.");
  add("election-timeout", kUint, "1000", "Milliseconds without a leader before an election.");
  add("initial-election-tick-advance", kBool, "true", "Skip most of the first election timeout.");
  add("listen-peer-urls", kString, "http://localhost:2380", "Where members are listened for.",
      url_list);
  add("listen-client-urls", kString, "http://localhost:2379", "Where clients are listened for.",
      url_list);
  add("listen-client-http-urls", kString, "", "Where only HTTP clients are listened for.",
      url_list);
  add("listen-metrics-urls", kString, "", "Where metrics and health are served besides.", url_list);
  add("max-snapshots", kUint, "5", "Snapshot files kept; 0 for all.");
  add("max-wals", kUint, "5", "Log files kept; 0 for all.");
  add("memory-mlock", kBool, "false", "Without effect.");
  add("quota-backend-bytes", kInt, "0",
      "Live bytes at which writes stop; 0 for 2 GiB, negative for none.");
  add("backend-bbolt-freelist-type", kString, "", "Without effect.");
  add("backend-batch-interval", kDuration, "0s", "Without effect.");
  add("backend-batch-limit", kInt, "0", "Without effect.");
  add("max-txn-ops", kUint, "128", "Operations of one txn.");
  add("max-request-bytes", kUint, "1572864", "Bytes of one request in the log.");
  add("max-concurrent-streams", kUint, "4294967295", "Calls at once on one connection.",
      fits_uint32);
  add("grpc-keepalive-min-time", kDuration, "5s", "A client that pings more often is cut off.");
  add("grpc-keepalive-interval", kDuration, "2h0m0s", "A silent client is pinged after that.");
  add("grpc-keepalive-timeout", kDuration, "20s", "... and cut off after that.");
  add("socket-reuse-port", kBool, "false", "SO_REUSEPORT on listeners.");
  add("socket-reuse-address", kBool, "false", "SO_REUSEADDR on listeners.");
  add("enable-grpc-gateway", kBool, "true", "The JSON gateway; not there yet.");
  add("raft-read-timeout", kDuration, "5s", "Of connections between members.");
  add("raft-write-timeout", kDuration, "5s", "Of connections between members.");
  add("feature-gates", kString, "", "Name=true|false, comma-separated.");
  add("max-learners", kInt, "1", "Learners the cluster may have.");
  add("initial-advertise-peer-urls", kString, "http://localhost:2380",
      "Where other members find this one.", url_list);
  add("initial-cluster", kString, "default=http://localhost:2380", "Members of a new cluster.");
  add("initial-cluster-state", kString, "new", "new or existing.",
      [](auto v) { return one_of(v, {"new", "existing"}); });
  add("initial-cluster-token", kString, "etcd-cluster", "Goes into the ids of a new cluster.");
  add("advertise-client-urls", kString, "http://localhost:2379", "Where clients are told to come.",
      url_list);
  add("discovery-token", kString, "", "");
  add("discovery-endpoints", kString, "", "");
  add("discovery-dial-timeout", kDuration, "2s", "");
  add("discovery-request-timeout", kDuration, "5s", "");
  add("discovery-keepalive-time", kDuration, "2s", "");
  add("discovery-keepalive-timeout", kDuration, "6s", "");
  add("discovery-insecure-transport", kBool, "true", "");
  add("discovery-insecure-skip-tls-verify", kBool, "false", "");
  add("discovery-cert", kString, "", "");
  add("discovery-key", kString, "", "");
  add("discovery-cacert", kString, "", "");
  add("discovery-user", kString, "", "");
  add("discovery-password", kString, "", "");
  add("discovery-srv", kString, "", "");
  add("discovery-srv-name", kString, "", "");
  add("discovery-fallback", kString, "exit", "",
      [](auto v) { return one_of(v, {"exit", "proxy"}); });
  add("strict-reconfig-check", kBool, "true", "Refuse changes that endanger quorum.");
  add("pre-vote", kBool, "true", "Ask before raising the term.");
  add("auto-compaction-mode", kString, "periodic", "");
  add("auto-compaction-retention", kString, "0", "");
  add("v2-deprecation", kString, "", "", [](std::string_view v) -> std::optional<std::string> {
    for (const std::string& one : split(std::string(v))) {
      if (auto bad = one_of(
              one, {"", "write-only", "write-only-skip-check", "write-only-drop-data", "gone"}))
        return bad;
    }
    return std::nullopt;
  });
  for (const char* name :
       {"cert-file", "key-file", "client-cert-file", "client-key-file", "client-crl-file",
        "client-cert-allowed-hostname", "trusted-ca-file", "peer-cert-file", "peer-key-file",
        "peer-client-cert-file", "peer-client-key-file", "peer-trusted-ca-file",
        "peer-cert-allowed-cn", "peer-cert-allowed-hostname", "peer-crl-file", "cipher-suites",
        "tls-max-version"}) {
    add(name, kString, "", "TLS; not there yet.");
  }
  for (const char* name : {"client-cert-auth", "auto-tls", "peer-client-cert-auth", "peer-auto-tls",
                           "peer-skip-client-san-verification"}) {
    add(name, kBool, "false", "TLS; not there yet.");
  }
  add("tls-min-version", kString, "TLS1.2", "TLS; not there yet.");
  add("self-signed-cert-validity", kUint, "1", "TLS; not there yet.");
  add("cors", kString, "*", "Origins that may ask.");
  add("host-whitelist", kString, "*", "Host names that may be asked for.");
  add("auth-token", kString, "simple", "");
  add("auth-token-ttl", kUint, "300", "");
  add("bcrypt-cost", kUint, "10", "");
  add("enable-pprof", kBool, "false", "");
  add("metrics", kString, "basic", "basic or extensive.");
  add("logger", kString, "zap", "");
  add("log-outputs", kString, "default", "default, stderr, stdout, systemd/journal or a file.");
  add("log-level", kString, "info", "debug, info, warn, error, panic or fatal.");
  add("log-format", kString, "json", "json or console.");
  add("enable-log-rotation", kBool, "false", "");
  add("log-rotation-config-json", kString,
      R"({"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false})",
      "");
  add("warning-apply-duration", kDuration, "100ms", "");
  add("warning-unary-request-duration", kDuration, "300ms", "");
  add("enable-distributed-tracing", kBool, "false", "");
  add("distributed-tracing-address", kString, "localhost:4317", "");
  add("distributed-tracing-service-name", kString, "etcd", "");
  add("distributed-tracing-instance-id", kString, "", "");
  add("distributed-tracing-sampling-rate", kInt, "0", "");
  add("corrupt-check-time", kDuration, "0s", "");
  add("compact-hash-check-time", kDuration, "1m0s", "");
  add("compaction-batch-limit", kInt, "0", "Without effect.");
  add("compaction-sleep-interval", kDuration, "0s", "Without effect.");
  add("watch-progress-notify-interval", kDuration, "0s",
      "Period of progress notifications; 0 for 10m.");
  add("bootstrap-defrag-threshold-megabytes", kUint, "0", "Without effect.");
  add("downgrade-check-time", kDuration, "5s", "");
  add("force-new-cluster", kBool, "false", "");
  add("unsafe-no-fsync", kBool, "false", "Sync nothing: a crash loses data.");
  add("config-file", kString, "", "");
  add("version", kBool, "false", "Print the version and exit.");
  return FlagSet(std::move(specs));
}

base::Result<ServerConfig, std::string> make_server_config(const FlagValues& values) {
  const FlagSet flags = server_flags();
  ServerConfig config;
  for (const FlagSpec& spec : flags.specs()) {
    const bool changed = values.text(spec.name) != spec.fallback;
    if (changed && std::find(kNotYet.begin(), kNotYet.end(), spec.name) != kNotYet.end()) {
      return fail(fmt::format("{}={} is not supported yet", spec.name, values.text(spec.name)));
    }
    if (changed &&
        std::find(kMeaningless.begin(), kMeaningless.end(), spec.name) != kMeaningless.end()) {
      config.warnings.push_back(fmt::format("--{} has no effect here", spec.name));
    }
  }
  if (values.text("logger") == "capnslog") return fail("--logger=capnslog is removed in v3.5");
  if (values.text("logger") != "zap")
    return fail(fmt::format("unknown logger option \"{}\"", values.text("logger")));
  if (values.text("discovery-fallback") == "proxy") {
    return fail(
        "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"");
  }
  if (values.is_set("max-snapshots")) {
    config.warnings.push_back(
        "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.");
  }
  if (values.is_set("v2-deprecation")) {
    config.warnings.push_back(
        "--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value is "
        "enforced, "
        "ignoring user input.");
  }

  config.listen_client_urls = urls_of(values, "listen-client-urls", "http://localhost:2379");
  config.listen_peer_urls = urls_of(values, "listen-peer-urls", "http://localhost:2380");
  if (!values.text("listen-metrics-urls").empty())
    config.listen_metrics_urls = urls_of(values, "listen-metrics-urls", "");
  for (const auto* urls :
       {&config.listen_peer_urls, &config.listen_client_urls, &config.listen_metrics_urls}) {
    if (auto bad = check_listen(*urls)) return fail(*std::move(bad));
  }
  member::Config& member = config.member;
  member.name = values.text("name");
  config.default_data_dir = values.text("data-dir").empty();
  member.data_dir = config.default_data_dir ? member.name + ".etcd" : values.text("data-dir");
  member.wal_dir = values.text("wal-dir");
  member.advertise_peer_urls =
      urls_of(values, "initial-advertise-peer-urls", "http://localhost:2380");
  member.advertise_client_urls =
      membership::to_texts(urls_of(values, "advertise-client-urls", "http://localhost:2379"));
  if (values.is_set("listen-client-urls") && !values.is_set("advertise-client-urls")) {
    return fail("--advertise-client-urls is required when --listen-client-urls is set explicitly");
  }
  const std::string initial =
      values.is_set("initial-cluster") || member.name == "default"
          ? values.text("initial-cluster")
          : [&] {
              std::string text;
              for (const auto& url : membership::to_texts(member.advertise_peer_urls)) {
                text += (text.empty() ? "" : ",") + member.name + "=" + url;
              }
              return text;
            }();
  auto cluster = membership::parse_initial_cluster(initial);
  if (!cluster) return fail("error setting up initial cluster: " + cluster.error().text);
  member.initial_cluster = *std::move(cluster);
  member.initial_cluster_token = values.text("initial-cluster-token");
  member.new_cluster = values.text("initial-cluster-state") == "new";

  const std::uint64_t heartbeat = values.unsigned_number("heartbeat-interval");
  const std::uint64_t election = values.unsigned_number("election-timeout");
  if (heartbeat == 0) return fail("--heartbeat-interval must be >0 (set to 0ms)");
  if (election == 0) return fail("--election-timeout must be >0 (set to 0ms)");
  if (heartbeat > election / 5) {
    return fail(fmt::format(
        "--election-timeout[{}ms] should be at least as 5 times as --heartbeat-interval[{}ms]",
        election, heartbeat));
  }
  if (election > 50000) {
    return fail(fmt::format(
        "--election-timeout[{}ms] is too long, and should be set less than 50000ms", election));
  }
  member.tick = base::Milliseconds(heartbeat);
  member.election_ticks = static_cast<std::uint32_t>(election / heartbeat);
  member.pre_vote = values.flag("pre-vote");
  const auto or_default = [](std::uint64_t value, std::uint64_t fallback) {
    return value == 0 ? fallback : value;
  };
  member.snapshot_count = or_default(values.unsigned_number("snapshot-count"), 10'000);
  member.snapshot_catchup_entries =
      or_default(values.unsigned_number("snapshot-catchup-entries"), 5'000);
  member.snapshots_max = values.unsigned_number("max-snapshots");
  member.wals_max = values.unsigned_number("max-wals");
  member.unsafe_no_fsync = values.flag("unsafe-no-fsync");
  member.quota_bytes = values.number("quota-backend-bytes");
  member.request_bytes_max = values.unsigned_number("max-request-bytes");
  member.txn_operations_max = values.unsigned_number("max-txn-ops");
  member.learners_max =
      static_cast<std::size_t>(std::max<std::int64_t>(values.number("max-learners"), 0));
  member.strict_reconfig_check = values.flag("strict-reconfig-check");

  const base::Duration progress = values.duration("watch-progress-notify-interval");
  member.watch_progress_interval = progress == base::Duration(0) ? base::Seconds(600) : progress;
  if (member.watch_progress_interval < base::Milliseconds(100)) {
    config.warnings.push_back("adjusting watch progress notify interval to minimum period");
    member.watch_progress_interval = base::Milliseconds(100);
  }
  auto gates = parse_gates(values.text("feature-gates"));
  if (!gates) return fail(gates.error());
  if ((*gates)["LeaseCheckpointPersist"] && !(*gates)["LeaseCheckpoint"]) {
    return fail(
        "enabling feature gate LeaseCheckpointPersist requires enabling feature gate "
        "LeaseCheckpoint");
  }
  member.lease_checkpoint = (*gates)["LeaseCheckpoint"];
  member.fast_lease_keep_alive = (*gates)["FastLeaseKeepAlive"];
  if (values.duration("compact-hash-check-time") <= base::Duration(0)) {
    return fail(fmt::format("--compact-hash-check-time must be >0 (set to {})",
                            duration_text(values.duration("compact-hash-check-time"))));
  }
  if (auto bad = one_of(values.text("auto-compaction-mode"), {"periodic", "revision"})) {
    const std::string& mode = values.text("auto-compaction-mode");
    return fail(mode.empty() ? "undefined auto-compaction-mode"
                             : fmt::format("unknown auto-compaction-mode \"{}\"", mode));
  }
  if (member.name == "default") {
    config.warnings.push_back(
        "it isn't recommended to use default name, please set a value for --name. Note that etcd "
        "might run into "
        "issue when multiple members have the same default name");
  }

  http::ServerOptions& http = config.http;
  http.max_concurrent_streams =
      static_cast<std::uint32_t>(values.unsigned_number("max-concurrent-streams"));
  http.message_bytes_max = member.request_bytes_max + (std::size_t{512} << 10);
  http.keepalive_min_time = values.duration("grpc-keepalive-min-time");
  http.keepalive_interval = values.duration("grpc-keepalive-interval");
  http.keepalive_timeout = values.duration("grpc-keepalive-timeout");
  http.access.cors_origins = split(values.text("cors"));
  http.access.host_whitelist = split(values.text("host-whitelist"));
  config.reuse_port = values.flag("socket-reuse-port");
  config.reuse_address = values.flag("socket-reuse-address");
  config.log_level = values.text("log-level");
  config.log_format = values.text("log-format");
  config.log_outputs = split(values.text("log-outputs"));
  if (config.log_format != "json" && config.log_format != "console") {
    return fail(
        fmt::format("unknown log format: {}, supported values json, console", config.log_format));
  }
  return config;
}

}  // namespace keelson::cmd
