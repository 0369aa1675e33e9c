#include "apply/state_machine.h"

#include <google/protobuf/arena.h>

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "base/field_reader.h"
#include "raft/wire.h"

namespace keelson::apply {
namespace {

constexpr std::size_t kArenaBytes = 2048;

Errc from(mvcc::Errc errc) {
  switch (errc) {
    case mvcc::Errc::kCompacted:
      return Errc::kCompacted;
    case mvcc::Errc::kFutureRevision:
      return Errc::kFutureRevision;
    case mvcc::Errc::kKeyNotFound:
      return Errc::kKeyNotFound;
    case mvcc::Errc::kLeaseNotFound:
      return Errc::kLeaseNotFound;
    case mvcc::Errc::kUnreadable:
      return Errc::kUnreadable;
    case mvcc::Errc::kTooMuchMemory:
      return Errc::kTooMuchMemory;
  }
  CHECK(false);
}

Errc from(lease::Errc errc) {
  switch (errc) {
    case lease::Errc::kNotFound:
      return Errc::kLeaseNotFound;
    case lease::Errc::kExists:
      return Errc::kLeaseExists;
    case lease::Errc::kTtlTooLarge:
      return Errc::kLeaseTtlTooLarge;
    case lease::Errc::kExpired:
      CHECK(false);  // deadlines are no part of the log
  }
  CHECK(false);
}

Errc from(membership::Errc errc) {
  switch (errc) {
    case membership::Errc::kIdRemoved:
      return Errc::kMemberIdRemoved;
    case membership::Errc::kIdExists:
      return Errc::kMemberIdExists;
    case membership::Errc::kIdNotFound:
      return Errc::kMemberIdNotFound;
    case membership::Errc::kPeerUrlExists:
      return Errc::kPeerUrlExists;
    case membership::Errc::kNotLearner:
      return Errc::kNotLearner;
    case membership::Errc::kTooManyLearners:
      return Errc::kTooManyLearners;
    case membership::Errc::kMalformed:
      break;  // never proposed; a damaged log
  }
  CHECK(false);
}

// Of an entry that is no InternalRaftRequest. Members of etcd 3.5 put requests of their v2 API into
// the log as they are: a method, and a path. formats.md 5.3
std::string_view why_unreadable(std::string_view data) {
  base::FieldReader fields(data);
  bool has_method = false;
  while (const auto field = fields.next()) {
    if (field->number == 2 && field->bytes == "PUT") has_method = true;
    if (field->number == 3 && has_method && field->bytes.starts_with('/')) {
      return "was written by a member of etcd 3.5 or older: this member is to be removed from the "
             "cluster, and to be added anew once all are of 3.6 or later";
    }
  }
  return "does not parse";
}

// A value of the core, or its error in our words.
template <class T, class E>
base::Result<Answer, Errc> answer_of(base::Result<T, E> result) {
  if (!result) return base::fail(from(result.error()));
  return Answer(*std::move(result));
}

std::uint64_t branch_cost(
    const google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>& operations) {
  std::uint64_t cost = 0;
  for (const auto& operation : operations) {
    if (operation.has_request_put()) cost += quota_cost(operation.request_put());
    if (operation.has_request_txn()) cost += quota_cost(operation.request_txn());
  }
  return cost;
}

// Revision keys of the meta bucket: 17 bytes, main first.
std::optional<std::int64_t> revision_of(std::string_view value) {
  if (value.size() != base::kRevisionKeyBytes) return std::nullopt;
  std::uint64_t main = 0;
  for (std::size_t i = 0; i < 8; i++) main = main << 8 | static_cast<unsigned char>(value[i]);
  return static_cast<std::int64_t>(main);
}

}  // namespace

std::uint64_t quota_cost(const etcdserverpb::PutRequest& request) {
  return 256 + request.key().size() + request.value().size();
}

std::uint64_t quota_cost(const etcdserverpb::TxnRequest& request) {
  return std::max(branch_cost(request.success()), branch_cost(request.failure()));
}

StateMachine::StateMachine(Options options)
    : options_(options),
      lessor_(options.lessor),
      keys_(static_cast<mvcc::Leases&>(*this), options.mvcc),
      cluster_({.max_learners = options.learners_max}) {}

bool StateMachine::recover_bucket(base::Bucket bucket, std::string_view key,
                                  std::string_view value) {
  const auto gather = [key, value](membership::Cluster::Stored& stored) {
    stored.emplace_back(key, value);
    return true;
  };
  switch (bucket) {
    case base::Bucket::kLease:
      return lessor_.recover(value);
    case base::Bucket::kAlarm:
      return alarms_.recover(key);
    case base::Bucket::kMembers:
      return gather(stored_members_);
    case base::Bucket::kMembersRemoved:
      return gather(stored_removed_);
    case base::Bucket::kCluster:
      return gather(stored_cluster_);
    case base::Bucket::kMeta: {
      const bool finished = key == base::kFinishedCompactKey;
      if (!finished && key != base::kScheduledCompactKey) return true;
      const auto revision = revision_of(value);
      if (!revision) return false;
      (finished ? finished_compact_ : scheduled_compact_) = *revision;
      return true;
    }
    case base::Bucket::kAuth:
      auth_revision_stored_ = auth_revision_stored_ || key == base::kAuthRevisionKey;
      return true;
    case base::Bucket::kAuthUsers:
    case base::Bucket::kAuthRoles:
      return true;  // kept as they are; no such request is proposed here
  }
  CHECK(false);
}

void StateMachine::load_key(std::string_view key, std::span<const mvcc::Version> history,
                            lease::LeaseId lease_of_newest) {
  keys_.load(key, history);
  // A lease that is gone deleted its keys in the same batch, so a live key names one that is there.
  // A store that says otherwise keeps the key, without a lease, as etcd does.
  if (lease_of_newest != lease::kNoLease) MAYBE(lessor_.attach(key, lease_of_newest).ok());
}

bool StateMachine::finish_recovery(std::int64_t newest_revision) {
  keys_.finish_load(newest_revision, finished_compact_, scheduled_compact_);
  const bool recovered = cluster_.recover(
      {.members = stored_members_, .members_removed = stored_removed_, .cluster = stored_cluster_});
  stored_members_ = stored_removed_ = stored_cluster_ = {};
  return recovered;
}

void StateMachine::moved(std::string_view key, std::int64_t previous, std::int64_t id) {
  MAYBE(previous != 0);
  if (id == 0) return lessor_.detach(key);
  CHECK(lessor_.attach(key, id).ok());  // exists() was asked before
}

void StateMachine::begin(base::Batch& batch, const base::RevisionReader& reader,
                         std::uint64_t live_bytes) {
  CHECK(batch_ == nullptr);
  batch_ = &batch;
  live_bytes_ = live_bytes;
  result_ = BatchResult{};
  keys_.begin(batch, reader);
  if (!auth_revision_stored_) {  // a new store; Maintenance.Hash covers it
    batch.put(base::Bucket::kAuth, std::string(base::kAuthRevisionKey),
              std::string("\0\0\0\0\0\0\0\1", 8));
    auth_revision_stored_ = true;
  }
}

BatchResult StateMachine::finish() {
  CHECK(batch_ != nullptr);
  batch_ = nullptr;
  result_.events = keys_.take_events();
  return std::move(result_);
}

bool StateMachine::compact_slice(std::size_t budget) {
  auto progress = keys_.compact_slice(budget);
  result_.dead.insert(result_.dead.end(), progress.dropped.begin(), progress.dropped.end());
  return progress.pending;
}

bool StateMachine::apply(const raft::Entry& entry, Life proposed_in) {
  CHECK(batch_ != nullptr);
  const bool begins_term = entry.term > batch_->applied_term();
  batch_->set_applied(entry.index, entry.term);
  if (entry.type == raft::EntryType::kConfChange) return apply_conf_change(entry, proposed_in);
  CHECK_MSG(entry.type == raft::EntryType::kNormal, "entry {} of type {}", entry.index,
            static_cast<int>(entry.type));
  if (entry.data.empty()) {  // a leader's first one, or a change of configuration that it refused
    if (begins_term) result_.new_leader_term = entry.term;
    return true;
  }
  alignas(8) char first_block[kArenaBytes];  // enough for most requests
  google::protobuf::ArenaOptions arena_options;
  arena_options.initial_block = first_block;
  arena_options.initial_block_size = sizeof first_block;
  google::protobuf::Arena arena(arena_options);
  auto* request = google::protobuf::Arena::CreateMessage<etcdserverpb::InternalRaftRequest>(&arena);
  // Every proposer checks what it proposes, so this is a damaged log, or one of members that are
  // too old: going on would fork the state.
  CHECK_MSG(request->ParseFromArray(entry.data.data(), static_cast<int>(entry.data.size())),
            "entry {} of term {} {}", entry.index, entry.term, why_unreadable(entry.data.view()));
  const std::uint64_t id = request->id() != 0 ? request->id() : request->header().id();
  const bool waiter = proposed_in == Life::kThis && proposed_by(id, options_.member_id);
  auto answer = dispatch(*request, waiter);
  const bool ok = answer.ok();
  if (!waiter) return ok;
  result_.outcomes.push_back({.request_id = id,
                              .answer = std::move(answer),
                              .revision = keys_.revision(),
                              .term = entry.term});
  return ok;
}

void StateMachine::pass_over(const raft::Entry& entry) {
  CHECK(batch_ != nullptr);
  batch_->set_applied(entry.index, entry.term);
}

bool StateMachine::apply_conf_change(const raft::Entry& entry, Life proposed_in) {
  auto decoded = raft::decode_conf_change(entry.data);
  CHECK_MSG(decoded.ok(), "conf change at entry {} does not parse", entry.index);
  raft::ConfChange change = *std::move(decoded);
  auto parsed = membership::parse_change({.type = static_cast<std::uint8_t>(change.type),
                                          .node_id = change.node_id,
                                          .context = change.context});
  CHECK_MSG(parsed.ok(), "conf change at entry {} cannot be read", entry.index);
  AnswerResult answer = Answer(DoneAnswer{});
  if (auto allowed = cluster_.check(*parsed)) {
    cluster_.apply(*batch_, *parsed);
    save_conf_state();
    result_.membership_changed = true;
  } else {
    change.node_id = raft::kNone;  // the core is told of it all the same
    answer = base::fail(from(allowed.error()));
  }
  const bool ok = answer.ok();
  if (proposed_in == Life::kThis && proposed_by(change.id, options_.member_id)) {
    result_.outcomes.push_back({.request_id = change.id,
                                .answer = std::move(answer),
                                .revision = keys_.revision(),
                                .term = entry.term});
  }
  result_.conf_changes.push_back({.index = entry.index, .change = std::move(change)});
  return ok;
}

void StateMachine::save_conf_state() {
  // Members of this kind change one at a time, so the roster is the configuration.
  std::vector<membership::MemberId> voters, learners;
  for (const auto& member : cluster_.roster().members) {
    (member.is_learner ? learners : voters).push_back(member.id);
  }
  membership::save_conf_state(*batch_, {.voters = voters, .learners = learners});
}

StateMachine::AnswerResult StateMachine::dispatch(const etcdserverpb::InternalRaftRequest& request,
                                                  bool waiter) {
  const bool data_request =
      request.has_put() || request.has_range() || request.has_delete_range() || request.has_txn() ||
      request.has_compaction() || request.has_lease_grant() || request.has_lease_revoke();
  if (data_request && alarms_.active(AlarmType::kCorrupt)) return base::fail(Errc::kCorrupt);

  if (request.has_put()) return put(request.put());
  if (request.has_txn()) return txn(request.txn(), waiter);
  if (request.has_delete_range()) return answer_of(keys_.delete_range(request.delete_range()));
  if (request.has_compaction()) {
    auto compacted = keys_.compact(request.compaction().revision());
    if (!compacted) return base::fail(from(compacted.error()));
    return Answer(CompactAnswer{});
  }
  if (request.has_lease_grant()) return grant(request.lease_grant());
  if (request.has_lease_revoke()) return revoke(request.lease_revoke());
  if (request.has_lease_checkpoint()) return checkpoint(request.lease_checkpoint());
  if (request.has_alarm()) return alarm(request.alarm());
  if (request.has_cluster_version_set()) {
    const auto version = membership::parse_version(request.cluster_version_set().ver());
    CHECK_MSG(version.has_value(), "cluster version {} in the log",
              request.cluster_version_set().ver());
    cluster_.set_version(*batch_, *version);
    // The schema follows the cluster's version at once: this store has one schema for all of them.
    batch_->put(base::Bucket::kMeta, std::string(base::kStorageVersionKey), version->text());
    result_.membership_changed = true;
    return Answer(DoneAnswer{});
  }
  if (request.has_cluster_member_attr_set()) {
    const auto& set = request.cluster_member_attr_set();
    const auto& urls = set.member_attributes().client_urls();
    CHECK_MSG(cluster_.set_attributes(*batch_, set.member_id(),
                                      {.name = set.member_attributes().name(),
                                       .client_urls = {urls.begin(), urls.end()}}),
              "attributes of {:x}, which was never a member", set.member_id());
    result_.membership_changed = true;
    return Answer(DoneAnswer{});
  }
  if (request.has_downgrade_info_set()) {
    const auto& set = request.downgrade_info_set();
    cluster_.set_downgrade(*batch_, {.enabled = set.enabled(), .target = set.ver()});
    result_.membership_changed = true;
    return Answer(DoneAnswer{});
  }
  return base::fail(Errc::kUnsupported);
}

StateMachine::AnswerResult StateMachine::charge(std::uint64_t cost, AnswerResult answer) {
  if (!answer || cost == 0 || options_.quota_bytes < 0) return answer;
  const bool fits = live_bytes_ + cost < static_cast<std::uint64_t>(options_.quota_bytes);
  live_bytes_ += cost;
  if (fits) return answer;
  result_.over_quota = true;
  return base::fail(Errc::kNoSpace);
}

StateMachine::AnswerResult StateMachine::put(const etcdserverpb::PutRequest& request) {
  if (alarms_.active(AlarmType::kNoSpace)) return base::fail(Errc::kNoSpace);
  return charge(quota_cost(request), answer_of(keys_.put(request)));
}

StateMachine::AnswerResult StateMachine::txn(const etcdserverpb::TxnRequest& request, bool waiter) {
  const std::uint64_t cost = quota_cost(request);
  if (cost > 0 && alarms_.active(AlarmType::kNoSpace)) return base::fail(Errc::kNoSpace);
  return charge(cost, answer_of(keys_.txn(request, waiter)));
}

StateMachine::AnswerResult StateMachine::grant(const etcdserverpb::LeaseGrantRequest& request) {
  if (alarms_.active(AlarmType::kNoSpace)) return base::fail(Errc::kNoSpace);
  auto granted = lessor_.grant(*batch_, request.id(), base::Seconds(request.ttl()));
  if (!granted) return base::fail(from(granted.error()));
  result_.lease_changes.push_back({LeaseChange::Kind::kGranted, *granted});
  return charge(kLeaseQuotaCost, Answer(LeaseGrantAnswer{*granted}));
}

StateMachine::AnswerResult StateMachine::revoke(const etcdserverpb::LeaseRevokeRequest& request) {
  if (!lessor_.contains(request.id())) return base::fail(Errc::kLeaseNotFound);
  const lease::KeySet keys = lessor_.keys_of(request.id());
  const auto views = keys.to_vector();
  if (!views.empty()) {
    auto deleted = keys_.delete_keys({views.begin(), views.end()});
    if (!deleted) return base::fail(from(deleted.error()));
  }
  CHECK(lessor_.revoke(*batch_, request.id()).ok());
  result_.lease_changes.push_back({LeaseChange::Kind::kRevoked, lease::Lease{.id = request.id()}});
  return Answer(LeaseRevokeAnswer{});
}

StateMachine::AnswerResult StateMachine::checkpoint(
    const etcdserverpb::LeaseCheckpointRequest& request) {
  const auto& version = cluster_.roster().version;
  const bool persist = version && *version >= membership::Version{3, 6, 0};
  for (const auto& one : request.checkpoints()) {
    const base::Seconds remaining(one.remaining_ttl());
    // A lease revoked meanwhile ends the request there, as in etcd: what came before it stays.
    if (auto noted = lessor_.checkpoint(
            *batch_, {.id = one.id(), .remaining_ttl = remaining, .persist = persist});
        !noted) {
      return base::fail(from(noted.error()));
    }
    result_.lease_changes.push_back({LeaseChange::Kind::kCheckpointed, *lessor_.find(one.id())});
  }
  return Answer(DoneAnswer{});
}

StateMachine::AnswerResult StateMachine::alarm(const etcdserverpb::AlarmRequest& request) {
  const AlarmMember alarm{.member_id = request.memberid(),
                          .type = static_cast<AlarmType>(request.alarm())};
  AlarmAnswer answer;
  switch (static_cast<int>(request.action())) {
    case etcdserverpb::AlarmRequest::GET:
      for (const AlarmMember& one : alarms_.all()) {
        if (alarm.type == AlarmType::kNone || one.type == alarm.type) answer.alarms.push_back(one);
      }
      return Answer(std::move(answer));
    case etcdserverpb::AlarmRequest::ACTIVATE:
      if (alarm.type == AlarmType::kNone) return Answer(std::move(answer));
      alarms_.activate(*batch_, alarm);
      answer.alarms.push_back(alarm);
      return Answer(std::move(answer));
    case etcdserverpb::AlarmRequest::DEACTIVATE:
      if (alarms_.deactivate(*batch_, alarm)) answer.alarms.push_back(alarm);
      return Answer(std::move(answer));
    default:
      return base::fail(Errc::kUnknownAlarmAction);
  }
}

}  // namespace keelson::apply
