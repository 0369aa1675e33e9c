#include "api/collector.h"

#include <prometheus/histogram.h>

#include <initializer_list>
#include <limits>
#include <string>
#include <utility>

#include "api/alarm_text.h"
#include "membership/member.h"

namespace keelson::api {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

using Labels = std::vector<ClientMetric::Label>;

class Families {
 public:
  void gauge(const char* name, const char* help, double value) {
    family(name, help, MetricType::Gauge).metric.push_back({.gauge = {value}});
  }
  void counter(const char* name, const char* help, double value) {
    family(name, help, MetricType::Counter).metric.push_back({.counter = {value}});
  }
  // Of nothing observed yet.
  void empty_histogram(const char* name, const char* help,
                       const prometheus::Histogram::BucketBoundaries& bounds) {
    auto& metric = family(name, help, MetricType::Histogram).metric.emplace_back();
    for (const double bound : bounds) metric.histogram.bucket.push_back({0, bound});
    metric.histogram.bucket.push_back({0, std::numeric_limits<double>::infinity()});
  }
  // A gauge with labels, of the family begun last by this name.
  void labelled(const char* name, const char* help, Labels labels, double value) {
    const bool begun = !families_.empty() && families_.back().name == name;
    MetricFamily& one = begun ? families_.back() : family(name, help, MetricType::Gauge);
    one.metric.push_back({.label = std::move(labels), .gauge = {value}});
  }
  std::vector<MetricFamily> take() { return std::move(families_); }

 private:
  MetricFamily& family(const char* name, const char* help, MetricType type) {
    return families_.emplace_back(MetricFamily{.name = name, .help = help, .type = type});
  }
  std::vector<MetricFamily> families_;
};

double number(auto value) { return static_cast<double>(value); }

void gather_raft(const Sources& from, Families& out) {
  const auto& progress = from.shared.progress;
  const auto self = from.shared.identity.member_id;
  const auto leader = progress.leader.load(std::memory_order_acquire);
  const auto* member = from.view.roster->find(self);
  out.gauge("etcd_server_has_leader", "Whether a leader is known. 1 is yes, 0 is no.",
            leader != raft::kNone);
  out.gauge("etcd_server_is_leader", "Whether this member leads. 1 is yes, 0 is no.",
            leader == self);
  out.gauge("etcd_server_is_learner", "Whether this member is a learner. 1 is yes, 0 is no.",
            member != nullptr && member->is_learner);
  out.gauge("etcd_server_proposals_committed_total", "Index of the last committed log entry.",
            number(std::max(progress.committed.load(std::memory_order_acquire),
                            from.view.applied_index)));
  out.gauge("etcd_server_proposals_applied_total", "Index of the last applied log entry.",
            number(from.view.applied_index));
}

void gather_identity(const Sources& from, Families& out) {
  const std::string self = membership::id_text(from.shared.identity.member_id);
  out.labelled("etcd_server_version", "Version of the server. 1 for the one that runs.",
               {{"server_version", member::kServerVersion.text()}}, 1);
  out.labelled("etcd_server_id", "Id of this member, in hexadecimal. 1 for it.",
               {{"server_id", self}}, 1);
  if (from.view.roster->version) {
    out.labelled("etcd_cluster_version", "Version of the cluster. 1 for the present one.",
                 {{"cluster_version", from.view.roster->version->minor_text()}}, 1);
  }
  for (const auto& member : from.view.roster->members) {
    out.labelled("etcd_network_known_peers", "Members of the cluster this one knows.",
                 {{"Local", self}, {"Remote", membership::id_text(member.id)}}, 1);
  }
  for (const auto& alarm : *from.view.alarms) {
    out.labelled("etcd_debugging_server_alarms", "Alarms by member and type. 1 is active.",
                 {{"alarm_type", alarm_type_text(alarm.type)},
                  {"server_id", membership::id_text(alarm.member_id)}},
                 1);
  }
}

void gather_gates(const Sources& from, Families& out) {
  struct Gate {
    const char* name;
    const char* stage;
    bool on;
  };
  const member::Config& config = from.shared.config;
  const Gate gates[] = {{"AllAlpha", "ALPHA", false},
                        {"AllBeta", "BETA", false},
                        {"CompactHashCheck", "ALPHA", config.compact_hash_check},
                        {"FastLeaseKeepAlive", "BETA", config.fast_lease_keep_alive},
                        {"InitialCorruptCheck", "ALPHA", config.initial_corrupt_check},
                        {"LeaseCheckpoint", "ALPHA", config.lease_checkpoint},
                        {"LeaseCheckpointPersist", "ALPHA", false},
                        {"PriorityRequest", "ALPHA", false},
                        {"SetMemberLocalAddr", "ALPHA", false},
                        {"StopGRPCServiceOnDefrag", "ALPHA", false},
                        {"TxnModeWriteWithSharedBuffer", "BETA", true}};
  for (const Gate& gate : gates) {
    out.labelled("etcd_server_feature_enabled", "Whether a feature gate is on. 1 is yes, 0 is no.",
                 {{"name", gate.name}, {"stage", gate.stage}}, gate.on);
  }
}

void gather_keys(const Sources& from, Families& out) {
  const auto& stats = from.view.key_stats;
  const auto ranges = from.shared.metrics.ranges_read.load(std::memory_order_relaxed);
  const auto txns = from.shared.metrics.txns_read.load(std::memory_order_relaxed);
  out.counter("etcd_mvcc_range_total", "Ranges seen by this member.",
              number(stats.ranges + ranges));
  out.counter("etcd_mvcc_put_total", "Puts seen by this member.", number(stats.puts));
  out.counter("etcd_mvcc_delete_total", "Deletes seen by this member.", number(stats.deletes));
  out.counter("etcd_mvcc_txn_total", "Txns of more than one operation seen by this member.",
              number(stats.txns + txns));
  out.gauge("etcd_debugging_mvcc_keys_total", "Keys there are.",
            number(from.view.index_stats.live_keys));
  out.gauge("etcd_debugging_mvcc_total_put_size_in_bytes",
            "Bytes of keys and values put, seen by this member.", number(stats.put_bytes));
  out.gauge("etcd_debugging_mvcc_current_revision", "Revision of the store.",
            number(from.view.keys.revision));
  out.gauge("etcd_debugging_mvcc_compact_revision", "Revision of the last compaction.",
            number(from.view.keys.compact_revision));
}

void gather_space(const Sources& from, Families& out) {
  out.gauge("etcd_server_quota_backend_bytes", "Quota of stored data in bytes.",
            number(from.shared.config.effective_quota()));
  out.gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes of the store's files.",
            number(from.view.space.file_bytes));
  out.gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes of live data.",
            number(from.view.space.live_bytes));
  out.gauge("etcd_mvcc_db_open_read_transactions", "Reads that hold a View.",
            static_cast<double>(from.shared.oldest_views.held()));
  // Nothing changes it: there is no auth yet. A new store begins with 1, as etcd's does.
  out.gauge("etcd_debugging_auth_revision", "The current revision of auth store.", 1);
}

