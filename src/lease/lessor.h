// Lessor: which leases there are and which keys hang on them.
//
// It is replicated state: every member applies the same grants, revokes, checkpoints and
// attachments from the log and holds the same lessor. It knows no time: deadlines belong to the
// leader alone (deadline_queue.h), which ends a lease by having its revoke proposed.
//
// Leases are persisted (bucket `lease`, formats.md 4.3). Attachments are not: they follow from the
// lease number inside each live key, and are made again while the index is loaded.
//
//   start:   recover(stored) for each stored lease, then attach(key, id) for each live key with a
//   lease run:     grant, revoke, checkpoint, attach, detach, in the order of the log publish:
//   snapshot() once per applied batch, for the View
//
// Invariants   S1  a key hangs on at most one lease, and only on one that exists
//              S2  lease_of(key) == id exactly if key is among keys_of(id)
//              S3  a LeaseSnapshot never changes
// Touched by jobs of the apply lane only; a LeaseSnapshot may be read by any lane.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/containers.h"
#include "base/result.h"
#include "base/storage.h"
#include "lease/cow_map.h"
#include "lease/lease.h"

namespace keelson::lease {

namespace internal {
// A key whose bytes the KeySet of its lease and the lessor's own table share.
struct Key {
  base::SharedBytes bytes;
  friend bool operator<(const Key& a, const Key& b) { return a.bytes.view() < b.bytes.view(); }
  friend bool operator<(const Key& a, std::string_view b) { return a.bytes.view() < b; }
  friend bool operator<(std::string_view a, const Key& b) { return a < b.bytes.view(); }
};
}  // namespace internal

// The keys of one lease, in byte order. An immutable value; a copy costs one reference count.
class KeySet {
 public:
  std::size_t size() const { return keys_.size(); }
  bool empty() const { return keys_.size() == 0; }
  bool contains(std::string_view key) const { return keys_.find(key) != nullptr; }
  // visit(std::string_view key) -> bool: false ends the walk.
  template <class Visit>
  void visit(Visit&& visit) const {
    keys_.visit([&](const internal::Key& key, const Nothing&) { return visit(key.bytes.view()); });
  }
  // The first key at or after `from`, to walk a large lease in slices; nullopt if there is none.
  // The view lives as long as this set.
  std::optional<std::string_view> at_or_after(std::string_view from) const {
    const auto* entry = keys_.at_or_after(from);
    if (entry == nullptr) return std::nullopt;
    return entry->key.bytes.view();
  }
  std::vector<std::string_view> to_vector() const;

 private:
  friend class Lessor;
  struct Nothing {};
  CowMap<internal::Key, Nothing> keys_;
};

namespace internal {
struct LeaseState {
  base::Seconds ttl{0};
  base::Seconds remaining_ttl{0};
  KeySet keys;
};
}  // namespace internal

// All leases as of one applied batch: what a View carries. Immutable, any lane, cheap to copy.
class LeaseSnapshot {
 public:
  std::size_t size() const { return leases_.size(); }
  std::optional<Lease> find(LeaseId id) const;
  // Empty for a lease that is not there.
  KeySet keys_of(LeaseId id) const;
  // visit(const Lease&) -> bool, ascending by id; false ends the walk.
  template <class Visit>
  void visit(Visit&& visit) const {
    leases_.visit([&](LeaseId id, const internal::LeaseState& state) {
      return visit(Lease{.id = id, .ttl = state.ttl, .remaining_ttl = state.remaining_ttl});
    });
  }
  // The first lease whose id is >= `from`, to walk many leases in slices.
  std::optional<Lease> at_or_after(LeaseId from) const;
  std::vector<LeaseId> ids() const;

 private:
  friend class Lessor;
  CowMap<LeaseId, internal::LeaseState> leases_;
};

class Lessor {
 public:
  struct Config {
    base::Seconds min_ttl{2};  // ceil(1.5 x election timeout); must be equal on all members
  };
  explicit Lessor(Config config) : config_(config) {}

  // One value of the lease bucket. False if it is no lease: the store is damaged. Only before
  // anything else.
  [[nodiscard]] bool recover(std::string_view stored);

  // A new lease of max(ttl, min_ttl), persisted. kNotFound for id 0 (the proposer chooses ids,
  // api.md 4), kTtlTooLarge, kExists, in this order.
  base::Result<Lease, Errc> grant(base::Batch& batch, LeaseId id, base::Seconds ttl);
  // Forgets the lease. Its keys must be deleted from the store first, in the order of keys_of();
  // any that still hang on it are let go. kNotFound.
  base::Result<void, Errc> revoke(base::Batch& batch, LeaseId id);
  // The leader's note of how much time was left (0: renewed since). `persist`: cluster version
  // >= 3.6. kNotFound.
  struct Checkpoint {
    LeaseId id = kNoLease;
    base::Seconds remaining_ttl{0};
    bool persist = false;
  };
  base::Result<void, Errc> checkpoint(base::Batch& batch, const Checkpoint& checkpoint);

  // Hangs a key on a lease, taking it off the one it hung on. kNotFound leaves everything as it
  // was.
  base::Result<void, Errc> attach(std::string_view key, LeaseId id);
  // Takes a key off its lease, if it hangs on one.
  void detach(std::string_view key);

  bool contains(LeaseId id) const { return leases_.leases_.find(id) != nullptr; }
  std::optional<Lease> find(LeaseId id) const { return leases_.find(id); }
  // kNoLease if it hangs on none.
  LeaseId lease_of(std::string_view key) const;
  KeySet keys_of(LeaseId id) const { return leases_.keys_of(id); }
  std::size_t size() const { return leases_.size(); }
  std::size_t attached_keys() const { return attached_.size(); }

  // The state as of now. O(1): later changes copy what they touch, once per snapshot.
  LeaseSnapshot snapshot();

 private:
  struct KeyHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view key) const { return base::StringHash{}(key); }
  };
  struct KeyEqual {
    using is_transparent = void;
    bool operator()(std::string_view a, std::string_view b) const { return a == b; }
  };

  Config config_;
  LeaseSnapshot leases_;
  // Where each key hangs; its bytes are shared with the KeySet.
  absl::flat_hash_map<base::SharedBytes, LeaseId, KeyHash, KeyEqual> attached_;
  Edit edit_ = 1;  // of the snapshot being built; see cow_map.h
};

// leasepb.Lease, canonical proto3, and back.
std::string encode_lease(const Lease& lease);
std::optional<Lease> decode_lease(std::string_view bytes);
// Eight bytes, big endian: the key in the lease bucket.
std::string lease_bucket_key(LeaseId id);

}  // namespace keelson::lease
