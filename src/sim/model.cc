#include "sim/model.h"

#include <algorithm>

#include "member/request_ids.h"

namespace keelson::sim {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::RangeRequest;
using etcdserverpb::TxnRequest;
using http::StatusCode;
using mvcc::ModelChange;

Answer refused(StatusCode code) { return {.code = code}; }

template <class T>
bool compares(Compare::CompareResult result, const T& actual, const T& wanted) {
  switch (result) {
    case Compare::EQUAL:
      return actual == wanted;
    case Compare::NOT_EQUAL:
      return actual != wanted;
    case Compare::GREATER:
      return actual > wanted;
    case Compare::LESS:
      return actual < wanted;
    default:
      return false;
  }
}

int order(const mvccpb::KeyValue& a, const mvccpb::KeyValue& b, RangeRequest::SortTarget target) {
  const auto compare = [](const auto& x, const auto& y) { return x < y ? -1 : y < x ? 1 : 0; };
  switch (target) {
    case RangeRequest::VERSION:
      return compare(a.version(), b.version());
    case RangeRequest::CREATE:
      return compare(a.create_revision(), b.create_revision());
    case RangeRequest::MOD:
      return compare(a.mod_revision(), b.mod_revision());
    case RangeRequest::VALUE:
      return compare(a.value(), b.value());
    default:
      return compare(a.key(), b.key());
  }
}

void strip_headers(etcdserverpb::TxnResponse& message) {
  message.clear_header();
  for (auto& one : *message.mutable_responses()) {
    if (one.has_response_put()) one.mutable_response_put()->clear_header();
    if (one.has_response_range()) one.mutable_response_range()->clear_header();
    if (one.has_response_delete_range()) one.mutable_response_delete_range()->clear_header();
    if (one.has_response_txn()) strip_headers(*one.mutable_response_txn());
  }
}

// Whether NOSPACE keeps it out, whichever branch it would take. api.md 7.6.
bool puts(const TxnRequest& request) {
  const auto any = [](const auto& branch) {
    return std::any_of(branch.begin(), branch.end(), [](const auto& op) {
      return op.has_request_put() || (op.has_request_txn() && puts(op.request_txn()));
    });
  };
  return any(request.success()) || any(request.failure());
}

bool keeps_something(const etcdserverpb::PutRequest& request) {
  return request.ignore_value() || request.ignore_lease();
}

}  // namespace

Answer answer_of(etcdserverpb::TxnResponse message) {
  const std::int64_t revision = message.header().revision();
  strip_headers(message);
  return {.message = message.SerializeAsString(), .revision = revision};
}

bool writes(const TxnRequest& request) {
  const auto any = [](const auto& branch) {
    return std::any_of(branch.begin(), branch.end(),
                       [](const auto& op) { return !op.has_request_range(); });
  };
  return any(request.success()) || any(request.failure());
}

void Model::apply(const raft::Entry& entry, base::TimePoint now) {
  const Index index = last() + 1;
  LogEntry made{.term = entry.term, .data = std::string(entry.data.view()), .applied = now};
  if (entry.type == raft::EntryType::kNormal && !entry.data.empty()) {
    etcdserverpb::InternalRaftRequest request;
    if (request.ParseFromArray(entry.data.data(), static_cast<int>(entry.data.size()))) {
      dispatch(made, request, index, now);
    }
  }
  if (entry.type == raft::EntryType::kConfChange) members_.apply(entry.data.view());
  made.revision = revision_;
  made.floor = floor_;
  first_with_.try_emplace(revision_, index);
  log_.push_back(std::move(made));
}

