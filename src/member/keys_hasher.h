// KeysHasher: what HashKV answers: a hash of the stored changes of keys up to a revision, made by
// workers in short slices with rests (Front::in_slices), from one View, so that neither a write nor
// a read waits for it. Clients ask for it, and members compare it. api.md 9.6, formats.md 5.7.
//
// A member that asks gives up after a while, and its check with it; so for members the hash is
// made within that, if it can be, by shorter rests (SlicePace).
//
// Threads: made, used and destroyed on the Front's lane; destroying one that is under way ends it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <variant>

#include "base/function.h"
#include "base/result.h"
#include "member/front.h"
#include "mvcc/hash.h"

namespace keelson::member {

struct KeysHash {
  std::shared_ptr<const View> view;  // it was taken from
  std::uint32_t hash = 0;
  std::int64_t revision = 0;
  std::int64_t compact_revision = 0;
  bool is_ambiguous = false;  // HashCursor::is_ambiguous
};

// kUnreadable is this member's own trouble, and says nothing of any other.
using HashFailure = std::variant<Errc, mvcc::Errc>;
// In the words of etcd's store, which its members look for.
std::string_view describe(const HashFailure& failure);

class KeysHasher {
 public:
  using Done = base::Function<void(base::Result<KeysHash, HashFailure>)>;
  // `revision` 0: the newest. That of a compaction lately made has the hash made with it. `done`
  // runs once, not within this call.
  // `patience`: of whoever asks, from now on; nullopt: not known.
  KeysHasher(Front& front, std::int64_t revision, Done done,
             std::optional<base::Duration> patience = std::nullopt);
  ~KeysHasher();
  KeysHasher(const KeysHasher&) = delete;
  KeysHasher& operator=(const KeysHasher&) = delete;

 private:
  struct Work;
  void begin(std::int64_t revision);
  void await_compaction(std::int64_t revision);
  void hash();
  SlicePace pace() const;
  void finish(base::Result<KeysHash, HashFailure> result);
  void finish_soon(base::Result<KeysHash, HashFailure> result);

  Front& front_;
  Done done_;
  const base::TimePoint begun_;
  const std::optional<base::Duration> patience_;
  std::shared_ptr<Work> work_;
  Ticket waiting_ = 0;
};

// The hash of all that a View shows, at once: where no lane runs yet. May block.
base::Result<KeysHash, HashFailure> hash_keys(const std::shared_ptr<const View>& view);
// The same as a compaction at the newest revision would make it.
base::Result<KeysHash, HashFailure> hash_keys_as_compaction(
    const std::shared_ptr<const View>& view);

}  // namespace keelson::member
