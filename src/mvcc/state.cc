#include "mvcc/state.h"

#include <algorithm>
#include <utility>

#include "base/planted.h"
#include "mvcc/operation.h"

namespace keelson::mvcc {

State::State(Leases& leases, Options options) : leases_(leases), options_(options) {}

void State::load(std::string_view key, std::span<const Version> history) {
  index_.load(key, history);
}

void State::finish_load(std::int64_t newest_revision, std::int64_t finished_compact,
                        std::int64_t scheduled_compact) {
  index_.finish_load();
  revision_ = std::max({revision_, newest_revision, finished_compact, scheduled_compact});
  compact_revision_ = std::max(finished_compact, scheduled_compact);
  if (scheduled_compact > finished_compact) compact_next_ = "";
}

void State::begin(base::Batch& batch, const base::RevisionReader& reader) {
  batch_ = &batch;
  reader_ = &reader;
}

View State::current() const {
  CHECK(batch_ != nullptr);
  return {.index = index_.current(), .revision = revision_, .compact_revision = compact_revision_};
}

base::Result<PutResult, Errc> State::put(const etcdserverpb::PutRequest& request) {
  Operation operation(*this);
  ASSIGN_OR_RETURN(auto result, operation.put(request, true));
  operation.commit();
  if (operation.answer_error()) return base::fail(*operation.answer_error());
  return result;
}

base::Result<DeleteResult, Errc> State::delete_range(
    const etcdserverpb::DeleteRangeRequest& request) {
  Operation operation(*this);
  ASSIGN_OR_RETURN(auto result, operation.delete_range(request, true));
  operation.commit();
  if (operation.answer_error()) return base::fail(*operation.answer_error());
  return result;
}

base::Result<DeleteResult, Errc> State::delete_keys(const std::vector<std::string>& keys) {
  Operation operation(*this);
  auto result = operation.delete_keys(keys);
  operation.commit();
  return result;
}

base::Result<TxnResult, Errc> State::txn(const etcdserverpb::TxnRequest& request,
                                         bool want_results) {
  Operation operation(*this);
  ASSIGN_OR_RETURN(auto result, operation.txn(request, want_results));
  operation.commit();
  if (operation.answer_error()) return base::fail(*operation.answer_error());
  return result;
}

base::Result<void, Errc> State::compact(std::int64_t revision) {
  CHECK(batch_ != nullptr);
  if (revision <= compact_revision_) return base::fail(Errc::kCompacted);
  if (revision > revision_) return base::fail(Errc::kFutureRevision);
  compact_revision_ = revision;
  compact_next_ = "";  // one that was running is part of this one
  if (KEELSON_PLANTED(kFloorNotDurable)) return {};
  batch_->put(base::Bucket::kMeta, std::string(base::kScheduledCompactKey),
              base::revision_key({revision, 0}));
  return {};
}

bool State::compacting() const { return compact_next_.has_value(); }

State::CompactProgress State::compact_slice(std::size_t budget) {
  CHECK(batch_ != nullptr);
  if (!compact_next_) return {};
  auto slice = index_.compact(compact_revision_, *compact_next_, budget);
  if (slice.done) {
    compact_next_.reset();
    if (KEELSON_PLANTED(kFloorNotDurable)) return {.dropped = std::move(slice.dropped)};
    batch_->put(base::Bucket::kMeta, std::string(base::kFinishedCompactKey),
                base::revision_key({compact_revision_, 0}));
  } else {
    compact_next_ = std::move(slice.next);
  }
  return {.dropped = std::move(slice.dropped), .pending = compacting()};
}

View State::publish() {
  batch_ = nullptr;
  reader_ = nullptr;
  return {.index = index_.publish(), .revision = revision_, .compact_revision = compact_revision_};
}

EventBatch State::take_events() {
  return {.events = std::exchange(events_, {}),
          .revision = revision_,
          .compact_revision = compact_revision_};
}

}  // namespace keelson::mvcc
