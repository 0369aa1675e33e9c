// Lanes: which lanes a server has and which of them share a thread, by the number of cores. The one
// table of its kind; nothing else depends on it.
//
//   cores   1-3                                   more
//   io0     with raft                             io0 .. io<cores-1>, a thread each
//   raft    with io0: a proposal costs no wake    its own: a core busy with clients must not
//                                                 delay heartbeats
//   log, apply, store: their own always: disk and large entries hold them up
//   worker0, worker1 (one for every two cores beyond four)
//   transfer: files for members that lag behind and for clients, and from those that lead
//
// Store and workers yield to the others where cores are short: deaths, collection, hashes and new
// files of the log can wait a moment, a put cannot. A transfer takes what all others leave.
#pragma once

#include <vector>

#include "env/posix/runtime.h"
#include "member/member.h"

namespace keelson::cmd {

// Cores this process may use.
unsigned usable_cores();

std::vector<env::posix::LaneOnThread> lane_table(unsigned cores);

// The lanes of that table, for a member.
member::Lanes lanes_of(env::posix::Runtime& runtime, unsigned cores);

}  // namespace keelson::cmd
