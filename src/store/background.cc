// What can wait, in slices: one slice of one thing a call.

#include <algorithm>

#include "store/collect.h"
#include "store/seal.h"
#include "store/store_impl.h"

namespace keelson::store {
namespace {

constexpr std::size_t kSettleSlice = 1000;             // deaths
constexpr std::size_t kRewriteSliceBytes = 64 * 1024;  // of the bucket log
constexpr base::Duration kMaintainInterval = std::chrono::seconds(1);

}  // namespace

base::Result<Step> Store::Impl::step(base::TimePoint now, base::WallTime wall_now) {
  CHECK(loaded_ && !failed_);
  if (waiting_) return Step{};
  return remember(step_one(now, wall_now));
}

base::Result<Step> Store::Impl::step_one(base::TimePoint now, base::WallTime wall_now) {
  const auto at_once = [now] { return Step{.again = now}; };
  if (settle_deaths()) return at_once();
  ASSIGN_OR_RETURN(const bool removed, remove_dead_name());
  if (removed) return at_once();
  ASSIGN_OR_RETURN(const bool cut, step_graveyard(now));
  if (cut) return at_once();
  ASSIGN_OR_RETURN(const bool rewrote, step_log_rewrite(wall_now));
  if (rewrote) return at_once();
  if (!next_maintain_at_ || now >= *next_maintain_at_) {
    next_maintain_at_ = now + kMaintainInterval;
    ASSIGN_OR_RETURN(const bool filled, volume_.maintain());
    if (filled) return at_once();
  }
  if (!rest_until_ || now >= *rest_until_) {
    rest_until_.reset();
    ASSIGN_OR_RETURN(auto paced, step_paced(now, wall_now));
    if (paced) return *std::move(paced);
  }
  Step idle;
  const auto earliest = [&idle](std::optional<base::TimePoint> due) {
    if (due && (!idle.again || *due < *idle.again)) idle.again = due;
  };
  earliest(rest_until_);
  if (!dead_files_.empty()) earliest(next_cut_at_);
  if (!volume_.whole()) earliest(next_maintain_at_);
  return idle;
}

base::Result<Step> Store::Impl::waited(base::Result<> outcome, base::TimePoint now) {
  CHECK(waiting_);
  waiting_ = false;
  RETURN_IF_ERROR(remember(std::move(outcome)));
  rest_until_ = now + options_.collection_rest;
  return Step{.again = rest_until_};
}

// ---- deaths ----

// Marks what has died by floors that a synced checkpoint holds. Until then it waits: a collection
// must never drop what a crash could bring back to life.
bool Store::Impl::settle_deaths() {
  const std::int64_t floor = options_.broken.collect_ahead_of_checkpoint ? floor_ : synced_floor_;
  std::size_t n = 0;
  for (; n < kSettleSlice && !dying_.empty() && dying_.front().floor <= floor; n++) {
    const base::Revision revision = dying_.front().revision;
    dying_.pop_front();
    const std::size_t row = table_->segment_of(revision);
    const auto ordinal = row < rows_.size()
                             ? rows_[row].segment->find(revision, rows_[row].segment->records())
                             : std::nullopt;
    if (!ordinal) {
      stats_.dead_unknown++;
    } else if (mark_one(row, *ordinal) && collection_) {
      collection_->died(row, revision);
    }
  }
  return n > 0;
}

// ---- files nobody needs ----

base::Result<bool> Store::Impl::remove_dead_name() {
  if (dead_names_.empty()) return false;
  RETURN_IF_ERROR(volume_.files().remove(volume_.path(dead_names_.back())));
  dead_names_.pop_back();
  return true;
}

// They go by steps.
base::Result<bool> Store::Impl::step_graveyard(base::TimePoint now) {
  for (auto& file : graveyard_->take()) dead_files_.push_back(std::move(file));
  if (dead_files_.empty() || (next_cut_at_ && now < *next_cut_at_)) return false;
  env::File& file = *dead_files_.front();
  ASSIGN_OR_RETURN(const bool is_left, env::shorten(file, options_.cut_bytes));
  if (!is_left) {
    RETURN_IF_ERROR(volume_.files().remove(file.path()));
    dead_files_.pop_front();
    condemned_--;
    stats_.files_removed++;
  }
  next_cut_at_ = now + options_.cut_rest;
  return true;
}

// ---- the bucket log ----

base::Result<bool> Store::Impl::step_log_rewrite(base::WallTime wall_now) {
  if (rewrite_) {
    if (rewrite_->complete) return false;  // the next checkpoint takes it
    RETURN_IF_ERROR(copy_buckets());
    return true;
  }
  const std::uint64_t length = log_->place().length;
  const std::uint64_t dead = length - std::min(length, buckets_.bytes());
  if (old_log_ || dead < options_.bucket_log_dead_bytes || dead < length / 2) return false;
  rewrite_ = std::make_unique<LogRewrite>();
  ASSIGN_OR_RETURN(rewrite_->log, BucketLog::create(volume_, next_log_id_++, wall_now));
  return true;
}

// The content behind the cursor, as it is now; what changes later goes to both logs anyway.
base::Result<> Store::Impl::copy_buckets() {
  std::vector<base::BucketChange> slice;
  std::size_t bytes = 0;
  while (rewrite_->bucket < base::kBucketCount && bytes < kRewriteSliceBytes) {
    const auto bucket = static_cast<base::Bucket>(rewrite_->bucket);
    const Buckets::Map& map = buckets_[bucket];
    auto it = rewrite_->begun ? map.upper_bound(rewrite_->after) : map.begin();
    for (; it != map.end() && bytes < kRewriteSliceBytes; ++it) {
      slice.push_back({bucket, it->first, it->second});
      bytes += it->first.size() + it->second.size();
      rewrite_->after = it->first;
      rewrite_->begun = true;
    }
    if (it != map.end()) break;
    rewrite_->bucket++;
    rewrite_->begun = false;
  }
  RETURN_IF_ERROR(rewrite_->log->append(slice));
  rewrite_->complete = rewrite_->bucket == base::kBucketCount;
  if (rewrite_->complete) dirty_ = true;  // so that a checkpoint comes
  return {};
}

// ---- footers and collection ----

bool Store::Impl::begin_paced() {
  if (sealing_ || collection_) return true;
  for (std::size_t i = 0; i < rows_.size(); i++) {
    if (rows_[i].segment->sealed()) continue;
    if (rows_[i].seal_end == 0 || rows_[i].damaged) break;  // in order, so no further
    sealing_ = std::make_unique<Sealing>(*this, i);
    return true;
  }
  if (reclaiming_ == Reclaiming::kBegun && dying_.empty()) reclaim_tail();
  if (const auto window = window_due()) {
    collection_ = std::make_unique<Collection>(*this, *window);
    return true;
  }
  if (reclaiming_ == Reclaiming::kCollecting) reclaiming_ = Reclaiming::kNo;
  return false;
}

// A tail is not collected; one with enough of the dead is ended first.
void Store::Impl::reclaim_tail() {
  if (rows_.back().deaths.bytes() < options_.reclaim_gain_bytes) {
    reclaiming_ = Reclaiming::kCollecting;
    return;
  }
  reclaiming_ = Reclaiming::kTailEnds;
  end_tail();
}

std::optional<Window> Store::Impl::window_due() const {
  std::uint64_t files = 0, live = 0;
  std::vector<WindowCandidate> candidates;
  for (const Row& row : rows_) {
    const bool sealed = row.segment->sealed();
    const std::uint64_t records = row.record_bytes(tail_end_);
    candidates.push_back({.collectable = sealed && !row.damaged,
                          .file_bytes = sealed ? row.saved.end : records,
                          .record_bytes = records,
                          .live_bytes = records - row.deaths.bytes()});
    files += candidates.back().file_bytes;
    live += candidates.back().live_bytes;
  }
  if (reclaiming_ == Reclaiming::kCollecting) {
    return choose_window(candidates, options_.reclaim_gain_bytes, volume_.segment_bytes());
  }
  const double limit =
      volume_.is_short() ? options_.files_over_live_near_reserve : options_.files_over_live;
  if (static_cast<double>(files) <= limit * static_cast<double>(live)) return std::nullopt;
  return choose_window(candidates, options_.collection_gain_bytes, volume_.segment_bytes());
}

base::Result<std::optional<Step>> Store::Impl::step_paced(base::TimePoint now,
                                                          base::WallTime wall_now) {
  if (!begin_paced()) return std::optional<Step>();
  auto slice = sealing_ ? sealing_->step() : collection_->step(wall_now);
  if (!slice) return base::fail(std::move(slice).error());
  switch (slice->next) {
    case Slice::Next::kMore:
      break;
    case Slice::Next::kGaveUp:
      rest_until_ = now + kMaintainInterval;
      [[fallthrough]];
    case Slice::Next::kDone:
      sealing_.reset();
      collection_.reset();
      break;
    case Slice::Next::kWait: {
      waiting_ = true;
      return std::optional<Step>(Step{.wait = std::move(slice->wait)});
    }
  }
  return std::optional<Step>(Step{.again = now});
}

}  // namespace keelson::store