void Model::dispatch(LogEntry& entry, const etcdserverpb::InternalRaftRequest& request, Index index,
                     base::TimePoint now) {
  const auto is = [&entry](std::string method, const auto& message) {
    entry.method = std::move(method);
    entry.request = message.SerializeAsString();
  };
  entry.by_server = member::RequestIds::lane_of(request.header().id()) == member::kNoWaitingLane;
  if (request.has_put()) {
    is("Put", request.put());
    entry.answer = put(request.put());
  } else if (request.has_delete_range()) {
    is("DeleteRange", request.delete_range());
    entry.answer = delete_range(request.delete_range());
  } else if (request.has_txn()) {
    is("Txn", request.txn());
    entry.answer = txn(request.txn());
  } else if (request.has_compaction()) {
    is("Compact", request.compaction());
    entry.answer = compact(request.compaction());
  } else if (request.has_lease_grant()) {
    is("LeaseGrant", request.lease_grant());
    entry.answer = grant(request.lease_grant(), index, now);
  } else if (request.has_lease_revoke()) {
    is("LeaseRevoke", request.lease_revoke());
    entry.answer = revoke(request.lease_revoke(), index, entry.by_server, now);
  } else if (request.has_alarm()) {
    is("Alarm", request.alarm());
    entry.by_server = request.alarm().action() == etcdserverpb::AlarmRequest::ACTIVATE;
    entry.answer = alarm(request.alarm());
  } else {
    entry.by_server = true;
  }
  entry.answer.revision = revision_;
}

// --- reads

const ModelChange* Model::get(const History& history, std::int64_t revision) const {
  const auto after = std::upper_bound(
      history.begin(), history.end(), revision,
      [this](std::int64_t r, std::size_t i) { return r < changes_[i].revision.main; });
  if (after == history.begin()) return nullptr;
  const ModelChange& change = changes_[*std::prev(after)];
  return change.tombstone ? nullptr : &change;
}

const ModelChange* Model::get(std::string_view key, std::int64_t revision) const {
  const auto it = keys_.find(key);
  return it == keys_.end() ? nullptr : get(it->second, revision);
}

std::vector<const ModelChange*> Model::live(std::string_view key, std::string_view end,
                                            std::int64_t revision) const {
  std::vector<const ModelChange*> out;
  const bool open = end == std::string_view("\0", 1);
  for (auto it = keys_.lower_bound(key); it != keys_.end(); ++it) {
    if (end.empty() ? it->first != key : !open && it->first >= end) break;
    if (const ModelChange* change = get(it->second, revision)) out.push_back(change);
  }
  return out;
}

etcdserverpb::RangeResponse Model::range(const RangeRequest& request, std::int64_t revision) const {
  etcdserverpb::RangeResponse response;
  auto rows = live(request.key(), request.range_end(), revision);
  response.set_count(static_cast<std::int64_t>(rows.size()));
  if (request.count_only()) return response;
  if (request.sort_order() != RangeRequest::NONE || request.sort_target() != RangeRequest::KEY) {
    std::sort(rows.begin(), rows.end(), [&request](const auto* a, const auto* b) {
      const int by = order(a->kv, b->kv, request.sort_target());
      if (by == 0) return a->kv.key() < b->kv.key();
      return request.sort_order() == RangeRequest::DESCEND ? by > 0 : by < 0;
    });
  }
  if (request.limit() > 0 && rows.size() > static_cast<std::size_t>(request.limit())) {
    rows.resize(static_cast<std::size_t>(request.limit()));
    response.set_more(true);
  }
  for (const ModelChange* row : rows) {
    auto* kv = response.add_kvs();
    *kv = row->kv;
    if (request.keys_only()) {
      kv->clear_value();
      kv->clear_lease();
    }
  }
  return response;
}

Answer Model::read_txn(const etcdserverpb::TxnRequest& request, std::int64_t revision) const {
  etcdserverpb::TxnResponse response;
  response.set_succeeded(hold(request.compare(), revision));
  for (const auto& op : response.succeeded() ? request.success() : request.failure()) {
    *response.add_responses()->mutable_response_range() = range(op.request_range(), revision);
  }
  return answer_of(response);
}

bool Model::hold(const google::protobuf::RepeatedPtrField<Compare>& compares,
                 std::int64_t revision) const {
  return std::all_of(compares.begin(), compares.end(),
                     [&](const Compare& compare) { return holds(compare, revision); });
}

bool Model::holds(const Compare& compare, std::int64_t revision) const {
  const ModelChange* change = get(compare.key(), revision);
  const mvccpb::KeyValue kv = change == nullptr ? mvccpb::KeyValue() : change->kv;
  switch (compare.target()) {
    case Compare::VERSION:
      return compares(compare.result(), kv.version(), compare.version());
    case Compare::CREATE:
      return compares(compare.result(), kv.create_revision(), compare.create_revision());
    case Compare::MOD:
      return compares(compare.result(), kv.mod_revision(), compare.mod_revision());
    case Compare::VALUE:
      // The value of a key that is not there equals nothing, and differs from nothing either.
      return change != nullptr && compares(compare.result(), kv.value(), compare.value());
    case Compare::LEASE:
      return compares(compare.result(), kv.lease(), compare.lease());
    default:
      return false;
  }
}

