// The hash of the whole state, for Maintenance.Hash: made by workers in short slices, from one
// View, as that of HashKV (member/keys_hasher.h). api.md 9.6.
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

// Hash: all buckets.
struct StateHash {
  std::shared_ptr<const member::View> view;
  std::uint32_t hash = 0;
};

// The whole state: keys and all other buckets, as of one View.
class StateHasher {
 public:
  using Done = base::Function<void(base::Result<StateHash, http::Status>)>;
  StateHasher(member::Front& front, Done done);
  ~StateHasher();

 private:
  struct Work;
  void hash();

  member::Front& front_;
  Done done_;
  std::shared_ptr<Work> work_;
  Waiting waiting_;
};

}  // namespace keelson::api
