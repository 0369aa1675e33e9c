// Hashes of the state, for Hash and HashKV: made by workers in slices, from one View, so that
// neither a write nor a read waits for them. api.md 9.6, formats.md 5.7.
//
// Threads: made, used and destroyed on the Front's lane; destroying one that is under way ends it.
#pragma once

#include <cstdint>
#include <memory>

#include "api/context.h"
#include "base/function.h"
#include "base/result.h"
#include "member/front.h"
#include "mvcc/hash.h"

namespace keelson::api {

// HashKV: the stored changes of keys up to a revision.
struct KeysHash {
  std::shared_ptr<const member::View> view;  // it was taken from
  std::uint32_t hash = 0;
  std::int64_t revision = 0;
  std::int64_t compact_revision = 0;
};

class KeysHasher {
 public:
  using Done = base::Function<void(base::Result<KeysHash, http::Status>)>;
  // `revision` 0: the newest. That of a compaction lately made has the hash made with it. `done`
  // runs once, not within this call.
  KeysHasher(member::Front& front, std::int64_t revision, Done done);
  ~KeysHasher();

 private:
  struct Work;
  void begin(std::int64_t revision);
  void await_compaction(std::int64_t revision);
  void slice();

  member::Front& front_;
  Done done_;
  std::shared_ptr<Work> work_;
  Waiting waiting_;
};

// Hash: all buckets.
struct StateHash {
  std::shared_ptr<const member::View> view;
  std::uint32_t hash = 0;
};

class StateHasher {
 public:
  using Done = base::Function<void(base::Result<StateHash, http::Status>)>;
  StateHasher(member::Front& front, Done done);
  ~StateHasher();

 private:
  struct Work;
  void slice();

  member::Front& front_;
  Done done_;
  std::shared_ptr<Work> work_;
  Waiting waiting_;
};

}  // namespace keelson::api
