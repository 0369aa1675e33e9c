// DeadlineQueue: when each lease ends. Kept by the leader only.
//
// Grants, revokes and attachments come from the log and live in Lessor, equal on every member.
// Deadlines are not replicated: only the leader counts time, and it ends a lease by asking for a
// revoke to be proposed, never by deleting keys itself. api.md 4.2.
//
//   not leading --promote--> leading --demote--> not leading
//
// While leading, the owner passes on what apply reports, in the order of the log: granted, revoked,
// checkpointed. A promote takes the leases as of one View; reports of entries that View already
// shows must not follow it. With a million leases promote takes a good part of a second: fill a
// fresh queue on a worker lane and move it over, reports of the meantime after it.
//
// Invariants   L1  while leading: holds exactly the leases granted and not yet revoked
//              L2  empty on a member that does not lead; a new leader starts every lease afresh
//              L3  after a promote, no second has more than kExpiriesPerSecond ends (from 1000
//              leases on)
// Time arrives as `now` and never goes back. Touched by jobs of the raft lane only (a fresh one by
// whoever fills it).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/containers.h"
#include "base/result.h"
#include "base/time.h"
#include "lease/lease.h"

namespace keelson::lease {

// A promote spreads the ends of many leases, so that their revokes do not come all at once.
inline constexpr std::size_t kSpreadFromLeases = 1000;
inline constexpr std::size_t kExpiriesPerSecond = 750;

class DeadlineQueue {
 public:
  struct Config {
    // An expired lease whose revoke is not applied after this long is reported again.
    base::Duration retry_interval = base::Seconds(3);
    // How often the time left of a long lease is to be noted in the log (feature LeaseCheckpoint);
    // shorter leases are not noted. Zero: never.
    base::Duration checkpoint_interval{0};
  };
  explicit DeadlineQueue(Config config) : config_(config) {
    CHECK(config.retry_interval > base::Duration(0));
  }

  // Leads from now on: every lease ends at now + extend + (remaining_ttl if > 0, else ttl), later
  // where L3 asks for it. `extend` is the election timeout. Needs: not leading.
  void promote(std::span<const Lease> leases, base::TimePoint now, base::Duration extend);
  // Forgets everything.
  void demote();
  bool leading() const { return leading_; }

  // What apply reports, in the order of the log; ignored while not leading.
  void granted(const Lease& lease, base::TimePoint now);
  void revoked(LeaseId id);
  void checkpointed(LeaseId id, base::Seconds remaining_ttl, base::TimePoint now);

  // Moves the end to now + ttl. kNotFound for a lease it does not hold. kExpired: too late, the
  // caller waits for the revoke (or for demote) and then answers as if the lease were unknown.
  struct Renewal {
    base::Seconds ttl{0};
    bool reset_checkpoint =
        false;  // a checkpoint of 0 has to be proposed first: the log still says less
  };
  base::Result<Renewal, Errc> renew(LeaseId id, base::TimePoint now);

  // Leases past their end, at most `limit`, oldest first. They stay until their revoke is reported,
  // and come again after retry_interval unless it is on its way.
  std::vector<LeaseId> take_expired(base::TimePoint now, std::size_t limit);
  // The revokes of these, which take_expired just gave, are in this leader's log: they will be
  // reported, or it leads no more. A second one could come after somebody has taken the id for a
  // new lease, and end that.
  void revokes_are_logged(std::span<const LeaseId> ids);
  // Leases whose time left is to be proposed as a checkpoint, at most `limit`, each again an
  // interval later.
  struct DueCheckpoint {
    LeaseId id = kNoLease;
    base::Seconds remaining_ttl{0};
  };
  std::vector<DueCheckpoint> take_checkpoints(base::TimePoint now, std::size_t limit);

  // Time left, negative when expired and not yet revoked. kNotFound.
  base::Result<base::Duration, Errc> remaining(LeaseId id, base::TimePoint now) const;
  // All ids, soonest end first; equal ends by id.
  std::vector<LeaseId> by_deadline() const;
  std::size_t size() const { return leases_.size(); }

 private:
  struct Entry {
    base::Seconds ttl{0};
    base::Seconds remaining_ttl{0};
    base::TimePoint deadline;
    base::TimePoint queued;  // where its valid place in expiries_ is; never later than it has to be
    base::TimePoint checkpoint;  // the same in checkpoints_; max(): none
  };
  struct Place {
    base::TimePoint due;
    LeaseId id = kNoLease;
    friend auto operator<=>(const Place&, const Place&) = default;
  };
  // A binary heap, soonest first, whose places may be out of date: a renewal only touches the
  // Entry, and the place is looked at when it comes up. So a keep-alive costs one look-up.
  class Heap {
   public:
    void push(Place place);
    void pop();
    const Place& top() const { return places_.front(); }
    bool empty() const { return places_.empty(); }
    std::size_t size() const { return places_.size(); }
    void assign(std::vector<Place> places);
    void clear() { places_.clear(); }

   private:
    std::vector<Place> places_;
  };

  void queue(LeaseId id, Entry& entry, base::TimePoint due);
  void schedule_checkpoint(LeaseId id, Entry& entry, base::TimePoint now);
  void drop_stale_places();

  Config config_;
  bool leading_ = false;
  base::HashMap<LeaseId, Entry> leases_;
  Heap expiries_;     // one valid place per lease, but for those whose revoke is on its way
  Heap checkpoints_;  // at most one valid place per lease
};

}  // namespace keelson::lease
