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
#include "member/boot.h"
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

// The store was replaced by that of a snapshot.
struct StoreReplaced {
  std::unique_ptr<apply::StateMachine> state;
  raft::Index applied_index = 0;
  raft::Term applied_term = 0;
};

// To the apply lane: what readers may take from the store now.
struct StoreNote {
  std::uint64_t batches = 0;  // appended since the start
  std::shared_ptr<const store::Snapshot> snapshot;
  store::Space space;
  std::uint64_t synced_applied_index = 0;
  std::unique_ptr<StoreReplaced> replaced;  // if it was, since the note before
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
  // The staged store of the snapshot at `index` (staged_store.h) takes the place of this one, whose
  // files stay for those who still read them. The log has its record already, so there is no way
  // back: what fails stops the process, and the next start completes it. Long; on the store lane.
  void replace(raft::Index index);
  // Defragment: what is dead is reclaimed, in the background, as far as it can be.
  void reclaim();

 private:
  void on_work(std::vector<StoreWork> works);
  void note(std::unique_ptr<StoreReplaced> replaced = nullptr);
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
  bool waiting_ = false;      // a wait of step() runs on a worker
  std::uint64_t stores_ = 0;  // there were before this one: waits of those are nobody's
  bool short_of_space_ = false;
  bool stopped_ = false;
  env::Channel<StoreWork> inbox_;  // last: its jobs use the rest
};

}  // namespace keelson::member
