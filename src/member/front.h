// Front: one io lane's door to the member. Everything a service asks of the member goes through the
// Front of its own lane, and every answer comes back as a job of that lane.
//
// Replicated requests: the Front gives each an id that tells its lane, hands it to the raft lane,
// and keeps the caller's continuation until the outcome comes from the apply lane, or the request
// timeout passes, or the caller gives up. A write whose caller gave up may still be applied.
//
// Reads: view() is the newest View. A linearizable read needs view()->linearizable, or asks
// barrier(), which gathers the reads of this lane into one ReadIndex at a time (api.md 7.2).
//
// Invariants
//   F1  Each continuation runs exactly once, or never after forget() of its ticket.
//   F2  What is outstanding is bounded in number and bytes; beyond it: kTooManyRequests.
//   F3  Continuations never run inside the call that was given them.
//   F4  Replies and events of a batch come after its View can be had by view().
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "apply/state_machine.h"
#include "base/containers.h"
#include "base/function.h"
#include "base/result.h"
#include "base/time.h"
#include "env/channel.h"
#include "env/lane.h"
#include "lease/lease.h"
#include "member/config.h"
#include "member/errc.h"
#include "member/lease_forwarder.h"
#include "member/messages.h"
#include "member/request_ids.h"
#include "member/shared.h"
#include "member/slice_pace.h"
#include "member/view.h"
#include "store/store.h"

namespace keelson::member {

// The outcome of a replicated request, with what its header needs.
struct Reply {
  apply::Answer answer;
  std::int64_t revision = 0;
  raft::Term term = 0;
};

// Who is told of batches on this lane: the watch hub's owner.
class BatchListener {
 public:
  virtual ~BatchListener() = default;
  // In order, once per batch that changed keys or the compaction floor; its View can be had
  // already.
  virtual void on_batch(const std::shared_ptr<const mvcc::EventBatch>& events) = 0;
  // One or more batches did not fit this lane's channel: everything newer than the last one must be
  // caught up.
  virtual void on_batches_lost() = 0;
};

// How long a lease has to live.
struct LeaseTime {
  base::Duration remaining{0};  // negative: expired and not revoked yet
  // What the leader says of the lease itself; nullopt: this member leads, and its View says it.
  struct Told {
    base::Seconds granted_ttl{0};
    std::vector<std::string> keys;  // if asked for
  };
  std::optional<Told> told;
};

class Front {
 public:
  using ReplyJob = base::Function<void(base::Result<Reply, Failure>)>;
  using ViewJob = base::Function<void(base::Result<std::shared_ptr<const View>, Errc>)>;
  // Time granted; zero seconds for a lease that is not there.
  using RenewJob = base::Function<void(base::Result<base::Seconds, Errc>)>;
  // Or kLeaseNotFound.
  using TimeToLiveJob = base::Function<void(base::Result<LeaseTime, Errc>)>;
  // In the order asked for, max() for one that the leader does not know (yet); empty if another
  // leads, or nobody.
  using LeaseEndsJob = base::Function<void(std::vector<base::TimePoint>)>;

  Front(env::Lane& lane, std::uint32_t number, Shared& shared);
  ~Front();
  Front(const Front&) = delete;
  Front& operator=(const Front&) = delete;

  env::Lane& lane() { return lane_; }
  Shared& shared() { return shared_; }
  const Config& config() const { return shared_.config; }
  const Identity& identity() const { return shared_.identity; }
  const Progress& progress() const { return shared_.progress; }
  std::uint32_t number() const { return number_; }
  // What requests of this lane took; the services add those that do not go through the log.
  KindTimes& request_times() { return request_times_; }

  // At most one; outlives the lane's jobs.
  void set_listener(BatchListener* listener) { listener_ = listener; }

  // Where reads that keep a View beyond their turn say so.
  HeldViews& held_views() { return held_views_; }

  // The newest View. Never null.
  const std::shared_ptr<const View>& view() { return views_.get(); }

