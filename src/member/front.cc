#include "member/front.h"

#include <algorithm>

#include "base/field_writer.h"
#include "base/planted.h"
#include "base/varint.h"
#include "member/applier.h"
#include "member/peers.h"
#include "raft/wire.h"

namespace keelson::member {
namespace {

constexpr std::size_t kUnbounded = static_cast<std::size_t>(-1);
// F2. Beyond it an answer of "too many requests" is better than memory.
constexpr std::size_t kProposalsMax = 100'000;
constexpr std::size_t kProposalBytesMax = std::size_t{256} << 20;
constexpr std::size_t kWaitingMax = 1'000'000;
// api.md 7.5
constexpr raft::Index kApplyLagMax = 5000;
// api.md 7.2
constexpr base::Duration kReadIndexRetry = base::Milliseconds(500);
constexpr base::Duration kAppliedPatience = base::Seconds(1);
// Between two attempts to ask the leader about a lease.
constexpr base::Duration kPassOnPause = base::Milliseconds(50);
// Somebody writes if anything was applied within this time.
constexpr base::Duration kBusyFor = base::Milliseconds(100);

// header (100) { ID (1) }, then the request under its own field.
base::SharedBytes encode_proposal(std::uint64_t id, std::uint32_t field, std::string_view request) {
  const std::size_t header = base::varint_field_size(1, id);
  const std::size_t size =
      base::message_field_size(field, request.size()) + base::message_field_size(100, header);
  auto bytes = std::make_shared_for_overwrite<char[]>(size);
  base::FieldWriter out(bytes.get());
  out.message(field, request);
  out.head(100, header);
  out.number(1, id);
  CHECK_EQ(out.at(), bytes.get() + size);
  const std::string_view view(bytes.get(), size);
  return {std::move(bytes), view};
}

}  // namespace

Front::Front(env::Lane& lane, std::uint32_t number, Shared& shared)
    : lane_(lane),
      number_(number),
      shared_(shared),
      views_(lane, shared.views),
      held_views_(
          lane, number,
          {.bytes_max = shared.config.held_views_bytes_max,
           .age_max = shared.config.held_views_age_max},
          shared.oldest_views, [this]() -> const View& { return *view(); },
          [this] { shared_.metrics.views_ended.add(); }),
      ids_(shared.identity.member_id, number, shared.clock->wall_now()),
      request_times_(*shared.metrics.registry, KindTimes::Of::kRequest),
      inbox_(lane, kUnbounded,
             [this](std::vector<FrontMessage> messages) { on_messages(std::move(messages)); }) {
  CHECK_LT(number, kNoWaitingLane);
}

Front::~Front() { CHECK(waiting_.empty()); }

void Front::on_messages(std::vector<FrontMessage> messages) {
  for (FrontMessage& message : messages) {
    std::visit([this](auto& one) { on(std::move(one)); }, message);
  }
}

// --- waiting

Ticket Front::wait(Continuation done, std::optional<base::Duration> patience, Ticket ticket) {
  if (ticket == 0) ticket = ids_.next();
  const auto now = lane_.clock().now();
  waiting_.try_emplace(ticket, Waiting{.done = std::move(done), .since = now});
  if (patience) {
    drop_past_dues();
    dues_.push_back({.at = now + *patience, .ticket = ticket});
    std::push_heap(dues_.begin(), dues_.end(), std::greater<>());
    arm_timer();
  }
  if (stopped_)
    fail_soon(ticket, Errc::kStopped);
  else if (waiting_.size() > kWaitingMax)
    fail_soon(ticket, Errc::kTooManyRequests);
  return ticket;
}

std::optional<Front::Waiting> Front::take(Ticket ticket) {
  const auto it = waiting_.find(ticket);
  if (it == waiting_.end()) return std::nullopt;
  Waiting waiting = std::move(it->second);
  waiting_.erase(it);
  if (waiting.bytes > 0) {
    proposals_--;
    proposal_bytes_ -= waiting.bytes;
    shared_.metrics.proposals_pending.add(-1);
  }
  return waiting;
}

void Front::forget(Ticket ticket) {
  if (ticket == 0) return;
  const auto waiting = take(ticket);
  if (!waiting) return;
  withdraw(ticket, *waiting);
  std::erase_if(conditions_, [ticket](const Condition& one) { return one.ticket == ticket; });
}

// A proposal that nobody waits for must not be made once there is a leader.
void Front::withdraw(Ticket ticket, const Waiting& waiting) {
  if (!std::holds_alternative<ReplyJob>(waiting.done) || stopped_) return;
  MAYBE(ask_raft(Withdraw{ticket}));
}

void Front::fail(Ticket ticket, Errc errc) {
  auto waiting = take(ticket);
  if (!waiting) return;
  if (waiting->bytes > 0) {
    shared_.metrics.proposals_failed.add();
    request_times_.observe(waiting->kind, false, lane_.clock().now() - waiting->since);
  }
  std::visit(
      [errc](auto& done) {
        using Done = std::decay_t<decltype(done)>;
        if constexpr (std::is_same_v<Done, ReplyJob>) {
          done(base::fail(Failure(errc)));
        } else if constexpr (std::is_same_v<Done, LeaseEndsJob>) {
          done({});
        } else if constexpr (!std::is_same_v<Done, base::Function<void(base::Job)>>) {
          done(base::fail(errc));
        }
      },
      waiting->done);
}

void Front::fail_soon(Ticket ticket, Errc errc) {
  lane_.post([this, ticket, errc] { fail(ticket, errc); });
}

// Answers come much in the order of the questions: so the heap is about as long as what is under
// way, not as all that was asked within the request timeout.
void Front::drop_past_dues() {
  while (!dues_.empty() && !waiting_.contains(dues_.front().ticket)) {
    std::pop_heap(dues_.begin(), dues_.end(), std::greater<>());
    dues_.pop_back();
  }
}

void Front::arm_timer() {
  if (dues_.empty() || (timer_ != 0 && timer_at_ <= dues_.front().at)) return;
  lane_.cancel(timer_);
  timer_at_ = dues_.front().at;
  timer_ = lane_.at(timer_at_, [this] {
    timer_ = 0;
    on_timer();
  });
}

void Front::on_timer() {
  const auto now = lane_.clock().now();
  while (!dues_.empty() && (dues_.front().at <= now || !waiting_.contains(dues_.front().ticket))) {
    const Ticket ticket = dues_.front().ticket;
    std::pop_heap(dues_.begin(), dues_.end(), std::greater<>());
    dues_.pop_back();
    const auto it = waiting_.find(ticket);
    if (it == waiting_.end() || it->second.confirmed) continue;
    std::erase_if(conditions_, [ticket](const Condition& one) { return one.ticket == ticket; });
    withdraw(ticket, it->second);
    fail(ticket, timeout_of(it->second));
  }
  arm_timer();
}

// api.md 7.3
Errc Front::proposal_timeout(base::TimePoint since) {
  // Nobody has led since: it was never handed to raft.
  const bool handed = leader_ != raft::kNone || (leader_lost_at_ && since < *leader_lost_at_);
  if (!handed) return Errc::kContextDeadline;
  const auto before = 2 * shared_.config.election_timeout();
  if (elected_at_ && since < *elected_at_ && since > *elected_at_ - before) {
    return Errc::kTimeoutLeaderFailure;
  }
  const bool is_connected = leader_ == raft::kNone || connected_since(since);
  return is_connected ? Errc::kTimeout : Errc::kTimeoutConnectionLost;
}

// To the leader; leading, to a quorum of the members, learners counted among them.
bool Front::connected_since(base::TimePoint since) {
  if (!shared_.active_since) return true;
  const auto connected = [&](raft::NodeId id) {
    const auto active = shared_.active_since(id);
    return active && *active < since;
  };
  const raft::NodeId self = shared_.identity.member_id;
  if (leader_ != self) return connected(leader_);
  const auto& members = view()->roster->members;
  const auto count = std::count_if(members.begin(), members.end(), [&](const auto& member) {
    return member.id == self || connected(member.id);
  });
  return static_cast<std::size_t>(count) >= members.size() / 2 + 1;
}

Errc Front::timeout_of(const Waiting& waiting) {
  if (std::holds_alternative<ReplyJob>(waiting.done)) return proposal_timeout(waiting.since);
  if (std::holds_alternative<ViewJob>(waiting.done)) {
    const bool reading = waiting.lease == lease::kNoLease;
    return reading ? Errc::kTimeout : Errc::kTimeoutApplied;
  }
  return leader_ == raft::kNone ? Errc::kNoLeader : Errc::kTimeout;
}

void Front::stop() {
  stopped_ = true;
  listener_ = nullptr;
  held_views_.stop();
  lane_.cancel(round_timer_);
  lane_.cancel(timer_);
  lane_.cancel(std::exchange(pass_on_timer_, 0));
  to_pass_on_.clear();
  forwarder_.reset();
  conditions_.clear();
  round_.clear();
  next_round_.clear();
  std::vector<Ticket> tickets;
  for (const auto& [ticket, waiting] : waiting_) tickets.push_back(ticket);
  std::sort(tickets.begin(), tickets.end());
  for (const Ticket ticket : tickets) fail(ticket, Errc::kStopped);
}

void Front::abandon() {
  listener_ = nullptr;
  conditions_.clear();
  to_pass_on_.clear();
  forwarder_.reset();
  while (!waiting_.empty()) forget(waiting_.begin()->first);
  views_.drop();
}

bool Front::ask_raft(FrontRequest request) { return shared_.to_raft->push(std::move(request)); }

// --- replicated requests

Ticket Front::propose(std::uint32_t field, std::string_view request, ReplyJob done) {
  // The log wakes while this goes through raft.
  if (leader_ == shared_.identity.member_id) shared_.log_lane->rouse();
  const Ticket id = ids_.next();
  base::SharedBytes data = encode_proposal(id, field, request);
  const std::size_t bytes = data.size();
  wait(std::move(done), shared_.config.request_timeout(), id);
  if (stopped_) return id;
  Waiting& waiting = waiting_.find(id)->second;
  waiting.bytes = bytes;
  waiting.kind = request_kind(field);
  proposals_++;
  proposal_bytes_ += bytes;
  shared_.metrics.proposals_pending.add();
  const raft::Index committed = shared_.progress.committed.load(std::memory_order_acquire);
  const raft::Index applied = shared_.progress.applied.load(std::memory_order_acquire);
  if (committed > applied + kApplyLagMax || proposals_ > kProposalsMax ||
      proposal_bytes_ > kProposalBytesMax) {
    fail_soon(id, Errc::kTooManyRequests);
  } else if (bytes > shared_.config.request_bytes_max) {
    fail_soon(id, Errc::kRequestTooLarge);
  } else if (!ask_raft(
                 Proposal{.entry = {.data = std::move(data)}, .ticket = id, .front = number_})) {
    fail_soon(id, Errc::kTooManyRequests);
  }
  return id;
}

void Front::on(AppliedBatch message) {
  if (listener_ != nullptr) {
    if (message.events_lost) listener_->on_batches_lost();
    if (message.events) listener_->on_batch(message.events);
  }
  const auto now = message.outcomes.empty() ? base::TimePoint() : lane_.clock().now();
  for (apply::Outcome& outcome : message.outcomes) {
    auto waiting = take(outcome.request_id);
    if (!waiting) continue;  // its caller gave up, or it was proposed by this member's former life
    request_times_.observe(waiting->kind, true, now - waiting->since);
    auto& done = std::get<ReplyJob>(waiting->done);
    if (outcome.answer) {
      done(Reply{.answer = *std::move(outcome.answer),
                 .revision = outcome.revision,
                 .term = outcome.term});
    } else {
      done(base::fail(Failure(outcome.answer.error())));
    }
  }
  look_at_conditions();
}

void Front::on(const ProposalRefused& message) { fail(message.ticket, message.errc); }

void Front::on(const LeaderNotice& message) {
  const bool newly_known = message.leader != raft::kNone && message.leader != leader_;
  if (message.leader == raft::kNone && leader_ != raft::kNone) {
    leader_lost_at_ = lane_.clock().now();
  }
  leader_ = message.leader;
  if (!newly_known) return;
  if (leader_ == shared_.identity.member_id) elected_at_ = lane_.clock().now();
  // Reads of a member that just started were asked of nobody: raft may hear of them again.
  if (!std::exchange(had_leader_, true)) {
    if (!round_.empty()) send_read_index();
    return;
  }
  // Reads that were asked of the leader before cannot be answered by this one. api.md 7.2
  const std::vector<Ticket> failed = std::exchange(round_, {});
  lane_.cancel(round_timer_);
  for (const Ticket ticket : failed) fail(ticket, Errc::kLeaderChanged);
  begin_read_round();
}

// --- reads

Ticket Front::barrier(ViewJob done) {
  if (!stopped_ && (view()->linearizable || KEELSON_PLANTED(kReadWithoutBarrier))) {
    const Ticket ticket = wait(std::move(done), std::nullopt);
    lane_.post([this, ticket] {
      if (auto waiting = take(ticket)) std::get<ViewJob>(waiting->done)(view());
    });
    return ticket;
  }
  const Ticket ticket = wait(std::move(done), shared_.config.request_timeout());
  if (stopped_) return ticket;
  next_round_.push_back(ticket);
  begin_read_round();
  return ticket;
}

void Front::begin_read_round() {
  std::erase_if(round_, [this](Ticket ticket) { return !waiting_.contains(ticket); });
  if (!round_.empty() || next_round_.empty()) return;
  round_.swap(next_round_);
  round_context_++;
  send_read_index();
}

void Front::send_read_index() {
  lane_.cancel(round_timer_);
  MAYBE(ask_raft(ReadIndexRequest{.front = number_, .context = round_context_}));
  round_timer_ = lane_.after(kReadIndexRetry, [this] {
    round_timer_ = 0;
    std::erase_if(round_, [this](Ticket ticket) { return !waiting_.contains(ticket); });
    if (round_.empty()) return begin_read_round();
    shared_.metrics.slow_read_indexes.add();
    send_read_index();  // with the same context: a late answer counts
  });
}

void Front::on(const ReadIndexAnswer& message) {
  if (message.context != round_context_ || round_.empty()) return;
  lane_.cancel(round_timer_);
  for (const Ticket ticket : std::exchange(round_, {})) {
    const auto it = waiting_.find(ticket);
    if (it == waiting_.end()) continue;
    it->second.confirmed = true;  // from here on it waits for apply, however long
    const raft::Index index = message.index;
    conditions_.push_back({.ticket = ticket, .ready = [index](const View& view) {
                             return view.applied_index >= index;
                           }});
  }
  look_at_conditions();
  begin_read_round();
}

Ticket Front::when(base::Function<bool(const View&)> ready, std::optional<base::Duration> patience,
                   ViewJob done) {
  const Ticket ticket = wait(std::move(done), patience);
  if (stopped_) return ticket;
  waiting_.find(ticket)->second.lease = -1;  // its timeout speaks of the applied index
  conditions_.push_back({.ticket = ticket, .ready = std::move(ready)});
  lane_.post([this] { look_at_conditions(); });
  return ticket;
}

void Front::look_at_conditions() {
  if (conditions_.empty()) return;
  const auto view = this->view();
  std::vector<Ticket> ready;
  std::erase_if(conditions_, [&](Condition& one) {
    if (!waiting_.contains(one.ticket)) return true;
    if (!one.ready(*view)) return false;
    ready.push_back(one.ticket);
    return true;
  });
  for (const Ticket ticket : ready) {
    if (auto waiting = take(ticket)) std::get<ViewJob>(waiting->done)(view);
  }
}

// --- leases

lease::LeaseId Front::new_lease_id() {
  for (;;) {
    const auto id = static_cast<lease::LeaseId>(ids_.next() & ~(std::uint64_t{1} << 63));
    if (id != lease::kNoLease) return id;
  }
}

Ticket Front::renew(lease::LeaseId id, RenewJob done) {
  return begin_renewal(id, /*here_only=*/false, std::move(done));
}

Ticket Front::renew_here(lease::LeaseId id, RenewJob done) {
  return begin_renewal(id, /*here_only=*/true, std::move(done));
}

Ticket Front::begin_renewal(lease::LeaseId id, bool here_only, RenewJob done) {
  const Ticket ticket = wait(std::move(done), shared_.config.request_timeout());
  if (stopped_) return ticket;
  Waiting& waiting = waiting_.find(ticket)->second;
  waiting.lease = id;
  waiting.here_only = here_only;
  if (!shared_.config.fast_lease_keep_alive) {
    renew_once_applied(ticket);
  } else if (!ask_raft(RenewLease{.front = number_, .ticket = ticket, .id = id})) {
    fail_soon(ticket, Errc::kTooManyRequests);
  }
  return ticket;
}

// Once apply has caught up with what is committed now.
void Front::renew_once_applied(Ticket ticket) {
  Waiting& waiting = waiting_.find(ticket)->second;
  waiting.asked_again = true;
  const raft::Index committed = shared_.progress.committed.load(std::memory_order_acquire);
  when([committed](const View& view) { return view.applied_index >= committed; }, kAppliedPatience,
       [this, ticket, id = waiting.lease](auto view) {
         if (!waiting_.contains(ticket)) return;
         if (!view) return fail(ticket, Errc::kTimeoutApplied);
         if (!ask_raft(RenewLease{.front = number_, .ticket = ticket, .id = id})) {
           fail(ticket, Errc::kTooManyRequests);
         }
       });
}

void Front::on(const RenewAnswer& message) {
  const auto it = waiting_.find(message.ticket);
  if (it == waiting_.end()) return;
  if (const auto* errc = std::get_if<Errc>(&message.answer)) {
    return *errc == Errc::kNotPrimaryLessor ? not_leading(message.ticket)
                                            : fail(message.ticket, *errc);
  }
  const auto ttl = std::get<base::Seconds>(message.answer);
  if (ttl > base::Seconds(0)) {
    auto waiting = take(message.ticket);
    return std::get<RenewJob>(waiting->done)(ttl);
  }
  renewed(message.ticket, message);
}

// The deadlines know no such lease, or an expired one. The answer is zero, but only once apply
// shows it: a grant may be on its way, and an expired lease counts until it is revoked.
void Front::renewed(Ticket ticket, const RenewAnswer& message) {
  Waiting& waiting = waiting_.find(ticket)->second;
  const lease::LeaseId id = waiting.lease;
  const auto answer_zero = [this, ticket] {
    if (auto done = take(ticket)) std::get<RenewJob>(done->done)(base::Seconds(0));
  };
  if (message.pending_revoke) {
    when([id](const View& view) { return !view.leases.find(id); }, std::nullopt,
         [answer_zero](auto) { answer_zero(); });
    return;
  }
  if (waiting.asked_again) return answer_zero();
  const raft::Index committed = shared_.progress.committed.load(std::memory_order_acquire);
  if (shared_.progress.applied.load(std::memory_order_acquire) >= committed &&
      !view()->leases.find(id)) {
    return answer_zero();
  }
  renew_once_applied(ticket);
}

Ticket Front::time_to_live(lease::LeaseId id, bool keys, TimeToLiveJob done) {
  return begin_time_to_live(id, /*here_only=*/false, keys, std::move(done));
}

Ticket Front::time_to_live_here(lease::LeaseId id, TimeToLiveJob done) {
  return begin_time_to_live(id, /*here_only=*/true, /*keys=*/false, std::move(done));
}

Ticket Front::begin_time_to_live(lease::LeaseId id, bool here_only, bool keys, TimeToLiveJob done) {
  const Ticket ticket = wait(std::move(done), shared_.config.request_timeout());
  if (stopped_) return ticket;
  Waiting& waiting = waiting_.find(ticket)->second;
  waiting.lease = id;
  waiting.here_only = here_only;
  waiting.keys = keys;
  const bool leads =
      shared_.progress.leader.load(std::memory_order_acquire) == shared_.identity.member_id;
  if (leads || here_only || shared_.peers == nullptr) {
    ask_time_to_live(ticket);
  } else {
    pass_on(ticket);
  }
  return ticket;
}

// The leader waits for what is committed before it answers. api.md 4
void Front::ask_time_to_live(Ticket ticket) {
  const lease::LeaseId id = waiting_.find(ticket)->second.lease;
  const raft::Index committed = shared_.progress.committed.load(std::memory_order_acquire);
  when([committed](const View& view) { return view.applied_index >= committed; }, kAppliedPatience,
       [this, ticket, id](auto view) {
         if (!waiting_.contains(ticket)) return;
         if (!view) return fail(ticket, Errc::kTimeoutApplied);
         if (!ask_raft(AskTimeToLive{.front = number_, .ticket = ticket, .id = id})) {
           fail(ticket, Errc::kTooManyRequests);
         }
       });
}

void Front::on(const TimeToLiveAnswer& message) {
  if (!waiting_.contains(message.ticket)) return;
  if (!message.leading) return not_leading(message.ticket);
  auto waiting = take(message.ticket);
  auto& done = std::get<TimeToLiveJob>(waiting->done);
  if (message.found) return done(LeaseTime{.remaining = message.remaining, .told = {}});
  done(base::fail(Errc::kLeaseNotFound));
}

// --- questions about leases, for the leader

// This member does not lead, or does not count leases yet.
void Front::not_leading(Ticket ticket) {
  if (waiting_.find(ticket)->second.here_only || shared_.peers == nullptr) {
    return fail(ticket, Errc::kNotPrimaryLessor);
  }
  pass_on(ticket);
}

// To the leader, if there is one; until then, and when it does not answer, again and again until
// the ticket's time is over.
void Front::pass_on(Ticket ticket) {
  const raft::NodeId leader = shared_.progress.leader.load(std::memory_order_acquire);
  const auto* member = view()->roster->find(leader);
  if (member == nullptr || leader == shared_.identity.member_id) return pass_on_later(ticket);
  if (!forwarder_) {
    forwarder_ = std::make_unique<LeaseForwarder>(
        lane_, shared_.peers->connector(), base::Seconds(1) + shared_.config.election_timeout());
  }
  const Waiting& waiting = waiting_.find(ticket)->second;
  const bool renewal = std::holds_alternative<RenewJob>(waiting.done);
  forwarder_->ask(
      {.kind = renewal ? LeaseForwarder::Kind::kRenew : LeaseForwarder::Kind::kTimeToLive,
       .id = waiting.lease,
       .keys = waiting.keys,
       .urls = member->peer_urls},
      [this, ticket] { return waiting_.contains(ticket); },
      [this, ticket](base::Result<LeaseForwarder::Answer, LeaseForwarder::Errc> told) {
        told_by_leader(ticket, std::move(told));
      });
}

void Front::told_by_leader(Ticket ticket,
                           base::Result<LeaseForwarder::Answer, LeaseForwarder::Errc> told) {
  const auto it = waiting_.find(ticket);
  if (it == waiting_.end()) return;
  const bool not_found = !told && told.error() == LeaseForwarder::Errc::kNotFound;
  if (!told && !not_found) return pass_on_later(ticket);
  auto waiting = take(ticket);
  if (auto* renewal = std::get_if<RenewJob>(&waiting->done)) {
    return (*renewal)(told ? told->ttl : base::Seconds(0));
  }
  auto& done = std::get<TimeToLiveJob>(waiting->done);
  if (!told) return done(base::fail(Errc::kLeaseNotFound));
  done(LeaseTime{
      .remaining = told->ttl,
      .told = LeaseTime::Told{.granted_ttl = told->granted_ttl, .keys = std::move(told->keys)}});
}

void Front::pass_on_later(Ticket ticket) {
  to_pass_on_.push_back(ticket);
  if (pass_on_timer_ != 0) return;
  pass_on_timer_ = lane_.after(kPassOnPause, [this] {
    pass_on_timer_ = 0;
    for (const Ticket each : std::exchange(to_pass_on_, {})) {
      const auto it = waiting_.find(each);
      if (it == waiting_.end()) continue;
      // It may have become the leader itself.
      if (shared_.progress.leader.load(std::memory_order_acquire) != shared_.identity.member_id) {
        pass_on(each);
      } else if (std::holds_alternative<TimeToLiveJob>(it->second.done)) {
        ask_time_to_live(each);
      } else if (!ask_raft(RenewLease{.front = number_, .ticket = each, .id = it->second.lease})) {
        fail(each, Errc::kTooManyRequests);
      }
    }
  });
}

Ticket Front::lease_ends(std::vector<lease::LeaseId> ids, LeaseEndsJob done) {
  const Ticket ticket = wait(std::move(done), shared_.config.request_timeout());
  if (!stopped_ &&
      !ask_raft(AskLeaseEnds{.front = number_, .ticket = ticket, .ids = std::move(ids)})) {
    fail_soon(ticket, Errc::kTooManyRequests);
  }
  return ticket;
}

void Front::on(LeaseEndsAnswer message) {
  if (auto waiting = take(message.ticket)) {
    std::get<LeaseEndsJob>(waiting->done)(std::move(message.ends));
  }
}

// --- the cluster

Ticket Front::propose_change(raft::ConfChange change, ReplyJob done) {
  const Ticket id = ids_.next();
  wait(std::move(done), std::nullopt, id);
  if (stopped_) return id;
  change.id = id;
  raft::Entry entry{.type = raft::EntryType::kConfChange,
                    .data = base::SharedBytes(raft::encode(change))};
  if (!ask_raft(Proposal{.entry = std::move(entry), .ticket = id, .front = number_})) {
    fail_soon(id, Errc::kTooManyRequests);
  }
  return id;
}

Ticket Front::ask_progress(raft::NodeId id, ProgressJob done) {
  const Ticket ticket = wait(std::move(done), shared_.config.request_timeout());
  if (!stopped_ && !ask_raft(AskProgress{.front = number_, .ticket = ticket, .id = id})) {
    fail_soon(ticket, Errc::kTooManyRequests);
  }
  return ticket;
}

void Front::on(const ProgressAnswer& message) {
  if (auto waiting = take(message.ticket)) std::get<ProgressJob>(waiting->done)(message);
}

// --- work elsewhere

Ticket Front::wait_for_job() {
  return wait(base::Function<void(base::Job)>([](base::Job then) { then(); }), std::nullopt);
}

// From the lane that did the work.
void Front::come_back(Ticket ticket, base::Job then) {
  lane_.post([this, ticket, then = std::move(then)]() mutable {
    if (auto waiting = take(ticket)) {
      std::get<base::Function<void(base::Job)>>(waiting->done)(std::move(then));
    }
  });
}

Ticket Front::on_lane(env::Lane& lane, base::Function<base::Job()> work) {
  const Ticket ticket = wait_for_job();
  if (stopped_) return ticket;
  lane.post([this, ticket, work = std::move(work)]() mutable { come_back(ticket, work()); });
  return ticket;
}

Ticket Front::on_worker(base::Function<base::Job()> work) {
  return on_lane(shared_.any_worker(), std::move(work));
}

Ticket Front::on_transfer(base::Function<base::Job()> work) {
  return on_lane(shared_.transfer_lane(), std::move(work));
}

struct Front::Slices {
  Ticket ticket = 0;
  std::weak_ptr<const void> wanted;  // gone once the ticket is
  env::Lane& worker;
  base::Function<bool()> slice;
  base::Job done;
  SlicePace pace;
  raft::Index applied = 0;                                   // at the last look
  std::optional<base::TimePoint> applied_at = std::nullopt;  // when more was last seen
};

Ticket Front::in_slices(base::Function<bool()> slice, base::Job done, SlicePace pace) {
  auto wanted = std::make_shared<const char>();
  auto slices = std::make_shared<Slices>(Slices{.wanted = wanted,
                                                .worker = shared_.any_worker(),
                                                .slice = std::move(slice),
                                                .done = std::move(done),
                                                .pace = pace,
                                                .applied = shared_.progress.applied});
  slices->ticket = wait(
      base::Function<void(base::Job)>([wanted = std::move(wanted)](base::Job then) { then(); }),
      std::nullopt);
  if (stopped_) return slices->ticket;
  env::Lane& worker = slices->worker;
  const Ticket ticket = slices->ticket;
  worker.post([this, slices = std::move(slices)]() mutable { run_slice(std::move(slices)); });
  return ticket;
}

// On the worker.
void Front::run_slice(std::shared_ptr<Slices> slices) {
  if (slices->wanted.expired()) return;
  env::Lane& worker = slices->worker;
  const base::TimePoint begun = worker.clock().now();
  if (slices->slice()) return come_back(slices->ticket, std::move(slices->done));
  const raft::Index applied = shared_.progress.applied.load(std::memory_order_relaxed);
  const base::TimePoint now = worker.clock().now();
  slices->pace.worked(now - begun);
  if (std::exchange(slices->applied, applied) != applied) slices->applied_at = now;
  const bool is_busy = slices->applied_at && now - *slices->applied_at < kBusyFor;
  const base::Duration rest = is_busy ? slices->pace.rest(now) : base::Duration(0);
  auto next = [this, slices = std::move(slices)]() mutable { run_slice(std::move(slices)); };
  if (rest == base::Duration(0)) return worker.post(std::move(next));
  worker.after(rest, std::move(next));
}

Ticket Front::on_store(base::Function<base::Job(store::Store&)> work) {
  const Ticket ticket = wait_for_job();
  if (stopped_) return ticket;
  shared_.applier->run_at_store([this, ticket, work = std::move(work)]() mutable {
    come_back(ticket, work(shared_.store()));
  });
  return ticket;
}

Ticket Front::on_state(base::Function<base::Job(std::shared_ptr<const View>, store::Store&)> work) {
  const Ticket ticket = wait_for_job();
  if (stopped_) return ticket;
  shared_.applier->run_at_state([this, ticket, work = std::move(work)](
                                    std::shared_ptr<const View> view, store::Store& store) mutable {
    come_back(ticket, work(std::move(view), store));
  });
  return ticket;
}

}  // namespace keelson::member
