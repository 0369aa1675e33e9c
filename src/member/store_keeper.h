// StoreKeeper: the jobs of the store lane. Appends what was applied, makes checkpoints, drives
// collection. Never on the commit path: the WAL covers what is not in the store yet.
//
// A failed write or sync outside the reserve stops the process (shared.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/function.h"
#include "base/storage.h"
#include "env/channel.h"
#include "env/lane.h"
#include "member/shared.h"
#include "store/store.h"

namespace keelson::member {

// One applied batch on its way to the store, with what died meanwhile by the compaction floor.
struct StoreWork {
  std::shared_ptr<const base::Batch> batch;
  std::vector<base::Revision> dead;
  // If set, there is no batch: whoever wants the store as all before has left it.
  base::Function<void(store::Store&)> look;
};

// To the apply lane: what readers may take from the store now.
struct StoreNote {
  std::uint64_t batches = 0;  // appended since the start
  std::shared_ptr<const store::Snapshot> snapshot;
  store::Space space;
  std::uint64_t synced_applied_index = 0;
};

class StoreKeeper {
 public:
  StoreKeeper(env::Lane& lane, Shared& shared, std::unique_ptr<store::Store> store,
              base::Function<void(StoreNote)> tell_applier);
  StoreKeeper(const StoreKeeper&) = delete;
  StoreKeeper& operator=(const StoreKeeper&) = delete;

  // Begins background work. On the store lane, once.
  void start();
  // A last checkpoint; nothing is appended afterwards. On the store lane.
  void stop();

  env::Channel<StoreWork>& inbox() { return inbox_; }
  // For jobs that ask the store itself (Front::on_store), on the store lane.
  store::Store& store() { return *store_; }
  // Defragment: what is dead is reclaimed, in the background, as far as it can be.
  void reclaim();

 private:
  void on_work(std::vector<StoreWork> works);
  void note();
  bool is_outdated(const store::Space& space) const;
  void checkpoint_if_due();
  void checkpoint(base::TimePoint now);
  void arm_checkpoint();
  void step();
  void step_at(base::TimePoint due);
  void after_step(base::Result<store::Step> step);
  void look_at(const store::Space& space);

  env::Lane& lane_;
  Shared& shared_;
  std::unique_ptr<store::Store> store_;
  base::Function<void(StoreNote)> tell_applier_;
  std::uint64_t batches_ = 0;
  std::shared_ptr<const store::Snapshot> noted_;  // what the apply lane was told last
  store::Space noted_space_;
  env::TimerId checkpoint_timer_ = 0;
  env::TimerId step_timer_ = 0;
  bool waiting_ = false;  // a wait of step() runs on a worker
  bool short_of_space_ = false;
  bool stopped_ = false;
  env::Channel<StoreWork> inbox_;  // last: its jobs use the rest
};

}  // namespace keelson::member
