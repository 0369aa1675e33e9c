#include "cmd/server/server_config.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <limits>

#include "base/duration.h"
#include "base/go_text.h"
#include "cmd/server/feature_gates.h"
#include "cmd/server/server_flags.h"
#include "cmd/server/text.h"
#include "membership/bootstrap.h"

namespace keelson::cmd {
namespace {

using base::fail;

using Checked = base::Result<void, std::string>;

constexpr std::uint64_t kElectionMax = 50'000;
constexpr base::Duration kProgressIntervalMin = base::Milliseconds(100);
constexpr base::Duration kProgressIntervalDefault = base::Seconds(600);
constexpr base::Duration kRaftTimeoutMin = base::Seconds(5);
constexpr std::size_t kGrpcOverheadBytes = std::size_t{512} << 10;  // api.md 1.3
// Half of what protobuf's and the store's lengths can say: what is made of a message fits too.
constexpr std::size_t kMessageBytesMax = std::size_t{1} << 30;
constexpr std::size_t kRequestBytesRecommended = std::size_t{10} << 20;
constexpr std::int64_t kQuotaRecommended = std::int64_t{8} << 30;
constexpr std::string_view kDefaultName = "default";

std::vector<std::string> to_strings(const std::vector<std::string_view>& parts) {
  return {parts.begin(), parts.end()};
}

// The values of a comma-separated set: each once, in order.
std::vector<std::string> set_of(std::string_view text) {
  auto parts = to_strings(split(text, ','));
  std::sort(parts.begin(), parts.end());
  parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
  return parts;
}

// The URLs of a flag, each once; an empty value leaves the default.
membership::Urls urls_of(const FlagValues& values, std::string_view name,
                         std::string_view fallback) {
  const std::string& text = values.text(name);
  auto urls = membership::parse_url_list(text.empty() ? fallback : std::string_view(text));
  CHECK(urls.ok());  // checked when it was parsed
  urls->erase(std::unique(urls->begin(), urls->end()), urls->end());
  return *std::move(urls);
}

bool is_unix(const membership::Url& url) { return url.scheme == "unix" || url.scheme == "unixs"; }

bool is_ip(const std::string& host) {
  in_addr v4{};
  in6_addr v6{};
  return ::inet_pton(AF_INET, host.c_str(), &v4) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), &v6) == 1;
}

// What is listened on must be an address; names are for the outside.
Checked check_bind(const membership::Urls& urls) {
  for (const membership::Url& url : urls) {
    if (is_unix(url) || url.hostname() == "localhost" || is_ip(url.hostname())) continue;
    return fail(fmt::format("expected IP in URL for binding ({})", url.text()));
  }
  return {};
}

// Certificates cannot be given yet, so that whatever asks for TLS lacks them.
Checked check_no_tls(const ServerConfig& config) {
  const auto secure = [](const membership::Url& url) {
    return url.scheme == "https" || url.scheme == "unixs";
  };
  for (const membership::Url& url : config.listen_peer_urls) {
    if (!secure(url)) continue;
    return fail(fmt::format("cannot listen on TLS for {}: KeyFile and CertFile are not presented",
                            url.host));
  }
  for (const membership::Url& url : config.listen_client_urls) {
    if (!secure(url)) continue;
    return fail(
        fmt::format("TLS key/cert (--cert-file, --key-file) must be provided for client url "
                    "{} with HTTPS scheme",
                    url.text()));
  }
  for (const membership::Url& url : config.listen_metrics_urls) {
    if (!secure(url)) continue;
    return fail(
        "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url");
  }
  return {};
}

Checked check_advertised(const membership::Urls& urls, std::string_view flag,
                         std::string_view forms) {
  for (const membership::Url& url : urls) {
    if (is_unix(url) || !url.hostname().empty()) continue;
    return fail(fmt::format("--{} {} must be {} (unexpected empty host ({}))", flag,
                            base::quote(membership::to_text(urls)), forms, url.text()));
  }
  return {};
}