  // Proposes the bytes of a message that is field `field` of an InternalRaftRequest
  // (formats.md 5.2): canonical protobuf, validated by the caller. Fails with kTooManyRequests,
  // kRequestTooLarge, kStopped, kProposalDropped, a timeout, or what apply answers.
  Ticket propose(std::uint32_t field, std::string_view request, ReplyJob done);

  // A View no older than this call. kTimeout, kLeaderChanged, kStopped.
  Ticket barrier(ViewJob done);

  // The first View of which `ready` is true, looked at after every batch. kTimeoutApplied after
  // `patience`.
  Ticket when(base::Function<bool(const View&)> ready, std::optional<base::Duration> patience,
              ViewJob done);

  // For a grant that leaves the choice to the server: positive, unique in the cluster.
  // formats.md 5.2
  lease::LeaseId new_lease_id();
  // api.md 4.1. Asked of the leader, wherever it is. kNoLeader, kTimeout, kTimeoutApplied,
  // kStopped.
  Ticket renew(lease::LeaseId id, RenewJob done);
  Ticket time_to_live(lease::LeaseId id, bool keys, TimeToLiveJob done);
  // Asked of this member alone, by others: kNotPrimaryLessor if it does not lead.
  Ticket renew_here(lease::LeaseId id, RenewJob done);
  Ticket time_to_live_here(lease::LeaseId id, TimeToLiveJob done);
  // When leases end. A few thousand at a time, for it is a job of the raft lane.
  Ticket lease_ends(std::vector<lease::LeaseId> ids, LeaseEndsJob done);

  // Proposes a change of the configuration; its id is set here. Ends when it is applied or refused,
  // or with kStopped or kProposalDropped: the server knows no timeout for it (api.md 7.3).
  Ticket propose_change(raft::ConfChange change, ReplyJob done);
  // kTooManyRequests, kStopped; a lost answer is kTimeout.
  using ProgressJob = base::Function<void(base::Result<ProgressAnswer, Errc>)>;
  Ticket ask_progress(raft::NodeId id, ProgressJob done);
  // Asks raft to let that member lead; it may come to nothing. False if raft cannot be asked.
  bool transfer_leader(raft::NodeId to) { return ask_raft(TransferLeader{to}); }

  // Runs `work` on a worker lane, where it may block, and what it returns on this lane afterwards.
  Ticket on_worker(base::Function<base::Job()> work);
  // The same on the lane of transfers (Shared::transfer_lane).
  Ticket on_transfer(base::Function<base::Job()> work);
  // Runs `slice` on a worker, again and again until it returns true, then `done` on this lane. For
  // what can wait: a slice should take some 300 us, and while anybody writes the worker rests
  // between two as `pace` says, so that whoever wants the core has it next. Once its ticket is
  // forgotten no slice is begun.
  Ticket in_slices(base::Function<bool()> slice, base::Job done, SlicePace pace = SlicePace());
  // The same on the store lane, once everything in the newest View is in the store.
  Ticket on_store(base::Function<base::Job(store::Store&)> work);

  // The same with the newest View by then, and a store that has what is in it and nothing else.
  Ticket on_state(base::Function<base::Job(std::shared_ptr<const View>, store::Store&)> work);

  // The caller is gone: its continuation will not run. Nothing happens for a ticket that is done,
  // or 0.
  void forget(Ticket ticket);

  // What is outstanding is answered kStopped, and so is what comes after.
  void stop();
  // Forgets what is outstanding: the process is gone. Only when no lane runs.
  void abandon();

  env::Channel<FrontMessage>& inbox() { return inbox_; }

  // Which of `fronts` waits for this request; `fronts` or more: none does.
  static std::uint32_t number_of(std::uint64_t request_id) {
    return RequestIds::lane_of(request_id);
  }

