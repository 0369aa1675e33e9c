// What it means that members hash differently. operations.md 7.5.
//
// Equal logs give equal state, so two members that hash the same changes above the same floor must
// get the same. Only a disagreement between members says that data is corrupt; a member that cannot
// say, be it for a stored record of its own that it cannot read, disagrees with nobody.
//
// Pure, but for the log lines that say what was found.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "member/compaction_hashes.h"
#include "member/peer_hashes.h"
#include "membership/member.h"

namespace keelson::member {

// What this member itself hashed.
struct OwnHash {
  std::int64_t revision = 0;  // hashed up to it: the newest there was
  std::int64_t compact_revision = 0;
  std::uint32_t hash = 0;
  // What who has compacted there says of the same data, where that is another (mvcc/hash.h).
  std::optional<std::uint32_t> hash_of_compaction = {};
};

// A member that starts: true if another one hashed the same and got something else.
bool disagrees(membership::MemberId self, const OwnHash& own, const std::vector<PeerHash>& peers);

// The leader, from time to time: who is to be called corrupt, the first one found. The peers were
// asked for the revision of `before`; then, behind a linearizable read, the leader hashed again.
// It cannot tell who of two is wrong, and trusts itself, as etcd does.
//
// A compaction exactly at the revision asked for that was applied meanwhile, and perhaps others
// since, leaves a hash that may differ from the leader's by a quirk (mvcc/hash.h): that says
// nothing.
std::optional<membership::MemberId> corrupt_of(membership::MemberId self, const OwnHash& before,
                                               const OwnHash& after,
                                               const std::vector<PeerHash>& peers);

// The leader, of one compaction. The majority is right. One whose hash is ambiguous settles
// nothing.
struct CompactionVerdict {
  bool settled = false;  // all agree, or alarms are due: no older compaction need be looked at
  bool agreed = false;   // all agree
  std::vector<membership::MemberId> corrupt;  // 0: somebody is, and no majority says who
};
CompactionVerdict judge_compaction(membership::MemberId self, const CompactionHash& own,
                                   const std::vector<PeerHash>& peers);

}  // namespace keelson::member