// A flag whose feature is not there; and warnings for those that mean nothing here.
Checked check_standing(const FlagValues& values, ServerConfig& config) {
  const FlagSet flags = server_flags();
  for (const FlagSpec& spec : flags.specs()) {
    const std::string& text = values.text(spec.name);
    if (text == spec.fallback) continue;
    switch (standing_of(spec.name)) {
      case FlagStanding::kThere:
        break;
      case FlagStanding::kNotYet:
        return fail(fmt::format("{}={} is not supported yet", spec.name, text));
      case FlagStanding::kMeaningless:
        config.warnings.push_back(fmt::format("--{} has no effect here", spec.name));
        break;
    }
  }
  return {};
}

void note_deprecations(const FlagValues& values, ServerConfig& config) {
  if (values.is_set("max-snapshots")) {
    config.warnings.emplace_back(
        "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.");
  }
  if (values.is_set("v2-deprecation")) {
    config.warnings.emplace_back(
        "--v2-deprecation is deprecated and scheduled for removal in v3.8. The default value is "
        "enforced, ignoring user input.");
  }
}

Checked take_listeners(const FlagValues& values, ServerConfig& config) {
  config.listen_peer_urls = urls_of(values, "listen-peer-urls", "http://localhost:2380");
  config.listen_client_urls = urls_of(values, "listen-client-urls", "http://localhost:2379");
  if (!values.text("listen-metrics-urls").empty()) {
    config.listen_metrics_urls = urls_of(values, "listen-metrics-urls", "");
  }
  config.reuse_port = values.flag("socket-reuse-port");
  config.reuse_address = values.flag("socket-reuse-address");
  RETURN_IF_ERROR(check_bind(config.listen_peer_urls));
  RETURN_IF_ERROR(check_bind(config.listen_client_urls));
  if (values.text("listen-client-http-urls").empty()) {
    config.repeated_warnings.emplace_back(
        "Running http and grpc server on single port. This is not recommended for production.");
  }
  return check_bind(config.listen_metrics_urls);
}

Checked take_advertised(const FlagValues& values, member::Config& member) {
  member.advertise_peer_urls =
      urls_of(values, "initial-advertise-peer-urls", "http://localhost:2380");
  const auto clients = urls_of(values, "advertise-client-urls", "http://localhost:2379");
  member.advertise_client_urls = membership::to_texts(clients);
  RETURN_IF_ERROR(
      check_advertised(member.advertise_peer_urls, "initial-advertise-peer-urls", "\"host:port\""));
  return check_advertised(clients, "advertise-client-urls",
                          "in the format \"host:port\", \"unix:/path/to/socket\" or "
                          "\"unixs:/path/to/socket\"");
}

// --initial-cluster, made of name and peer URLs if it was left at its default and the name was not.
std::string initial_cluster_text(const FlagValues& values, const member::Config& member) {
  if (values.is_set("initial-cluster") || member.name == kDefaultName) {
    return values.text("initial-cluster");
  }
  std::string text;
  for (const std::string& url : membership::to_texts(member.advertise_peer_urls)) {
    text += fmt::format("{}{}={}", text.empty() ? "" : ",", member.name, url);
  }
  return text;
}

Checked take_initial_cluster(const FlagValues& values, member::Config& member) {
  const std::string text = initial_cluster_text(values, member);
  if (text.empty()) return {};  // found out by the member: the local name is not in it
  auto cluster = membership::parse_initial_cluster(text);
  if (!cluster) return fail("error setting up initial cluster: " + cluster.error().text);
  member.initial_cluster = *std::move(cluster);
  return {};
}

