// Sizes and paces of a member by chance: files small, snapshots, compactions and collections
// frequent, so that a short run meets what takes a server days.
#pragma once

#include "base/random.h"
#include "member/config.h"
#include "sim/node.h"

namespace keelson::sim {

// How the log and its snapshots are cut.
void random_log(base::Random& random, member::Config& config);
void random_store(base::Random& random, store::Options& options);

// Turns some plans for a kill into ones for an error of the disk.
KillPlan maybe_an_error(base::Random& random, KillPlan plan, bool wanted);

}  // namespace keelson::sim
