// What one member is started with. operations.md 1.6; checked by cmd/ before it gets here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "membership/bootstrap.h"
#include "membership/urls.h"
#include "membership/version.h"
#include "store/store.h"
#include "wal/wal.h"

namespace keelson::member {

// The etcd release whose behaviour this server has: what it tells clients, peers and tools.
inline constexpr membership::Version kServerVersion{3, 7, 1};
inline constexpr membership::Version kClusterVersion{3, 7, 0};

// --auto-compaction-mode, --auto-compaction-retention
struct AutoCompaction {
  enum class Mode { kPeriodic, kRevision };
  Mode mode = Mode::kPeriodic;
  base::Duration period{0};    // periodic: what is older goes
  std::int64_t revisions = 0;  // revision: all but so many go

  bool enabled() const {
    return mode == Mode::kPeriodic ? period > base::Duration(0) : revisions > 0;
  }
};

// Rules that a test may break to show that breaking them is noticed, as store::BrokenRules. Never
// set elsewhere.
struct BrokenRules {
  bool snapshot_ahead_of_checkpoint = false;  // D7: raft snapshots do not wait for the store
};

// A cluster that is there already and that this member was added to.
struct RunningCluster {
  membership::ClusterId id = 0;
  std::vector<membership::Member> members;
};

struct Config {
  std::string name = "default";
  std::string data_dir = "default.etcd";
  std::string wal_dir;  // empty: <data_dir>/member/wal

  membership::InitialCluster initial_cluster;
  std::string initial_cluster_token = "etcd-cluster";
  bool new_cluster = true;  // --initial-cluster-state
  bool force_new_cluster = false;
  // For the first start: what Joining found.
  std::optional<RunningCluster> running;     // of --initial-cluster-state=existing
  membership::ResolvedHosts resolved_hosts;  // where advertised and listed URLs differ
  membership::Urls advertise_peer_urls;
  std::vector<std::string> advertise_client_urls;

  base::Duration tick = base::Milliseconds(100);
  std::uint32_t election_ticks = 10;
  bool pre_vote = true;
  bool election_tick_advance = true;  // --initial-election-tick-advance
  base::Duration raft_read_timeout = base::Seconds(5);
  base::Duration raft_write_timeout = base::Seconds(5);
  std::uint64_t snapshot_count = 10'000;
  std::uint64_t snapshot_catchup_entries = 5'000;
  std::size_t snapshots_max = 5;  // files kept; 0 = all
  std::size_t wals_max = 5;
  bool unsafe_no_fsync = false;

  std::int64_t quota_bytes = 0;  // 0 = 2 GiB, negative = none
  std::size_t request_bytes_max = 1'572'864;
  std::size_t txn_operations_max = 128;
  std::size_t learners_max = 1;
  base::Duration watch_progress_interval = base::Seconds(600);
  bool fast_lease_keep_alive = true;
  bool lease_checkpoint = false;
  bool strict_reconfig_check = true;
  AutoCompaction auto_compaction;
  // operations.md 7.5
  bool initial_corrupt_check = false;
  base::Duration corrupt_check_time{0};  // between two; 0: never
  bool compact_hash_check = false;
  base::Duration compact_hash_check_time = base::Seconds(60);
  // What takes longer is logged. operations.md 7.12
  base::Duration warning_apply = base::Milliseconds(100);
  base::Duration warning_unary_request = base::Milliseconds(300);

  // Ours
  std::size_t raft_log_bytes_max = std::size_t{64}
                                   << 20;  // entries kept in memory behind the newest
  std::size_t pending_bytes_max = std::size_t{128} << 20;  // applied and not yet in the store
  std::size_t run_bytes_max = std::size_t{128} << 20;      // held by long answers that nobody reads
  // Rows that ranges in other orders than that of keys gather, all together; one alone 256 MB.
  std::size_t gathered_bytes_max = std::size_t{1} << 30;
  // What slow readers may hold of the past.
  std::uint64_t held_views_bytes_max = std::uint64_t{256} << 20;
  base::Duration held_views_age_max = base::Seconds(600);

  // Sizes and pace of the files; no flag reaches them, tests make them small. What identifies the
  // store and its start is set by boot.
  store::Options store;
  std::uint64_t wal_segment_bytes = wal::kSegmentBytes;
  // A snapshot of the log is due after snapshot_count entries, or so many bytes of them: a start
  // reads what follows the newest one, however large entries are.
  std::uint64_t snapshot_log_bytes = 16 << 20;
  base::Duration purge_interval = base::Seconds(30);
  BrokenRules broken;

  base::Duration election_timeout() const { return tick * election_ticks; }
  // api.md 7.3
  base::Duration request_timeout() const { return base::Seconds(5) + 2 * election_timeout(); }
  std::int64_t effective_quota() const {
    return quota_bytes == 0 ? std::int64_t{2} << 30 : quota_bytes;
  }
  // ceil(1.5 x election timeout) in seconds, by etcd's integer arithmetic. api.md 4.
  base::Seconds lease_ttl_min() const {
    const auto ticks = 3 * static_cast<std::int64_t>(election_ticks) / 2;
    return std::chrono::ceil<base::Seconds>(ticks * tick);
  }
};

}  // namespace keelson::member
