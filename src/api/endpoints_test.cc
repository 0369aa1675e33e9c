// Runs testdata/endpoints/*.txt: HTTP/1.1 requests to the three ports of a member.
//
//   get|put|post|delete|options|head TARGET [port=client|peer|metrics]
//   alarm activate|deactivate TYPE
#include <regex>

#include "api/one_member_test.h"
#include "proto/rpc.pb.h"
#include "testing/script.h"

namespace keelson::api {
namespace {

class Script {
 public:
  std::string run(const testing::Directive& d) {
    if (d.command == "alarm") return alarm(d);
    std::string method = d.command;
    for (char& c : method) c = static_cast<char>(std::toupper(c));
    return member_.http(port_of(d.text("port", "client")), method, d.input);
  }

 private:
  static OneMember::Port port_of(const std::string& name) {
    if (name == "peer") return OneMember::Port::kPeer;
    if (name == "metrics") return OneMember::Port::kMetrics;
    return OneMember::Port::kClient;
  }
  std::string alarm(const testing::Directive& d) {
    etcdserverpb::AlarmRequest request;
    request.set_action(d.bare(0) == "activate" ? etcdserverpb::AlarmRequest::ACTIVATE
                                               : etcdserverpb::AlarmRequest::DEACTIVATE);
    request.set_memberid(5);
    request.set_alarm(static_cast<etcdserverpb::AlarmType>(std::stoi(d.bare(1))));
    const auto answer =
        member_.call("/etcdserverpb.Maintenance/Alarm", request.SerializeAsString());
    return answer.status.ok() ? "ok\n" : answer.status.message + "\n";
  }

