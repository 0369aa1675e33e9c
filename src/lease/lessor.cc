#include "lease/lessor.h"

#include <algorithm>

#include "base/varint.h"

namespace keelson::lease {

// --- what is stored
// -----------------------------------------------------------------------------------------

std::string encode_lease(const Lease& lease) {
  std::string out;
  base::put_varint_field(out, 1, static_cast<std::uint64_t>(lease.id));
  base::put_varint_field(out, 2, static_cast<std::uint64_t>(lease.ttl.count()));
  base::put_varint_field(out, 3, static_cast<std::uint64_t>(lease.remaining_ttl.count()));
  return out;
}

std::optional<Lease> decode_lease(std::string_view bytes) {
  Lease lease;
  while (!bytes.empty()) {
    const auto tag = base::take_varint(bytes);
    if (!tag) return std::nullopt;
    if ((*tag & 7) == 2) {  // a field of a later version
      const auto length = base::take_varint(bytes);
      if (!length || *length > bytes.size()) return std::nullopt;
      bytes.remove_prefix(*length);
      continue;
    }
    const auto value = base::take_varint(bytes);
    if ((*tag & 7) != 0 || !value) return std::nullopt;
    const auto number = static_cast<std::int64_t>(*value);
    if (*tag >> 3 == 1) lease.id = number;
    if (*tag >> 3 == 2) lease.ttl = base::Seconds(number);
    if (*tag >> 3 == 3) lease.remaining_ttl = base::Seconds(number);
  }
  // Numbers that no grant leads to; they would overflow a deadline.
  if (lease.id == kNoLease || lease.ttl > kTtlMax) return std::nullopt;
  return lease;
}

std::string lease_bucket_key(LeaseId id) {
  std::string key;
  for (int shift = 56; shift >= 0; shift -= 8)
    key.push_back(static_cast<char>(static_cast<std::uint64_t>(id) >> shift));
  return key;
}

// --- snapshots
// ----------------------------------------------------------------------------------------------

std::vector<std::string_view> KeySet::to_vector() const {
  std::vector<std::string_view> keys;
  keys.reserve(size());
  visit([&](std::string_view key) {
    keys.push_back(key);
    return true;
  });
  return keys;
}

std::optional<Lease> LeaseSnapshot::find(LeaseId id) const {
  const internal::LeaseState* state = leases_.find(id);
  if (state == nullptr) return std::nullopt;
  return Lease{.id = id, .ttl = state->ttl, .remaining_ttl = state->remaining_ttl};
}

KeySet LeaseSnapshot::keys_of(LeaseId id) const {
  const internal::LeaseState* state = leases_.find(id);
  return state == nullptr ? KeySet{} : state->keys;
}

std::optional<Lease> LeaseSnapshot::at_or_after(LeaseId from) const {
  const auto* entry = leases_.at_or_after(from);
  if (entry == nullptr) return std::nullopt;
  return Lease{
      .id = entry->key, .ttl = entry->value.ttl, .remaining_ttl = entry->value.remaining_ttl};
}

std::vector<LeaseId> LeaseSnapshot::ids() const {
  std::vector<LeaseId> ids;
  ids.reserve(size());
  visit([&](const Lease& lease) {
    ids.push_back(lease.id);
    return true;
  });
  return ids;
}

// --- Lessor
// -------------------------------------------------------------------------------------------------

bool Lessor::recover(std::string_view stored) {
  const auto lease = decode_lease(stored);
  if (!lease || contains(lease->id)) return false;
  internal::LeaseState& state = leases_.leases_.edit(edit_, lease->id);
  // Granted when the minimum was lower.
  state.ttl = std::max(lease->ttl, config_.min_ttl);
  state.remaining_ttl = lease->remaining_ttl;
  return true;
}

base::Result<Lease, Errc> Lessor::grant(base::Batch& batch, LeaseId id, base::Seconds ttl) {
  if (id == kNoLease) return base::fail(Errc::kNotFound);
  if (ttl > kTtlMax) return base::fail(Errc::kTtlTooLarge);
  if (contains(id)) return base::fail(Errc::kExists);
  const Lease lease{.id = id, .ttl = std::max(ttl, config_.min_ttl)};
  leases_.leases_.edit(edit_, id).ttl = lease.ttl;
  batch.put(base::Bucket::kLease, lease_bucket_key(id), encode_lease(lease));
  return lease;
}

base::Result<void, Errc> Lessor::revoke(base::Batch& batch, LeaseId id) {
  const internal::LeaseState* state = leases_.leases_.find(id);
  if (state == nullptr) return base::fail(Errc::kNotFound);
  state->keys.visit([&](std::string_view key) {
    attached_.erase(key);
    return true;
  });
  leases_.leases_.erase(edit_, id);
  batch.erase(base::Bucket::kLease, lease_bucket_key(id));
  return {};
}

base::Result<void, Errc> Lessor::checkpoint(base::Batch& batch, const Checkpoint& checkpoint) {
  if (!contains(checkpoint.id)) return base::fail(Errc::kNotFound);
  internal::LeaseState& state = leases_.leases_.edit(edit_, checkpoint.id);
  state.remaining_ttl =
      checkpoint.remaining_ttl;  // as it was proposed: what is stored is equal everywhere
  if (checkpoint.persist) {
    batch.put(base::Bucket::kLease, lease_bucket_key(checkpoint.id),
              encode_lease(*find(checkpoint.id)));
  }
  return {};
}

base::Result<void, Errc> Lessor::attach(std::string_view key, LeaseId id) {
  if (!contains(id)) return base::fail(Errc::kNotFound);
  const auto it = attached_.find(key);
  if (it != attached_.end() && it->second == id) return {};
  base::SharedBytes bytes;
  if (it != attached_.end()) {
    bytes = it->first;
    leases_.leases_.edit(edit_, it->second).keys.keys_.erase(edit_, key);
    it->second = id;
  } else {
    bytes = base::SharedBytes::copy_of(key);
    attached_.emplace(bytes, id);
  }
  leases_.leases_.edit(edit_, id).keys.keys_.edit(edit_, internal::Key{std::move(bytes)});
  return {};
}

void Lessor::detach(std::string_view key) {
  const auto it = attached_.find(key);
  if (it == attached_.end()) return;
  CHECK(leases_.leases_.edit(edit_, it->second).keys.keys_.erase(edit_, key));
  attached_.erase(it);
}

LeaseId Lessor::lease_of(std::string_view key) const {
  if (attached_.empty()) return kNoLease;  // asked of each of a million keys that are deleted
  const auto it = attached_.find(key);
  return it == attached_.end() ? kNoLease : it->second;
}

LeaseSnapshot Lessor::snapshot() {
  edit_++;
  return leases_;
}

}  // namespace keelson::lease
