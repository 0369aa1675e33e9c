// Boot: from a data directory (or none) to everything a member's lanes start with.
// operations.md 2.2, 2.3, 2.7; formats.md 2.4, with our store in the place of `db`.
//
//   WAL there?  no   new member: WAL with its identity, empty store, bootstrap entries
//               yes  store at its newest checkpoint C, WAL from the newest snapshot S <= C, entries
//               after S;
//                    what lies after C is applied again
//
// Invariants (D7)
//   B1  S <= C <= last entry of the WAL. A directory that breaks it is refused.
//   B2  Nothing is written before the directory is known to be ours: one that holds etcd's own
//   database, or a
//       log that begins later than our store ends, is refused as it is.
//   B3  Never a silent start with less data: what cannot be read is an error that names the file.
//
// --force-new-cluster: entries that are not known to be committed are dropped, and committed ones
// that remove all other members are written behind the rest: the member is alone when they are
// applied, with the ids of before. formats.md 2.6. Whatever a crash leaves of them starts, with the
// flag or without: entries and commit go to the log together, and entries alone are not committed.
//
// Runs before the lanes do, and may block.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apply/state_machine.h"
#include "base/result.h"
#include "base/time.h"
#include "env/file.h"
#include "env/lane.h"
#include "member/config.h"
#include "member/shared.h"
#include "member/undecided_entries.h"
#include "membership/resolved_urls.h"
#include "raft/types.h"
#include "store/store.h"
#include "wal/wal.h"

namespace keelson::member {

// Why a member cannot start; the text is for whoever reads the log.
struct BootError {
  std::string text;
};

struct Booted {
  Identity identity;
  bool new_member = false;
  std::unique_ptr<wal::Wal> wal;
  raft::HardState hard_state;  // commit raised to what was applied
  raft::SnapshotMetadata
      snapshot;  // base of the log; its conf_state is the roster's at applied_index
  std::vector<raft::Entry> entries;  // of the log, after the snapshot
  std::unique_ptr<store::Store> store;
  std::unique_ptr<apply::StateMachine> state;
  std::unique_ptr<UndecidedEntries> undecided;
  raft::Index applied_index = 0;
  raft::Term applied_term = 0;
};

// Where things lie under --data-dir.
struct Paths {
  std::string member, snap, wal, store;
  static Paths of(const Config& config);
};

// Whether --initial-cluster and the rest fit a member that has no log yet: what can be said without
// asking anybody but DNS, whose answers are given.
base::Result<void, BootError> check_first_start(const Config& config,
                                                const membership::ResolvedHosts& resolved);

// Of the store of this member. `chance` seeds its id if it is made new; the log has all entries
// above `replay_from`.
store::Options store_options(const Config& config, base::WallTime now, std::uint64_t chance,
                             raft::Index replay_from);
// The state machine as of the checkpoint of a store that was just opened. `breathe`, if there is
// one, is called every millisecond or so.
base::Result<std::unique_ptr<apply::StateMachine>, BootError> recover_state(
    const Config& config, const Identity& identity, store::Store& store,
    const store::Recovered& recovered, env::Lane::Breathe* breathe = nullptr);

// `chance` seeds what must be unique (store id).
base::Result<Booted, BootError> boot(env::FileSystem& files, const Config& config,
                                     base::WallTime wall_now, std::uint64_t chance);

}  // namespace keelson::member
