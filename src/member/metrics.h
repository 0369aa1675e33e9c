// Metrics of what the lanes of a member do, in etcd's names. operations.md 6. What can be read from
// a View or a Stats struct at the time of a scrape is not counted here but gathered by api/.
//
// Any lane; prometheus-cpp counts with atomics.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/time.h"
#include "member/request_kind.h"

namespace keelson::member {

class Counter {
 public:
  explicit Counter(prometheus::Counter& counter) : counter_(counter) {}
  void add(double by = 1) { counter_.Increment(by); }

 private:
  prometheus::Counter& counter_;
};

class Gauge {
 public:
  explicit Gauge(prometheus::Gauge& gauge) : gauge_(gauge) {}
  void set(double value) { gauge_.Set(value); }
  void add(double by = 1) { gauge_.Increment(by); }

 private:
  prometheus::Gauge& gauge_;
};

class Histogram {
 public:
  explicit Histogram(prometheus::Histogram& histogram) : histogram_(histogram) {}
  void observe(base::Duration took) {
    histogram_.Observe(std::chrono::duration<double>(took).count());
  }
  void observe_milliseconds(base::Duration took) {
    histogram_.Observe(std::chrono::duration<double, std::milli>(took).count());
  }

 private:
  prometheus::Histogram& histogram_;
};

// `count` bounds from `first`, each `factor` times the one before.
prometheus::Histogram::BucketBoundaries exponential(double first, double factor, int count);

// Times of requests by kind and outcome, as one lane meets them: each histogram is looked up once.
class KindTimes {
 public:
  enum class Of {
    kRequest,  // etcd_server_request_duration_seconds: from proposal, or question, to answer
    kApply,    // etcd_server_apply_duration_seconds
  };
  KindTimes(prometheus::Registry& registry, Of of);
  void observe(RequestKind kind, bool success, base::Duration took);

 private:
  prometheus::Histogram& make(RequestKind kind, bool success);

  const Of of_;
  prometheus::Family<prometheus::Histogram>& family_;
  std::array<prometheus::Histogram*, 2 * kRequestKinds> known_{};
};

class Metrics {
 public:
  Metrics();

  std::shared_ptr<prometheus::Registry> registry;
  // Others who can tell a scrape something. Filled before the lanes run; they outlive the lanes.
  std::vector<const prometheus::Collectable*> collectables;
  Histogram wal_fsync_seconds;
  Histogram wal_write_seconds;
  Gauge wal_write_bytes;  // a gauge named _total: etcd's
  Counter leader_changes;
  Counter proposals_failed;
  Gauge proposals_pending;
  Counter slow_read_indexes;
  Counter read_indexes_failed;
  Counter lease_granted;
  Counter lease_revoked;
  Counter lease_renewed;
  Counter lease_expired;
  Counter views_ended;
  Histogram lease_ttl_seconds;
  Histogram hash_seconds;
  Histogram hash_revision_seconds;
  Histogram range_seconds;
  Histogram checkpoint_seconds;  // of the store: etcd's backend commit
  Histogram snapshot_sync_seconds;
  Histogram snapshot_save_seconds;
  Histogram db_stream_seconds;  // of db files sent
  Counter slow_applies;
  Counter compaction_revisions;  // dropped
  Gauge compaction_last;         // seconds since 1970
  Histogram compaction_milliseconds;
  Histogram compaction_slice_milliseconds;
  // etcd_mvcc_range_total and _txn_total, the share of reads that did not go through the log.
  std::atomic<std::uint64_t> ranges_read{0};
  std::atomic<std::uint64_t> txns_read{0};

 private:
  explicit Metrics(std::shared_ptr<prometheus::Registry> shared);
};

}  // namespace keelson::member
