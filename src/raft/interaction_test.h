// Interaction scripts: nodes, their storage and the messages between them, driven by hand with the
// commands of raft.md 16.3. A script is a list of commands and what they print, narration of the
// nodes in between.
//
// Beyond etcd's commands and options there are
//   read-index ID CONTEXT             asks for a ReadState
//   report-snapshot A B [failed=b]    A hears that its snapshot to B arrived, or did not
//   restart ID                        a crash: what was not durable is lost, and of the state
//   machine
//                                     what the durable commit index does not cover
//   duplicate-msgs ID                 what is under way to it arrives twice,
//   reverse-msgs ID                   or last first
//   adopt-snapshot ID                 the snapshot it was restored from, if newer, is its newest
//   state,
//                                     which etcd's driver leaves out
//   add-nodes ... [max-uncommitted-size=K] [max-inflight-bytes=K] [max-size-per-msg=K]
//                 [disable-proposal-forwarding=b]
// After every step the invariants of the node are checked, and those of the cluster, unless its
// nodes were founded unlike each other or take conf changes that nobody validates.
#pragma once

#include <functional>
#include <string>

#include "testing/script.h"

namespace keelson::raft {

// Runs the commands of one script, from nothing.
std::function<std::string(const testing::Directive&)> fresh_interaction();

enum class Narration : bool { kLeftOut, kCompared };

// Runs a script that etcd's raft has answered; fails the current test where we answer differently.
// Ends early, with nothing to complain about, where a node does on purpose what etcd's does not.
void run_script_of_etcd(const std::string& path, Narration narration);

}  // namespace keelson::raft
