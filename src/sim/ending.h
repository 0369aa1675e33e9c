// How a run ends, whatever the number of its members: what is waited for, and what is violated if
// it does not come.
#pragma once

#include <memory>
#include <vector>

#include "env/simulated/world.h"
#include "sim/checker.h"
#include "sim/client.h"
#include "sim/model.h"
#include "sim/watcher.h"

namespace keelson::sim {

// From a start to an answer, and for all clients to have their last one.
inline constexpr base::Duration kReadyLimit = base::Seconds(120);
inline constexpr base::Duration kClientsLimit = base::Seconds(600);

// Watchers hear of all that was written.
void let_watchers_catch_up(env::simulated::World& world, Checker& checker,
                           const std::vector<std::unique_ptr<Watcher>>& watchers);

// Nobody renews a lease any more: all end within `limit`, and their keys with them.
void outlive_leases(env::simulated::World& world, Checker& checker, const Model& model,
                    base::Duration limit);

// `client` is to ask for all keys, and hashes, at revisions up to `step` apart, by chance.
void ask_for_history(Client& client, const Model& model, base::Random& random, std::uint64_t step);

bool all_idle(const std::vector<std::unique_ptr<Client>>& clients);

// From zero up to `most`.
base::Duration random_time(base::Random& random, base::Duration most);

}  // namespace keelson::sim
