#include "mvcc/operation.h"

#include <algorithm>
#include <utility>

#include "mvcc/range_internal.h"

namespace keelson::mvcc {

using etcdserverpb::DeleteRangeRequest;
using etcdserverpb::PutRequest;
using etcdserverpb::RangeRequest;
using etcdserverpb::RequestOp;
using etcdserverpb::TxnRequest;

namespace {

// Changes of one operation that are worth making room for at once, and are indexed together.
constexpr std::size_t kMany = 1000;

bool keeps_something(const PutRequest& request) {
  return request.ignore_value() || request.ignore_lease();
}

// Whether etcd ranges over the key before it puts, which its counters show.
bool looks_first(const PutRequest& request) {
  return keeps_something(request) || request.prev_kv();
}

const google::protobuf::RepeatedPtrField<RequestOp>& branch(const TxnRequest& request,
                                                            bool succeeded) {
  return succeeded ? request.success() : request.failure();
}

}  // namespace

Version State::Operation::Change::version() const {
  return {.mod = record.revision,
          .create_revision = record.create_revision,
          .version = record.version,
          .bytes = static_cast<std::uint32_t>(record.encoded.size()),
          .tombstone = record.tombstone};
}

State::Operation::Operation(State& state)
    : state_(state),
      view_(state.current()),
      main_(state.revision_ + 1),
      read_([this](std::span<const Revision> revisions, std::span<base::ReadResult> out) {
        read(revisions, out);
      }),
      memory_left_(state.options_.range_memory_budget),
      tally_(state.stats_) {}

base::Result<PutResult, Errc> State::Operation::put(const PutRequest& request, bool want_previous) {
  RETURN_IF_ERROR(check_lease(request));
  if (looks_first(request)) tally_.ranges++;
  const auto existing = find(request.key());
  if (keeps_something(request) && !existing) return base::fail(Errc::kKeyNotFound);

  PutResult result{.revision = main_};
  KeyValueView kv{.key = request.key(),
                  .create_revision = existing ? existing->create_revision : main_,
                  .mod_revision = main_,
                  .version = existing ? existing->version + 1 : 1,
                  .value = request.value(),
                  .lease = request.lease()};
  base::SharedBytes kept;  // holds kv.value
  if (request.ignore_value()) {
    auto records = read_all(read_, {&existing->mod, 1});
    if (records) kept = std::move(records->front());
    const auto old = records ? decode(kept) : std::nullopt;
    if (!old) return undecided(Errc::kUnreadable);
    kv.value = old->value;
  }
  if (existing && request.prev_kv() && want_previous) {
    auto records = answer_with({&*existing, 1});
    if (!records.empty()) result.previous = std::move(records.front());
  }
  const std::int64_t previous_lease = existing ? lease_of(request.key()) : 0;
  if (request.ignore_lease()) kv.lease = previous_lease;

  tally_.puts++;
  tally_.put_bytes += kv.key.size() + kv.value.size();
  const auto superseded = before_operation(request.key(), existing);
  const bool creation = kv.create_revision == main_;
  add({.record = {.revision = {main_, static_cast<std::int64_t>(changes_.size())},
                  .create_revision = kv.create_revision,
                  .version = kv.version,
                  .lease = kv.lease,
                  .encoded = encode(kv)},
       .previous = superseded && !creation ? std::optional(superseded->mod) : std::nullopt,
       .previous_lease = previous_lease});
  return result;
}

base::Result<DeleteResult, Errc> State::Operation::delete_range(const DeleteRangeRequest& request,
                                                                bool want_previous) {
  if (request.prev_kv()) tally_.ranges++;
  tally_.deletes++;
  std::vector<Version> existing;
  std::vector<Version>* const told = request.prev_kv() && want_previous ? &existing : nullptr;
  const auto range = KeyRange::of(request.key(), request.range_end());
  const bool alone = !in_txn_ && !range.single;
  const std::size_t deleted = alone ? delete_alone(range, told) : delete_among_others(range, told);
  DeleteResult result{.deleted = static_cast<std::int64_t>(deleted)};
  result.previous = answer_with(existing);
  result.revision = revision();
  return result;
}

std::size_t State::Operation::delete_alone(const KeyRange& range, std::vector<Version>* existing) {
  base::Tombstones& deleted = pack_deletions();
  state_.index_.delete_range(range, deleted.first(),
                             [&](std::string_view key, const Version& superseded) {
                               if (existing != nullptr) existing->push_back(superseded);
                               leave_lease(key);
                               return deleted.add(key, superseded.mod);
                             });
  return deleted.size();
}

std::size_t State::Operation::delete_among_others(const KeyRange& range,
                                                  std::vector<Version>* existing) {
  const std::size_t before = changes_.size();
  for (OverlaidCursor cursor(view_.index, &overlay_, range); cursor.valid(); cursor.next()) {
    const auto version = cursor.get(view_.revision);
    if (!version) continue;
    const std::string_view key = cursor.key();
    changes_.push_back(tombstone(key, before_operation(key, version)));
    if (existing != nullptr) existing->push_back(*version);
  }
  return changes_.size() - before;
}

DeleteResult State::Operation::delete_keys(const std::vector<std::string>& keys) {
  base::Tombstones& deleted = pack_deletions();
  std::vector<KeyChange> changes;
  changes.reserve(keys.size());
  for (std::size_t i = 0; i < keys.size(); i++) {
    CHECK(i == 0 || keys[i - 1] < keys[i]);
    tally_.deletes++;
    const auto existing = find(keys[i]);
    if (!existing) continue;
    const Revision revision = deleted.revision(deleted.size());
    const std::uint32_t bytes = deleted.add(keys[i], existing->mod);
    changes.push_back(
        {.key = keys[i], .version = {.mod = revision, .bytes = bytes, .tombstone = true}});
    leave_lease(keys[i]);
  }
  state_.index_.put_all(changes);
  return {.revision = revision(), .deleted = static_cast<std::int64_t>(deleted.size())};
}

base::Result<TxnResult, Errc> State::Operation::txn(const TxnRequest& request, bool want_results) {
  TxnPath path;
  {
    Tally tally(state_.stats_);  // etcd decides in a storage transaction of its own
    ASSIGN_OR_RETURN(path, choose(request, tally));
    RETURN_IF_ERROR(check(request, path, tally));
  }
  in_txn_ = true;
  ASSIGN_OR_RETURN(auto result, execute(request, path, want_results));
  result.revision = revision();
  return result;
}

// All compares of the tree see the state before the txn; those of branches not taken are not looked
// at.
base::Result<TxnPath, Errc> State::Operation::choose(const TxnRequest& request,
                                                     Tally& tally) const {
  TxnPath path;
  const auto succeeded = evaluate_compares(view_, request.compare(), read_, tally.ranges);
  if (!succeeded) return undecided(succeeded.error());
  path.succeeded = *succeeded;
  for (const RequestOp& op : branch(request, path.succeeded)) {
    if (!op.has_request_txn()) continue;
    ASSIGN_OR_RETURN(auto nested, choose(op.request_txn(), tally));
    path.nested.push_back(std::move(nested));
  }
  return path;
}

// What etcd checks before it executes, on the state before the txn.
base::Result<void, Errc> State::Operation::check(const TxnRequest& request, const TxnPath& path,
                                                 Tally& tally) const {
  auto nested = path.nested.begin();
  for (const RequestOp& op : branch(request, path.succeeded)) {
    switch (op.request_case()) {
      case RequestOp::kRequestRange:
        RETURN_IF_ERROR(check_range(op.request_range()));
        break;
      case RequestOp::kRequestPut:
        RETURN_IF_ERROR(check_put(op.request_put(), tally));
        break;
      case RequestOp::kRequestDeleteRange:
        break;
      case RequestOp::kRequestTxn:
        RETURN_IF_ERROR(check(op.request_txn(), *nested++, tally));
        break;
      case RequestOp::REQUEST_NOT_SET:
        return base::fail(Errc::kKeyNotFound);
    }
  }
  return {};
}

// By the letter: a negative revision is below a compacted one, though a Range alone takes it for
// current.
base::Result<void, Errc> State::Operation::check_range(const RangeRequest& request) const {
  if (request.revision() == 0) return {};
  if (request.revision() > view_.revision) return base::fail(Errc::kFutureRevision);
  if (request.revision() < view_.compact_revision) return base::fail(Errc::kCompacted);
  return {};
}

base::Result<void, Errc> State::Operation::check_lease(const PutRequest& request) const {
  if (request.lease() != 0 && !state_.leases_.exists(request.lease())) {
    return base::fail(Errc::kLeaseNotFound);
  }
  return {};
}

base::Result<void, Errc> State::Operation::check_put(const PutRequest& request,
                                                     Tally& tally) const {
  RETURN_IF_ERROR(check_lease(request));
  if (looks_first(request)) tally.ranges++;
  if (keeps_something(request) && !view_.index.get(request.key(), view_.revision)) {
    return base::fail(Errc::kKeyNotFound);
  }
  return {};
}

// The revision of a nested answer stays 0, as etcd leaves it.
base::Result<TxnResult, Errc> State::Operation::execute(const TxnRequest& request,
                                                        const TxnPath& path, bool want_results) {
  TxnResult result{.succeeded = path.succeeded};
  auto nested = path.nested.begin();
  for (const RequestOp& op : branch(request, path.succeeded)) {
    const TxnPath* inner = op.has_request_txn() ? &*nested++ : nullptr;
    const bool want = want_results && !answer_error_;
    if (!want && op.has_request_range()) continue;
    ASSIGN_OR_RETURN(auto response, execute_op(op, inner, want));
    if (want) result.responses.push_back(std::move(response));
  }
  return result;
}

base::Result<OpResult, Errc> State::Operation::execute_op(const RequestOp& op,
                                                          const TxnPath* nested,
                                                          bool want_results) {
  lay_over();
  switch (op.request_case()) {
    case RequestOp::kRequestRange:
      return OpResult(range(op.request_range()));
    case RequestOp::kRequestPut: {
      ASSIGN_OR_RETURN(auto result, put(op.request_put(), want_results));
      return OpResult(std::move(result));
    }
    case RequestOp::kRequestDeleteRange: {
      ASSIGN_OR_RETURN(auto result, delete_range(op.request_delete_range(), want_results));
      return OpResult(std::move(result));
    }
    case RequestOp::kRequestTxn: {
      ASSIGN_OR_RETURN(auto result, execute(op.request_txn(), *nested, want_results));
      return OpResult(std::make_unique<TxnResult>(std::move(result)));
    }
    case RequestOp::REQUEST_NOT_SET:
      break;
  }
  CHECK(false);  // check() refused it
}

RangeResult State::Operation::range(const RangeRequest& request) {
  tally_.ranges++;
  auto result = range_over(view_, &overlay_, request, read_, memory_left_);
  if (!result) {
    answer_error_ = result.error();
    return {};
  }
  for (const auto& kv : result->kvs) memory_left_ -= std::min(memory_left_, kv.size());
  result->revision = revision();
  return *std::move(result);
}

std::optional<Version> State::Operation::find(std::string_view key) const {
  return mvcc::get(view_.index, &overlay_, key, view_.revision);
}

std::optional<Version> State::Operation::before_operation(std::string_view key,
                                                          const std::optional<Version>& now) const {
  return overlay_.contains(key) ? view_.index.get(key, view_.revision) : now;
}

std::int64_t State::Operation::lease_of(std::string_view key) const {
  const auto it = overlay_.find(key);
  if (it == overlay_.end()) return state_.leases_.lease_of(key);
  return changes_[static_cast<std::size_t>(it->second.mod.sub)].record.lease;
}

base::Tombstones& State::Operation::pack_deletions() {
  CHECK(!in_txn_ && changes_.empty());
  deleted_ = std::make_shared<base::Tombstones>(Revision{main_, 0});
  return *deleted_;
}

void State::Operation::leave_lease(std::string_view key) {
  const std::int64_t lease = state_.leases_.lease_of(key);
  if (lease != 0) state_.leases_.moved(key, lease, 0);
}

State::Operation::Change State::Operation::tombstone(std::string_view key,
                                                     const std::optional<Version>& superseded) {
  return {.record = {.revision = {main_, static_cast<std::int64_t>(changes_.size())},
                     .tombstone = true,
                     .encoded = tombstones_.encode({.key = key})},
          .previous = superseded ? std::optional(superseded->mod) : std::nullopt,
          .previous_lease = lease_of(key)};
}

void State::Operation::add(Change change) {
  CHECK_EQ(change.record.revision.sub, static_cast<std::int64_t>(changes_.size()));
  changes_.push_back(std::move(change));
}

// Keys are borrowed from the records, whose bytes stay where they are.
void State::Operation::lay_over() {
  for (; laid_over_ < changes_.size(); laid_over_++) {
    const Change& change = changes_[laid_over_];
    overlay_.insert_or_assign(change.record.key(), change.version());
  }
}

std::optional<base::SharedBytes> State::Operation::unpublished(Revision revision) const {
  if (revision.main == main_)
    return changes_[static_cast<std::size_t>(revision.sub)].record.encoded;
  auto record = state_.batch_->find(revision);
  return record ? std::optional(std::move(record->encoded)) : std::nullopt;
}

void State::Operation::read(std::span<const Revision> revisions,
                            std::span<base::ReadResult> out) const {
  std::vector<Revision> stored;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < revisions.size(); i++) {
    if (auto bytes = unpublished(revisions[i])) {
      out[i] = {.state = base::ReadResult::State::kBytes, .bytes = *std::move(bytes)};
    } else {
      stored.push_back(revisions[i]);
      places.push_back(i);
    }
  }
  if (stored.empty()) return;
  std::vector<base::ReadResult> results(stored.size());
  state_.reader_->read(stored, results);
  for (std::size_t i = 0; i < places.size(); i++) out[places[i]] = std::move(results[i]);
}

