#include "cmd/server/server_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/go_text.h"
#include "cmd/server/feature_gates.h"
#include "cmd/server/text.h"
#include "membership/urls.h"

namespace keelson::cmd {
namespace {

using Refusal = std::optional<std::string>;

constexpr auto kNotYet = std::to_array<std::string_view>({
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
    "auth-token",
    "auth-token-ttl",
    "bcrypt-cost",
    "enable-distributed-tracing",
    "downgrade-check-time",
    "metrics",
    "enable-pprof",
    "enable-log-rotation",
});
constexpr auto kMeaningless = std::to_array<std::string_view>({
    "memory-mlock",
    "backend-bbolt-freelist-type",
    "backend-batch-interval",
    "backend-batch-limit",
    "compaction-batch-limit",
    "compaction-sleep-interval",
    "bootstrap-defrag-threshold-megabytes",
});

Refusal one_of(std::string_view value, std::initializer_list<std::string_view> allowed) {
  if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return std::nullopt;
  return "invalid value";
}

Refusal url_list(std::string_view value) {
  if (value.empty()) return std::nullopt;
  auto urls = membership::parse_url_list(value);
  if (urls) return std::nullopt;
  return urls.error().text;
}

// Origins: URLs, or "*" in any place.
Refusal origins(std::string_view value) {
  for (const std::string_view origin : split(value, ',')) {
    if (origin == "*") continue;
    if (auto urls = membership::parse_url_list(origin); !urls) return urls.error().text;
  }
  return std::nullopt;
}

Refusal uint32(std::string_view value) {
  const auto parsed = base::parse_uint(value);
  if (parsed && *parsed <= 0xFFFF'FFFFu) return std::nullopt;
  const bool range = parsed || parsed.error().code == base::NumberErrc::kRange;
  return fmt::format("strconv.ParseUint: parsing {}: {}", base::quote(value),
                     range ? "value out of range" : "invalid syntax");
}

Refusal v2_deprecation(std::string_view value) {
  constexpr std::array<std::string_view, 4> kAllowed = {"write-only", "write-only-skip-check",
                                                        "write-only-drop-data", "gone"};
  for (const std::string_view phase : split(value, ',')) {
    if (std::find(kAllowed.begin(), kAllowed.end(), phase) == kAllowed.end()) {
      return fmt::format("invalid value {}", base::quote(phase));
    }
  }
  return std::nullopt;
}

Refusal gates(std::string_view value) {
  auto parsed = parse_feature_gates(value);
  if (parsed) return std::nullopt;
  return parsed.error();
}

// The table, a section at a time. A row: name, kind, default, help, check.
class Table {
 public:
  void begin(std::string section) { section_ = std::move(section); }
  void add(std::string name, FlagKind kind, std::string fallback, std::string help,
           std::function<Refusal(std::string_view)> check = {}) {
    specs_.push_back({.name = std::move(name),
                      .kind = kind,
                      .fallback = std::move(fallback),
                      .section = section_,
                      .help = std::move(help),
                      .check = std::move(check)});
  }
  std::vector<FlagSpec> take() { return std::move(specs_); }

 private:
  std::string section_;
  std::vector<FlagSpec> specs_;
};

using enum FlagKind;

void add_member_flags(Table& table) {
  table.begin("Member");
  table.add("name", kString, "default", "Name of this member, by which --initial-cluster has it.");
  table.add("data-dir", kString, "", "Where the data lies; '${name}.etcd' if not given.");
  table.add("wal-dir", kString, "", "Where the log lies, if not under the data directory.");
  table.add("snapshot-count", kUint, "10000", "Applied entries between two snapshots on disk.");
  table.add("snapshot-catchup-entries", kUint, "5000",
            "Entries kept in memory behind a snapshot, for members that lag.");
  table.add("heartbeat-interval", kUint, "100", "Milliseconds between heartbeats.");
  table.add("election-timeout", kUint, "1000",
            "Milliseconds without a leader after which an election begins.");
  table.add("initial-election-tick-advance", kBool, "true",
            "Skip most of the first election timeout after a start.");
  table.add("listen-peer-urls", kString, "http://localhost:2380", "Where members are listened for.",
            url_list);
  table.add("listen-client-urls", kString, "http://localhost:2379",
            "Where clients are listened for.", url_list);
  table.add("listen-client-http-urls", kString, "",
            "Where HTTP clients alone are listened for; takes HTTP off --listen-client-urls.",
            url_list);
  table.add("max-snapshots", kUint, "5", "Snapshot files kept; 0 for all. Deprecated.");
  table.add("max-wals", kUint, "5", "Log files kept; 0 for all.");
  table.add("memory-mlock", kBool, "false", "Without effect: the store is not mapped.");
  table.add("quota-backend-bytes", kInt, "0",
            "Live bytes at which writes are refused; 0 for 2 GiB, negative for no limit.");
  table.add("backend-bbolt-freelist-type", kString, "", "Without effect.");
  table.add("backend-batch-interval", kDuration, "0s", "Without effect.");
  table.add("backend-batch-limit", kInt, "0", "Without effect.");
  table.add("max-txn-ops", kUint, "128", "Operations in one transaction.");
  table.add("max-request-bytes", kUint, "1572864", "Bytes of one request.");
  table.add("max-concurrent-streams", kString, "4294967295", "Calls at a time on one connection.",
            uint32);
  table.add("grpc-keepalive-min-time", kDuration, "5s",
            "Clients that ping more often than this are disconnected.");
  table.add("grpc-keepalive-interval", kDuration, "2h0m0s",
            "Silence after which a client is pinged; 0 for never.");
  table.add("grpc-keepalive-timeout", kDuration, "20s",
            "Wait for the answer before the connection is closed; 0 for never.");
  table.add("socket-reuse-port", kBool, "false", "Listen with SO_REUSEPORT.");
  table.add("socket-reuse-address", kBool, "false", "Listen with SO_REUSEADDR.");
  table.add("enable-grpc-gateway", kBool, "true", "Serve the JSON gateway.");
  table.add("raft-read-timeout", kDuration, "5s", "Of connections between members; at least 5s.");
  table.add("raft-write-timeout", kDuration, "5s", "Of connections between members; at least 5s.");
  table.add("feature-gates", kString, "",
            "Name=true|false of alpha and beta features, comma-separated:\n" + feature_gates_help(),
            gates);
}

void add_cluster_flags(Table& table) {
  table.begin("Clustering");
  table.add("initial-advertise-peer-urls", kString, "http://localhost:2380",
            "Where the other members find this one.", url_list);
  table.add("initial-cluster", kString, "default=http://localhost:2380",
            "Members of a new cluster, with their peer URLs.");
  table.add("initial-cluster-state", kString, "new",
            "'new', or 'existing' to join a cluster. Ignored once there is data.",
            [](std::string_view value) { return one_of(value, {"new", "existing"}); });
  table.add("initial-cluster-token", kString, "etcd-cluster",
            "Keeps clusters apart that begin with the same URLs.");
  table.add("advertise-client-urls", kString, "http://localhost:2379",
            "Where clients are told to find this member.", url_list);
  table.add("discovery-token", kString, "", "Discovery: token of the new cluster.");
  table.add("discovery-endpoints", kString, "", "Discovery: where the service is.");
  table.add("discovery-dial-timeout", kDuration, "2s", "Discovery: patience with a connection.");
  table.add("discovery-request-timeout", kDuration, "5s", "Discovery: patience with a request.");
  table.add("discovery-keepalive-time", kDuration, "2s", "Discovery: silence before a ping.");
  table.add("discovery-keepalive-timeout", kDuration, "6s", "Discovery: patience with a ping.");
  table.add("discovery-insecure-transport", kBool, "true", "Discovery: without TLS.");
  table.add("discovery-insecure-skip-tls-verify", kBool, "false", "Discovery: TLS, unverified.");
  table.add("discovery-cert", kString, "", "Discovery: certificate shown to the service.");
  table.add("discovery-key", kString, "", "Discovery: its key.");
  table.add("discovery-cacert", kString, "", "Discovery: authorities trusted.");
  table.add("discovery-user", kString, "", "Discovery: user, or user:password.");
  table.add("discovery-password", kString, "", "Discovery: password.");
  table.add("discovery-fallback", kString, "exit", "What to do when discovery fails: 'exit'.",
            [](std::string_view value) { return one_of(value, {"exit", "proxy"}); });
  table.add("discovery-srv", kString, "", "Domain whose SRV records name the members.");
  table.add("discovery-srv-name", kString, "", "Suffix of the SRV name asked for.");
  table.add("strict-reconfig-check", kBool, "true",
            "Refuse membership changes that would lose the quorum.");
  table.add("pre-vote", kBool, "true",
            "Ask before an election, so that a returning member disturbs nobody.");
  table.add("auto-compaction-retention", kString, "0", "What auto compaction keeps; 0 for all.");
  table.add("auto-compaction-mode", kString, "periodic",
            "'periodic' (hours, or a duration) or 'revision' (a number of them).");
  table.add("v2-deprecation", kString, "", "Deprecated and without effect.", v2_deprecation);
}

void add_security_flags(Table& table) {
  table.begin("Security");
  table.add("cert-file", kString, "", "Certificate shown to clients.");
  table.add("key-file", kString, "", "Its key.");
  table.add("client-cert-auth", kBool, "false", "Demand certificates of clients.");
  table.add("client-cert-file", kString, "", "Certificate when this member is a TLS client.");
  table.add("client-key-file", kString, "", "Its key.");
  table.add("client-crl-file", kString, "", "Revoked client certificates.");
  table.add("client-cert-allowed-hostname", kString, "", "Names a client's certificate may have.");
  table.add("trusted-ca-file", kString, "", "Authorities of clients.");
  table.add("auto-tls", kBool, "false", "TLS for clients with a certificate made at the start.");
  table.add("peer-cert-file", kString, "", "Certificate shown to members.");
  table.add("peer-key-file", kString, "", "Its key.");
  table.add("peer-client-cert-auth", kBool, "false", "Demand certificates of members.");
  table.add("peer-client-cert-file", kString, "", "Certificate when dialling members.");
  table.add("peer-client-key-file", kString, "", "Its key.");
  table.add("peer-trusted-ca-file", kString, "", "Authorities of members.");
  table.add("peer-cert-allowed-cn", kString, "", "Common names a member's certificate may have.");
  table.add("peer-cert-allowed-hostname", kString, "", "Names a member's certificate may have.");
  table.add("peer-auto-tls", kBool, "false",
            "TLS for members with a certificate made at the start.");
  table.add("self-signed-cert-validity", kUint, "1", "Years that certificates made here hold.");
  table.add("peer-crl-file", kString, "", "Revoked certificates of members.");
  table.add("cipher-suites", kString, "", "TLS ciphers, comma-separated.");
  table.add("cors", kString, "*", "Origins that browsers may ask from; '*' for all.", origins);
  table.add("host-whitelist", kString, "*",
            "Host names under which plain HTTP may ask; '*' for all.");
  table.add("tls-min-version", kString, "TLS1.2", "TLS1.2 or TLS1.3.");
  table.add("tls-max-version", kString, "", "TLS1.2 or TLS1.3.");
  table.add("peer-skip-client-san-verification", kBool, "false",
            "Believe a member's certificate from any address.");

  table.begin("Auth");
  table.add("auth-token", kString, "simple", "Kind of tokens: 'simple' or 'jwt,...'.");
  table.add("bcrypt-cost", kUint, "10", "Cost of hashing passwords, 4 to 31.");
  table.add("auth-token-ttl", kUint, "300", "Seconds that a simple token lives.");
}

void add_watching_flags(Table& table) {
  table.begin("Profiling and Monitoring");
  table.add("enable-pprof", kBool, "false", "Serve profiles under /debug/pprof/.");
  table.add("metrics", kString, "basic", "'basic', or 'extensive' for histograms of every call.");
  table.add("listen-metrics-urls", kString, "", "Where metrics and health are served besides.",
            url_list);

  table.begin("Logging");
  table.add("logger", kString, "zap", "'zap': the shape of the log.");
  table.add("log-outputs", kString, "default",
            "'default' (stderr), 'stderr', 'stdout', 'systemd/journal' or files.");
  table.add("log-level", kString, "info", "debug, info, warn, error, panic or fatal.");
  table.add("log-format", kString, "json", "json or console.");
  table.add("enable-log-rotation", kBool, "false", "Begin new log files by size.");
  table.add(
      "log-rotation-config-json", kString,
      R"({"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false})",
      "When, and how many are kept.");
  table.add("warning-unary-request-duration", kDuration, "300ms",
            "Calls that take longer are logged.");
  table.add("warning-apply-duration", kDuration, "100ms", "Applies that take longer are logged.");

