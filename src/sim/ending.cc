#include "sim/ending.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/workload.h"

namespace keelson::sim {
namespace {

constexpr base::Duration kWatchersLimit = base::Seconds(60);

}  // namespace

void let_watchers_catch_up(env::simulated::World& world, Checker& checker,
                           const std::vector<std::unique_ptr<Watcher>>& watchers) {
  for (const auto& watcher : watchers) watcher->hurry();
  const auto all_heard = [&] {
    return !checker.ok() || std::all_of(watchers.begin(), watchers.end(),
                                        [](const auto& one) { return one->caught_up(); });
  };
  if (world.run_until(all_heard, kWatchersLimit)) return;
  for (const auto& watcher : watchers) {
    if (!watcher->caught_up()) checker.violate("a watcher missed events: " + watcher->where());
  }
}

void outlive_leases(env::simulated::World& world, Checker& checker, const Model& model,
                    base::Duration limit) {
  const auto none_lives = [&] {
    const auto& leases = model.leases();
    return !checker.ok() || std::all_of(leases.begin(), leases.end(), [](const auto& lease) {
      return lease.second.back().revoked != 0;
    });
  };
  if (world.run_until(none_lives, limit)) return;
  for (const auto& [id, lives] : model.leases()) {
    if (lives.back().revoked == 0) checker.violate(fmt::format("lease {} does not end", id));
  }
}

void ask_for_history(Client& client, const Model& model, base::Random& random, std::uint64_t step) {
  for (std::int64_t at = std::max<std::int64_t>(model.floor(), 1); at <= model.revision();
       at += 1 + static_cast<std::int64_t>(random.below(step))) {
    client.ask(Workload::read_all(at));
    client.ask(Workload::hash_at(at));
  }
}

bool all_idle(const std::vector<std::unique_ptr<Client>>& clients) {
  return std::all_of(clients.begin(), clients.end(),
                     [](const auto& client) { return client->idle(); });
}

base::Duration random_time(base::Random& random, base::Duration most) {
  return base::Duration(random.below(static_cast<std::uint64_t>(most.count())));
}

}  // namespace keelson::sim