  OneMember member_;
};

TEST(Endpoints, Scripts) {
  testing::run_scripts(std::string(KEELSON_TEST_DIR) + "/testdata/endpoints", [] {
    return [script = std::make_shared<Script>()](const testing::Directive& d) {
      return script->run(d);
    };
  });
}

// --- /metrics

std::string scrape(OneMember& member, const std::string& fields = "") {
  return member.http(OneMember::Port::kMetrics, "GET", "/metrics", fields);
}

std::string value_of(const std::string& page, const std::string& series) {
  const auto at = page.find("\n" + series + " ");
  if (at == std::string::npos) return "none";
  const auto from = at + series.size() + 2;
  return page.substr(from, page.find('\n', from) - from);
}

void put(OneMember& member, const std::string& key, const std::string& value) {
  etcdserverpb::PutRequest request;
  request.set_key(key);
  request.set_value(value);
  ASSERT_TRUE(member.call("/etcdserverpb.KV/Put", request.SerializeAsString()).status.ok());
}

TEST(Metrics, HaveTheValuesDashboardsReadByEtcdsNames) {
  OneMember member;
  put(member, "a", "12");
  put(member, "b", "1");
  etcdserverpb::DeleteRangeRequest erase;
  erase.set_key("b");
  member.call("/etcdserverpb.KV/DeleteRange", erase.SerializeAsString());
  etcdserverpb::RangeRequest range;
  range.set_key("a");
  member.call("/etcdserverpb.KV/Range", range.SerializeAsString());
  const std::string page = scrape(member);
  const std::pair<const char*, const char*> kRows[] = {
      {"etcd_mvcc_put_total", "2"},
      {"etcd_mvcc_delete_total", "1"},
      {"etcd_mvcc_range_total", "1"},
      {"etcd_mvcc_txn_total", "0"},
      {"etcd_debugging_mvcc_keys_total", "1"},
      {"etcd_debugging_mvcc_total_put_size_in_bytes", "5"},
      {"etcd_debugging_mvcc_current_revision", "4"},
      {"etcd_debugging_mvcc_compact_revision", "-1"},
      {"etcd_server_has_leader", "1"},
      {"etcd_server_is_leader", "1"},
      {"etcd_server_is_learner", "0"},
      {"etcd_server_quota_backend_bytes", "2147483648"},
      {"etcd_server_health_success", "0"},
      {"etcd_server_health_failures", "0"},
      {"etcd_server_version{server_version=\"3.7.1\"}", "1"},
      {"etcd_cluster_version{cluster_version=\"3.7\"}", "1"},
      {"etcd_server_feature_enabled{name=\"FastLeaseKeepAlive\",stage=\"BETA\"}", "1"},
      {"etcd_server_client_requests_total{client_api_version=\"unknown\",type=\"unary\"}", "4"},
      {"grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Put\",grpc_service=\"etcdserverpb."
       "KV\",grpc_type=\"unary\"}",
       "2"},
      {"grpc_server_handled_total{grpc_code=\"Canceled\",grpc_method=\"LeaseKeepAlive\",grpc_"
       "service="
       "\"etcdserverpb.Lease\",grpc_type=\"bidi_stream\"}",
       "0"},
      {"promhttp_metric_handler_requests_in_flight", "1"},
  };
  for (const auto& [series, value] : kRows) EXPECT_EQ(value_of(page, series), value) << series;
}

TEST(Metrics, PageIsPrometheusTextInOrderOfNames) {
  OneMember member;
  const std::string page = scrape(member);
  EXPECT_NE(page.find("Content-Type: text/plain; version=0.0.4; charset=utf-8; "
                      "escaping=underscores\n"),
            std::string::npos);
  std::vector<std::string> names;
  static const std::regex kType("# TYPE ([a-z_]+) (counter|gauge|histogram)");
  for (std::sregex_iterator it(page.begin(), page.end(), kType), end; it != end; ++it) {
    names.push_back((*it)[1]);
  }
  EXPECT_GT(names.size(), 40u);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());  // each family once
}

// What etcd's own test of presence asks for, labelled families of things that happened excepted.
TEST(Metrics, HaveAllFamiliesThatDashboardsLookFor) {
  static const char* const kFamilies[] = {
      "etcd_cluster_version",
      "etcd_debugging_disk_backend_commit_rebalance_duration_seconds",
      "etcd_debugging_disk_backend_commit_spill_duration_seconds",
      "etcd_debugging_disk_backend_commit_write_duration_seconds",
      "etcd_debugging_lease_granted_total",
      "etcd_debugging_lease_renewed_total",
      "etcd_debugging_lease_revoked_total",
      "etcd_debugging_lease_ttl_total",
      "etcd_debugging_mvcc_compact_revision",
      "etcd_debugging_mvcc_current_revision",
      "etcd_debugging_mvcc_db_compaction_keys_total",
      "etcd_debugging_mvcc_db_compaction_last",
      "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
      "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
      "etcd_debugging_mvcc_events_total",
      "etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds",
      "etcd_debugging_mvcc_keys_total",
      "etcd_debugging_mvcc_pending_events_total",
      "etcd_debugging_mvcc_slow_watcher_total",
      "etcd_debugging_mvcc_total_put_size_in_bytes",
      "etcd_debugging_mvcc_watch_stream_total",
      "etcd_debugging_mvcc_watcher_total",
      "etcd_debugging_server_lease_expired_total",
      "etcd_debugging_server_watch_send_loop_control_stream_duration_seconds",
      "etcd_debugging_server_watch_send_loop_progress_duration_seconds",
      "etcd_debugging_server_watch_send_loop_watch_stream_duration_per_event_seconds",
      "etcd_debugging_server_watch_send_loop_watch_stream_duration_seconds",
      "etcd_debugging_snap_save_marshalling_duration_seconds",
      "etcd_debugging_snap_save_total_duration_seconds",
      "etcd_debugging_store_expires_total",
      "etcd_debugging_store_watch_requests_total",
      "etcd_debugging_store_watchers",
      "etcd_disk_backend_commit_duration_seconds",
      "etcd_disk_backend_defrag_duration_seconds",
      "etcd_disk_backend_snapshot_duration_seconds",
      "etcd_disk_defrag_inflight",
      "etcd_disk_wal_fsync_duration_seconds",
      "etcd_disk_wal_write_bytes_total",
      "etcd_disk_wal_write_duration_seconds",
      "etcd_grpc_proxy_cache_hits_total",
      "etcd_grpc_proxy_cache_keys_total",
      "etcd_grpc_proxy_cache_misses_total",
      "etcd_grpc_proxy_events_coalescing_total",
      "etcd_grpc_proxy_watchers_coalescing_total",
      "etcd_mvcc_db_open_read_transactions",
      "etcd_debugging_auth_revision",
      "etcd_mvcc_db_total_size_in_bytes",
      "etcd_mvcc_db_total_size_in_use_in_bytes",
      "etcd_mvcc_delete_total",
      "etcd_mvcc_hash_duration_seconds",
      "etcd_mvcc_hash_rev_duration_seconds",
      "etcd_mvcc_put_total",
      "etcd_mvcc_range_total",
      "etcd_mvcc_txn_total",
      "etcd_network_client_grpc_received_bytes_total",
      "etcd_network_client_grpc_sent_bytes_total",
      "etcd_network_known_peers",
      "etcd_server_apply_duration_seconds",
      "etcd_server_client_requests_total",
      "etcd_server_feature_enabled",
      "etcd_server_has_leader",
      "etcd_server_health_failures",
      "etcd_server_health_success",
      "etcd_server_heartbeat_send_failures_total",
      "etcd_server_id",
      "etcd_server_is_leader",
      "etcd_server_is_learner",
      "etcd_server_leader_changes_seen_total",
      "etcd_server_learner_promote_successes",
      "etcd_server_proposals_applied_total",
      "etcd_server_proposals_committed_total",
      "etcd_server_proposals_failed_total",
      "etcd_server_proposals_pending",
      "etcd_server_quota_backend_bytes",
      "etcd_server_range_duration_seconds",
      "etcd_server_read_indexes_failed_total",
      "etcd_server_request_duration_seconds",
      "etcd_server_slow_apply_total",
      "etcd_server_slow_read_indexes_total",
      "etcd_server_snapshot_apply_in_progress_total",
      "etcd_server_version",
      "etcd_snap_db_fsync_duration_seconds",
      "etcd_snap_db_save_total_duration_seconds",
      "etcd_snap_fsync_duration_seconds",
      "grpc_server_handled_total",
      "grpc_server_msg_received_total",
      "grpc_server_msg_sent_total",
      "grpc_server_started_total",
      "promhttp_metric_handler_requests_in_flight",
  };
  OneMember member;
  put(member, "a", "1");
  etcdserverpb::RangeRequest range;
  range.set_key("a");
  member.call("/etcdserverpb.KV/Range", range.SerializeAsString());
  const std::string page = scrape(member);
  for (const char* name : kFamilies) {
    EXPECT_NE(page.find(std::string("\n# TYPE ") + name + " "), std::string::npos) << name;
  }
}

TEST(Metrics, PageIsCompressedForWhoAsks) {
  OneMember member;
  EXPECT_NE(scrape(member, "Accept-Encoding: gzip\r\n").find("Content-Encoding: gzip\n"),
            std::string::npos);
  EXPECT_EQ(scrape(member).find("Content-Encoding"), std::string::npos);
}

TEST(Metrics, ProbesAreCounted) {
  OneMember member;
  member.http(OneMember::Port::kClient, "GET", "/health");
  member.http(OneMember::Port::kClient, "GET", "/livez");
  member.http(OneMember::Port::kClient, "GET", "/readyz/non_learner");
  const std::string page = scrape(member);
  EXPECT_EQ(value_of(page, "etcd_server_health_success"), "1");
  EXPECT_EQ(value_of(page, "etcd_server_healthcheck{name=\"serializable_read\",type=\"livez\"}"),
            "1");
  EXPECT_EQ(value_of(page,
                     "etcd_server_healthchecks_total{name=\"non_learner\",status=\"success\","
                     "type=\"readyz\"}"),
            "1");
}

}  // namespace
}  // namespace keelson::api