Checked take_timing(const FlagValues& values, member::Config& member) {
  const std::uint64_t heartbeat = values.unsigned_number("heartbeat-interval");
  const std::uint64_t election = values.unsigned_number("election-timeout");
  if (heartbeat == 0) return fail("--heartbeat-interval must be >0 (set to 0ms)");
  if (election == 0) return fail("--election-timeout must be >0 (set to 0ms)");
  if (heartbeat > election / 5) {
    return fail(
        fmt::format("--election-timeout[{}ms] should be at least as 5 times as "
                    "--heartbeat-interval[{}ms]",
                    election, heartbeat));
  }
  if (election > kElectionMax) {
    return fail(
        fmt::format("--election-timeout[{}ms] is too long, and should be set less than {}ms",
                    election, kElectionMax));
  }
  member.tick = base::Milliseconds(heartbeat);
  member.election_ticks = static_cast<std::uint32_t>(election / heartbeat);
  member.pre_vote = values.flag("pre-vote");
  member.election_tick_advance = values.flag("initial-election-tick-advance");
  return {};
}

Checked check_compaction_mode(const FlagValues& values) {
  const std::string& mode = values.text("auto-compaction-mode");
  if (mode == "periodic" || mode == "revision") return {};
  if (mode.empty()) return fail("undefined auto-compaction-mode");
  return fail(fmt::format("unknown auto-compaction-mode {}", base::quote(mode)));
}

// A whole number, of hours or revisions, or a duration.
Checked take_compaction(const FlagValues& values, member::AutoCompaction& compaction) {
  using Mode = member::AutoCompaction::Mode;
  const bool periodic = values.text("auto-compaction-mode") == "periodic";
  compaction.mode = periodic ? Mode::kPeriodic : Mode::kRevision;
  const std::string& text = values.text("auto-compaction-retention");
  if (text.empty()) return {};
  std::int64_t count = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, count);
  if (parsed.ec == std::errc() && parsed.ptr == end && count >= 0) {
    constexpr std::int64_t kHoursMax = std::numeric_limits<std::int64_t>::max() / 3'600'000'000'000;
    if (periodic) compaction.period = std::chrono::hours(std::min(count, kHoursMax));
    compaction.revisions = count;
    return {};
  }
  const auto duration = base::parse_duration(text);
  if (!duration) {
    return fail(fmt::format("error parsing CompactionRetention: {}", duration.error()));
  }
  compaction.period = *duration;
  compaction.revisions = duration->count();  // as etcd counts, odd as it is
  return {};
}

Checked take_gates(const FlagValues& values, ServerConfig& config) {
  ASSIGN_OR_RETURN(GateSides sides, parse_feature_gates(values.text("feature-gates")));
  const bool checkpoint = sides["LeaseCheckpoint"], persist = sides["LeaseCheckpointPersist"];
  if (checkpoint && !persist) {
    config.repeated_warnings.emplace_back(
        "Detected that checkpointing is enabled without persistence. Consider enabling feature "
        "gate "
        "LeaseCheckpointPersist");
  }
  if (persist && !checkpoint) {
    return fail(
        "enabling feature gate LeaseCheckpointPersist requires enabling feature gate "
        "LeaseCheckpoint");
  }
  for (const FeatureGate& gate : feature_gates()) {
    if (sides[gate.name] == gate.fallback || gate.there) continue;
    return fail(
        fmt::format("feature-gates={}={} is not supported yet", gate.name, sides[gate.name]));
  }
  config.member.lease_checkpoint = checkpoint;
  config.member.fast_lease_keep_alive = sides["FastLeaseKeepAlive"];
  config.member.initial_corrupt_check = sides["InitialCorruptCheck"];
  config.member.compact_hash_check = sides["CompactHashCheck"];
  return {};
}

// 2 or 3, 0 for none.
base::Result<int, std::string> tls_version(const std::string& text) {
  if (text.empty()) return 0;
  if (text == "TLS1.2") return 2;
  if (text == "TLS1.3") return 3;
  return fail(
      fmt::format("unexpected TLS version {} (must be one of: TLS1.2, TLS1.3)", base::quote(text)));
}

