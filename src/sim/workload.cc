#include "sim/workload.h"

#include <fmt/format.h>

#include <algorithm>

namespace keelson::sim {
namespace {

using etcdserverpb::Compare;
using etcdserverpb::RangeRequest;

Request make(std::string service, std::string method, const google::protobuf::Message& message) {
  return {.service = std::move(service),
          .method = std::move(method),
          .bytes = message.SerializeAsString()};
}

}  // namespace

Request Workload::next() {
  if (options_.reads_only) {
    RangeRequest request;
    range_of_keys(*request.mutable_key(), *request.mutable_range_end());
    return make("KV", "Range", request);
  }
  if (random_.one_in(model_.no_space() ? 8 : 60)) return alarm();
  const auto dice = random_.below(100);
  if (dice < 33) return put();
  if (dice < 43) return erase();
  if (dice < 60) return range();
  if (dice < 76) return txn();
  if (dice < 94) return about_leases();
  if (dice < 96) return hash();
  return compact();
}

Request Workload::read_all(std::int64_t revision) {
  RangeRequest request;
  request.set_key(std::string(1, '\0'));
  request.set_range_end(std::string(1, '\0'));
  request.set_revision(revision);
  return make("KV", "Range", request);
}

std::string Workload::key() { return fmt::format("k{:02}", random_.below(options_.keys)); }

std::string Workload::value() {
  std::string value = fmt::format("v{}:", ++values_);
  const std::uint64_t most = random_.one_in(options_.large_one_in) ? options_.value_bytes_max : 24;
  value.append(random_.below(most), 'x');
  return value;
}

std::int64_t Workload::lease_for_put() { return random_.one_in(4) ? any_lease() : 0; }

std::int64_t Workload::past_revision() {
  const std::int64_t low = std::max<std::int64_t>(model_.floor() - 2, 1);
  return low + static_cast<std::int64_t>(
                   random_.below(static_cast<std::uint64_t>(model_.revision() + 2 - low)));
}

void Workload::range_of_keys(std::string& from, std::string& end) {
  from = key();
  if (random_.one_in(2)) return;
  end = key();
  if (end < from) std::swap(from, end);
  if (random_.one_in(4)) end = std::string(1, '\0');
}

etcdserverpb::PutRequest Workload::put_of(std::string key) {
  etcdserverpb::PutRequest request;
  request.set_key(std::move(key));
  request.set_ignore_value(random_.one_in(12));
  request.set_ignore_lease(random_.one_in(12));
  if (!request.ignore_value()) request.set_value(value());
  if (!request.ignore_lease()) request.set_lease(lease_for_put());
  request.set_prev_kv(random_.one_in(4));
  return request;
}

Request Workload::put() { return make("KV", "Put", put_of(key())); }

Request Workload::erase() {
  etcdserverpb::DeleteRangeRequest request;
  if (random_.one_in(16)) {
    request.set_key(std::string(1, '\0'));
    request.set_range_end(std::string(1, '\0'));
  } else if (random_.one_in(4)) {
    range_of_keys(*request.mutable_key(), *request.mutable_range_end());
  } else {
    request.set_key(key());
  }
  request.set_prev_kv(random_.one_in(4));
  return make("KV", "DeleteRange", request);
}

Request Workload::range() {
  RangeRequest request;
  range_of_keys(*request.mutable_key(), *request.mutable_range_end());
  if (random_.one_in(3)) request.set_revision(past_revision());
  request.set_serializable(random_.one_in(3));
  if (random_.one_in(4)) request.set_limit(1 + static_cast<std::int64_t>(random_.below(5)));
  request.set_keys_only(random_.one_in(8));
  request.set_count_only(random_.one_in(12));
  const bool stream = random_.one_in(4);
  if (!stream && random_.one_in(6)) {
    request.set_sort_order(random_.one_in(2) ? RangeRequest::ASCEND : RangeRequest::DESCEND);
    request.set_sort_target(static_cast<RangeRequest::SortTarget>(random_.below(4)));
  }
  Request made = make("KV", stream ? "RangeStream" : "Range", request);
  if (random_.one_in(options_.slow_one_in)) {
    made = read_all(random_.one_in(2) ? past_revision() : 0);
    if (stream) made.method = "RangeStream";
    made.hold = base::Milliseconds(random_.below(random_.one_in(3) ? 6000 : 1000));
  }
  return made;
}

Request Workload::txn() {
  etcdserverpb::TxnRequest request;
  const std::string guarded = key();
  auto* compare = request.add_compare();
  compare->set_key(guarded);
  if (random_.one_in(2)) {
    compare->set_target(Compare::MOD);
    compare->set_mod_revision(random_.one_in(3) ? 0 : past_revision());
    compare->set_result(random_.one_in(2) ? Compare::EQUAL : Compare::GREATER);
  } else {
    compare->set_target(Compare::VERSION);
    compare->set_version(static_cast<std::int64_t>(random_.below(4)));
    compare->set_result(random_.one_in(2) ? Compare::EQUAL : Compare::NOT_EQUAL);
  }
  std::vector<std::string> free;
  for (std::uint64_t i = 0; i < options_.keys; i++) free.push_back(fmt::format("k{:02}", i));
  std::erase(free, guarded);
  if (!random_.one_in(5)) {
    auto* op = request.add_success();
    if (random_.one_in(4)) {
      op->mutable_request_delete_range()->set_key(guarded);
    } else {
      *op->mutable_request_put() = put_of(guarded);
    }
    fill(*request.mutable_success(), free, 0);
    if (random_.one_in(3)) fill(*request.mutable_failure(), free, 0);
  }
  range_of_keys(*request.add_success()->mutable_request_range()->mutable_key(),
                *request.mutable_success()->rbegin()->mutable_request_range()->mutable_range_end());
  request.add_failure()->mutable_request_range()->set_key(guarded);
  return make("KV", "Txn", request);
}

// No key twice in one txn, not even in branches that exclude each other: that is refused.
void Workload::fill(google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>& branch,
                    std::vector<std::string>& free, int depth) {
  for (auto rest = random_.below(3); rest > 0 && !free.empty(); rest--) {
    if (depth < 2 && random_.one_in(3)) {
      auto& inner = *branch.Add()->mutable_request_txn();
      auto* compare = inner.add_compare();
      compare->set_key(key());
      compare->set_target(Compare::VERSION);
      compare->set_version(static_cast<std::int64_t>(random_.below(3)));
      compare->set_result(random_.one_in(2) ? Compare::GREATER : Compare::EQUAL);
      fill(*inner.mutable_success(), free, depth + 1);
      fill(*inner.mutable_failure(), free, depth + 1);
      range_of_keys(
          *inner.add_success()->mutable_request_range()->mutable_key(),
          *inner.mutable_success()->rbegin()->mutable_request_range()->mutable_range_end());
      continue;
    }
    std::swap(free[random_.below(free.size())], free.back());
    std::string mine = std::move(free.back());
    free.pop_back();
    if (random_.one_in(4)) {
      auto* erase = branch.Add()->mutable_request_delete_range();
      erase->set_key(std::move(mine));
      erase->set_prev_kv(random_.one_in(2));
    } else {
      *branch.Add()->mutable_request_put() = put_of(std::move(mine));
    }
  }
}

Request Workload::alarm() {
  etcdserverpb::AlarmRequest request;
  const auto& alarms = model_.alarms();
  if (!alarms.empty() && !random_.one_in(4)) {
    request.set_action(etcdserverpb::AlarmRequest::DEACTIVATE);
    request.set_memberid(random_.one_in(8) ? 1 : alarms.begin()->first);
    request.set_alarm(alarms.begin()->second);
  }
  return make("Maintenance", "Alarm", request);
}

Request Workload::compact() {
  etcdserverpb::CompactionRequest request;
  request.set_revision(past_revision());
  request.set_physical(random_.one_in(3));
  return make("KV", "Compact", request);
}

Request Workload::hash() { return hash_at(random_.one_in(3) ? 0 : past_revision()); }

Request Workload::about_leases() {
  switch (random_.below(8)) {
    case 0:
    case 1:
    case 2: {
      etcdserverpb::LeaseGrantRequest request;
      request.set_id(any_lease());
      request.set_ttl(1 + static_cast<std::int64_t>(random_.below(8)));
      return make("Lease", "LeaseGrant", request);
    }
    case 3: {
      etcdserverpb::LeaseRevokeRequest request;
      request.set_id(any_lease());
      return make("Lease", "LeaseRevoke", request);
    }
    case 4:
    case 5: {
      etcdserverpb::LeaseKeepAliveRequest request;
      request.set_id(any_lease());
      return make("Lease", "LeaseKeepAlive", request);
    }
    case 6: {
      etcdserverpb::LeaseTimeToLiveRequest request;
      request.set_id(any_lease());
      request.set_keys(random_.one_in(2));
      return make("Lease", "LeaseTimeToLive", request);
    }
    default:
      return all_leases();
  }
}

Request Workload::hash_at(std::int64_t revision) {
  etcdserverpb::HashKVRequest request;
  request.set_revision(revision);
  return make("Maintenance", "HashKV", request);
}

Request Workload::all_leases() {
  return make("Lease", "LeaseLeases", etcdserverpb::LeaseLeasesRequest());
}

Request Workload::add_member(const std::string& peer_url, bool learner) {
  etcdserverpb::MemberAddRequest request;
  request.add_peerurls(peer_url);
  request.set_islearner(learner);
  return make("Cluster", "MemberAdd", request);
}

Request Workload::remove_member(std::uint64_t id) {
  etcdserverpb::MemberRemoveRequest request;
  request.set_id(id);
  return make("Cluster", "MemberRemove", request);
}

Request Workload::promote_member(std::uint64_t id) {
  etcdserverpb::MemberPromoteRequest request;
  request.set_id(id);
  return make("Cluster", "MemberPromote", request);
}

Request Workload::move_leader(std::uint64_t to) {
  etcdserverpb::MoveLeaderRequest request;
  request.set_targetid(to);
  return make("Maintenance", "MoveLeader", request);
}

}  // namespace keelson::sim
