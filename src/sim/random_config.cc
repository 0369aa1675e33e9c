#include "sim/random_config.h"

#include <cerrno>

namespace keelson::sim {

using base::Milliseconds;

void random_log(base::Random& random, member::Config& config) {
  config.snapshot_count = 5 + random.below(60);
  config.snapshot_log_bytes = 1024 << random.below(6);
  config.snapshot_catchup_entries = random.below(40);
  config.snapshots_max = 1 + random.below(3);
  config.wals_max = 1 + random.below(3);
  config.purge_interval = Milliseconds(100 << random.below(9));
  config.wal_segment_bytes = 4096 << random.below(4);
  config.raft_log_bytes_max = 4096 << random.below(6);
  config.lease_checkpoint = random.one_in(3);
  config.pending_bytes_max = random.one_in(3) ? 2000 : 1 << 20;
}

void random_store(base::Random& random, store::Options& options) {
  options.segment_bytes = 2048 << random.below(4);
  options.collection_gain_bytes = 512 << random.below(3);
  options.collection_slice_bytes = 512 << random.below(3);
  options.cut_bytes = 4096;
  options.push_out_bytes = 1024 << random.below(4);
  options.key_block_bytes = 256 << random.below(3);
  options.bucket_log_dead_bytes = 1024 << random.below(3);
  options.checkpoint_interval = Milliseconds(20 << random.below(7));
  options.checkpoint_bytes = 1024 << random.below(6);
  options.reserve = false;
}

KillPlan maybe_an_error(base::Random& random, KillPlan plan, bool wanted) {
  if (!wanted || !random.one_in(3)) return plan;
  plan.error_number = random.one_in(3) ? ENOSPC : EIO;
  plan.in_background = plan.error_number == EIO && random.one_in(4);
  return plan;
}

}  // namespace keelson::sim