Checked check_tls(const FlagValues& values) {
  const std::string &low = values.text("tls-min-version"), &high = values.text("tls-max-version");
  ASSIGN_OR_RETURN(const int min, tls_version(low));
  ASSIGN_OR_RETURN(const int max, tls_version(high));
  if (max != 0 && min > max) {
    return fail(fmt::format("min version ({}) is greater than max version ({})", low, high));
  }
  if (min == 3 && !values.text("cipher-suites").empty()) {
    return fail("cipher suites cannot be configured when only TLS1.3 is enabled");
  }
  return {};
}

void take_progress_interval(const FlagValues& values, ServerConfig& config) {
  base::Duration interval = values.duration("watch-progress-notify-interval");
  if (interval == base::Duration(0)) interval = kProgressIntervalDefault;
  if (interval < kProgressIntervalMin) {
    config.warnings.emplace_back("adjusting watch progress notify interval to minimum period");
    interval = kProgressIntervalMin;
  }
  config.member.watch_progress_interval = interval;
}

void take_warnings(const FlagValues& values, member::Config& member) {
  member.force_new_cluster = values.flag("force-new-cluster");
  member.corrupt_check_time = values.duration("corrupt-check-time");
  member.compact_hash_check_time = values.duration("compact-hash-check-time");
  member.warning_apply = values.duration("warning-apply-duration");
  const base::Duration unary = values.duration("warning-unary-request-duration");
  if (unary != base::Duration(0)) member.warning_unary_request = unary;  // 0 is the default
}

