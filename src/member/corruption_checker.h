// Comparing the data of the members. operations.md 7.5; what disagreement means: corruption.h.
//
//   InitialCheck         before a member that was there before serves anybody: refuses the start
//   CorruptionChecker    on the leader, from time to time: raises CORRUPT through the log
//     periodic           --corrupt-check-time
//                        hash -> the others' at that revision -> linearizable read -> hash -> judge
//     of compactions     CompactHashCheck, --compact-hash-check-time
//                        the newest hash of a compaction -> the others' of it -> judge -> the next
//
// Who cannot be asked, or cannot say, is left out; a check that cannot be made is made next time.
#pragma once

#include <memory>
#include <vector>

#include "base/function.h"
#include "member/boot.h"
#include "member/corruption.h"
#include "member/front.h"
#include "member/keys_hasher.h"
#include "member/peer_hashes.h"

namespace keelson::member {

// Jobs of one io lane.
class CorruptionChecker {
 public:
  explicit CorruptionChecker(Front& front);
  ~CorruptionChecker();
  CorruptionChecker(const CorruptionChecker&) = delete;
  CorruptionChecker& operator=(const CorruptionChecker&) = delete;

  // Does nothing if both checks are off.
  void start();
  void stop();

 private:
  class Periodic;
  class OfCompactions;

  void look(bool periodic);
  void arm(bool periodic);
  bool leads() const { return front_.progress().leader.load() == front_.identity().member_id; }
  void raise(membership::MemberId corrupt);

  Front& front_;
  std::unique_ptr<Periodic> periodic_;
  std::unique_ptr<OfCompactions> of_compactions_;
  std::int64_t checked_ = 0;  // the newest compaction all agreed on
  env::TimerId periodic_timer_ = 0, compaction_timer_ = 0;
  bool stopped_ = false;
};

// Blocks its lane, which nobody else uses, while it hashes.
class InitialCheck {
 public:
  struct Start {
    Identity identity;
    std::shared_ptr<const View> view;  // as of the start
    base::Duration patience;
  };
  using Done = base::Function<void(base::Result<void, BootError>)>;
  // In a job of `lane`; `done` is called there, once, never from within this call. `connector`
  // outlives it.
  InitialCheck(env::Lane& lane, peer::Connector& connector, Start start, Done done);
  InitialCheck(const InitialCheck&) = delete;
  InitialCheck& operator=(const InitialCheck&) = delete;

 private:
  void begin();
  void finish(base::Result<void, BootError> result);

  env::Lane& lane_;
  peer::Connector& connector_;
  Start start_;
  Done done_;
  std::unique_ptr<PeerHashes> peers_;
};

}  // namespace keelson::member
