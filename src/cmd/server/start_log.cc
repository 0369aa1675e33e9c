#include "cmd/server/start_log.h"

#include "cmd/server/text.h"
#include "cmd/server/version_text.h"
#include "env/file.h"
#include "env/log.h"
#include "membership/bootstrap.h"

namespace keelson::cmd {
namespace {

using env::LogFields;

std::vector<std::string> texts(std::string_view list) {
  const auto parts = split(list, ',');
  return {parts.begin(), parts.end()};
}

std::string version_text(const membership::Version& version) { return version.text(); }

}  // namespace

void log_environment(const EnvironmentUse& use) {
  for (const EnvironmentNote& note : use.notes) {
    switch (note.what) {
      case EnvironmentNote::What::kSpecial:
        env::log_warn("cannot set special environment variable",
                      {{"key", note.name}, {"value", note.value}});
        break;
      case EnvironmentNote::What::kUsed:
        env::log_info("recognized and used environment variable",
                      {{"variable-name", note.name}, {"variable-value", note.value}});
        break;
      case EnvironmentNote::What::kUnrecognized:
        env::log_warn("unrecognized environment variable", {{"environment-variable", note.name}});
        break;
      case EnvironmentNote::What::kConflict:
        env::log_fatal(
            "conflicting environment variable is shadowed by corresponding command-line flag "
            "(either unset environment variable or disable flag))",
            {{"environment-variable", note.name}});
    }
  }
}

void log_warnings(const ServerConfig& config) {
  for (const std::string& warning : config.repeated_warnings) env::log_warn(warning);
}

void log_configuration(const ServerConfig& config, bool member_initialized, unsigned cores) {
  const FlagValues& values = config.values;
  const member::Config& member = config.member;
  const auto text = [&values](std::string_view flag) { return env::LogValue(values.text(flag)); };
  const auto flag = [&values](std::string_view name) { return env::LogValue(values.flag(name)); };
  const auto duration = [&values](std::string_view name) {
    return env::LogValue(values.duration(name));
  };
  const bool dedicated = !member.wal_dir.empty();
  // Revisions too: etcd keeps both in one field.
  const base::Duration retention =
      member.auto_compaction.mode == member::AutoCompaction::Mode::kPeriodic
          ? member.auto_compaction.period
          : base::Duration(member.auto_compaction.revisions);
  env::log_info(
      "starting an etcd server",
      {
          {"etcd-version", version_text(member::kServerVersion)},
          {"git-sha", kGitSha},
          {"go-version", kRuntime},
          {"go-os", kOs},
          {"go-arch", kArchitecture},
          {"max-cpu-set", cores},
          {"max-cpu-available", cores},
          {"member-initialized", member_initialized},
          {"name", member.name},
          {"data-dir", member.data_dir},
          {"wal-dir", member.wal_dir},
          {"wal-dir-dedicated", dedicated ? member.wal_dir : ""},
          {"member-dir", env::join_path(member.data_dir, "member")},
          {"force-new-cluster", flag("force-new-cluster")},
          {"heartbeat-interval", member.tick},
          {"election-timeout",
           base::Duration(base::Milliseconds(values.unsigned_number("election-timeout")))},
          {"initial-election-tick-advance", flag("initial-election-tick-advance")},
          {"snapshot-count", member.snapshot_count},
          {"max-wals", member.wals_max},
          {"max-snapshots", member.snapshots_max},
          {"snapshot-catchup-entries", member.snapshot_catchup_entries},
          {"initial-advertise-peer-urls", membership::to_texts(member.advertise_peer_urls)},
          {"listen-peer-urls", membership::to_texts(config.listen_peer_urls)},
          {"advertise-client-urls", member.advertise_client_urls},
          {"listen-client-urls", membership::to_texts(config.listen_client_urls)},
          {"listen-metrics-urls", membership::to_texts(config.listen_metrics_urls)},
          {"local-address", ""},
          {"cors", texts(values.text("cors"))},
          {"host-whitelist", texts(values.text("host-whitelist"))},
          {"initial-cluster",
           member_initialized ? "" : membership::to_text(member.initial_cluster)},
          {"initial-cluster-state", member.new_cluster ? "new" : "existing"},
          {"initial-cluster-token", member_initialized ? "" : member.initial_cluster_token},
          {"quota-backend-bytes", member.effective_quota()},
          {"max-request-bytes", member.request_bytes_max},
          {"max-concurrent-streams", config.http.max_concurrent_streams},
          {"pre-vote", member.pre_vote},
          {"feature-gates", text("feature-gates")},
          {"initial-corrupt-check", false},
          {"corrupt-check-time-interval", duration("corrupt-check-time")},
          {"compact-check-time-interval", duration("compact-hash-check-time")},
          {"auto-compaction-mode", text("auto-compaction-mode")},
          {"auto-compaction-retention", retention},
          {"auto-compaction-interval", retention},
          {"discovery-token", text("discovery-token")},
          {"discovery-endpoints", text("discovery-endpoints")},
          {"discovery-dial-timeout", duration("discovery-dial-timeout")},
          {"discovery-request-timeout", duration("discovery-request-timeout")},
          {"discovery-keepalive-time", duration("discovery-keepalive-time")},
          {"discovery-keepalive-timeout", duration("discovery-keepalive-timeout")},
          {"discovery-insecure-transport", flag("discovery-insecure-transport")},
          {"discovery-insecure-skip-tls-verify", flag("discovery-insecure-skip-tls-verify")},
          {"discovery-cert", text("discovery-cert")},
          {"discovery-key", text("discovery-key")},
          {"discovery-cacert", text("discovery-cacert")},
          {"discovery-user", text("discovery-user")},
          {"downgrade-check-interval", duration("downgrade-check-time")},
          {"max-learners", member.learners_max},
          {"v2-deprecation", "write-only"},
      });
}

}  // namespace keelson::cmd