void take_limits(const FlagValues& values, ServerConfig& config) {
  member::Config& member = config.member;
  const auto count = [&values](std::string_view name, std::uint64_t fallback) {
    const std::uint64_t value = values.unsigned_number(name);
    return value == 0 ? fallback : value;
  };
  member.snapshot_count = count("snapshot-count", 10'000);
  member.snapshot_catchup_entries = count("snapshot-catchup-entries", 5'000);
  member.snapshots_max = values.unsigned_number("max-snapshots");
  member.wals_max = values.unsigned_number("max-wals");
  member.unsafe_no_fsync = values.flag("unsafe-no-fsync");
  member.quota_bytes = values.number("quota-backend-bytes");
  if (member.quota_bytes > kQuotaRecommended) {
    config.warnings.emplace_back("quota exceeds the maximum value");
  }
  member.request_bytes_max = values.unsigned_number("max-request-bytes");
  if (member.request_bytes_max > kRequestBytesRecommended) {
    config.warnings.emplace_back("exceeded recommended request limit");
  }
  member.txn_operations_max = values.unsigned_number("max-txn-ops");
  member.learners_max =
      static_cast<std::size_t>(std::max<std::int64_t>(values.number("max-learners"), 0));
  member.strict_reconfig_check = values.flag("strict-reconfig-check");
  take_warnings(values, member);
}

void take_http(const FlagValues& values, ServerConfig& config) {
  http::ServerOptions& http = config.http;
  http.max_concurrent_streams =
      static_cast<std::uint32_t>(values.unsigned_number("max-concurrent-streams"));
  http.message_bytes_max =
      std::min(config.member.request_bytes_max, kMessageBytesMax) + kGrpcOverheadBytes;
  http.keepalive_min_time = values.duration("grpc-keepalive-min-time");
  http.keepalive_interval = values.duration("grpc-keepalive-interval");
  http.keepalive_timeout = values.duration("grpc-keepalive-timeout");
  http.access.cors_origins = set_of(values.text("cors"));
  http.access.host_whitelist = set_of(values.text("host-whitelist"));
}

}  // namespace

base::Result<env::LogOptions, std::string> make_log_options(const FlagValues& values) {
  const std::string& logger = values.text("logger");
  if (logger == "capnslog") return fail("--logger=capnslog is removed in v3.5");
  if (logger != "zap") return fail(fmt::format("unknown logger option {}", base::quote(logger)));
  env::LogOptions options{.outputs = set_of(values.text("log-outputs"))};
  const auto has = [&options](std::string_view output) {
    return std::find(options.outputs.begin(), options.outputs.end(), output) !=
           options.outputs.end();
  };
  const bool several = options.outputs.size() > 1;
  if (several && has("default")) {
    return fail("multi logoutput for \"default\" is not supported yet");
  }
  if (several && has("systemd/journal")) {
    return fail(
        fmt::format("running with systemd/journal but other '--log-outputs' values ({}) are "
                    "configured with 'default'; override 'default' value with something else",
                    base::quote(options.outputs)));
  }
  const auto level = env::parse_log_level(values.text("log-level"));
  if (!level)
    return fail(fmt::format("unrecognized level: {}", base::quote(values.text("log-level"))));
  options.level = *level;
  const std::string& format = values.text("log-format");
  if (format != "json" && format != "console") {
    return fail(fmt::format("unknown log format: {}, supported values json, console", format));
  }
  options.format = format == "json" ? env::LogFormat::kJson : env::LogFormat::kConsole;
  return options;
}

base::Result<ServerConfig, std::string> make_server_config(const FlagValues& values,
                                                           ConfigSource source) {
  ServerConfig config{.values = values};
  member::Config& member = config.member;
  if (values.text("discovery-fallback") == "proxy") {
    return fail(
        "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\"");
  }
  RETURN_IF_ERROR(check_standing(values, config));
  note_deprecations(values, config);

  member.name = values.text("name");
  config.default_data_dir = values.text("data-dir").empty();
  member.data_dir = config.default_data_dir ? member.name + ".etcd" : values.text("data-dir");
  member.wal_dir = values.text("wal-dir");
  RETURN_IF_ERROR(take_listeners(values, config));
  RETURN_IF_ERROR(take_advertised(values, member));
  RETURN_IF_ERROR(take_timing(values, member));
  if (source == ConfigSource::kCommandLine && values.is_set("listen-client-urls") &&
      !values.is_set("advertise-client-urls")) {
    return fail(std::string(kUnsetAdvertiseClientUrls));
  }
  RETURN_IF_ERROR(check_compaction_mode(values));
  RETURN_IF_ERROR(take_gates(values, config));
  if (const auto every = values.duration("compact-hash-check-time"); every <= base::Duration(0)) {
    return fail(fmt::format("--compact-hash-check-time must be >0 (set to {})",
                            base::duration_text(every)));
  }
  if (member.name == kDefaultName) {
    config.repeated_warnings.emplace_back(
        "it isn't recommended to use default name, please set a value for --name. Note that etcd "
        "might run into issue when multiple members have the same default name");
  }
  RETURN_IF_ERROR(check_tls(values));
  for (const std::string_view flag : {"raft-read-timeout", "raft-write-timeout"}) {
    auto& timeout =
        flag == "raft-read-timeout" ? member.raft_read_timeout : member.raft_write_timeout;
    timeout = std::max(values.duration(flag), kRaftTimeoutMin);
    if (values.duration(flag) >= kRaftTimeoutMin) continue;
    config.warnings.push_back(fmt::format("{} increased to minimum value: 5s", flag));
  }

  member.initial_cluster_token = values.text("initial-cluster-token");
  member.new_cluster = values.text("initial-cluster-state") == "new";
  take_limits(values, config);
  take_progress_interval(values, config);
  take_http(values, config);
  return config;
}

base::Result<void, std::string> complete_server_config(ServerConfig& config) {
  RETURN_IF_ERROR(check_no_tls(config));
  RETURN_IF_ERROR(take_initial_cluster(config.values, config.member));
  return take_compaction(config.values, config.member.auto_compaction);
}

}  // namespace keelson::cmd
