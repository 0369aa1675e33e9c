#include "cmd/server/server_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cmd/server/config_file.h"
#include "cmd/server/feature_gates.h"
#include "cmd/server/server_flags.h"

namespace keelson::cmd {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// The configuration, or why there is none, whoever found it out.
base::Result<ServerConfig, std::string> configure(const std::vector<std::string>& arguments) {
  auto values = server_flags().parse(arguments);
  if (!values) return base::fail(std::move(values).error().text);
  RETURN_IF_ERROR(make_log_options(*values));
  ASSIGN_OR_RETURN(ServerConfig config, make_server_config(*values, ConfigSource::kCommandLine));
  RETURN_IF_ERROR(complete_server_config(config));
  return config;
}

std::string refusal(const std::vector<std::string>& arguments) {
  auto config = configure(arguments);
  return config ? "" : config.error();
}

TEST(ServerConfig, DefaultsAreEtcds) {
  const auto config = configure({});
  ASSERT_TRUE(config.ok());
  const member::Config& member = config->member;
  EXPECT_EQ(member.name, "default");
  EXPECT_EQ(member.data_dir, "default.etcd");
  EXPECT_TRUE(config->default_data_dir);
  EXPECT_EQ(membership::to_text(member.initial_cluster), "default=http://localhost:2380");
  EXPECT_EQ(membership::to_text(config->listen_client_urls), "http://localhost:2379");
  EXPECT_EQ(membership::to_text(config->listen_peer_urls), "http://localhost:2380");
  EXPECT_THAT(member.advertise_client_urls, ElementsAre("http://localhost:2379"));
  EXPECT_EQ(member.election_ticks, 10u);
  EXPECT_EQ(member.snapshot_count, 10'000u);
  EXPECT_EQ(config->http.message_bytes_max, (1536u + 512u) << 10);
  EXPECT_EQ(config->http.keepalive_interval, base::Seconds(7200));
  EXPECT_THAT(config->repeated_warnings,
              ElementsAre(StartsWith("Running http and grpc server on single port."),
                          StartsWith("it isn't recommended to use default name")));
  EXPECT_TRUE(config->warnings.empty());
}

TEST(ServerConfig, WhatFollowsFromOtherFlags) {
  // The initial cluster of a name, unless it is given.
  EXPECT_EQ(membership::to_text(
                configure({"--name=m1", "--initial-advertise-peer-urls=http://b:1,http://a:1"})
                    ->member.initial_cluster),
            "m1=http://a:1,m1=http://b:1");
  EXPECT_EQ(configure({"--name=m1"})->member.data_dir, "m1.etcd");
  // Whole ticks.
  EXPECT_EQ(configure({"--heartbeat-interval=30", "--election-timeout=200"})->member.election_ticks,
            6u);
  // Zero stands for the default.
  EXPECT_EQ(configure({"--snapshot-count=0"})->member.snapshot_count, 10'000u);
  EXPECT_EQ(configure({"--max-request-bytes=100"})->http.message_bytes_max, 100u + (512u << 10));
  EXPECT_EQ(configure({"--max-request-bytes=18446744073709551615"})->http.message_bytes_max,
            (1u << 30) + (512u << 10));
  const auto warnings =
      configure({"--warning-apply-duration=1s", "--warning-unary-request-duration=2s"});
  EXPECT_EQ(warnings->member.warning_apply, base::Seconds(1));
  EXPECT_EQ(warnings->member.warning_unary_request, base::Seconds(2));
  EXPECT_EQ(configure({"--warning-unary-request-duration=0s"})->member.warning_unary_request,
            base::Milliseconds(300));
  // Sorted, each once; an empty value leaves the default.
  EXPECT_EQ(membership::to_text(configure({"--listen-peer-urls=http://127.0.0.1:2,"
                                           "http://127.0.0.1:1,http://127.0.0.1:2"})
                                    ->listen_peer_urls),
            "http://127.0.0.1:1,http://127.0.0.1:2");
  EXPECT_EQ(membership::to_text(configure({"--listen-peer-urls="})->listen_peer_urls),
            "http://localhost:2380");
  EXPECT_EQ(configure({"--watch-progress-notify-interval=1ms"})->member.watch_progress_interval,
            base::Milliseconds(100));
  EXPECT_TRUE(
      configure({"--feature-gates=AllAlpha=false,LeaseCheckpoint=true"})->member.lease_checkpoint);
  EXPECT_FALSE(configure({"--feature-gates=AllBeta=false"})->member.fast_lease_keep_alive);
}

TEST(ServerConfig, RetentionIsHoursRevisionsOrADuration) {
  const auto compaction = [](const std::vector<std::string>& arguments) {
    return configure(arguments)->member.auto_compaction;
  };
  EXPECT_FALSE(compaction({}).enabled());
  EXPECT_EQ(compaction({"--auto-compaction-retention=5"}).period, base::Seconds(5 * 3600));
  EXPECT_EQ(compaction({"--auto-compaction-retention=5m"}).period, base::Seconds(300));
  EXPECT_FALSE(compaction({"--auto-compaction-retention=-5m"}).enabled());
  const auto by_revision =
      compaction({"--auto-compaction-mode=revision", "--auto-compaction-retention=1000"});
  EXPECT_TRUE(by_revision.enabled());
  EXPECT_EQ(by_revision.revisions, 1000);
}

TEST(ServerConfig, RefusesInEtcdsWords) {
  struct Row {
    std::vector<std::string> arguments;
    const char* expected;
  };
  const Row rows[] = {
      {{"--listen-client-urls=http://example.com:1", "--advertise-client-urls=http://a:1"},
       "expected IP in URL for binding (http://example.com:1)"},
      {{"--listen-peer-urls=http://:1"}, "expected IP in URL for binding (http://:1)"},
      {{"--listen-peer-urls=http://1.2.3:1"}, "expected IP in URL for binding (http://1.2.3:1)"},
      {{"--listen-peer-urls=http://[::1]:1"}, ""},
      {{"--listen-client-urls=unix://a:1", "--advertise-client-urls=unix://a:1"}, ""},
      {{"--listen-metrics-urls=http://a.b:1"}, "expected IP in URL for binding (http://a.b:1)"},
      {{"--listen-client-urls=http://127.0.0.1:1"},
       "--advertise-client-urls is required when --listen-client-urls is set explicitly"},
      {{"--initial-advertise-peer-urls=http://:1"},
       "--initial-advertise-peer-urls \"http://:1\" must be \"host:port\" (unexpected empty host "
       "(http://:1))"},
      {{"--advertise-client-urls=http://:1"},
       "--advertise-client-urls \"http://:1\" must be in the format \"host:port\", "
       "\"unix:/path/to/socket\" or \"unixs:/path/to/socket\" (unexpected empty host (http://:1))"},
      {{"--listen-client-urls=ftp://1.2.3.4:1"},
       "invalid value \"ftp://1.2.3.4:1\" for flag -listen-client-urls: URL scheme must be http, "
       "https, unix, or unixs: ftp://1.2.3.4:1"},
      {{"--heartbeat-interval=0"}, "--heartbeat-interval must be >0 (set to 0ms)"},
      {{"--election-timeout=0"}, "--election-timeout must be >0 (set to 0ms)"},
      {{"--election-timeout=499"},
       "--election-timeout[499ms] should be at least as 5 times as --heartbeat-interval[100ms]"},
      {{"--election-timeout=500"}, ""},
      {{"--election-timeout=50001"},
       "--election-timeout[50001ms] is too long, and should be set less than 50000ms"},
      {{"--auto-compaction-mode=x"}, "unknown auto-compaction-mode \"x\""},
      {{"--auto-compaction-mode="}, "undefined auto-compaction-mode"},
      {{"--compact-hash-check-time=0s"}, "--compact-hash-check-time must be >0 (set to 0s)"},
      {{"--feature-gates=LeaseCheckpointPersist=true"},
       "enabling feature gate LeaseCheckpointPersist requires enabling feature gate "
       "LeaseCheckpoint"},
      {{"--feature-gates=X=true"},
       "invalid value \"X=true\" for flag -feature-gates: unrecognized feature gate: X"},
      {{"--logger=capnslog"}, "--logger=capnslog is removed in v3.5"},
      {{"--logger=x"}, "unknown logger option \"x\""},
      {{"--log-format=x"}, "unknown log format: x, supported values json, console"},
      {{"--log-level=x"}, "unrecognized level: \"x\""},
      {{"--log-outputs=stderr,default"}, "multi logoutput for \"default\" is not supported yet"},
      {{"--log-outputs=systemd/journal,stderr"},
       "running with systemd/journal but other '--log-outputs' values ([\"stderr\" "
       "\"systemd/journal\"]) are configured with 'default'; override 'default' value with "
       "something else"},
      {{"--discovery-fallback=proxy"},
       "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\""},
      {{"--tls-min-version=x"}, "unexpected TLS version \"x\" (must be one of: TLS1.2, TLS1.3)"},
      {{"--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"},
       "min version (TLS1.3) is greater than max version (TLS1.2)"},
      {{"--v2-deprecation=not-yet"},
       "invalid value \"not-yet\" for flag -v2-deprecation: invalid value \"not-yet\""},
      {{"--max-concurrent-streams=4294967296"},
       "invalid value \"4294967296\" for flag -max-concurrent-streams: strconv.ParseUint: parsing "
       "\"4294967296\": value out of range"},
      {{"--cors=foo"},
       "invalid value \"foo\" for flag -cors: URL scheme must be http, https, unix, or unixs: foo"},
      {{"--auto-compaction-retention=x"},
       "error parsing CompactionRetention: time: invalid duration \"x\""},
      {{"--auto-compaction-retention=-1"},
       "error parsing CompactionRetention: time: missing unit in duration \"-1\""},
      {{"--initial-cluster=m1"},
       "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: "},
      {{"--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls=https://a:1"},
       "TLS key/cert (--cert-file, --key-file) must be provided for client url "
       "https://127.0.0.1:1 with HTTPS scheme"},
      {{"--listen-peer-urls=https://127.0.0.1:1"},
       "cannot listen on TLS for 127.0.0.1:1: KeyFile and CertFile are not presented"},
      {{"--listen-metrics-urls=https://127.0.0.1:1"},
       "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(refusal(row.arguments), row.expected) << testing::PrintToString(row.arguments);
  }
}

TEST(ServerConfig, HowTheMembersDataIsCompared) {
  const auto off = configure({})->member;
  EXPECT_FALSE(off.initial_corrupt_check);
  EXPECT_FALSE(off.compact_hash_check);
  EXPECT_EQ(off.corrupt_check_time, base::Duration(0));
  EXPECT_EQ(off.compact_hash_check_time, base::Seconds(60));
  const auto on = configure({"--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true",
                             "--corrupt-check-time=1h", "--compact-hash-check-time=2s"})
                      ->member;
  EXPECT_TRUE(on.initial_corrupt_check);
  EXPECT_TRUE(on.compact_hash_check);
  EXPECT_EQ(on.corrupt_check_time, base::Seconds(3600));
  EXPECT_EQ(on.compact_hash_check_time, base::Seconds(2));
}

TEST(ServerConfig, ANewClusterIsForcedByFlagAlone) {
  EXPECT_FALSE(configure({})->member.force_new_cluster);
  EXPECT_TRUE(configure({"--force-new-cluster"})->member.force_new_cluster);
}

// What is not there yet is never taken in silence; what means nothing here is taken aloud.
TEST(ServerConfig, SaysWhichFeaturesAreNotThere) {
  EXPECT_EQ(refusal({"--auto-tls"}), "auto-tls=true is not supported yet");
  EXPECT_EQ(refusal({"--auto-tls=false"}), "");
  EXPECT_EQ(refusal({"--cert-file=/a"}), "cert-file=/a is not supported yet");
  EXPECT_EQ(refusal({"--cert-file="}), "");
  EXPECT_EQ(refusal({"--feature-gates=PriorityRequest=true"}),
            "feature-gates=PriorityRequest=true is not supported yet");
  EXPECT_EQ(refusal({"--feature-gates=PriorityRequest=false"}), "");
  EXPECT_THAT(configure({"--memory-mlock"})->warnings,
              ElementsAre("--memory-mlock has no effect here"));
  EXPECT_THAT(configure({"--max-snapshots=5"})->warnings,
              ElementsAre(StartsWith("--max-snapshots is deprecated in 3.6")));
}

base::Result<ServerConfig, std::string> from_file(std::string_view text) {
  const FlagSet flags = server_flags();
  auto values = parse_config_file(flags, text);
  if (!values) return base::fail(std::move(values).error().text);
  return make_server_config(*values, ConfigSource::kFile);
}

TEST(ConfigFile, NamesFlagsWithEtcdsTypes) {
  const auto config = from_file(R"(
# as etcd's sample has it
name: 'm1'
DATA-DIR: /data
wal-dir:
snapshot-count: 10_000
heartbeat-interval: 0x64
election-timeout: 1000
quota-backend-bytes: -1
listen-client-urls: http://127.0.0.1:1,http://127.0.0.1:2
listen-peer-urls: ""
initial-advertise-peer-urls: http://a:1
initial-cluster: m1=http://a:1
pre-vote: no
watch-progress-notify-interval: 60000000000
grpc-keepalive-interval: 0
socket-options: {reuse-port: true}
client-transport-security:
  cert-file:
  auto-tls: false
log-outputs: [stderr, /tmp/log]
discovery-fallback: 'proxy'
enable-v2: true
discovery-config: {client: {secure: {insecure-transport: true}}}
)");
  ASSERT_TRUE(config.ok()) << config.error();
  const member::Config& member = config->member;
  EXPECT_EQ(member.name, "m1");
  EXPECT_EQ(member.data_dir, "/data");
  EXPECT_EQ(member.wal_dir, "");
  EXPECT_EQ(member.snapshot_count, 10'000u);
  EXPECT_EQ(member.tick, base::Milliseconds(100));
  EXPECT_EQ(member.quota_bytes, -1);
  EXPECT_FALSE(member.pre_vote);
  EXPECT_EQ(member.watch_progress_interval, base::Seconds(60));
  EXPECT_EQ(config->http.keepalive_interval, base::Duration(0));
  EXPECT_TRUE(config->reuse_port);
  EXPECT_EQ(config->values.text("log-outputs"), "stderr,/tmp/log");
  // Listening elsewhere leaves what is advertised alone, unlike on the command line.
  EXPECT_EQ(membership::to_text(config->listen_client_urls),
            "http://127.0.0.1:1,http://127.0.0.1:2");
  EXPECT_THAT(member.advertise_client_urls, ElementsAre("http://localhost:2379"));
  EXPECT_EQ(membership::to_text(config->listen_peer_urls), "http://localhost:2380");
}

TEST(ConfigFile, JsonIsYaml) {
  const auto config = from_file(R"({"name": "m2", "max-wals": 3, "pre-vote": false})");
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->member.name, "m2");
  EXPECT_EQ(config->member.wals_max, 3u);
}

TEST(ConfigFile, RefusesInGosWords) {
  const std::string json = "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal ";
  const std::string field = " into Go struct field configYAML.";
  struct Row {
    const char* text;
    std::string expected;
  };
  const Row rows[] = {
      {"", ""},
      {"name: ~", ""},
      {"name: 5", json + "number" + field + "Config.name of type string"},
      {"data-dir: [1]", json + "array" + field + "Config.data-dir of type string"},
      {"corrupt-check-time: 1m",
       json + "string" + field + "Config.corrupt-check-time of type time.Duration"},
      {"pre-vote: \"yes\"", json + "string" + field + "Config.pre-vote of type bool"},
      {"max-snapshots: 1.5", json + "number 1.5" + field + "Config.max-snapshots of type uint"},
      {"max-snapshots: -1", json + "number -1" + field + "Config.max-snapshots of type uint"},
      {"log-outputs: stderr", json + "string" + field + "Config.log-outputs of type []string"},
      {"client-transport-security: 5",
       json + "number" + field +
           "configJSON.client-transport-security of type embed.securityConfig"},
      {"[1]", json + "array into Go value of type embed.configYAML"},
      {"5", json + "number into Go value of type embed.configYAML"},
      {"name: 5\n  data-dir: 1\n", "error converting YAML to JSON: yaml: line 2: "},
      {"feature-gates: X=true", "unrecognized feature gate: X"},
      {"initial-cluster-state: foo", "unexpected clusterState \"foo\""},
      {"listen-peer-urls: foo",
       "unexpected error setting up listen-peer-urls: URL scheme must be http, https, unix, or "
       "unixs: foo"},
      {"advertise-client-urls: foo",
       "unexpected error setting up advertise-peer-urls: URL scheme must be http, https, unix, or "
       "unixs: foo"},
      {"client-transport-security: {cert-file: /a}", "cert-file=/a is not supported yet"},
      {"peer-transport-security: {allowed-cn: [a, b]}",
       "peer-cert-allowed-cn=a,b is not supported yet"},
      {"discovery-config: {client: {endpoints: [a]}}",
       "discovery-endpoints=a is not supported yet"},
  };
  for (const Row& row : rows) {
    const auto config = from_file(row.text);
    const std::string got = config ? "" : config.error();
    EXPECT_TRUE(got.starts_with(row.expected) && got.empty() == row.expected.empty())
        << row.text << "\n"
        << got;
  }
}

}  // namespace
}  // namespace keelson::cmd
