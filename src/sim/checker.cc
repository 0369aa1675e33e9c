#include "sim/checker.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace keelson::sim {
namespace {

using http::StatusCode;

template <class Message>
Message parse(std::string_view bytes) {
  Message message;
  CHECK(message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  return message;
}

template <class Response>
Answer ok_answer(std::string_view bytes) {
  return answer_of(parse<Response>(bytes));
}

// nullopt: a method whose answers this checker does not know.
std::optional<Answer> write_answer(std::string_view method, std::string_view message) {
  if (method == "Put") return ok_answer<etcdserverpb::PutResponse>(message);
  if (method == "DeleteRange") return ok_answer<etcdserverpb::DeleteRangeResponse>(message);
  if (method == "Txn") return ok_answer<etcdserverpb::TxnResponse>(message);
  if (method == "Compact") return ok_answer<etcdserverpb::CompactionResponse>(message);
  if (method == "LeaseGrant") return ok_answer<etcdserverpb::LeaseGrantResponse>(message);
  if (method == "LeaseRevoke") return ok_answer<etcdserverpb::LeaseRevokeResponse>(message);
  if (method == "Alarm") return ok_answer<etcdserverpb::AlarmResponse>(message);
  return std::nullopt;
}

bool is_reconfiguration(std::string_view method) {
  return method.starts_with("Member") || method == "MoveLeader";
}

std::string shortened(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (text.size() > 300) text = text.substr(0, 300) + "...";
  return text;
}

template <class Message>
std::string text_of(std::string_view bytes) {
  return shortened(parse<Message>(bytes).ShortDebugString());
}

}  // namespace

std::string describe(std::string_view method, std::string_view request) {
  if (method == "Range" || method == "RangeStream") {
    return text_of<etcdserverpb::RangeRequest>(request);
  }
  if (method == "Alarm") return text_of<etcdserverpb::AlarmRequest>(request);
  if (method == "Put") return text_of<etcdserverpb::PutRequest>(request);
  if (method == "DeleteRange") return text_of<etcdserverpb::DeleteRangeRequest>(request);
  if (method == "Txn") return text_of<etcdserverpb::TxnRequest>(request);
  if (method == "Compact") return text_of<etcdserverpb::CompactionRequest>(request);
  if (method == "LeaseGrant") return text_of<etcdserverpb::LeaseGrantRequest>(request);
  if (method == "LeaseRevoke") return text_of<etcdserverpb::LeaseRevokeRequest>(request);
  if (method == "LeaseKeepAlive") return text_of<etcdserverpb::LeaseKeepAliveRequest>(request);
  if (method == "LeaseTimeToLive") return text_of<etcdserverpb::LeaseTimeToLiveRequest>(request);
  if (method == "HashKV") return text_of<etcdserverpb::HashKVRequest>(request);
  if (method == "MemberAdd") return text_of<etcdserverpb::MemberAddRequest>(request);
  if (method == "MemberRemove") return text_of<etcdserverpb::MemberRemoveRequest>(request);
  if (method == "MemberPromote") return text_of<etcdserverpb::MemberPromoteRequest>(request);
  if (method == "MoveLeader") return text_of<etcdserverpb::MoveLeaderRequest>(request);
  return fmt::format("{} bytes", request.size());
}

bool leaves_open(const http::Status& status) {
  switch (status.code) {
    case StatusCode::kUnavailable:
    case StatusCode::kDeadlineExceeded:
    case StatusCode::kCancelled:
      return true;
    case StatusCode::kUnknown:
      return status.message == "etcdserver: too many requests" ||
             status.message == "raft proposal dropped" || status.message == "not a primary lessor";
    case StatusCode::kFailedPrecondition:
      // A server that was removed and has come back as a learner.
      return status.message == "etcdserver: rpc not supported for learner";
    default:
      return false;
  }
}

void Checker::violate(std::string what) {
  constexpr std::size_t kTextMax = 2000;  // values may be large
  if (what.size() > kTextMax) what = what.substr(0, kTextMax) + "...";
  story_.add("checker", "VIOLATION: " + what);
  if (violation_.empty()) violation_ = std::move(what);
}

void Checker::check_order(const std::string& member, raft::Index index) {
  const auto [it, first] = applied_.emplace(member, index);
  if (first) return;
  const raft::Index before = std::exchange(it->second, index);
  if (index <= before) {
    return violate(fmt::format("{} applies entry {}, having applied {}", member, index, before));
  }
  if (index == before + 1) return;
  story_.tell(member, "goes on from a snapshot between {} and {}", before, index);
  saw("a snapshot installed");
}

void Checker::on_apply(const std::string& member, const raft::Entry& entry) {
  check_order(member, entry.index);
  if (entry.index <= model_.last()) {
    const LogEntry& known = model_.at(entry.index);
    if (known.term != entry.term || known.data != entry.data.view()) {
      violate(
          fmt::format("entry {} is another one than the one applied before: term {} and {}, {} "
                      "was \"{}\"",
                      entry.index, entry.term, known.term, member, known.method));
    }
    return;
  }
  if (entry.index != model_.last() + 1) {
    return violate(
        fmt::format("entry {} is applied, but {} was the last", entry.index, model_.last()));
  }
  model_.apply(entry, clock_.now());
  const LogEntry& made = model_.at(entry.index);
  story_.tell(member, "applies {} {} revision={} floor={}", entry.index,
              made.method.empty() ? "-" : made.method, made.revision, made.floor);
  check_expiry(made);
  check_alarm(made);
  note_rare(made);
}

// Nothing damages data here, so whoever finds members that differ has compared wrongly, or we have
// a bug worse than that.
void Checker::check_alarm(const LogEntry& entry) {
  if (entry.method != "Alarm" || !entry.by_server) return;
  const auto request = parse<etcdserverpb::AlarmRequest>(entry.request);
  if (request.alarm() == etcdserverpb::CORRUPT) {
    violate(fmt::format("member {:x} is called corrupt", request.memberid()));
  }
}

void Checker::note_rare(const LogEntry& entry) {
  if (entry.answer.code != StatusCode::kOk) return;
  if (entry.method == "Txn") {
    const auto request = parse<etcdserverpb::TxnRequest>(entry.request);
    for (const auto& op : request.success()) {
      if (op.has_request_txn()) saw("a txn inside a txn");
    }
  } else if (entry.method == "Alarm" && !entry.by_server) {
    const auto request = parse<etcdserverpb::AlarmRequest>(entry.request);
    const bool disarmed =
        request.action() == etcdserverpb::AlarmRequest::DEACTIVATE && !entry.answer.message.empty();
    if (disarmed) saw("an alarm disarmed");
  } else if (entry.method == "DeleteRange") {
    const auto& changes = model_.changes();
    for (std::size_t i = changes.size();
         i-- > 0 && changes[i].tombstone && changes[i].revision.main == entry.revision;) {
      etcdserverpb::RangeRequest before;
      before.set_key(changes[i].kv.key());
      const auto old = model_.range(before, entry.revision - 1);
      if (old.kvs_size() == 1 && old.kvs(0).lease() != 0) {
        saw("a lease taken from a key by a delete");
      }
    }
  }
}

void Checker::check_expiry(const LogEntry& entry) {
  if (entry.method != "LeaseRevoke" || !entry.by_server || entry.answer.code != StatusCode::kOk) {
    return;
  }
  const auto id = parse<etcdserverpb::LeaseRevokeRequest>(entry.request).id();
  const Model::Lease& lease = model_.leases().at(id).back();
  const auto renewed = renewed_.find(id);
  const auto since =
      renewed == renewed_.end() ? lease.granted_at : std::max(lease.granted_at, renewed->second);
  if (entry.applied < since + base::Seconds(lease.ttl)) {
    violate(fmt::format("lease {} of {} s ended too early", id, lease.ttl));
  }
}

Operation Checker::ask(std::string client, std::string method, std::string request) {
  stats_.asked++;
  Operation operation{.id = ++last_id_,
                      .client = std::move(client),
                      .method = std::move(method),
                      .request = std::move(request),
                      .low = told_,
                      .asked = clock_.now()};
  story_.tell(operation.client, "#{} asks {} {}", operation.id, operation.method,
              describe(operation.method, operation.request));
  return operation;
}

void Checker::answer(const Operation& operation, const http::Status& status,
                     std::string_view message) {
  story_.tell(operation.client, "#{} is answered {}{}{}", operation.id,
              http::status_code_name(status.code), status.ok() ? "" : " ", status.message);
  if (leaves_open(status) || lacks_space(operation, status)) {
    stats_.unknown++;
    unknown_[{operation.method, operation.request}].push_back(operation.low);
    return;
  }
  stats_.answered++;
  if (!status.ok()) stats_.refused++;
  if (is_too_large(operation, status)) return;
  if (!may_lag(operation)) return check_answer(operation, status, message);
  Operation of_old_state = operation;
  of_old_state.low = 0;
  check_answer(of_old_state, status, message);
}

// What a member answers from what it has applied, without asking whether that is the newest.
bool Checker::may_lag(const Operation& operation) const {
  if (!limits_.lag) return false;
  const std::string& method = operation.method;
  if (method == "Range" || method == "RangeStream") {
    return parse<etcdserverpb::RangeRequest>(operation.request).serializable();
  }
  return method == "HashKV" || method == "LeaseKeepAlive" || method == "LeaseTimeToLive" ||
         method == "LeaseLeases";
}

void Checker::check_answer(const Operation& operation, const http::Status& status,
                           std::string_view message) {
  if (is_reconfiguration(operation.method)) {
    return check_reconfiguration(operation, status, message);
  }
  if (operation.method == "Range") {
    if (status.code == StatusCode::kResourceExhausted && limits_.held_views) {
      return saw("a held View ended");
    }
    return check_range(operation, status.code, parse<etcdserverpb::RangeResponse>(message));
  }
  if (operation.method == "RangeStream") {
    saw("a RangeStream");
    return check_range(
        operation, status.code,
        std::move(*parse<etcdserverpb::RangeStreamResponse>(message).mutable_range_response()));
  }
  if (operation.method == "HashKV") return check_hash(operation, status.code, message);
  if (operation.method == "LeaseKeepAlive" || operation.method == "LeaseTimeToLive" ||
      operation.method == "LeaseLeases") {
    if (!status.ok()) return violate(fmt::format("#{} failed: {}", operation.id, status.message));
    if (operation.method == "LeaseKeepAlive") return check_renewal(operation, message);
    if (operation.method == "LeaseTimeToLive") return check_time_to_live(operation, message);
    return check_leases(operation, message);
  }
  if (operation.method == "Txn") {
    const auto request = parse<etcdserverpb::TxnRequest>(operation.request);
    if (!writes(request)) return check_read_txn(operation, request, message);
  }
  if (!status.ok()) return check_write(operation, {.code = status.code});
  if (auto answer = write_answer(operation.method, message)) check_write(operation, *answer);
}

// A write may be refused for want of space before it is proposed; or by its entry, for an alarm; or
// after it was done, for it went beyond the quota. api.md 7.6.
bool Checker::lacks_space(const Operation& operation, const http::Status& status) {
  if (status.code != StatusCode::kResourceExhausted) return false;
  if (operation.method != "Put" && operation.method != "Txn" && operation.method != "LeaseGrant") {
    return false;
  }
  saw("no space");
  if (!limits_.quota) violate(fmt::format("#{} lacked space, without a quota", operation.id));
  return true;
}

bool Checker::is_too_large(const Operation& operation, const http::Status& status) {
  constexpr std::size_t kWrapping = 64;  // of the entry around it
  if (status.message != "etcdserver: request is too large") return false;
  saw("a request too large");
  if (operation.request.size() + kWrapping < limits_.request_bytes) {
    violate(fmt::format("#{} of {} bytes was called too large", operation.id,
                        operation.request.size()));
  }
  return true;
}

void Checker::check_write(const Operation& operation, const Answer& answer) {
  for (raft::Index i = operation.low + 1; i <= model_.last(); i++) {
    LogEntry& entry = model_.at(i);
    if (entry.claimed || entry.by_server || entry.method != operation.method ||
        entry.request != operation.request || entry.answer.code != answer.code) {
      continue;
    }
    if (answer.code == StatusCode::kOk && entry.answer != answer) continue;
    entry.claimed = true;
    return told(i);
  }
  std::string others;
  for (raft::Index i = 1; i <= model_.last(); i++) {
    const LogEntry& entry = model_.at(i);
    if (entry.method != operation.method || entry.request != operation.request) continue;
    others += fmt::format(" [entry {}{}: {} revision {}]", i, entry.claimed ? ", another's" : "",
                          http::status_code_name(entry.answer.code), entry.answer.revision);
  }
  violate(fmt::format("#{} {} got an answer ({}, revision {}) that no entry after {} explains:{}",
                      operation.id, operation.method, http::status_code_name(answer.code),
                      answer.revision, operation.low, others.empty() ? " none at all" : others));
}

bool Checker::check_read_revision(const Operation& operation, std::int64_t revision) {
  if (revision < model_.revision(operation.low)) {
    violate(fmt::format("#{} read at revision {}, but {} had been answered before it was asked",
                        operation.id, revision, model_.revision(operation.low)));
    return false;
  }
  if (revision > model_.revision()) {
    violate(
        fmt::format("#{} read at revision {}, which was never written", operation.id, revision));
    return false;
  }
  told(model_.first_with(revision));
  return true;
}

void Checker::check_revision_refused(const Operation& operation, std::int64_t asked_for) {
  // A stream that asks for what is there now keeps to it, though it may be compacted meanwhile.
  const bool stream = operation.method == "RangeStream" && asked_for <= 0;
  const bool compacted = (asked_for > 0 && asked_for < model_.floor()) ||
                         (stream && model_.revision(operation.low) < model_.floor());
  const bool future = asked_for > model_.revision(operation.low);
  if (compacted || future) return;
  violate(fmt::format("#{} was refused revision {} between {} and {}", operation.id, asked_for,
                      model_.floor(), model_.revision(operation.low)));
}

bool Checker::check_revision_given(const Operation& operation, std::int64_t at,
                                   std::int64_t revision) {
  const raft::Index earliest = std::max(operation.low, model_.first_with(revision));
  if (at <= revision && at >= model_.floor(earliest)) return true;
  violate(fmt::format("#{} was given revision {}, which is not between {} and {}", operation.id, at,
                      model_.floor(earliest), revision));
  return false;
}

void Checker::check_range(const Operation& operation, StatusCode code,
                          etcdserverpb::RangeResponse response) {
  const auto request = parse<etcdserverpb::RangeRequest>(operation.request);
  if (code == StatusCode::kOutOfRange) {
    return check_revision_refused(operation, request.revision());
  }
  if (code != StatusCode::kOk) {
    return violate(fmt::format("#{} Range failed: {}", operation.id, http::status_code_name(code)));
  }
  const std::int64_t revision = response.header().revision();
  if (!check_read_revision(operation, revision)) return;
  const std::int64_t at = request.revision() > 0 ? request.revision() : revision;
  if (!check_revision_given(operation, at, revision)) return;
  const auto expected = model_.range(request, at);
  response.clear_header();
  if (response.SerializeAsString() != expected.SerializeAsString()) {
    violate(fmt::format("#{} at revision {} is not what was there: got {} | expected {}",
                        operation.id, at, shortened(response.ShortDebugString()),
                        shortened(expected.ShortDebugString())));
  }
}

void Checker::check_read_txn(const Operation& operation, const etcdserverpb::TxnRequest& request,
                             std::string_view message) {
  const auto response = parse<etcdserverpb::TxnResponse>(message);
  const std::int64_t revision = response.header().revision();
  if (!check_read_revision(operation, revision)) return;
  const Answer expected = model_.read_txn(request, revision);
  if (answer_of(response).message != expected.message) {
    violate(fmt::format("#{} at revision {} is not what was there: got {}", operation.id, revision,
                        shortened(response.ShortDebugString())));
  }
}

// --- leases

bool Checker::lived(const Operation& operation, std::int64_t lease) const {
  const auto it = model_.leases().find(lease);
  if (it == model_.leases().end()) return false;
  return std::any_of(it->second.begin(), it->second.end(), [&](const Model::Lease& life) {
    return life.revoked == 0 || life.revoked > operation.low;
  });
}

bool Checker::lived_throughout(const Operation& operation, std::int64_t lease) const {
  const Model::Lease* life = model_.lease(lease, operation.low);
  return life != nullptr && life->revoked == 0;
}

void Checker::check_renewal(const Operation& operation, std::string_view message) {
  const auto response = parse<etcdserverpb::LeaseKeepAliveResponse>(message);
  const std::int64_t id = response.id();
  if (!check_read_revision(operation, response.header().revision())) return;
  if (response.ttl() <= 0) {
    if (lived_throughout(operation, id)) {
      violate(fmt::format("#{} was told that lease {} is gone", operation.id, id));
    }
    return;
  }
  if (!lived(operation, id)) {
    return violate(fmt::format("#{} renewed lease {}, which is gone", operation.id, id));
  }
  // The life that was renewed: if it was over soon, and not for a client's wish, then too early.
  for (const Model::Lease& life : model_.leases().at(id)) {
    if (life.expired && life.granted <= operation.low && life.revoked > operation.low &&
        life.revoked_at >= operation.asked &&
        life.revoked_at < operation.asked + base::Seconds(life.ttl)) {
      return violate(fmt::format("lease {} ended though #{} renewed it", id, operation.id));
    }
  }
  renewed_[id] = std::max(renewed_[id], operation.asked);
}

void Checker::check_time_to_live(const Operation& operation, std::string_view message) {
  const auto request = parse<etcdserverpb::LeaseTimeToLiveRequest>(operation.request);
  const auto response = parse<etcdserverpb::LeaseTimeToLiveResponse>(message);
  const std::int64_t revision = response.header().revision();
  if (!check_read_revision(operation, revision)) return;
  if (response.grantedttl() == 0) {
    if (lived_throughout(operation, request.id())) {
      violate(fmt::format("#{} was told that lease {} is gone", operation.id, request.id()));
    }
    return;
  }
  if (!lived(operation, request.id()) || response.ttl() > response.grantedttl()) {
    return violate(fmt::format("#{} was told that lease {} has {} s of {}", operation.id,
                               request.id(), response.ttl(), response.grantedttl()));
  }
  const std::vector<std::string> keys(response.keys().begin(), response.keys().end());
  // In a cluster the header and the keys are of two Views, and either may be the newer one.
  bool right = !request.keys();
  for (std::int64_t at = limits_.lag ? 1 : revision;
       at <= (limits_.lag ? model_.revision() : revision); at++) {
    right = right || keys == model_.keys_of(request.id(), at);
  }
  if (!right) {
    violate(fmt::format("#{} was told of {} keys on lease {} at revision {}, there were {}",
                        operation.id, keys.size(), request.id(), revision,
                        model_.keys_of(request.id(), revision).size()));
  }
}

void Checker::check_leases(const Operation& operation, std::string_view message) {
  const auto response = parse<etcdserverpb::LeaseLeasesResponse>(message);
  if (!check_read_revision(operation, response.header().revision())) return;
  std::set<std::int64_t> told;
  for (const auto& lease : response.leases()) {
    told.insert(lease.id());
    if (!lived(operation, lease.id())) {
      violate(fmt::format("#{} was told of lease {}, which is gone", operation.id, lease.id()));
    }
  }
  for (const auto& [id, lives] : model_.leases()) {
    if (!told.contains(id) && lived_throughout(operation, id)) {
      violate(fmt::format("#{} was not told of lease {}", operation.id, id));
    }
  }
}

// --- members

void Checker::check_reconfiguration(const Operation& operation, const http::Status& status,
                                    std::string_view message) {
  const Members& members = model_.members();
  if (!status.ok()) {
    // Not enough started members is told without its code (api.md 6.2).
    const bool fair = status.code == StatusCode::kFailedPrecondition ||
                      status.code == StatusCode::kNotFound ||
                      status.message.find("not enough started members") != std::string::npos;
    if (!fair) violate(fmt::format("#{} was refused: {}", operation.id, status.message));
    return saw("a change of the members refused");
  }
  saw(operation.method);
  bool is_done = true;
  if (operation.method == "MemberAdd") {
    const auto id = parse<etcdserverpb::MemberAddResponse>(message).member().id();
    is_done = members.urls().contains(id) || members.removed().contains(id);
  } else if (operation.method == "MemberRemove") {
    is_done = members.removed().contains(
        parse<etcdserverpb::MemberRemoveRequest>(operation.request).id());
  } else if (operation.method == "MemberPromote") {
    const auto id = parse<etcdserverpb::MemberPromoteRequest>(operation.request).id();
    is_done = members.now().voters.contains(id) || members.removed().contains(id);
  }
  if (!is_done) violate(fmt::format("#{} was answered, but the log has not done it", operation.id));
}

// --- hash

// That of a compaction at this revision, kept since.
bool Checker::is_compaction_hash(const etcdserverpb::HashKVResponse& response) const {
  for (raft::Index i = 1; i <= model_.last(); i++) {
    if (model_.floor(i) == response.hash_revision() && model_.floor(i) > model_.floor(i - 1) &&
        model_.floor(i - 1) == response.compact_revision() &&
        model_.compaction_hash(i) == response.hash()) {
      return true;
    }
  }
  return false;
}

void Checker::check_hash(const Operation& operation, StatusCode code, std::string_view message) {
  const auto request = parse<etcdserverpb::HashKVRequest>(operation.request);
  if (code == StatusCode::kOutOfRange) {
    return check_revision_refused(operation, request.revision());
  }
  if (code != StatusCode::kOk) {
    return violate(
        fmt::format("#{} HashKV failed: {}", operation.id, http::status_code_name(code)));
  }
  const auto response = parse<etcdserverpb::HashKVResponse>(message);
  const std::int64_t revision = response.header().revision();
  if (!check_read_revision(operation, revision)) return;
  const std::int64_t at = request.revision() > 0 ? request.revision() : revision;
  if (response.hash_revision() != at) {
    return violate(fmt::format("#{} hashed revision {} instead of {}", operation.id,
                               response.hash_revision(), at));
  }
  if (is_compaction_hash(response)) return;
  if (!check_revision_given(operation, at, revision)) return;
  // The state it was taken from: one of this revision, with this floor.
  for (raft::Index i = std::max(operation.low, model_.first_with(revision));
       i <= model_.last() && model_.revision(i) == revision; i++) {
    if (model_.floor(i) != response.compact_revision()) continue;
    const std::uint32_t expected = model_.hash_kv(at, i);
    if (response.hash() != expected) {
      violate(fmt::format("#{} HashKV({}) at floor {} is {}, not {}", operation.id, at,
                          response.compact_revision(), response.hash(), expected));
    }
    return;
  }
  violate(fmt::format("#{} HashKV speaks of floor {}, which no state at revision {} has",
                      operation.id, response.compact_revision(), revision));
}

void Checker::finish() {
  for (auto& [request, lows] : unknown_) std::sort(lows.begin(), lows.end());
  for (raft::Index i = 1; i <= model_.last(); i++) {
    const LogEntry& entry = model_.at(i);
    if (entry.method.empty() || entry.by_server || entry.claimed) continue;
    auto& lows = unknown_[{entry.method, entry.request}];
    if (lows.empty() || lows.front() >= i) {
      return violate(fmt::format("entry {} ({} {}) is there more often than it was asked for", i,
                                 entry.method, describe(entry.method, entry.request)));
    }
    lows.erase(lows.begin());
  }
}

}  // namespace keelson::sim
