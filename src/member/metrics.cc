#include "member/metrics.h"

namespace keelson::member {
namespace {

prometheus::Counter& counter(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry).Add({});
}

prometheus::Gauge& gauge(prometheus::Registry& registry, const char* name, const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
}

prometheus::Histogram& histogram(prometheus::Registry& registry, const char* name, const char* help,
                                 const prometheus::Histogram::BucketBoundaries& bounds) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry).Add({}, bounds);
}

}  // namespace

prometheus::Histogram::BucketBoundaries exponential(double first, double factor, int count) {
  prometheus::Histogram::BucketBoundaries bounds;
  for (int i = 0; i < count; i++, first *= factor) bounds.push_back(first);
  return bounds;
}

KindTimes::KindTimes(prometheus::Registry& registry, Of of)
    : of_(of),
      family_(of == Of::kRequest ? prometheus::BuildHistogram()
                                       .Name("etcd_server_request_duration_seconds")
                                       .Help("Time requests took, by their type.")
                                       .Register(registry)
                                 : prometheus::BuildHistogram()
                                       .Name("etcd_server_apply_duration_seconds")
                                       .Help("Time applying requests took, by their type.")
                                       .Register(registry)) {}

void KindTimes::observe(RequestKind kind, bool success, base::Duration took) {
  prometheus::Histogram*& known = known_[2 * static_cast<std::size_t>(kind) + (success ? 1 : 0)];
  if (known == nullptr) known = &make(kind, success);
  known->Observe(std::chrono::duration<double>(took).count());
}

prometheus::Histogram& KindTimes::make(RequestKind kind, bool success) {
  const std::string outcome = success ? "true" : "false";
  if (of_ == Of::kRequest) {
    return family_.Add({{"type", std::string(name_of(kind))}, {"success", outcome}},
                       exponential(0.001, 2, 14));
  }
  return family_.Add({{"version", "v3"}, {"op", std::string(name_of(kind))}, {"success", outcome}},
                     exponential(0.0001, 2, 20));
}

Metrics::Metrics() : Metrics(std::make_shared<prometheus::Registry>()) {}

Metrics::Metrics(std::shared_ptr<prometheus::Registry> shared)
    : registry(std::move(shared)),
      wal_fsync_seconds(histogram(*registry, "etcd_disk_wal_fsync_duration_seconds",
                                  "Time a sync of the write-ahead log took.",
                                  exponential(0.001, 2, 14))),
      wal_write_seconds(histogram(*registry, "etcd_disk_wal_write_duration_seconds",
                                  "Time a write to the write-ahead log took.",
                                  exponential(0.001, 2, 14))),
      wal_write_bytes(gauge(*registry, "etcd_disk_wal_write_bytes_total",
                            "Bytes written to the write-ahead log.")),
      leader_changes(counter(*registry, "etcd_server_leader_changes_seen_total",
                             "Leaders learned of, each other than the one before.")),
      proposals_failed(counter(*registry, "etcd_server_proposals_failed_total",
                               "Proposals refused or timed out.")),
      proposals_pending(gauge(*registry, "etcd_server_proposals_pending",
                              "Proposals whose outcome is not known yet.")),
      slow_read_indexes(counter(*registry, "etcd_server_slow_read_indexes_total",
                                "ReadIndex requests sent again.")),
      read_indexes_failed(counter(*registry, "etcd_server_read_indexes_failed_total",
                                  "ReadIndex requests that timed out.")),
      lease_granted(counter(*registry, "etcd_debugging_lease_granted_total", "Leases granted.")),
      lease_revoked(counter(*registry, "etcd_debugging_lease_revoked_total", "Leases revoked.")),
      lease_renewed(counter(*registry, "etcd_debugging_lease_renewed_total",
                            "Lease renewals answered by this member.")),
      lease_expired(counter(*registry, "etcd_debugging_server_lease_expired_total",
                            "Leases found expired by this member.")),
      views_ended(counter(*registry, "keelson_held_views_ended_total",
                          "Reads ended because they held too much of the past for too long.")),
      lease_ttl_seconds(histogram(*registry, "etcd_debugging_lease_ttl_total",
                                  "Times to live of leases granted.", exponential(1, 2, 24))),
      hash_seconds(histogram(*registry, "etcd_mvcc_hash_duration_seconds",
                             "Time a hash of everything took.", exponential(0.01, 2, 15))),
      hash_revision_seconds(histogram(*registry, "etcd_mvcc_hash_rev_duration_seconds",
                                      "Time a hash of keys took.", exponential(0.01, 2, 15))),
      range_seconds(prometheus::BuildHistogram()
                        .Name("etcd_server_range_duration_seconds")
                        .Help("Time a range took, to the first byte of its answer.")
                        .Register(*registry)
                        .Add({{"success", "true"}}, exponential(0.0001, 2, 20))),
      checkpoint_seconds(histogram(*registry, "etcd_disk_backend_commit_duration_seconds",
                                   "Time a checkpoint of the store took.",
                                   exponential(0.001, 2, 14))),
      snapshot_sync_seconds(histogram(*registry, "etcd_snap_fsync_duration_seconds",
                                      "Time writing and syncing a .snap file took.",
                                      exponential(0.001, 2, 14))),
      snapshot_save_seconds(histogram(*registry, "etcd_debugging_snap_save_total_duration_seconds",
                                      "Time saving a raft snapshot took.",
                                      exponential(0.001, 2, 14))),
      db_stream_seconds(histogram(*registry, "etcd_disk_backend_snapshot_duration_seconds",
                                  "Time sending a db file took.", exponential(0.01, 2, 17))),
      slow_applies(counter(*registry, "etcd_server_slow_apply_total",
                           "Requests whose applying took longer than expected.")),
      compaction_revisions(counter(*registry, "etcd_debugging_mvcc_db_compaction_keys_total",
                                   "Changes dropped by compactions.")),
      compaction_last(gauge(*registry, "etcd_debugging_mvcc_db_compaction_last",
                            "When a compaction last ended, in seconds since 1970.")),
      compaction_milliseconds(
          histogram(*registry, "etcd_debugging_mvcc_db_compaction_total_duration_milliseconds",
                    "Time a compaction took, its pauses included.", exponential(100, 2, 14))),
      compaction_slice_milliseconds(
          histogram(*registry, "etcd_debugging_mvcc_db_compaction_pause_duration_milliseconds",
                    "Time a slice of a compaction kept others waiting.", exponential(1, 2, 13))) {}

}  // namespace keelson::member
