// Planted bugs: faults put into the code on purpose, to show that simulation finds faults of their
// kind. Only a build configured with KEELSON_PLANTED_BUGS=ON contains them, and there one at a
// time, chosen when the program starts; in every other build the macro is `false` and nothing of
// them is left.
//
//     if (must_sync_ && !KEELSON_PLANTED(kAckBeforeSync)) RETURN_IF_ERROR(sync_tail());
#pragma once

#include <cstdint>

namespace keelson::base {

enum class PlantedBug : std::uint8_t {
  kNone,
  kAckBeforeSync,              // an append counts as durable before it was synced
  kTornTailTaken,              // a frame of the log with a wrong checksum is taken
  kViewAfterReply,             // replies leave before the View of their batch is published
  kStaleView,                  // a lane looks for a newer View once in a turn, not for each read
  kWatcherMissesBatch,         // now and then a batch of events reaches no watcher
  kTombstoneCollectedFirst,    // a tombstone is collected before the puts it hides
  kSnapshotAheadOfCheckpoint,  // the log is released before the store's checkpoint has got so far
  kFloorNotDurable,            // the floor of a compaction is not written down
  kLeaseAttachLost,            // a restart forgets which keys hang on leases
  kRevisionReused,  // a restart counts on from the newest value that is there, whatever was deleted
                    // since
  // Of clusters:
  kFollowerAcksBeforeSync,     // a follower says that it has entries before they are durable
  kCommitOfOlderTerm,          // a leader counts entries of former terms as committed (raft.md 7)
  kVoteTwice,                  // a second candidate of a term is voted for too
  kReadWithoutBarrier,         // a linearizable read is answered from what is there
  kLeaderTrustsItself,         // a leader answers reads without asking whether it still leads
  kConfChangeBeforeCommit,     // a follower's core takes a conf change as soon as it has the entry
  kLeaseEndedByFollower,       // who led goes on counting the time of leases, and ends them
  kRemovedMemberStays,         // a member that was removed does not stop
  kInstallHiddenFromWatchers,  // watchers are not told that a snapshot has skipped events
  kVoteBeforeSync,             // a vote, and a new term, leave before they are durable
  kSnapshotOverNewer,          // a snapshot that comes late replaces a log that has got further
};
inline constexpr const char* kPlantedBugNames[] = {
    "none",
    "ack-before-sync",
    "torn-tail-taken",
    "view-after-reply",
    "stale-view",
    "watcher-misses-batch",
    "tombstone-collected-first",
    "snapshot-ahead-of-checkpoint",
    "floor-not-durable",
    "lease-attach-lost",
    "revision-reused",
    "follower-acks-before-sync",
    "commit-of-older-term",
    "vote-twice",
    "read-without-barrier",
    "leader-trusts-itself",
    "conf-change-before-commit",
    "lease-ended-by-follower",
    "removed-member-stays",
    "install-hidden-from-watchers",
    "vote-before-sync",
    "snapshot-over-newer",
};

#ifdef KEELSON_PLANTED_BUGS
inline PlantedBug planted_bug = PlantedBug::kNone;  // set before anything else runs
#define KEELSON_PLANTED(bug) (::keelson::base::planted_bug == ::keelson::base::PlantedBug::bug)
#else
#define KEELSON_PLANTED(bug) false
#endif

}  // namespace keelson::base
