#include "member/raft_driver.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "base/field_reader.h"
#include "base/planted.h"
#include "env/log.h"
#include "member/db_transfer.h"
#include "member/front.h"
#include "member/peers.h"
#include "member/revoke_pace.h"
#include "raft/wire.h"

namespace keelson::member {
namespace {

constexpr std::size_t kWithoutLeaderMax = 4096;
// Of entries kept in memory where there is nobody to send them to.
constexpr std::size_t kLogBytesAlone = std::size_t{2} << 20;
constexpr base::Duration kLeaseScanInterval = base::Milliseconds(100);
// Where more have expired than one scan takes, the next comes soon: 20,000 a second, each scan's
// worth a millisecond of apply, so that writes pass between them.
constexpr base::Duration kBusyScanInterval = base::Milliseconds(10);
constexpr std::size_t kExpiriesPerScan = 200;
// Revokes wait while so much is committed and not applied.
constexpr raft::Index kExpiryLagMax = 2000;
// Of entries on their way to one member; below what the transport keeps for it.
constexpr std::uint64_t kInflightBytesMax = std::uint64_t{64} << 20;
// Of the log in memory while a member takes a snapshot: so many times what it is otherwise.
constexpr std::size_t kHeldFactor = 8;
// A member that has taken one gets so long to ask for what follows. formats.md 7.1
constexpr base::Duration kHeldForReceiver = base::Seconds(30);
// After a snapshot did not arrive: one that is refused (no room) would else be laid out again with
// every heartbeat.
constexpr base::Duration kSnapshotRetry = base::Seconds(1);
// Of entries that no majority has yet; beyond it proposals are dropped.
constexpr std::uint64_t kUncommittedBytesMax = std::uint64_t{512} << 20;
// How long, and how often, it is looked whether the others are there. raft.md 14
constexpr base::Duration kPeersPollInterval = base::Milliseconds(50);
constexpr int kPeersPolls = 100;
// A member that was removed stays so long, to tell the others how far it is.
constexpr base::Duration kRemovedDelay = base::Seconds(1);
// Between two ticks: beyond it another may lead by now. api.md 4.1
constexpr int kStandstillTicks = 3;
constexpr base::Duration kDoubtRetry = base::Milliseconds(500);
constexpr std::size_t kCheckpointsPerScan = 1000;
constexpr base::Duration kCheckpointInterval = base::Seconds(300);

// What a ReadIndex is known by: member, life, front, and the front's own.
using ReadContext = std::array<std::uint64_t, 4>;

// The state the node starts from: the base snapshot and the entries behind it.
raft::MemoryStorage make_storage(const RaftDriver::Start& start) {
  raft::MemoryStorage storage;
  CHECK(storage.apply_snapshot({.data = {}, .metadata = start.snapshot}).ok());
  storage.append(start.entries);
  storage.set_hard_state(start.hard_state);
  return storage;
}

raft::Config make_config(const Shared& shared, const RaftDriver::Start& start) {
  return {.id = shared.identity.member_id,
          .election_tick = shared.config.election_ticks,
          .heartbeat_tick = 1,
          .max_inflight_bytes = kInflightBytesMax,
          .max_uncommitted_bytes = kUncommittedBytesMax,
          .check_quorum = true,
          .pre_vote = shared.config.pre_vote,
          .asker_confirms_reads = true,
          .async_storage_writes = true,
          .applied = start.applied,
          .seed = start.seed};
}

// api.md 4.2
lease::DeadlineQueue::Config deadline_config(const Config& config) {
  return {.retry_interval = config.request_timeout(),
          .checkpoint_interval = config.lease_checkpoint ? kCheckpointInterval : base::Duration(0)};
}

template <class Request>
std::optional<lease::LeaseId> id_in(std::string_view bytes) {
  Request request;
  if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return std::nullopt;
  return request.id();
}

// The lease that a request of the log grants or revokes. What others hold, which may be large, is
// not read.
std::optional<lease::LeaseId> lease_named_by(std::string_view request) {
  using Request = etcdserverpb::InternalRaftRequest;
  base::FieldReader fields(request);
  while (const auto field = fields.next()) {
    if (field->number == Request::kLeaseGrantFieldNumber) {
      return id_in<etcdserverpb::LeaseGrantRequest>(field->bytes);
    }
    if (field->number == Request::kLeaseRevokeFieldNumber) {
      return id_in<etcdserverpb::LeaseRevokeRequest>(field->bytes);
    }
  }
  return std::nullopt;
}

}  // namespace

RaftDriver::RaftDriver(env::Lane& lane, Shared& shared, Start start)
    : lane_(lane),
      shared_(shared),
      storage_(make_storage(start)),
      node_(make_config(shared, start), storage_),
      ids_(shared.identity.member_id, kNoWaitingLane, shared.clock->wall_now()),
      life_(base::Random(start.seed).next()),
      applied_(start.applied),
      undecided_(start.undecided),
      deadlines_(deadline_config(shared.config)),
      views_(lane, shared.views) {
  look_around();
  trim_log();
  shared_.progress.committed = start.hard_state.commit;
  shared_.progress.term = start.hard_state.term;
}

void RaftDriver::connect(env::Channel<AppendWork>* log, env::Channel<ApplyWork>* apply,
                         Peers* peers) {
  log_ = log;
  apply_ = apply;
  peers_ = peers;
}

void RaftDriver::start() {
  ticked_at_ = lane_.clock().now();
  lane_.after(shared_.config.tick, [this] { tick(); });
  lane_.after(kLeaseScanInterval, [this] { scan_leases(); });
  follow_members();
  maybe_campaign();
  if (!alone_ && shared_.config.election_tick_advance) hurry_first_election(kPeersPolls);
  pump();
}

// Whoever has been down need not wait for a whole election timeout once the others are there.
void RaftDriver::hurry_first_election(int polls_left) {
  if (stopped_ || polls_left == 0 || peers_ == nullptr) return;
  if (peers_->transport().active_peers() > 1) {
    for (std::uint32_t i = 2; i < shared_.config.election_ticks; i++) node_.tick();
    return pump();
  }
  lane_.after(kPeersPollInterval, [this, polls_left] { hurry_first_election(polls_left - 1); });
}

void RaftDriver::stop() {
  stopped_ = true;
  demote_leases();
  if (!unsaved_state_.empty()) log_->push_always({.hard_state = unsaved_state_});
}

void RaftDriver::tick() {
  if (stopped_) return;
  note_standstill();
  ticked_at_ = lane_.clock().now();
  node_.tick();
  pump();
  if (!only_voter_ && !unsaved_state_.empty()) push_append({});
  lane_.after(shared_.config.tick, [this] { tick(); });
}

void RaftDriver::on_requests(std::vector<FrontRequest> requests) {
  if (stopped_) return;
  for (FrontRequest& request : requests) {
    std::visit([this](auto& one) { on(std::move(one)); }, request);
  }
  flush_proposals();
  pump();
}

void RaftDriver::on_events(std::vector<RaftEvent> events) {
  if (stopped_) return;
  for (RaftEvent& event : events) {
    std::visit([this](auto& one) { on(std::move(one)); }, event);
  }
  flush_proposals();
  pump();
}

void RaftDriver::on_messages(std::vector<raft::Message> messages) {
  if (stopped_) return;
  // What the core cannot use (a proposal without a leader, an answer of a stranger) is dropped.
  for (raft::Message& message : messages) MAYBE(node_.step(std::move(message)).ok());
  flush_proposals();
  pump();
}

void RaftDriver::on(Proposal request) { gathered_.push_back(std::move(request)); }

bool RaftDriver::flush_proposals() {
  if (node_.leader() != raft::kNone) {
    for (; !without_leader_.empty(); without_leader_.pop_front()) {
      gathered_.push_back(std::move(without_leader_.front()));
    }
  }
  if (gathered_.empty()) return true;
  std::vector<Proposal> proposals = std::exchange(gathered_, {});
  const auto refuse = [this](const Proposal& proposal, Errc errc) {
    if (proposal.ticket == 0) return;
    shared_.fronts[proposal.front]->inbox().push_always(
        ProposalRefused{.ticket = proposal.ticket, .errc = errc});
  };
  if (node_.leader() == raft::kNone) {
    for (Proposal& proposal : proposals) {
      if (without_leader_.size() < kWithoutLeaderMax) {
        without_leader_.push_back(std::move(proposal));
      } else {
        refuse(proposal, Errc::kTooManyRequests);
      }
    }
    return false;
  }
  std::vector<raft::Entry> entries;
  entries.reserve(proposals.size());
  for (Proposal& proposal : proposals) entries.push_back(std::move(proposal.entry));
  if (node_.propose(std::move(entries))) return true;
  for (const Proposal& proposal : proposals) refuse(proposal, Errc::kProposalDropped);
  return false;
}

void RaftDriver::on(const Withdraw& request) {
  const auto is_it = [&](const Proposal& proposal) { return proposal.ticket == request.ticket; };
  std::erase_if(gathered_, is_it);
  std::erase_if(without_leader_, is_it);
}

void RaftDriver::on(const ReadIndexRequest& request) { node_.read_index(read_context(request)); }

void RaftDriver::on(Persisted event) {
  CHECK_LE(event.appends, appends_under_way_);
  appends_under_way_ -= event.appends;
  deliver(std::move(event.responses));
  if (appends_under_way_ == 0) deliver(std::exchange(held_, {}));
}

void RaftDriver::on(AppliedNotice event) {
  for (const apply::AppliedConfChange& one : event.conf_changes) {
    // What cannot be is refused by apply, and then carries node 0.
    CHECK(node_.apply_conf_change(one.change).ok());
  }
  if (!event.conf_changes.empty() || event.membership_changed) {
    look_around();
    follow_members();
  }
  deliver(std::move(event.responses));
  applied_ = event.applied;
  if (event.new_leader_term == node_.term() && leads()) promote_leases();
  if (promoting_ && event.applied > promoting_->view_index) {
    promoting_->changes.insert(promoting_->changes.end(), event.lease_changes.begin(),
                               event.lease_changes.end());
  } else if (deadlines_.leading() && event.applied > promoted_at_) {
    note_lease_changes(event.lease_changes);
  }
  for (const apply::LeaseChange& change : event.lease_changes) {
    if (change.kind == apply::LeaseChange::Kind::kGranted) {
      shared_.metrics.lease_granted.add();
      shared_.metrics.lease_ttl_seconds.observe(change.lease.ttl);
    }
    if (change.kind == apply::LeaseChange::Kind::kRevoked) shared_.metrics.lease_revoked.add();
  }
  if (event.over_quota) raise_no_space();
  undecided_ = std::max(undecided_, event.undecided);
  trim_log();
  maybe_campaign();
}

void RaftDriver::on(SnapshotSaved event) {
  // An older one than compaction needed already is of no use in memory.
  MAYBE(storage_
            .create_snapshot(event.snapshot.metadata.index, event.snapshot.metadata.conf_state,
                             event.snapshot.data)
            .ok());
}

void RaftDriver::on(OutOfSpace) { raise_no_space(); }

void RaftDriver::on(PeerUnreachable event) { node_.report_unreachable(event.id); }

void RaftDriver::on(SnapshotSent event) {
  if (event.arrived) {
    sending_[event.id].until = lane_.clock().now() + kHeldForReceiver;
    return node_.report_snapshot(event.id, raft::Node::SnapshotOutcome::kDelivered);
  }
  sending_.erase(event.id);
  lane_.after(kSnapshotRetry, [this, id = event.id] {
    if (stopped_) return;
    node_.report_snapshot(id, raft::Node::SnapshotOutcome::kFailed);
    pump();
  });
}

// What storage and apply answer: to the core itself, or to others, now that it is true.
void RaftDriver::deliver(std::vector<raft::Message> messages) {
  for (raft::Message& message : messages) {
    if (message.to == node_.id()) {
      // A member that was removed is no peer of itself any more.
      MAYBE(node_.step(std::move(message)).ok());
    } else {
      outgoing_.push_back(std::move(message));
    }
  }
}

void RaftDriver::pump() {
  while (node_.has_ready()) hand_out(node_.take_ready());
  if (doubted_term_ && !(leads() && node_.term() == *doubted_term_)) end_doubt();
  if (shared_.on_raft) shared_.on_raft(node_);
  send_gathered();
}

void RaftDriver::send_gathered() {
  if (outgoing_.empty()) return;
  std::vector<raft::Message> messages = std::exchange(outgoing_, {});
  if (shared_.on_send) {
    for (const raft::Message& message : messages) shared_.on_send(message);
  }
  if (peers_ != nullptr) peers_->send(std::move(messages));
}

void RaftDriver::send_snapshot(raft::Message message) {
  const raft::NodeId to = message.to;
  sending_[to] = {.index = message.snapshot->metadata.index, .until = std::nullopt};
  if (peers_ == nullptr) return shared_.to_raft_events->push_always(SnapshotSent{to, false});
  DbSource::make(shared_, peers_->lane(),
                 [peers = peers_, &shared = shared_,
                  message = std::move(message)](base::Result<DbSource::Made> made) mutable {
                   if (!made) {
                     env::log_warn(
                         "failed to send database snapshot",
                         {{"to", membership::id_text(message.to)}, {"error", made.error()}});
                     return shared.to_raft_events->push_always(SnapshotSent{message.to, false});
                   }
                   message.snapshot = std::move(made->snapshot);
                   peers->transport().send_snapshot(std::move(message), std::move(made->source));
                 });
}

std::optional<raft::Index> RaftDriver::held_for_snapshots() {
  const auto now = lane_.clock().now();
  std::optional<raft::Index> held;
  for (auto it = sending_.begin(); it != sending_.end();) {
    if (it->second.until && *it->second.until <= now) {
      it = sending_.erase(it);
      continue;
    }
    held = std::min(held.value_or(it->second.index), it->second.index);
    ++it;
  }
  return held;
}

void RaftDriver::hand_out(raft::Ready ready) {
  if (leads()) shared_.progress.leading_term.store(node_.term(), std::memory_order_release);
  if (ready.soft_state) tell(*ready.soft_state);
  raft::hold_vote_requests(ready);
  for (raft::Message& message : ready.messages) {
    if (message.type == raft::MessageType::kSnap) {
      send_snapshot(std::move(message));
    } else {
      outgoing_.push_back(std::move(message));
    }
  }
  if (ready.append) {
    raft::AppendJob& job = *ready.append;
    if (job.snapshot) CHECK(storage_.apply_snapshot(*job.snapshot).ok());
    if (job.hard_state) {
      storage_.set_hard_state(*job.hard_state);
      unsaved_state_ = *job.hard_state;
      shared_.progress.committed.store(job.hard_state->commit, std::memory_order_release);
      shared_.progress.term.store(job.hard_state->term, std::memory_order_release);
    }
    storage_.append(job.entries);
    if (KEELSON_PLANTED(kFollowerAcksBeforeSync) && !leads()) {
      deliver(std::exchange(job.responses, {}));
    }
    if (KEELSON_PLANTED(kConfChangeBeforeCommit) && !leads()) {
      for (const raft::Entry& entry : job.entries) {
        if (entry.type != raft::EntryType::kConfChange) continue;
        MAYBE(node_.apply_conf_change(*raft::decode_conf_change(entry.data)).ok());
      }
    }
    append(*std::move(ready.append));
  }
  if (ready.apply) {
    ApplyWork work{.entries = ready.apply->entries};
    work.responses.push_back(std::move(*ready.apply).response());
    apply_->push_always(std::move(work));
    // A small batch is applied, and its replies are here, sooner than this lane would sleep and
    // wake.
    lane_.expect_soon();
  }
  for (const raft::ReadState& read : ready.read_states) answer_read(read);
}

// The log lane gets what must be made durable. Not so a commit that moved alone: it may be lost in
// a crash, and rides with the next append, or, where others vote, a tick's: what is left of a
// cluster goes on from there (--force-new-cluster). Nor responses alone: they promise what earlier
// jobs have made durable, or will have, so they leave at once, behind those, or with the next
// append, in order.
void RaftDriver::append(raft::AppendJob job) {
  if (!job.must_sync && !job.snapshot && job.entries.empty()) {
    if (appends_under_way_ == 0) return deliver(std::move(job.responses));
    std::ranges::move(job.responses, std::back_inserter(held_));
    return;
  }
  job.responses.insert(job.responses.begin(), std::make_move_iterator(held_.begin()),
                       std::make_move_iterator(held_.end()));
  held_.clear();
  push_append(std::move(job));
}

void RaftDriver::push_append(raft::AppendJob job) {
  const bool commits = only_voter_ && leads();
  // Alone, this lane has nothing to do before that is durable.
  if (commits && alone_) lane_.stand_in_for(*shared_.log_lane);
  appends_under_way_++;
  log_->push_always({.hard_state = std::exchange(unsaved_state_, {}),
                     .snapshot = std::move(job.snapshot),
                     .entries = std::move(job.entries),
                     .responses = std::move(job.responses),
                     .commits = commits});
}

// A leader keeps what all members ask in one table, and an answer to a former life must not be
// taken for one to this.
std::string RaftDriver::read_context(const ReadIndexRequest& request) const {
  const ReadContext context{node_.id(), life_, request.front, request.context};
  return {reinterpret_cast<const char*>(context.data()), sizeof context};
}

void RaftDriver::answer_read(const raft::ReadState& read) {
  ReadContext context;
  if (read.context.size() != sizeof context) return;
  std::memcpy(context.data(), read.context.data(), sizeof context);
  const auto [member, life, front, of_front] = context;
  if (member != node_.id() || life != life_) return;
  if (front == kNoWaitingLane && of_front == doubts_) return end_doubt();
  if (front >= shared_.fronts.size()) return;
  shared_.fronts[front]->inbox().push_always(
      ReadIndexAnswer{.context = of_front, .index = read.index});
}

void RaftDriver::tell(const raft::SoftState& state) {
  const raft::NodeId before = shared_.progress.leader.exchange(state.leader);
  if (before == state.leader) return;
  if (state.leader != raft::kNone) {
    shared_.metrics.leader_changes.add();
    env::log_info(fmt::format("raft.node: {:x} elected leader {:x} at term {}", node_.id(),
                              state.leader, node_.term()));
  }
  if (state.role != raft::Role::kLeader && !KEELSON_PLANTED(kLeaseEndedByFollower)) {
    demote_leases();
  }
  for (const auto& front : shared_.fronts) {
    front->inbox().push_always(LeaderNotice{.leader = state.leader, .term = node_.term()});
  }
}

// Who else there is; again after each change of the configuration.
void RaftDriver::look_around() {
  const raft::ConfState conf = node_.configuration().conf_state();
  only_voter_ = conf.voters == std::vector{node_.id()} && conf.voters_outgoing.empty();
  alone_ = only_voter_ && conf.learners.empty() && conf.learners_next.empty();
  shared_.progress.revokes_per_second = kRevokesPerSecond;  // until all are known
}

// The transport's peers are the members of the newest View, which shows what was applied.
void RaftDriver::follow_members() {
  const auto view = views_.get();
  const membership::Roster& roster = *view->roster;
  if (peers_ != nullptr) peers_->follow(roster);
  if (!roster.is_removed(node_.id()) || shared_.is_removed) return;
  lane_.after(kRemovedDelay, [this] {
    if (!stopped_) shared_.removed();
  });
}

void RaftDriver::maybe_campaign() {
  if (node_.leader() != raft::kNone || node_.role() != raft::Role::kFollower) return;
  if (!only_voter_ || applied_ < node_.hard_state().commit) return;
  CHECK(node_.campaign().ok());
}

// Nobody else may ever ask for an entry of this log, but for a member added later, which begins
// with a snapshot anyway once the log is long.
std::size_t RaftDriver::log_bytes_max() const {
  return alone_ ? std::min(kLogBytesAlone, shared_.config.raft_log_bytes_max)
                : shared_.config.raft_log_bytes_max;
}

void RaftDriver::trim_log() {
  const raft::Index first = storage_.first_index();
  const std::uint64_t keep = std::max<std::uint64_t>(shared_.config.snapshot_catchup_entries, 1);
  const std::optional<raft::Index> held = held_for_snapshots();
  raft::Index to = 0;
  // A hundred entries at a time, as etcd does, so that a busy log is not trimmed with every batch.
  if (applied_ > keep && applied_ - keep >= first + 100) to = applied_ - keep;
  if (held) to = std::min(to, *held);
  if (storage_.bytes_held() > log_bytes_max() * (held ? kHeldFactor : 1)) {
    to = std::max(to, std::min(applied_, first + (applied_ - std::min(applied_, first)) / 2));
  }
  to = std::max(to, std::min(undecided_, applied_));
  if (to < first || to > storage_.last_index()) return;
  // What a member too far behind is told to wait for; made anew when it is sent.
  MAYBE(storage_.create_snapshot(applied_, node_.configuration().conf_state(), {}).ok());
  CHECK(storage_.compact(to).ok());
}

// --- leases

// A million leases take a good part of a second, and heartbeats must not wait so long: a worker
// gathers and orders them, and what is applied meanwhile is reported to the new queue when it
// comes.
void RaftDriver::promote_leases() {
  demote_leases();
  const auto view = views_.get();
  promoting_ = Promoting{.term = node_.term(), .view_index = view->applied_index, .changes = {}};
  shared_.progress.revokes_per_second = kRevokesPerSecond;  // until all are known
  shared_.any_worker().post([this, leases = view->leases, term = node_.term(),
                             now = lane_.clock().now(), config = deadline_config(shared_.config),
                             extend = shared_.config.election_timeout()] {
    std::vector<lease::Lease> all;
    all.reserve(leases.size());
    leases.visit([&](const lease::Lease& lease) {
      all.push_back(lease);
      return true;
    });
    auto queue = std::make_unique<lease::DeadlineQueue>(config);
    queue->promote(all, now, extend);
    lane_.post([this, term, queue = std::move(queue)]() mutable { promoted(term, *queue); });
  });
}

void RaftDriver::demote_leases() {
  deadlines_.demote();
  promoting_.reset();
  for (const auto& [id, renewals] : std::exchange(resets_, {})) {
    for (const RenewLease& each : renewals) answer_renewal(each);
  }
}

void RaftDriver::promoted(raft::Term term, lease::DeadlineQueue& queue) {
  if (stopped_ || !promoting_ || promoting_->term != term) return;
  const Promoting promoting = *std::exchange(promoting_, std::nullopt);
  if (!leads() || node_.term() != term) return;
  promoted_at_ = promoting.view_index;
  deadlines_ = std::move(queue);
  note_lease_changes(promoting.changes);
  pump();
}

void RaftDriver::note_lease_changes(const std::vector<apply::LeaseChange>& changes) {
  const auto now = lane_.clock().now();
  for (const apply::LeaseChange& change : changes) {
    switch (change.kind) {
      case apply::LeaseChange::Kind::kGranted:
        deadlines_.granted(change.lease, now);
        break;
      case apply::LeaseChange::Kind::kRevoked:
        deadlines_.revoked(change.lease.id);
        break;
      case apply::LeaseChange::Kind::kCheckpointed:
        deadlines_.checkpointed(change.lease.id, change.lease.remaining_ttl, now);
        break;
    }
    answer_resets(change.lease.id);
  }
}

void RaftDriver::scan_leases() {
  if (stopped_) return;
  note_standstill();
  const bool more = deadlines_.leading() && !doubted_term_ && end_leases();
  lane_.after(more ? kBusyScanInterval : kLeaseScanInterval, [this] { scan_leases(); });
}

// True if there may be more to do at once.
bool RaftDriver::end_leases() {
  const auto now = lane_.clock().now();
  const bool lags = node_.hard_state().commit > applied_ + kExpiryLagMax;
  const std::size_t at_once = expiries_per_scan();
  auto expired = deadlines_.take_expired(now, lags ? 0 : at_once);
  const bool more = expired.size() == at_once && at_once == kExpiriesPerScan;
  if (!expired.empty()) {
    flush_proposals();
    std::erase_if(expired,
                  [logged = leases_in_flight()](lease::LeaseId id) { return logged.contains(id); });
  }
  for (const lease::LeaseId id : expired) {
    shared_.metrics.lease_expired.add();
    shared_.progress.revokes_proposed++;
    etcdserverpb::InternalRaftRequest request;
    request.mutable_lease_revoke()->set_id(id);
    propose_own(std::move(request));
  }
  propose_checkpoints(deadlines_.take_checkpoints(now, kCheckpointsPerScan));
  if (flush_proposals() && leads()) deadlines_.revokes_are_logged(expired);
  pump();
  return lags || more;
}

// Those that entries of the log grant or revoke which are not applied here: what has expired may be
// another's by the time a revoke that is proposed now is applied, and a revoke names an id alone.
std::set<lease::LeaseId> RaftDriver::leases_in_flight() const {
  std::set<lease::LeaseId> leases;
  const auto entries = node_.log().entries(applied_ + 1, std::numeric_limits<std::uint64_t>::max());
  if (!entries) return leases;  // compacted, so applied
  for (const raft::Entry& entry : *entries) {
    if (entry.type != raft::EntryType::kNormal) continue;
    if (const auto lease = lease_named_by(entry.data.view())) leases.insert(*lease);
  }
  return leases;
}

// Where there is a limit, scans are kLeaseScanInterval apart.
std::size_t RaftDriver::expiries_per_scan() const {
  const std::uint32_t pace = shared_.progress.revokes_per_second;
  if (alone_ || pace == kRevokesUnlimited) return kExpiriesPerScan;
  constexpr auto kScansPerSecond = base::Seconds(1) / kLeaseScanInterval;
  return std::max<std::size_t>(pace / static_cast<std::size_t>(kScansPerSecond), 1);
}

void RaftDriver::propose_checkpoints(const std::vector<lease::DeadlineQueue::DueCheckpoint>& due) {
  if (due.empty()) return;
  etcdserverpb::InternalRaftRequest request;
  for (const auto& one : due) {
    auto* checkpoint = request.mutable_lease_checkpoint()->add_checkpoints();
    checkpoint->set_id(one.id);
    checkpoint->set_remaining_ttl(one.remaining_ttl.count());
  }
  propose_own(std::move(request));
}

void RaftDriver::note_standstill() {
  if (!leads() || alone_) return;
  const auto now = lane_.clock().now();
  const bool stood_still = now - ticked_at_ > kStandstillTicks * shared_.config.tick;
  const bool is_unanswered = doubted_term_ && now - doubted_at_ >= kDoubtRetry;
  if (is_unanswered || (stood_still && !doubted_term_)) ask_whether_leading();
}

// Without a quorum that answers it does not lead for long.
void RaftDriver::ask_whether_leading() {
  doubted_term_ = node_.term();
  doubted_at_ = lane_.clock().now();
  node_.read_index(read_context({.front = kNoWaitingLane, .context = ++doubts_}));
}

// It leads, or does not: the deadlines say which.
void RaftDriver::end_doubt() {
  doubted_term_.reset();
  for (const RenewLease& each : std::exchange(doubted_renewals_, {})) answer_renewal(each);
}

void RaftDriver::on(const RenewLease& request) {
  note_standstill();
  doubted_term_ ? doubted_renewals_.push_back(request) : answer_renewal(request);
}

void RaftDriver::answer_renewal(const RenewLease& request) {
  RenewAnswer answer{.ticket = request.ticket, .answer = Errc::kNotPrimaryLessor};
  if (deadlines_.leading()) {
    auto renewed = deadlines_.renew(request.id, lane_.clock().now());
    if (renewed && renewed->reset_checkpoint) return reset_checkpoint(request);
    if (renewed) {
      shared_.metrics.lease_renewed.add();
      answer.answer = renewed->ttl;
    } else {
      answer.answer = base::Seconds(0);
      answer.pending_revoke = renewed.error() == lease::Errc::kExpired;
    }
  }
  shared_.fronts[request.front]->inbox().push_always(answer);
}

// The log says that less is left. Not answered before that is put right: the next leader would
// count from there. Each renewal that waits proposes it, for an earlier proposal may be lost.
void RaftDriver::reset_checkpoint(const RenewLease& request) {
  resets_[request.id].push_back(request);
  etcdserverpb::InternalRaftRequest reset;
  reset.mutable_lease_checkpoint()->add_checkpoints()->set_id(request.id);
  propose_own(std::move(reset));
}

void RaftDriver::answer_resets(lease::LeaseId id) {
  const auto it = resets_.find(id);
  if (it == resets_.end()) return;
  const auto waiting = std::move(it->second);
  resets_.erase(it);
  for (const RenewLease& each : waiting) answer_renewal(each);
}

void RaftDriver::on(const AskTimeToLive& request) {
  TimeToLiveAnswer answer{.ticket = request.ticket, .leading = deadlines_.leading()};
  if (auto remaining = deadlines_.remaining(request.id, lane_.clock().now())) {
    answer.found = true;
    answer.remaining = *remaining;
  }
  shared_.fronts[request.front]->inbox().push_always(answer);
}

void RaftDriver::on(const AskLeaseEnds& request) {
  LeaseEndsAnswer answer{.ticket = request.ticket, .ends = {}};
  if (deadlines_.leading()) {
    for (const lease::LeaseId id : request.ids) {
      const auto end = deadlines_.remaining(id, base::TimePoint{});
      answer.ends.push_back(end ? base::TimePoint(*end) : base::TimePoint::max());
    }
  }
  shared_.fronts[request.front]->inbox().push_always(std::move(answer));
}

// --- the cluster

void RaftDriver::on(const AskProgress& request) {
  ProgressAnswer answer{.ticket = request.ticket, .leads = leads()};
  if (const auto* progress = node_.progress()) {
    if (const auto it = progress->find(request.id); it != progress->end()) {
      answer.known = true;
      answer.match = it->second.match;
    }
    // One that was removed leads on for a while, and does not count itself.
    if (const auto own = progress->find(node_.id()); own != progress->end()) {
      answer.own_match = own->second.match;
    }
  }
  shared_.fronts[request.front]->inbox().push_always(answer);
}

void RaftDriver::on(const TransferLeader& request) { node_.transfer_leader(request.to); }

// --- requests of the member's own

void RaftDriver::propose_own(etcdserverpb::InternalRaftRequest request) {
  request.mutable_header()->set_id(ids_.next());
  gathered_.push_back({.entry = {.data = base::SharedBytes(request.SerializeAsString())}});
}

void RaftDriver::raise_no_space() {
  const apply::AlarmMember alarm{.member_id = node_.id(), .type = apply::AlarmType::kNoSpace};
  const auto& alarms = *views_.get()->alarms;
  if (std::find(alarms.begin(), alarms.end(), alarm) != alarms.end()) return;
  env::log_warn("database space exceeded; raising alarm NOSPACE",
                {{"local-member-id", membership::id_text(node_.id())}});
  etcdserverpb::InternalRaftRequest request;
  request.mutable_alarm()->set_action(etcdserverpb::AlarmRequest::ACTIVATE);
  request.mutable_alarm()->set_memberid(node_.id());
  request.mutable_alarm()->set_alarm(etcdserverpb::NOSPACE);
  propose_own(std::move(request));
}

}  // namespace keelson::member
