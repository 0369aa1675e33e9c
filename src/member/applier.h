// Applier: the jobs of the apply lane. Committed entries go through the state machine in batches;
// each batch becomes a View before anybody hears of it, then goes to the fronts, the raft lane and
// the store.
//
//   entries -> StateMachine -> publish View -> outcomes and events to each Front (one message each)
//                                           -> applied index, lease and conf changes to the raft
//                                           lane
//                                           -> batch to the store lane, kept pending until it is
//                                           there; several at once, last of all: nobody waits for
//                                           it
//
// Invariants
//   P1  A View is published before any reply or event of its batch is handed over.
//   P2  A record is in the View's store snapshot or among its pending batches, or in both.
//   P3  What is applied and not yet in the store is bounded in bytes and batches: the lane stalls,
//       raft goes on.
//   P4  A snapshot of the log at S is asked for only once a synced checkpoint >= S is known (D7).
//   P5  A snapshot replaces state and store together, as one item among the entries; Views of
//       before stay readable, and watchers are caught up from the first View of the new state.
//   P6  An entry that a record of this member's own must decide, and that cannot be read, is never
//       decided twice. Among other members, who have decided, it ends the process before anybody
//       sees an outcome. A member that is alone decides that nothing is changed, and writes that
//       down before anything follows from it (undecided_entries.h): wherever a start begins to
//       apply, and whatever it can read by then, the entry changes nothing; and no member added
//       later is given it, in this life or another.
//
// Compaction goes on in slices between batches of entries, by turns, one job each, and rests after
// each slice. So does what was committed while a snapshot was installed, for two seconds or
// until the member has caught up: other members may share the machine, and clients wait for them.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "apply/state_machine.h"
#include "env/channel.h"
#include "env/lane.h"
#include "member/shared.h"
#include "member/store_keeper.h"
#include "member/undecided_entries.h"
#include "store/snapshot.h"

namespace keelson::member {

// Committed entries, durable here, in the order of the log; `responses` tell the core that they are
// applied.
struct ApplyWork {
  std::vector<raft::Entry> entries;
  std::vector<raft::Message> responses;
  // If not 0, there are no entries: the snapshot at this index is staged and in the log, and takes
  // the place of the state. Entries that follow go on from there.
  raft::Index install = 0;
};

// A snapshot of the log to be made durable: .snap file, then the WAL's record.
struct SnapshotWork {
  raft::Snapshot snapshot;
};

class Applier {
 public:
  struct Start {
    std::unique_ptr<apply::StateMachine> state;
    std::unique_ptr<UndecidedEntries> undecided;
    std::shared_ptr<const store::Snapshot> stored;
    store::Space space;
    raft::Index applied_index = 0;
    raft::Term applied_term = 0;
    raft::Index snapshot_index = 0;          // of the newest snapshot record in the WAL
    std::uint64_t bytes_since_snapshot = 0;  // of entries behind it that are applied
    raft::Index log_end = 0;  // of the log found at the start: up to here it is replayed
  };
  Applier(env::Lane& lane, Shared& shared, Start start);
  ~Applier();
  Applier(const Applier&) = delete;
  Applier& operator=(const Applier&) = delete;

  // Wiring, before start.
  void connect(env::Channel<StoreWork>* store, base::Function<void(SnapshotWork)> save_snapshot);

  env::Channel<ApplyWork>& inbox() { return inbox_; }
  env::Channel<StoreNote>& notes() { return notes_; }

  // Publishes the first View. Before the lanes start.
  void publish_first();
  // Runs `job` on the store lane once the store has all that is in the newest View. From any lane.
  void run_at_store(base::Job job);
  // Runs `job` on the store lane when the store has what is in the newest View and nothing else.
  // From any lane.
  using StateJob = base::Function<void(std::shared_ptr<const View>, store::Store&)>;
  void run_at_state(StateJob job);
  // Applies nothing more: what is left in the log is applied at the next start. On the apply lane.
  void stop();
  const apply::StateMachine& state() const { return *state_; }

 private:
  // Views tell it their end from any lane; it forgets the Applier when that goes.
  struct Releases;

  void on_work(std::vector<ApplyWork> works);
  void on_notes(std::vector<StoreNote> notes);
  void run();
  void schedule_run();
  void free_due();
  bool stalled() const;
  std::shared_ptr<base::Batch> begin_batch();
  void apply_entries();
  void begin_install();
  void take_over(StoreReplaced& replaced);
  void tell_of_snapshot();
  void forget_retired();
  void compact_slice();
  void rest_from_compaction();
  void rest_while_behind();
  base::TimePoint apply_entry(const raft::Entry& entry, base::TimePoint at);
  bool apply_to_state(const raft::Entry& entry);
  void on_undecided(const raft::Entry& entry);
  void compaction_ended(base::TimePoint now);
  // Of a slice of a compaction that goes on nobody needs to hear.
  enum class Hearing : std::uint8_t { kAll, kNobody };
  void finish_batch(std::shared_ptr<base::Batch> batch, std::vector<raft::Message> responses,
                    Hearing hearing);
  void tell(apply::BatchResult result, std::vector<raft::Message> responses);
  void hand_over_if_due();
  void hand_over();
  void publish();
  void on_compaction_hash();
  void tell_fronts(apply::BatchResult& result);
  void take_snapshot();
  void snapshot_if_due();

  env::Lane& lane_;
  Shared& shared_;
  std::unique_ptr<apply::StateMachine> state_;
  env::Channel<StoreWork>* store_ = nullptr;
  base::Function<void(SnapshotWork)> save_snapshot_;

  std::deque<ApplyWork> queue_;
  bool run_scheduled_ = false;
  bool compact_is_next_ = false;
  env::TimerId compact_rest_ = 0;  // runs until the next slice
  bool freeing_ = false;
  bool stopped_ = false;
  bool installing_ = false;   // the store lane has it; nothing is applied meanwhile
  bool taken_over_ = false;   // state and store are the snapshot's; its View is not published yet
  bool catching_up_ = false;  // with what was committed meanwhile
  base::TimePoint hurries_from_;  // then it goes on without rests, caught up or not
  env::TimerId rest_ = 0;         // runs until the next slice of it

  raft::Index applied_index_;
  raft::Term applied_term_;
  const raft::Index log_end_;
  bool own_term_applied_ = false;
  const std::unique_ptr<UndecidedEntries> undecided_;

  std::vector<StateJob> after_install_;  // wait for View and store to be of one state again
  std::shared_ptr<const store::Snapshot> stored_;
  store::Space space_;
  std::deque<std::shared_ptr<const base::Batch>> pending_;  // not known to be in the store
  std::size_t pending_bytes_ = 0;
  std::uint64_t batches_finished_ = 0;
  std::vector<StoreWork> for_store_;  // finished, and not handed over yet
  std::size_t for_store_bytes_ = 0;
  env::TimerId hand_over_timer_ = 0;
  std::shared_ptr<const base::RevisionReader> reader_;
  std::shared_ptr<const std::vector<apply::AlarmMember>> alarms_;

  KindTimes apply_times_;
  CompactionHasher compaction_hasher_;
  std::optional<base::TimePoint> compacting_since_;

  raft::Index snapshot_index_;
  std::uint64_t bytes_since_snapshot_;
  std::optional<raft::Snapshot> snapshot_;  // captured, waiting for its checkpoint

  std::shared_ptr<Releases> releases_;  // of the Views of this state
  std::vector<std::shared_ptr<Releases>>
      retired_;  // of states before, while Views of them are held
  env::Channel<ApplyWork> inbox_;
  env::Channel<StoreNote> notes_;
};

}  // namespace keelson::member
