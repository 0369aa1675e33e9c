// Hub: all watchers of one io lane, and who is told what.
//
// Batches of events come in the order they were applied. Let H be the revision up to which the hub
// has seen them and P the published one, of the newest View; H <= P. Each watcher has a revision
// `next`: it has been told of, or does not want, all that lies below.
//
//   create --start 0 or above H--> Synced      next > H: told as batches come
//          --start at or below H-> Unsynced    next <= H: caught up from a View, in rounds
//          --start below the floor-> Ended     told so; holds its id until the client cancels it
//   Synced   --its stream is full--> Victim    set aside, nothing is kept for it
//            --a batch was lost, or a superseded value is cold--> Unsynced
//   Victim   --its stream has drained--> Unsynced
//   Unsynced --caught up beyond H--> Synced;  --stream full--> Victim;
//            --overtaken by compaction, history unreadable--> Ended
//   any      --cancel, stream closed--> gone
//
// A round catches up a number of unsynced watchers together: those next to each other in the order
// of `next`, in one slice of history that somebody else reads (begin_round, end_round). Rounds go
// around that order, so that whoever is far behind does not keep those nearby from catching up.
// Batches that come while the last slice is read are kept aside, so a round that reached P ends in
// step with the hub however fast writes come.
//
// Invariants
//   W1  A watcher is told of each change of its range from its start on exactly once, ascending by
//       revision, all of one revision in one response but for fragments; or it is told that it has
//       ended, and of nothing after that.
//   W2  Synced: it stands in its group, and was told of all from `next` up to H. Unsynced: next <=
//       H, and it stands in the order of rounds. Victim: next <= H, and its stream is among the
//       clogged.
//   W3  A progress response carries H, and only when every watcher it speaks of is synced, its
//       start has come, and next <= H + 1.
//   W4  What the hub holds for watchers is bounded: a number of watchers, of batches not yet
//       delivered and of batches kept aside for a round; what a stream holds is the Outlet's to
//       bound.
//
// Touched by one lane; never blocks. No output order comes from a hash table.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/containers.h"
#include "base/result.h"
#include "base/storage.h"
#include "mvcc/range.h"
#include "mvcc/types.h"
#include "watch/catch_up.h"
#include "watch/event_list.h"
#include "watch/interval_tree.h"
#include "watch/types.h"

namespace keelson::watch {

class Hub {
 public:
  struct Options {
    std::size_t fragment_bytes = 2'097'152;  // api.md 3.5
    std::size_t watchers_max = 1'000'000;
    std::size_t batches_max = 1024;       // pushed and not yet delivered
    std::size_t kept_batches_max = 1024;  // aside for a round
    std::size_t round_watchers = 512;
    SliceLimits slice;
  };
  struct Stats {
    std::uint64_t streams = 0;
    std::uint64_t watchers = 0;
    std::uint64_t slow = 0;     // unsynced and victims
    std::uint64_t events = 0;   // told, each watcher counted
    std::uint64_t pending = 0;  // events pushed and not looked at yet
    std::uint64_t losses = 0;
    std::uint64_t rounds = 0;
    std::uint64_t unreadable = 0;  // superseded values that could not be read
  };
  class Stream;

  // `revision` is that of the newest View: batches up to it are not news.
  Hub(Options options, std::int64_t revision);
  ~Hub();  // all streams are closed
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  // --- streams. `published` is the newest View.

  // `outlet` outlives the stream.
  Stream& open(Outlet& outlet);
  // All its watchers go; nothing more is delivered.
  void close(Stream& stream);
  // Delivers created or refused, at once and before anything else of this watcher.
  void create(Stream& stream, const CreateRequest& request, const mvcc::View& published);
  // Delivers canceled if there is such a watcher, else nothing. api.md 3.3
  void cancel(Stream& stream, WatchId id, const mvcc::View& published);
  // Delivers progress of the whole stream once H has reached what is published now, unless W3
  // forbids it then, or the stream is full.
  void request_progress(Stream& stream, const mvcc::View& published);
  // The stream's progress interval has passed: progress of each watcher that wants it and was told
  // nothing since the tick before.
  void tick(Stream& stream);
  // The stream has drained: what was set aside goes on.
  void resume(Stream& stream);
  // The same for all streams that have room again.
  void resume_all();
  bool has_victims() const { return !clogged_.empty(); }

  // --- batches

  // In order. Beyond the bound the hub catches up instead, as in lose().
  void push(std::shared_ptr<const mvcc::EventBatch> batch, const mvcc::View& published);
  // Batches were lost: everybody must be caught up to what is published.
  void lose(const mvcc::View& published);
  // Tells watchers of what was pushed, about `budget` of them and the whole of a revision in any
  // case; true if some is left. `reader` is that of `published`.
  bool deliver(const mvcc::View& published, const base::RevisionReader& reader, std::size_t budget);

  // --- catching up, one round at a time

