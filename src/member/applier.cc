#include "member/applier.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/planted.h"
#include "env/log.h"
#include "member/front.h"
#include "member/log_snapshot.h"

namespace keelson::member {
namespace {

// One batch takes about this much before it is published, so that replies do not wait for a long
// queue.
constexpr std::size_t kEntriesPerBatch = 512;
constexpr std::size_t kEntryBytesPerBatch = std::size_t{2} << 20;
// While the member catches up, one slice, of some 80 us, and the rest behind it.
constexpr std::size_t kEntriesPerSlice = 32;
constexpr base::Duration kRestWhileBehind = std::chrono::microseconds(200);
// So long: beside a busy cluster, on busy cores, that may be too slow to catch up at all.
constexpr base::Duration kUnhurriedMax = std::chrono::seconds(2);
constexpr std::size_t kPendingBatchesMax = 1024;
// Keys looked at by one slice of a compaction: some 150 us where each loses two revisions.
constexpr std::size_t kCompactKeysPerSlice = 400;
// Between two slices: threads that wake meanwhile find a core, and this one has not had more than
// its share when the next entry comes. A million keys take two seconds; nobody waits for them.
constexpr base::Duration kCompactRest = std::chrono::microseconds(500);
// Batches that the store has not confirmed, beyond which a compaction waits: entries go first.
constexpr std::size_t kCompactPendingMax = 64;
// Batches a hub may be behind before it is told to catch up by itself instead.
constexpr std::size_t kFrontBacklogMax = 4096;
// The store gets several batches at once: to wake it costs more than to append one, and it is in
// no hurry. So much, or after so long.
constexpr std::size_t kBatchesPerHandOver = 16;
constexpr std::size_t kBytesPerHandOver = std::size_t{256} << 10;
constexpr base::Duration kHandOverDelay = base::Milliseconds(10);
// Bounded by what the raft core hands out (max committed bytes per Ready) and by P3.
constexpr std::size_t kUnbounded = static_cast<std::size_t>(-1);

}  // namespace

struct Applier::Releases {
  Releases(env::Lane& lane, Applier* applier)
      : owner(applier), channel(lane, kUnbounded, [this](std::vector<std::uint64_t> batches) {
          if (owner == nullptr) return;
          apply::StateMachine& state = retired ? *retired : *owner->state_;
          for (const std::uint64_t batch : batches) state.release_keys(batch);
          views -= batches.size();
          retired ? owner->forget_retired() : owner->free_due();
        }) {}
  Applier* owner;                                // of the apply lane
  std::size_t views = 0;                         // that have not told their end
  std::unique_ptr<apply::StateMachine> retired;  // what they show, once it is no longer the owner's
  env::Channel<std::uint64_t> channel;
};

Applier::Applier(env::Lane& lane, Shared& shared, Start start)
    : lane_(lane),
      shared_(shared),
      state_(std::move(start.state)),
      applied_index_(start.applied_index),
      applied_term_(start.applied_term),
      log_end_(start.log_end),
      undecided_(std::move(start.undecided)),
      stored_(std::move(start.stored)),
      space_(start.space),
      apply_times_(*shared.metrics.registry, KindTimes::Of::kApply),
      compaction_hasher_(lane, shared, [this] { on_compaction_hash(); }),
      snapshot_index_(start.snapshot_index),
      bytes_since_snapshot_(start.bytes_since_snapshot),
      releases_(std::make_shared<Releases>(lane, this)),
      inbox_(lane, kUnbounded, [this](std::vector<ApplyWork> works) { on_work(std::move(works)); }),
      notes_(lane, kUnbounded,
             [this](std::vector<StoreNote> notes) { on_notes(std::move(notes)); }) {
  reader_ = store::make_reader(stored_, {});
}

Applier::~Applier() {
  releases_->owner = nullptr;
  for (const auto& one : retired_) one->owner = nullptr;
}

// States that no View shows any more. Not within a call of theirs.
void Applier::forget_retired() {
  lane_.post([this] {
    for (const auto& one : retired_) {
      if (one->views > 0) continue;
      // Large ones take their time to go.
      shared_.any_worker().post([state = std::move(one->retired)]() mutable { state.reset(); });
    }
    std::erase_if(retired_, [](const auto& one) { return one->views == 0; });
  });
}

void Applier::connect(env::Channel<StoreWork>* store,
                      base::Function<void(SnapshotWork)> save_snapshot) {
  store_ = store;
  save_snapshot_ = std::move(save_snapshot);
}

// What released Views held goes in slices, also when nothing is applied any more.
void Applier::free_due() {
  if (freeing_ || !state_->free_due()) return;
  freeing_ = true;
  lane_.post([this] {
    freeing_ = false;
    free_due();
  });
}

void Applier::publish_first() {
  shared_.progress.applied = applied_index_;
  publish();
}

void Applier::on_work(std::vector<ApplyWork> works) {
  for (ApplyWork& work : works) queue_.push_back(std::move(work));
  if (!run_scheduled_) run();
}

void Applier::on_notes(std::vector<StoreNote> notes) {
  for (StoreNote& one : notes) {
    if (one.replaced) take_over(*one.replaced);
  }
  StoreNote& note = notes.back();  // each says all that is true by then
  stored_ = std::move(note.snapshot);
  space_ = note.space;
  while (!pending_.empty() && batches_finished_ - pending_.size() < note.batches) {
    pending_bytes_ -= pending_.front()->record_bytes();
    pending_.pop_front();
  }
  reader_ = store::make_reader(stored_, {pending_.begin(), pending_.end()});
  publish();
  if (std::exchange(taken_over_, false)) tell_of_snapshot();
  if (snapshot_ && note.synced_applied_index >= snapshot_->metadata.index) {
    save_snapshot_({*std::exchange(snapshot_, std::nullopt)});
  }
  if (!run_scheduled_) run();
}

bool Applier::stalled() const {
  return pending_bytes_ > shared_.config.pending_bytes_max || pending_.size() > kPendingBatchesMax;
}

void Applier::schedule_run() {
  if (run_scheduled_) return;
  run_scheduled_ = true;
  lane_.post([this] {
    run_scheduled_ = false;
    run();
  });
}

void Applier::run() {
  // Stalled or installing: a note of the store comes and runs again.
  if (stopped_ || stalled() || installing_ || rest_ != 0) return;
  if (!queue_.empty() && queue_.front().install != 0) return begin_install();
  const bool may_compact =
      state_->compacting() && compact_rest_ == 0 && pending_.size() < kCompactPendingMax;
  // By turns, so that entries wait for one slice at most, and never for that of their own batch.
  if (!queue_.empty() && !(may_compact && compact_is_next_)) {
    compact_is_next_ = true;
    apply_entries();
  } else if (may_compact) {
    compact_is_next_ = false;
    compact_slice();
    rest_from_compaction();
  } else {
    return;
  }
  if (catching_up_) return rest_while_behind();
  if (!queue_.empty() || (state_->compacting() && compact_rest_ == 0)) schedule_run();
}

void Applier::rest_while_behind() {
  const raft::Index committed = shared_.progress.committed.load(std::memory_order_acquire);
  catching_up_ =
      applied_index_ + kEntriesPerSlice < committed && lane_.clock().now() < hurries_from_;
  rest_ = lane_.after(kRestWhileBehind, [this] {
    rest_ = 0;
    if (!run_scheduled_) run();
  });
}

void Applier::rest_from_compaction() {
  if (!state_->compacting()) return;
  compact_rest_ = lane_.after(kCompactRest, [this] {
    compact_rest_ = 0;
    if (!run_scheduled_) run();
  });
}

std::shared_ptr<base::Batch> Applier::begin_batch() {
  auto batch = std::make_shared<base::Batch>();
  batch->set_applied(applied_index_, applied_term_);
  state_->begin(*batch, *reader_, space_.live_bytes + pending_bytes_);
  return batch;
}

void Applier::compact_slice() {
  const base::TimePoint at = lane_.clock().now();
  auto batch = begin_batch();
  const bool more = state_->compact_slice(kCompactKeysPerSlice);
  const base::TimePoint now = lane_.clock().now();
  shared_.metrics.compaction_slice_milliseconds.observe_milliseconds(now - at);
  if (!more) compaction_ended(now);
  finish_batch(std::move(batch), {}, more ? Hearing::kNobody : Hearing::kAll);
}

void Applier::compaction_ended(base::TimePoint now) {
  shared_.metrics.compaction_last.set(
      std::chrono::duration<double>(shared_.clock->wall_now().time_since_epoch()).count());
  // One that a start found under way has no beginning.
  if (!compacting_since_) return;
  shared_.metrics.compaction_milliseconds.observe_milliseconds(now - *compacting_since_);
  compacting_since_.reset();
}

void Applier::apply_entries() {
  auto batch = begin_batch();
  std::vector<raft::Message> responses;
  // The first compaction of the batch, if all before it is dropped. One that is replayed was hashed
  // in a former life; the hash is lost with it, as in etcd.
  struct Compacted {
    std::int64_t floor_before, revision;
  };
  std::optional<Compacted> compacted;
  std::size_t entries = 0, bytes = 0;
  bool ends = false;
  base::TimePoint at = lane_.clock().now();
  while (!queue_.empty() && queue_.front().install == 0 && entries < kEntriesPerBatch &&
         bytes < kEntryBytesPerBatch && !ends) {
    ApplyWork work = std::move(queue_.front());
    queue_.pop_front();
    for (auto it = work.entries.begin(); it != work.entries.end(); ++it) {
      const raft::Entry& entry = *it;
      const bool settled = !state_->compacting();
      const std::int64_t floor = state_->compact_revision();
      at = apply_entry(entry, at);
      if (state_->compact_revision() != floor && settled && !compacted && entry.index > log_end_) {
        compacted = {.floor_before = floor, .revision = state_->compact_revision()};
      }
      entries++;
      bytes += entry.data.size();
      // A slice ends after so many. And behind one that was not decided the batch ends, so that
      // raft gives nobody the entry (it is told) when it takes a member that comes after it.
      ends = undecided_->contains(entry) || (catching_up_ && entries >= kEntriesPerSlice);
      if (!ends || it + 1 == work.entries.end()) continue;
      queue_.push_front({.entries = {std::make_move_iterator(it + 1),
                                     std::make_move_iterator(work.entries.end())},
                         .responses = std::exchange(work.responses, {})});
      break;
    }
    std::move(work.responses.begin(), work.responses.end(), std::back_inserter(responses));
  }
  if (compacted) {
    // What it drops is dropped from the next batch on: this one's View shows all that is hashed.
    compaction_hasher_.expect(compacted->revision);
    compacting_since_ = at;
  }
  finish_batch(std::move(batch), std::move(responses), Hearing::kAll);
  if (compacted) {
    compaction_hasher_.begin(shared_.views.load(), compacted->floor_before, compacted->revision);
  }
}

// All that was applied reaches the store before it is replaced; it tells by a note.
void Applier::begin_install() {
  installing_ = true;
  const raft::Index index = queue_.front().install;
  CHECK_GT(index, applied_index_);
  env::log_info("applying snapshot", {{"current-applied-index", applied_index_},
                                      {"incoming-leader-snapshot-index", index}});
  hand_over();
  store_->push_always(
      {.batch = nullptr, .dead = {}, .look = [keeper = shared_.store_keeper, index](store::Store&) {
         keeper->replace(index);
       }});
}

void Applier::take_over(StoreReplaced& replaced) {
  CHECK(installing_ && for_store_.empty());
  CHECK_EQ(replaced.applied_index, queue_.front().install);
  releases_->retired = std::exchange(state_, std::move(replaced.state));
  retired_.push_back(std::exchange(releases_, std::make_shared<Releases>(lane_, this)));
  applied_index_ = snapshot_index_ = replaced.applied_index;
  bytes_since_snapshot_ = 0;
  applied_term_ = replaced.applied_term;
  snapshot_.reset();
  own_term_applied_ = false;
  compacting_since_.reset();
  pending_.clear();
  pending_bytes_ = 0;
  taken_over_ = catching_up_ = true;
  hurries_from_ = lane_.clock().now() + kUnhurriedMax;
}

// Its View is published.
void Applier::tell_of_snapshot() {
  installing_ = false;
  shared_.progress.applied.store(applied_index_, std::memory_order_release);
  for (const auto& front : shared_.fronts) {
    if (KEELSON_PLANTED(kInstallHiddenFromWatchers)) break;
    front->inbox().push_always(AppliedBatch{.events = nullptr, .events_lost = true});
  }
  AppliedNotice notice{.responses = std::move(queue_.front().responses)};
  notice.applied = applied_index_;
  notice.membership_changed = true;
  queue_.pop_front();
  shared_.to_raft_events->push_always(std::move(notice));
  env::log_info("applied snapshot", {{"snapshot-index", applied_index_}});
  for (StateJob& job : std::exchange(after_install_, {})) run_at_state(std::move(job));
  forget_retired();  // the last View of the state before may have gone with the publishing
}

// P6
bool Applier::apply_to_state(const raft::Entry& entry) {
  if (undecided_->contains(entry)) {
    state_->pass_over(entry);
    return false;
  }
  const std::uint64_t undecided = state_->undecided();
  const bool ok = state_->apply(entry, entry.index > log_end_ ? apply::StateMachine::Life::kThis
                                                              : apply::StateMachine::Life::kFormer);
  if (state_->undecided() != undecided) on_undecided(entry);
  return ok;
}

// Nobody has heard of the entry's outcome, and nothing of it is in the store.
void Applier::on_undecided(const raft::Entry& entry) {
  const membership::Roster& roster = *state_->roster();
  if (roster.members.size() == 1 && roster.find(shared_.identity.member_id) != nullptr) {
    env::log_error("a stored record that decides a log entry cannot be read: it changes nothing",
                   {{"index", entry.index}});
    if (auto added = undecided_->add(entry); !added) stop_process(added.error().message());
    return;
  }
  stop_process(fmt::format(
      "a stored record that decides log entry {} cannot be read on this member, and the others "
      "have "
      "decided; if the next start ends so too, remove this member from the cluster and add it anew "
      "with an empty data directory",
      entry.index));
}

// One entry, begun at `at`; when it was done.
base::TimePoint Applier::apply_entry(const raft::Entry& entry, base::TimePoint at) {
  CHECK_EQ(entry.index, applied_index_ + 1);
  if (shared_.on_apply) shared_.on_apply(entry);
  const bool ok = apply_to_state(entry);
  applied_index_ = entry.index;
  applied_term_ = entry.term;
  bytes_since_snapshot_ += entry.data.size();
  const base::TimePoint now = lane_.clock().now();
  if (entry.type != raft::EntryType::kNormal || entry.data.empty()) return now;
  const RequestKind kind = request_kind(entry.data.view());
  apply_times_.observe(kind, ok, now - at);
  if (now - at > shared_.config.warning_apply) {
    shared_.metrics.slow_applies.add();
    env::log_warn("apply request took too long",
                  {{"took", now - at},
                   {"expected-duration", shared_.config.warning_apply},
                   {"prefix", ""},
                   {"request", name_of(kind)},
                   {"size", entry.data.size()}});
  }
  return now;
}

void Applier::finish_batch(std::shared_ptr<base::Batch> batch, std::vector<raft::Message> responses,
                           Hearing hearing) {
  apply::BatchResult result = state_->finish();
  // Entries of others' terms do not make this member's state the newest there is, even if it is
  // the only voter: the one that led before may have answered for more.
  if (result.new_leader_term != 0) {
    own_term_applied_ =
        result.new_leader_term == shared_.progress.leading_term.load(std::memory_order_acquire);
  }
  shared_.metrics.compaction_revisions.add(static_cast<double>(result.dead.size()));
  pending_bytes_ += batch->record_bytes();
  pending_.push_back(batch);
  batches_finished_++;
  reader_ = store::make_reader(stored_, {pending_.begin(), pending_.end()});
  shared_.progress.applied.store(applied_index_, std::memory_order_release);
  if (KEELSON_PLANTED(kViewAfterReply)) {
    lane_.post([this] { publish(); });
  } else {
    publish();
  }

  for_store_bytes_ += batch->record_bytes();
  for_store_.push_back(
      {.batch = std::move(batch), .dead = std::move(result.dead), .look = nullptr});
  if (hearing == Hearing::kNobody) return hand_over_if_due();
  tell(std::move(result), std::move(responses));
  snapshot_if_due();
  hand_over_if_due();
}

void Applier::tell(apply::BatchResult result, std::vector<raft::Message> responses) {
  tell_fronts(result);
  shared_.to_raft_events->push_always(AppliedNotice{
      .responses = std::move(responses),
      .conf_changes = std::move(result.conf_changes),
      .lease_changes = std::move(result.lease_changes),
      .applied = applied_index_,
      .new_leader_term = result.new_leader_term,
      .over_quota = result.over_quota,
      .membership_changed = result.membership_changed,
      .undecided = undecided_->newest(),
  });
}

void Applier::hand_over_if_due() {
  if (for_store_.size() >= kBatchesPerHandOver || for_store_bytes_ >= kBytesPerHandOver ||
      stalled()) {
    hand_over();
  } else if (hand_over_timer_ == 0) {
    hand_over_timer_ = lane_.after(kHandOverDelay, [this] {
      hand_over_timer_ = 0;
      hand_over();
    });
  }
}

void Applier::hand_over() {
  lane_.cancel(std::exchange(hand_over_timer_, 0));
  for (StoreWork& work : std::exchange(for_store_, {})) store_->push_always(std::move(work));
  for_store_bytes_ = 0;
}

void Applier::run_at_store(base::Job job) {
  lane_.post([this, job = std::move(job)]() mutable {
    hand_over();
    shared_.store_lane->post(std::move(job));
  });
}

void Applier::run_at_state(StateJob job) {
  lane_.post([this, job = std::move(job)]() mutable {
    if (stopped_) return;
    if (installing_) return after_install_.push_back(std::move(job));
    hand_over();
    store_->push_always(
        {.batch = nullptr,
         .dead = {},
         .look = [job = std::move(job), view = shared_.views.load()](store::Store& store) mutable {
           job(std::move(view), store);
         }});
  });
}

void Applier::stop() {
  hand_over();
  stopped_ = true;
}

void Applier::publish() {
  auto view = std::make_shared<View>();
  view->keys = state_->publish_keys();
  view->reader = reader_;
  view->leases = state_->leases();
  view->roster = state_->roster();
  if (!alarms_ || *alarms_ != state_->alarms()) {
    alarms_ = std::make_shared<const std::vector<apply::AlarmMember>>(state_->alarms());
  }
  view->alarms = alarms_;
  view->applied_index = applied_index_;
  view->applied_term = applied_term_;
  view->compaction_hashes = compaction_hasher_.hashes();
  view->space = {.file_bytes = space_.file_bytes, .live_bytes = space_.live_bytes + pending_bytes_};
  view->retired_bytes = state_->index_stats().retired_bytes;
  view->key_stats = state_->key_stats();
  view->index_stats = state_->index_stats();
  view->compacting = state_->compacting();
  const auto* self = view->roster->find(shared_.identity.member_id);
  shared_.progress.learner.store(self != nullptr && self->is_learner, std::memory_order_release);
  view->linearizable =
      own_term_applied_ && view->roster->voters() == 1 && self != nullptr && !self->is_learner;
  releases_->views++;
  view->on_release = [releases = releases_, number = view->keys.index.batch()] {
    MAYBE(releases->channel.push(std::uint64_t{number}));
  };
  shared_.views.publish(std::move(view));
}

void Applier::on_compaction_hash() {
  if (stopped_) return;
  publish();
  // Somebody may wait for it.
  for (const auto& front : shared_.fronts) front->inbox().push_always(AppliedBatch{});
}

void Applier::tell_fronts(apply::BatchResult& result) {
  std::shared_ptr<const mvcc::EventBatch> events;
  const bool changed = !result.events.events.empty() || result.events.compact_revision >= 0;
  if (changed) events = std::make_shared<const mvcc::EventBatch>(std::move(result.events));
  if (KEELSON_PLANTED(kWatcherMissesBatch) && batches_finished_ % 20 == 0) events = nullptr;
  std::vector<std::vector<apply::Outcome>> outcomes(shared_.fronts.size());
  for (apply::Outcome& outcome : result.outcomes) {
    const std::uint32_t front = Front::number_of(outcome.request_id);
    if (front < outcomes.size()) outcomes[front].push_back(std::move(outcome));
  }
  for (std::size_t i = 0; i < shared_.fronts.size(); i++) {
    auto& inbox = shared_.fronts[i]->inbox();
    const bool lost = events && inbox.size() >= kFrontBacklogMax;
    inbox.push_always(AppliedBatch{.events = lost ? nullptr : events,
                                   .events_lost = lost,
                                   .outcomes = std::move(outcomes[i])});
  }
}

void Applier::take_snapshot() {
  snapshot_ = log_snapshot(*state_->roster(), applied_index_, applied_term_);
  snapshot_index_ = applied_index_;
  bytes_since_snapshot_ = 0;
}

void Applier::snapshot_if_due() {
  const bool is_due = applied_index_ - snapshot_index_ > shared_.config.snapshot_count ||
                      bytes_since_snapshot_ >= shared_.config.snapshot_log_bytes;
  if (snapshot_ || !is_due) return;
  take_snapshot();
  if (shared_.config.broken.snapshot_ahead_of_checkpoint ||
      KEELSON_PLANTED(kSnapshotAheadOfCheckpoint)) {
    save_snapshot_({*std::exchange(snapshot_, std::nullopt)});
  }
}

}  // namespace keelson::member