 private:
  using Continuation = std::variant<ReplyJob, ViewJob, RenewJob, TimeToLiveJob, LeaseEndsJob,
                                    ProgressJob, base::Function<void(base::Job)>>;
  struct Waiting {
    Continuation done;
    std::size_t bytes = 0;  // of a proposal
    RequestKind kind = RequestKind::kOther;
    base::TimePoint since;
    lease::LeaseId lease = lease::kNoLease;  // of a renewal
    bool asked_again = false;                // of a renewal: apply has caught up meanwhile
    bool here_only = false;                  // of a question about a lease: not passed on
    bool keys = false;                       // likewise: its keys too
    bool confirmed = false;                  // of a read: its index is known, only apply lags
  };
  struct Condition {
    Ticket ticket;
    base::Function<bool(const View&)> ready;
  };
  struct Due {
    base::TimePoint at;
    Ticket ticket;
    friend bool operator>(const Due& a, const Due& b) { return a.at > b.at; }
  };

  void on_messages(std::vector<FrontMessage> messages);
  void on(AppliedBatch message);
  void on(const ReadIndexAnswer& message);
  void on(const RenewAnswer& message);
  void on(const TimeToLiveAnswer& message);
  void on(LeaseEndsAnswer message);
  void on(const ProgressAnswer& message);
  void on(const ProposalRefused& message);
  void on(const LeaderNotice& message);

  Ticket wait(Continuation done, std::optional<base::Duration> patience, Ticket ticket = 0);
  Ticket wait_for_job();
  Ticket on_lane(env::Lane& lane, base::Function<base::Job()> work);
  void come_back(Ticket ticket, base::Job then);
  struct Slices;
  void run_slice(std::shared_ptr<Slices> slices);
  // Takes the continuation out; nullopt if it was forgotten.
  std::optional<Waiting> take(Ticket ticket);
  void fail(Ticket ticket, Errc errc);
  void fail_soon(Ticket ticket, Errc errc);
  void look_at_conditions();
  void begin_read_round();
  void send_read_index();
  void drop_past_dues();
  void arm_timer();
  void on_timer();
  Errc timeout_of(const Waiting& waiting);
  Errc proposal_timeout(base::TimePoint since);
  bool connected_since(base::TimePoint since);
  void withdraw(Ticket ticket, const Waiting& waiting);
  bool ask_raft(FrontRequest request);
  Ticket begin_renewal(lease::LeaseId id, bool here_only, RenewJob done);
  Ticket begin_time_to_live(lease::LeaseId id, bool here_only, bool keys, TimeToLiveJob done);
  void ask_time_to_live(Ticket ticket);
  void not_leading(Ticket ticket);
  void pass_on(Ticket ticket);
  void pass_on_later(Ticket ticket);
  void told_by_leader(Ticket ticket,
                      base::Result<LeaseForwarder::Answer, LeaseForwarder::Errc> told);
  void renewed(Ticket ticket, const RenewAnswer& message);
  void renew_once_applied(Ticket ticket);

  env::Lane& lane_;
  const std::uint32_t number_;
  Shared& shared_;
  ViewCache views_;
  HeldViews held_views_;
  RequestIds ids_;
  KindTimes request_times_;
  BatchListener* listener_ = nullptr;
  bool stopped_ = false;

  base::HashMap<Ticket, Waiting> waiting_;
  std::size_t proposals_ = 0;
  std::size_t proposal_bytes_ = 0;
  std::vector<Due> dues_;  // a heap, soonest first; entries of tickets that are done are skipped
  env::TimerId timer_ = 0;
  base::TimePoint timer_at_;
  std::vector<Condition> conditions_;

  // One ReadIndex at a time; reads that come meanwhile join the next.
  std::vector<Ticket> next_round_;
  std::vector<Ticket> round_;
  std::uint64_t round_context_ = 0;
  env::TimerId round_timer_ = 0;

  // Questions about leases for the leader, while nobody leads or it does not answer.
  std::vector<Ticket> to_pass_on_;
  env::TimerId pass_on_timer_ = 0;
  std::unique_ptr<LeaseForwarder> forwarder_;  // made when it is first needed

  raft::NodeId leader_ = raft::kNone;
  bool had_leader_ = false;  // there was a leader in this life
  std::optional<base::TimePoint> leader_lost_at_;
  std::optional<base::TimePoint> elected_at_;  // this member; the last time

  env::Channel<FrontMessage> inbox_;  // last: its jobs use the rest
};

}  // namespace keelson::member