  // What is to be read from `published`, nullopt if nobody is behind or a round is under way. Ends
  // watchers that compaction has overtaken.
  std::optional<Wanted> begin_round(const mvcc::View& published);
  // What was read for it, and the newest View by now.
  void end_round(base::Result<CaughtUp, mvcc::Errc> slice, const mvcc::View& published,
                 const base::RevisionReader& reader);
  bool round_under_way() const { return round_.has_value(); }

  std::int64_t revision() const { return revision_; }  // H
  const Stats& stats() const { return stats_; }
  const SliceLimits& slice_limits() const { return options_.slice; }

  // W2 and all counts, for tests: walks everything.
  void check() const;

 private:
  struct Watcher;
  struct Group;
  using Place = std::pair<std::int64_t, std::uint64_t>;  // next, serial
  using Targets = std::vector<Watcher*> Group::*;

  struct Round {
    std::vector<Watcher*> members;  // nullptr: gone meanwhile
    std::int64_t revision = 0;      // of its View
    // Delivered since it began, so that its end can join them.
    std::vector<std::shared_ptr<const mvcc::EventBatch>> kept;
    bool kept_all = true;
  };

  // What one delivery needs.
  struct Delivery {
    EventList& events;
    std::int64_t header_revision;
    const base::RevisionReader& reader;
    std::int64_t compact_revision;
    Targets targets;
  };

  std::optional<Refusal> refusal(const Stream& stream, const CreateRequest& request) const;
  WatchId choose_id(Stream& stream, WatchId wanted);
  Group& group_of(const mvcc::KeyRange& range);
  void leave_group(Group& group);
  template <class F>
  void each_group(std::string_view key, F&& found) const;

  void deliver_batch(const mvcc::EventBatch& batch, const mvcc::View& published,
                     const base::RevisionReader& reader, std::uint64_t goal);
  void prefetch(const mvcc::EventBatch& batch, std::size_t from) const;
  void keep_for_round(std::shared_ptr<const mvcc::EventBatch> batch);
  // Adds the events of these places that somebody wants to the delivery, for their groups.
  void choose(const base::ChangeList<mvcc::Event>& events, std::size_t from, std::size_t to,
              const Delivery& delivery);
  void choose_packed(const base::Tombstones& deleted, std::size_t from, std::size_t to,
                     const Delivery& delivery);
  using Stretch = std::pair<std::size_t, std::size_t>;
  std::vector<Stretch> wanted_of(const base::Tombstones& deleted, std::size_t from,
                                 std::size_t to) const;
  template <class Add>
  void choose_one(std::string_view key, const Delivery& delivery, const Add& add);
  // Tells the groups of the events chosen for them.
  void deliver(const Delivery& delivery);
  void deliver(Group& group, const Delivery& delivery);
  bool send(Watcher& watcher, const Payload& payload, std::int64_t header_revision);
  void send_pieces(Watcher& watcher, const Payload& payload, std::size_t from,
                   std::int64_t header_revision);
  void hold_back(Watcher& watcher, std::int64_t revision, bool live);
  void reached(std::int64_t revision);

  void join_synced(Watcher& watcher);
  void leave_state(Watcher& watcher);
  void become_unsynced(Watcher& watcher, std::int64_t next);
  void become_victim(Watcher& watcher, std::int64_t next);
  void end(Watcher& watcher, Response response);
  void remove(Watcher& watcher);
  void unclog(Stream& stream);

  std::vector<Watcher*> take_members();
  void could_not_read(const std::vector<Watcher*>& members, const mvcc::View& published);
  // `choose` has the events chosen.
  template <class Choose>
  void tell_members(const std::vector<Watcher*>& members, const Delivery& delivery,
                    std::int64_t through, const Choose& choose);
  void advance(Watcher& watcher, std::int64_t through);
  void join_from_kept(const std::vector<Watcher*>& members, const Round& round,
                      const mvcc::View& published, const base::RevisionReader& reader);
  bool may_progress(const Watcher& watcher) const;
  void progress(Stream& stream);

  const Options options_;
  std::int64_t revision_;
  std::uint64_t next_serial_ = 1;
  Stats stats_;

  base::OrderedMap<std::uint64_t, std::unique_ptr<Stream>> streams_;  // by serial
  base::HashMap<std::string, std::unique_ptr<Group>> singles_;        // by key
  IntervalTree<std::unique_ptr<Group>> ranges_;
  base::OrderedMap<Place, Watcher*> unsynced_;
  std::vector<Stream*> clogged_;           // that have victims
  std::vector<Stream*> progress_waiting_;  // asked for progress that H has not reached

  std::deque<std::shared_ptr<const mvcc::EventBatch>> batches_;
  std::size_t batch_at_ = 0;  // events of the first that are told
  std::uint64_t work_ = 0;    // events looked at and told, of all deliveries
  std::vector<Group*> touched_;

  std::optional<Round> round_;
  std::int64_t turn_ = 0;  // where in the order of `next` the next round begins
  std::size_t alone_ = 0;  // so many rounds have one member: a record could not be read for all
};

}  // namespace keelson::watch