std::vector<base::SharedBytes> State::Operation::answer_with(std::span<const Version> versions) {
  auto records = gather(versions);
  if (records) return *std::move(records);
  if (!answer_error_) answer_error_ = records.error();
  return {};
}

base::Result<std::vector<base::SharedBytes>, Errc> State::Operation::gather(
    std::span<const Version> versions) {
  std::vector<Revision> revisions;
  for (const Version& version : versions) {
    if (version.bytes > memory_left_) return base::fail(Errc::kTooMuchMemory);
    memory_left_ -= version.bytes;
    revisions.push_back(version.mod);
  }
  if (revisions.empty()) return std::vector<base::SharedBytes>();
  return read_all(read_, revisions);
}

// A slice at a time, so that they need no memory to speak of.
void State::Operation::index_many() {
  std::vector<KeyChange> slice;
  slice.reserve(kMany);
  for (std::span<const Change> left = changes_; !left.empty(); left = left.subspan(slice.size())) {
    slice.clear();
    for (const Change& change : left.first(std::min(left.size(), kMany))) {
      slice.push_back({.key = change.record.key(), .version = change.version()});
    }
    const auto not_before = [](const KeyChange& a, const KeyChange& b) { return a.key >= b.key; };
    if (std::ranges::adjacent_find(slice, not_before) == slice.end()) {
      state_.index_.put_all(slice);
    } else {  // of a txn
      for (const auto& [key, version] : slice) state_.index_.put(key, version);
    }
  }
}

void State::Operation::commit() {
  if (!changed()) return;
  state_.revision_ = main_;
  if (deleted_ != nullptr) {
    state_.batch_->add(deleted_);
    state_.events_.push_back(std::move(deleted_));
    return;
  }
  const bool many = changes_.size() > kMany;
  if (many) {
    state_.batch_->make_room(changes_.size());
    state_.events_.make_room(changes_.size());
    index_many();
  }
  for (Change& change : changes_) {
    const std::string_view key = change.record.key();
    if (!many) state_.index_.put(key, change.version());
    if (change.previous_lease != change.record.lease) {
      state_.leases_.moved(key, change.previous_lease, change.record.lease);
    }
    state_.batch_->add(change.record);
    state_.events_.push_back(
        Event{.record = std::move(change.record), .previous = change.previous});
  }
}

}  // namespace keelson::mvcc
