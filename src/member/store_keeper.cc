#include "member/store_keeper.h"

#include <fmt/format.h>

#include <utility>

#include "env/log.h"
#include "member/staged_store.h"

namespace keelson::member {
namespace {

// How often it is looked whether the last View of what was collected has gone.
constexpr base::Duration kCondemnedInterval = base::Seconds(1);
// Batches waiting for the store are bounded by the applier (bytes and number), which stalls first.
constexpr std::size_t kUnbounded = static_cast<std::size_t>(-1);

void must(const base::Result<>& result, std::string_view what) {
  if (!result) stop_process(fmt::format("store: {}: {}", what, result.error().message()));
}

}  // namespace

StoreKeeper::StoreKeeper(env::Lane& lane, Shared& shared, std::unique_ptr<store::Store> store,
                         base::Function<void(StoreNote)> tell_applier)
    : lane_(lane),
      shared_(shared),
      store_(std::move(store)),
      tell_applier_(std::move(tell_applier)),
      inbox_(lane, kUnbounded,
             [this](std::vector<StoreWork> works) { on_work(std::move(works)); }) {}

void StoreKeeper::start() { step(); }

void StoreKeeper::stop() {
  CHECK(!stopped_);
  stopped_ = true;
  lane_.cancel(checkpoint_timer_);
  lane_.cancel(step_timer_);
  must(store_->checkpoint(lane_.clock().now(), lane_.clock().wall_now()), "last checkpoint");
}

void StoreKeeper::on_work(std::vector<StoreWork> works) {
  CHECK(!stopped_);
  for (StoreWork& work : works) {
    if (work.look) {
      work.look(*store_);
      continue;
    }
    must(store_->append(std::move(work.batch)), "append");
    if (!work.dead.empty()) store_->mark_dead(work.dead);
    batches_++;
  }
  checkpoint_if_due();
  note();
  if (!waiting_) step();
}

void StoreKeeper::note(std::unique_ptr<StoreReplaced> replaced) {
  noted_ = store_->snapshot();
  noted_space_ = store_->space();
  look_at(noted_space_);
  tell_applier_({.batches = batches_,
                 .snapshot = noted_,
                 .space = noted_space_,
                 .synced_applied_index = store_->synced_applied_index(),
                 .replaced = std::move(replaced)});
}

// Whether background work has changed what readers may take, or what the space is. A View of before
// keeps in memory the places of all that was collected since, and on disk its files: so it must not
// last until somebody writes again.
bool StoreKeeper::is_outdated(const store::Space& space) const {
  return store_->snapshot() != noted_ || space.live_bytes != noted_space_.live_bytes ||
         space.file_bytes != noted_space_.file_bytes;
}

void StoreKeeper::checkpoint_if_due() {
  const auto now = lane_.clock().now();
  if (store_->checkpoint_due(now)) {
    checkpoint(now);
  } else if (checkpoint_timer_ == 0) {
    arm_checkpoint();
  }
}

void StoreKeeper::checkpoint(base::TimePoint now) {
  must(store_->checkpoint(now, lane_.clock().wall_now()), "checkpoint");
  shared_.metrics.checkpoint_seconds.observe(lane_.clock().now() - now);
}

void StoreKeeper::arm_checkpoint() {
  checkpoint_timer_ = lane_.after(base::Seconds(1), [this] {
    checkpoint_timer_ = 0;
    const auto before = store_->synced_applied_index();
    const auto now = lane_.clock().now();
    if (store_->checkpoint_due(now)) checkpoint(now);
    if (store_->synced_applied_index() == before) return;
    note();
    if (!waiting_) step();  // what this checkpoint allows: nothing may be appended for long
  });
}

// After every batch, not only between steps of the background: those may wait long for a slow disk,
// and what is left of the reserve is what the alarm has to be raised with.
void StoreKeeper::look_at(const store::Space& space) {
  const bool short_of_space = !space.reserve_available;
  if (short_of_space && !short_of_space_) shared_.to_raft_events->push_always(OutOfSpace{});
  short_of_space_ = short_of_space;
}

void StoreKeeper::replace(raft::Index index) {
  CHECK(!stopped_);
  lane_.cancel(std::exchange(checkpoint_timer_, 0));
  lane_.cancel(std::exchange(step_timer_, 0));
  stores_++;
  waiting_ = false;
  noted_.reset();
  const std::uint64_t id = store_->store_id();
  store_.reset();
  const Paths paths = Paths::of(shared_.config);
  must(install_staged(*shared_.files, paths, index), "install of a snapshot");
  auto opened = store::Store::open(*shared_.files, paths.store,
                                   store_options(shared_.config, lane_.clock().wall_now(), id, 0));
  if (!opened) stop_process(fmt::format("store of a snapshot: {}", opened.error().message()));
  std::unique_ptr<apply::StateMachine> state;
  lane_.patiently([&](env::Lane::Breathe& breathe) {
    auto recovered = recover_state(shared_.config, shared_.identity, *opened->store,
                                   opened->recovered, &breathe);
    if (!recovered) stop_process(fmt::format("store of a snapshot: {}", recovered.error().text));
    state = *std::move(recovered);
  });
  store_ = std::move(opened->store);
  shared_.any_worker().post([files = shared_.files, paths] {
    if (auto removed = remove_replaced(*files, paths); !removed) {
      env::log_warn("cannot remove the store that a snapshot has replaced",
                    {{"error", removed.error()}});
    }
  });
  note(std::make_unique<StoreReplaced>(
      StoreReplaced{.state = std::move(state),
                    .applied_index = opened->recovered.applied_index,
                    .applied_term = opened->recovered.applied_term}));
  step();
}

void StoreKeeper::reclaim() {
  if (stopped_) return;
  store_->reclaim();
  if (!waiting_) step();
}

void StoreKeeper::step() {
  lane_.cancel(step_timer_);
  step_timer_ = 0;
  after_step(store_->step(lane_.clock().now(), lane_.clock().wall_now()));
}

void StoreKeeper::after_step(base::Result<store::Step> step) {
  if (!step) stop_process(fmt::format("store: background work: {}", step.error().message()));
  const store::Space space = store_->space();
  look_at(space);
  const auto now = lane_.clock().now();
  const bool is_due = store_->checkpoint_due(now);  // background work may want one
  if (is_due) checkpoint(now);
  const bool goes_on = step->again && *step->again <= now;
  if (is_due || (!goes_on && is_outdated(space))) note();
  if (step->wait) {
    waiting_ = true;
    shared_.any_worker().post([this, wait = std::move(step->wait), stores = stores_]() mutable {
      auto outcome = wait();
      lane_.post([this, outcome = std::move(outcome), stores]() mutable {
        if (stores != stores_) return;
        waiting_ = false;
        if (!stopped_) after_step(store_->waited(std::move(outcome), lane_.clock().now()));
      });
    });
  } else if (is_due) {
    step_at(now);
  } else if (step->again) {
    step_at(*step->again);
  } else if (store_->has_condemned()) {
    step_at(now + kCondemnedInterval);
  }
}

void StoreKeeper::step_at(base::TimePoint due) {
  step_timer_ = lane_.at(due, [this] {
    step_timer_ = 0;
    step();
  });
}

}  // namespace keelson::member