// --- writes

void Model::change(mvccpb::KeyValue kv, bool tombstone) {
  keys_[kv.key()].push_back(changes_.size());
  changes_.push_back(
      {.revision = {running(), sub_++}, .tombstone = tombstone, .kv = std::move(kv)});
}

void Model::end_operation() {
  if (sub_ > 0) revision_++;
  sub_ = 0;
}

void Model::do_put(const etcdserverpb::PutRequest& request, etcdserverpb::PutResponse& response) {
  const ModelChange* before = get(request.key(), running());
  mvccpb::KeyValue kv;
  kv.set_key(request.key());
  kv.set_create_revision(before == nullptr ? running() : before->kv.create_revision());
  kv.set_mod_revision(running());
  kv.set_version(before == nullptr ? 1 : before->kv.version() + 1);
  kv.set_value(request.ignore_value() ? before->kv.value() : request.value());
  kv.set_lease(request.ignore_lease() ? before->kv.lease() : request.lease());
  if (request.prev_kv() && before != nullptr) *response.mutable_prev_kv() = before->kv;
  change(std::move(kv), false);
}

void Model::do_delete(const etcdserverpb::DeleteRangeRequest& request,
                      etcdserverpb::DeleteRangeResponse& response) {
  std::vector<mvccpb::KeyValue> doomed;
  for (const ModelChange* one : live(request.key(), request.range_end(), running())) {
    doomed.push_back(one->kv);
  }
  response.set_deleted(static_cast<std::int64_t>(doomed.size()));
  for (const mvccpb::KeyValue& one : doomed) {
    if (request.prev_kv()) *response.add_prev_kvs() = one;
    mvccpb::KeyValue tombstone;
    tombstone.set_key(one.key());
    change(std::move(tombstone), true);
  }
}

// Why it cannot be done, looked at before anything is.
std::optional<StatusCode> Model::why_not(const etcdserverpb::PutRequest& request) const {
  if (request.lease() != 0 && !lease_lives(request.lease())) return StatusCode::kNotFound;
  if (keeps_something(request) && get(request.key(), revision_) == nullptr) {
    return StatusCode::kInvalidArgument;
  }
  return std::nullopt;
}

Answer Model::put(const etcdserverpb::PutRequest& request) {
  if (no_space()) return refused(StatusCode::kResourceExhausted);
  if (const auto code = why_not(request)) return refused(*code);
  etcdserverpb::PutResponse response;
  do_put(request, response);
  end_operation();
  return answer_of(response);
}

Answer Model::delete_range(const etcdserverpb::DeleteRangeRequest& request) {
  etcdserverpb::DeleteRangeResponse response;
  do_delete(request, response);
  end_operation();
  return answer_of(response);
}

// All compares, those of txns inside too, see the state before it; a put that cannot be done on the
// way that is taken keeps all of it from being done.
std::optional<StatusCode> Model::why_not(const TxnRequest& request) const {
  for (const auto& op : branch(request)) {
    std::optional<StatusCode> code;
    if (op.has_request_put()) code = why_not(op.request_put());
    if (op.has_request_txn()) code = why_not(op.request_txn());
    if (code) return code;
  }
  return std::nullopt;
}

const google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>& Model::branch(
    const TxnRequest& request) const {
  return hold(request.compare(), revision_) ? request.success() : request.failure();
}

void Model::do_txn(const TxnRequest& request, etcdserverpb::TxnResponse& response) {
  response.set_succeeded(hold(request.compare(), revision_));
  for (const auto& op : branch(request)) {
    auto* out = response.add_responses();
    if (op.has_request_put()) {
      do_put(op.request_put(), *out->mutable_response_put());
    } else if (op.has_request_delete_range()) {
      do_delete(op.request_delete_range(), *out->mutable_response_delete_range());
    } else if (op.has_request_txn()) {
      do_txn(op.request_txn(), *out->mutable_response_txn());
    } else {
      *out->mutable_response_range() = range(op.request_range(), running());
    }
  }
}

