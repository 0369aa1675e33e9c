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

Metrics::Metrics() : Metrics(std::make_shared<prometheus::Registry>()) {}

Metrics::Metrics(std::shared_ptr<prometheus::Registry> shared)
    : registry(std::move(shared)),
      wal_fsync_seconds(histogram(*registry, "etcd_disk_wal_fsync_duration_seconds",
                                  "Time a write and sync of the write-ahead log took.",
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
                                      "Time a hash of keys took.", exponential(0.01, 2, 15))) {}

}  // namespace keelson::member