  table.begin("Distributed tracing");
  table.add("enable-distributed-tracing", kBool, "false", "Send spans to a collector.");
  table.add("distributed-tracing-address", kString, "localhost:4317", "Where it is.");
  table.add("distributed-tracing-service-name", kString, "etcd", "Name of all members together.");
  table.add("distributed-tracing-instance-id", kString, "", "Name of this one.");
  table.add("distributed-tracing-sampling-rate", kInt, "0", "Spans sent of a million.");
}

void add_feature_flags(Table& table) {
  table.begin("Features");
  table.add("corrupt-check-time", kDuration, "0s", "Between two comparisons of the members' data.");
  table.add("compact-hash-check-time", kDuration, "1m0s",
            "Between two comparisons of the hashes of compactions.");
  table.add("compaction-batch-limit", kInt, "0", "Without effect.");
  table.add("compaction-sleep-interval", kDuration, "0s", "Without effect.");
  table.add("watch-progress-notify-interval", kDuration, "0s",
            "Between two progress notifications of a watch; 0 for 10m.");
  table.add("bootstrap-defrag-threshold-megabytes", kUint, "0",
            "Without effect: space is returned in the background.");
  table.add("max-learners", kInt, "1", "Learners the cluster may have.");
  table.add("downgrade-check-time", kDuration, "5s", "Between two looks at a running downgrade.");

  table.begin("Unsafe feature");
  table.add("force-new-cluster", kBool, "false", "Begin a cluster of one member from this data.");
  table.add("unsafe-no-fsync", kBool, "false", "Sync nothing: a crash of the machine loses data.");
}

void add_unlisted_flags(Table& table) {
  table.begin("");
  table.add("config-file", kString, "", "");
  table.add("version", kBool, "false", "");
  for (const char* name : {"cluster-active-size", "cluster-remove-delay", "cluster-sync-interval",
                           "config", "force", "max-result-buffer", "max-retry-attempts",
                           "peer-heartbeat-interval", "peer-election-timeout", "retry-interval",
                           "snapshot", "v", "vv", "test.coverprofile", "test.outputdir"}) {
    table.add(name, kIgnored, "", "");
  }
}

}  // namespace

FlagSet server_flags() {
  Table table;
  add_member_flags(table);
  add_cluster_flags(table);
  add_security_flags(table);
  add_watching_flags(table);
  add_feature_flags(table);
  add_unlisted_flags(table);
  return FlagSet(table.take());
}

FlagStanding standing_of(std::string_view flag) {
  const auto has = [flag](const auto& names) {
    return std::find(names.begin(), names.end(), flag) != names.end();
  };
  if (has(kNotYet)) return FlagStanding::kNotYet;
  return has(kMeaningless) ? FlagStanding::kMeaningless : FlagStanding::kThere;
}

std::string usage_text() {
  return R"(Usage:

  keelson [flags]
    Start a member.

  keelson --version
    Print the version.

  keelson -h | --help
    Print this and every flag.

  keelson --config-file FILE
    Start a member from a YAML or JSON file; other flags and the environment are then ignored.
    Durations in it are whole numbers of nanoseconds (600000000000 for 10m).

)";
}

}  // namespace keelson::cmd