Answer Model::txn(const TxnRequest& request) {
  if (no_space() && puts(request)) return refused(StatusCode::kResourceExhausted);
  if (const auto code = why_not(request)) return refused(*code);
  etcdserverpb::TxnResponse response;
  do_txn(request, response);
  end_operation();
  return answer_of(response);
}

Answer Model::compact(const etcdserverpb::CompactionRequest& request) {
  if (request.revision() <= floor_ || request.revision() > revision_) {
    return refused(StatusCode::kOutOfRange);
  }
  floor_ = request.revision();
  return answer_of(etcdserverpb::CompactionResponse());
}

// --- leases

const Model::Lease* Model::lease(std::int64_t id, Index index) const {
  const auto it = leases_.find(id);
  if (it == leases_.end()) return nullptr;
  for (const Lease& life : it->second) {
    if (life.lives(index)) return &life;
  }
  return nullptr;
}

std::vector<std::string> Model::keys_of(std::int64_t lease, std::int64_t revision) const {
  std::vector<std::string> out;
  for (const auto& [key, history] : keys_) {
    const ModelChange* change = get(history, revision);
    if (change != nullptr && change->kv.lease() == lease) out.push_back(key);
  }
  return out;
}

Answer Model::grant(const etcdserverpb::LeaseGrantRequest& request, Index index,
                    base::TimePoint now) {
  if (no_space()) return refused(StatusCode::kResourceExhausted);
  if (lease_lives(request.id())) return refused(StatusCode::kFailedPrecondition);
  const auto ttl = std::max<std::int64_t>(request.ttl(), lease_ttl_min_.count());
  leases_[request.id()].push_back({.ttl = ttl, .granted = index, .granted_at = now});
  etcdserverpb::LeaseGrantResponse response;
  response.set_id(request.id());
  response.set_ttl(ttl);
  return answer_of(response);
}

Answer Model::revoke(const etcdserverpb::LeaseRevokeRequest& request, Index index, bool by_server,
                     base::TimePoint now) {
  if (!lease_lives(request.id())) return refused(StatusCode::kNotFound);
  for (const std::string& key : keys_of(request.id(), revision_)) {
    mvccpb::KeyValue tombstone;
    tombstone.set_key(key);
    change(std::move(tombstone), true);
  }
  end_operation();
  Lease& life = leases_[request.id()].back();
  life.revoked = index;
  life.revoked_at = now;
  life.expired = by_server;
  return answer_of(etcdserverpb::LeaseRevokeResponse());
}

// --- alarms

Answer Model::alarm(const etcdserverpb::AlarmRequest& request) {
  using Request = etcdserverpb::AlarmRequest;
  const Alarm one{request.memberid(), request.alarm()};
  etcdserverpb::AlarmResponse response;
  const auto tell = [&response](const Alarm& alarm) {
    response.add_alarms()->set_memberid(alarm.first);
    response.mutable_alarms()->rbegin()->set_alarm(alarm.second);
  };
  if (request.action() == Request::ACTIVATE) {
    alarms_.insert(one);
    tell(one);
  } else if (request.action() == Request::DEACTIVATE) {
    if (alarms_.erase(one) > 0) tell(one);
  } else {
    for (const Alarm& alarm : alarms_) {
      if (request.alarm() == etcdserverpb::NONE || alarm.second == request.alarm()) tell(alarm);
    }
  }
  return answer_of(response);
}

bool Model::no_space() const {
  return std::any_of(alarms_.begin(), alarms_.end(),
                     [](const Alarm& alarm) { return alarm.second == etcdserverpb::NOSPACE; });
}

// --- hash

// From the floor alone, not from how it was reached: members compare hashes, and have compacted at
// different moments.
std::uint32_t Model::hash(std::int64_t at, Index index, bool of_compaction) const {
  mvcc::Model bucket;
  for (const ModelChange& change : changes_) {
    if (change.revision.main > revision(index)) break;
    bucket.changes.push_back(change);
  }
  bucket.revision = revision(index);
  MAYBE(bucket.bucket().empty());  // takes the changes over before it is compacted
  if (floor(index) > 0) bucket.compact(floor(index));
  return bucket.hash_kv(at, of_compaction);
}

}  // namespace keelson::sim
