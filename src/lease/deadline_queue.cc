#include "lease/deadline_queue.h"

#include <algorithm>
#include <functional>

#include "base/check.h"

namespace keelson::lease {

namespace {

constexpr base::TimePoint kNever = base::TimePoint::max();

// What a checkpoint left of it; never more than was granted, whatever was proposed (L3).
base::Seconds left_of(const Lease& lease) {
  if (lease.remaining_ttl.count() <= 0) return lease.ttl;
  return std::min(lease.remaining_ttl, lease.ttl);
}

// Stale places may be as many as the valid ones, and some.
constexpr std::size_t kStalePlacesMin = 64;

}  // namespace

// --- Heap
// ---------------------------------------------------------------------------------------------------

void DeadlineQueue::Heap::push(Place place) {
  places_.push_back(place);
  std::push_heap(places_.begin(), places_.end(), std::greater<>{});
}

void DeadlineQueue::Heap::pop() {
  std::pop_heap(places_.begin(), places_.end(), std::greater<>{});
  places_.pop_back();
}

void DeadlineQueue::Heap::assign(std::vector<Place> places) {
  places_ = std::move(places);
  std::make_heap(places_.begin(), places_.end(), std::greater<>{});
}

// --- leading
// ------------------------------------------------------------------------------------------------

void DeadlineQueue::promote(std::span<const Lease> leases, base::TimePoint now,
                            base::Duration extend) {
  CHECK(!leading_);
  CHECK(leases_.empty());
  leading_ = true;
  std::vector<Place> places;
  places.reserve(leases.size());
  for (const Lease& lease : leases) {
    places.push_back({.due = now + extend + left_of(lease), .id = lease.id});
  }
  std::sort(places.begin(), places.end());
  if (places.size() >= kSpreadFromLeases) {
    // L3: each at least a second after the one that stands kExpiriesPerSecond places before it.
    for (std::size_t i = kExpiriesPerSecond; i < places.size(); i++) {
      places[i].due =
          std::max(places[i].due, places[i - kExpiriesPerSecond].due + base::Seconds(1));
    }
  }
  leases_.reserve(leases.size());
  for (const Place& place : places) {
    leases_.emplace(place.id,
                    Entry{.deadline = place.due, .queued = place.due, .checkpoint = kNever});
  }
  for (const Lease& lease : leases) {
    Entry& entry = leases_.at(lease.id);
    entry.ttl = lease.ttl;
    entry.remaining_ttl = lease.remaining_ttl;
    schedule_checkpoint(lease.id, entry, now);
  }
  expiries_.assign(std::move(places));
}

void DeadlineQueue::demote() {
  leading_ = false;
  leases_.clear();
  expiries_.clear();
  checkpoints_.clear();
}

void DeadlineQueue::granted(const Lease& lease, base::TimePoint now) {
  if (!leading_) return;
  const auto [it, is_new] = leases_.try_emplace(lease.id);
  CHECK(is_new);  // L1
  it->second = Entry{.ttl = lease.ttl,
                     .remaining_ttl = lease.remaining_ttl,
                     .deadline = now + lease.ttl,
                     .queued = kNever,
                     .checkpoint = kNever};
  queue(lease.id, it->second, it->second.deadline);
  schedule_checkpoint(lease.id, it->second, now);
}

void DeadlineQueue::revoked(LeaseId id) {
  if (!leading_) return;
  leases_.erase(id);
  drop_stale_places();
}

void DeadlineQueue::checkpointed(LeaseId id, base::Seconds remaining_ttl, base::TimePoint now) {
  const auto it = leases_.find(id);
  if (it == leases_.end()) return;
  it->second.remaining_ttl = remaining_ttl;
  schedule_checkpoint(id, it->second, now);
}

base::Result<DeadlineQueue::Renewal, Errc> DeadlineQueue::renew(LeaseId id, base::TimePoint now) {
  const auto it = leases_.find(id);
  if (it == leases_.end()) return base::fail(Errc::kNotFound);
  Entry& entry = it->second;
  if (entry.deadline <= now) return base::fail(Errc::kExpired);
  entry.deadline = now + entry.ttl;
  // Earlier only if a promote had moved it far away. Later needs nothing: see Heap.
  if (entry.deadline < entry.queued) queue(id, entry, entry.deadline);
  return Renewal{.ttl = entry.ttl, .reset_checkpoint = entry.remaining_ttl.count() > 0};
}

std::vector<LeaseId> DeadlineQueue::take_expired(base::TimePoint now, std::size_t limit) {
  std::vector<LeaseId> expired;
  while (expired.size() < limit && !expiries_.empty() && expiries_.top().due <= now) {
    const Place place = expiries_.top();
    expiries_.pop();
    const auto it = leases_.find(place.id);
    if (it == leases_.end() || it->second.queued != place.due) continue;
    Entry& entry = it->second;
    if (entry.deadline > now) {
      queue(place.id, entry, entry.deadline);
      continue;
    }
    expired.push_back(place.id);
    queue(place.id, entry, now + config_.retry_interval);
  }
  return expired;
}

void DeadlineQueue::revokes_are_logged(std::span<const LeaseId> ids) {
  for (const LeaseId id : ids) leases_.at(id).queued = kNever;
  drop_stale_places();
}

std::vector<DeadlineQueue::DueCheckpoint> DeadlineQueue::take_checkpoints(base::TimePoint now,
                                                                          std::size_t limit) {
  std::vector<DueCheckpoint> due;
  while (due.size() < limit && !checkpoints_.empty() && checkpoints_.top().due <= now) {
    const Place place = checkpoints_.top();
    checkpoints_.pop();
    const auto it = leases_.find(place.id);
    if (it == leases_.end() || it->second.checkpoint != place.due) continue;
    Entry& entry = it->second;
    schedule_checkpoint(place.id, entry, now);
    // Rounded up, so that 0 is left to mean "renewed".
    const auto left = std::chrono::ceil<base::Seconds>(entry.deadline - now);
    if (left.count() <= 0 || left >= entry.ttl) continue;
    due.push_back({.id = place.id, .remaining_ttl = left});
  }
  return due;
}

base::Result<base::Duration, Errc> DeadlineQueue::remaining(LeaseId id, base::TimePoint now) const {
  const auto it = leases_.find(id);
  if (it == leases_.end()) return base::fail(Errc::kNotFound);
  return it->second.deadline - now;
}

std::vector<LeaseId> DeadlineQueue::by_deadline() const {
  std::vector<Place> places;
  places.reserve(leases_.size());
  for (const auto& [id, entry] : leases_) places.push_back({.due = entry.deadline, .id = id});
  std::sort(places.begin(), places.end());
  std::vector<LeaseId> ids;
  ids.reserve(places.size());
  for (const Place& place : places) ids.push_back(place.id);
  return ids;
}

void DeadlineQueue::queue(LeaseId id, Entry& entry, base::TimePoint due) {
  entry.queued = due;
  expiries_.push({.due = due, .id = id});
  drop_stale_places();
}

void DeadlineQueue::schedule_checkpoint(LeaseId id, Entry& entry, base::TimePoint now) {
  entry.checkpoint = kNever;
  if (config_.checkpoint_interval <= base::Duration(0)) return;
  if (entry.deadline - now <= config_.checkpoint_interval) return;
  entry.checkpoint = now + config_.checkpoint_interval;
  checkpoints_.push({.due = entry.checkpoint, .id = id});
  drop_stale_places();
}

// Grants and revokes of leases that end late would fill the heaps with places of leases long gone.
void DeadlineQueue::drop_stale_places() {
  const std::size_t bound = 2 * leases_.size() + kStalePlacesMin;
  if (expiries_.size() <= bound && checkpoints_.size() <= bound) return;
  std::vector<Place> expiries, checkpoints;
  for (const auto& [id, entry] : leases_) {
    if (entry.queued != kNever) expiries.push_back({.due = entry.queued, .id = id});
    if (entry.checkpoint != kNever) checkpoints.push_back({.due = entry.checkpoint, .id = id});
  }
  expiries_.assign(std::move(expiries));
  checkpoints_.assign(std::move(checkpoints));
}

}  // namespace keelson::lease