// This store's own: what collection costs, and reads that found damage.
void gather_store(const Sources& from, Families& out) {
  const store::Stats& stats = from.store;
  out.counter("keelson_store_checkpoints_total", "Checkpoints made.", number(stats.checkpoints));
  out.counter("keelson_store_record_bytes_total", "Bytes of changes appended.",
              number(stats.record_bytes));
  out.counter("keelson_store_collections_total", "Collections of dead records.",
              number(stats.collections));
  out.counter("keelson_store_collected_bytes_rewritten_total", "Bytes rewritten by collection.",
              number(stats.collected_bytes_rewritten));
  out.counter("keelson_store_collected_bytes_freed_total", "Bytes freed by collection.",
              number(stats.collected_bytes_freed));
  out.counter("keelson_store_reads_corrupt_total", "Records whose checksum did not match.",
              number(stats.reads_corrupt));
  out.counter("keelson_store_reads_failed_total", "Records the disk refused to read.",
              number(stats.reads_failed));
}

void gather_unused(Families& out) {
  for (const char* name :
       {"etcd_server_snapshot_apply_in_progress_total", "etcd_disk_defrag_inflight",
        "etcd_debugging_store_watchers", "etcd_grpc_proxy_cache_hits_total",
        "etcd_grpc_proxy_cache_keys_total", "etcd_grpc_proxy_cache_misses_total",
        "etcd_grpc_proxy_watchers_coalescing_total"}) {
    out.gauge(name, "Always 0 here.", 0);
  }
  for (const char* name :
       {"etcd_debugging_store_expires_total", "etcd_debugging_store_watch_requests_total",
        "etcd_grpc_proxy_events_coalescing_total", "etcd_server_heartbeat_send_failures_total",
        "etcd_server_learner_promote_successes"}) {
    out.counter(name, "Always 0 here.", 0);
  }
  struct Empty {
    const char* name;
    prometheus::Histogram::BucketBoundaries bounds;
  };
  using member::exponential;
  const Empty histograms[] = {
      {"etcd_debugging_disk_backend_commit_rebalance_duration_seconds", exponential(0.001, 2, 14)},
      {"etcd_debugging_disk_backend_commit_spill_duration_seconds", exponential(0.001, 2, 14)},
      {"etcd_debugging_disk_backend_commit_write_duration_seconds", exponential(0.001, 2, 14)},
      {"etcd_debugging_mvcc_index_compaction_pause_duration_milliseconds", exponential(0.5, 2, 14)},
      {"etcd_debugging_snap_save_marshalling_duration_seconds", exponential(0.001, 2, 14)},
      {"etcd_disk_backend_defrag_duration_seconds", exponential(0.1, 2, 13)},
      {"etcd_snap_db_fsync_duration_seconds", exponential(0.001, 2, 14)},
      {"etcd_snap_db_save_total_duration_seconds", exponential(0.1, 2, 10)},
  };
  for (const Empty& one : histograms) {
    out.empty_histogram(one.name, "Not measured here.", one.bounds);
  }
}

}  // namespace

std::vector<MetricFamily> gather(const Sources& sources) {
  Families out;
  gather_raft(sources, out);
  gather_identity(sources, out);
  gather_gates(sources, out);
  gather_keys(sources, out);
  gather_space(sources, out);
  gather_store(sources, out);
  gather_unused(out);
  return out.take();
}

}  // namespace keelson::api
