#include "env/simulated/world.h"

#include <algorithm>

#include "base/check.h"
#include "env/simulated/simulated_lane.h"
#include "env/simulated/simulated_network.h"

namespace keelson::env::simulated {
namespace {

using base::Duration;
using base::Milliseconds;
using std::chrono::microseconds;

constexpr base::WallTime kWallStart{base::Seconds(1'700'000'000)};

}  // namespace

namespace internal {

void SimulatedLane::post_at(base::TimePoint arrival, base::Job job) {
  if (host_.is_alive()) jobs_.emplace(arrival, std::move(job));
}

void SimulatedLane::at_turn_end(base::Job job) {
  CHECK(may_be_touched());
  if (!host_.is_alive()) return;
  const auto arrived = std::distance(jobs_.begin(), jobs_.upper_bound(world_.now()));
  hooks_.push_back({std::move(job), static_cast<std::size_t>(arrived)});
}

TimerId SimulatedLane::at(base::TimePoint due, base::Job job) {
  CHECK(may_be_touched());
  const TimerId timer = ++world_.last_timer_;
  if (host_.is_alive()) timers_.emplace(std::pair(due, timer), std::move(job));
  return timer;
}

void SimulatedLane::cancel(TimerId timer) {
  CHECK(may_be_touched());
  const auto it = std::find_if(timers_.begin(), timers_.end(),
                               [&](const auto& entry) { return entry.first.second == timer; });
  if (it == timers_.end()) return;
  const base::Job job = std::move(it->second);  // destroyed last: it may own what cancels others
  timers_.erase(it);
}

void SimulatedLane::discard() {
  // What they own may come back here as it goes: the containers must be sound by then.
  const auto jobs = std::exchange(jobs_, {});
  const auto timers = std::exchange(timers_, {});
  const auto hooks = std::exchange(hooks_, {});
}

bool SimulatedLane::has_ready_hook() const {
  return std::any_of(hooks_.begin(), hooks_.end(),
                     [](const auto& hook) { return hook.jobs_before == 0; });
}

std::optional<base::TimePoint> SimulatedLane::next() const {
  std::optional<base::TimePoint> first;
  const auto consider = [&](base::TimePoint time) {
    time = std::max({time, busy_until_, host_.still_until_});
    if (!first || time < *first) first = time;
  };
  if (!jobs_.empty()) consider(jobs_.begin()->first);
  if (!timers_.empty()) consider(timers_.begin()->first.first);
  if (has_ready_hook()) consider(busy_until_);
  return first;
}

}  // namespace internal

Host::Host(World& world, std::string name, std::uint64_t disk_seed)
    : world_(world),
      name_(std::move(name)),
      disk_(disk_seed),
      network_(std::make_unique<internal::SimulatedNetwork>(world, *this)) {
  disk_.on_pace([this](const Disk::Step& step) {
    if (world_.current_lane_ != nullptr && world_.options_.slow_disks) {
      world_.charge(world_.disk_time(step.operation));
    }
  });
}

Host::~Host() = default;

Lane& Host::lane(std::string_view name) {
  for (const auto& lane : lanes_) {
    if (lane->name() == name) return *lane;
  }
  std::uint64_t number = lanes_.size();
  for (const auto& host : world_.hosts_) number += host.get() == this ? 0 : host->lanes_.size();
  return *lanes_.emplace_back(
      std::make_unique<internal::SimulatedLane>(world_, *this, std::string(name), number));
}

Network& Host::network() { return *network_; }

void Host::kill(Disk::Crash mode) {
  if (!alive_) return;
  alive_ = false;
  disk_.cut(mode);
  network_->break_all();
  for (const auto& lane : lanes_) lane->discard();
}

void Host::start() {
  CHECK(!alive_);
  alive_ = true;
  still_until_ = {};
  disk_.power_on();
}

void Host::stand_still(base::Duration duration) { still_until_ = world_.now() + duration; }

base::TimePoint Host::now() const { return world_.now(); }

base::WallTime Host::wall_now() const {
  return kWallStart + world_.now().time_since_epoch() + wall_offset_;
}

World::World(std::uint64_t seed, WorldOptions options) : options_(options), random_(seed) {}

World::~World() {
  for (const auto& host : hosts_) host->kill(Disk::Crash::kKeepAll);
}

Host& World::host(std::string_view name) {
  for (const auto& host : hosts_) {
    if (host->name() == name) return *host;
  }
  return *hosts_.emplace_back(std::make_unique<Host>(*this, std::string(name), random_.next()));
}

base::TimePoint World::now() const { return now_ + charged_; }

bool World::run_until(const std::function<bool()>& done, Duration limit) {
  const base::TimePoint until = now_ + limit;
  while (!done()) {
    if (!step(until)) return done();
  }
  return true;
}

void World::run_for(Duration duration) {
  const base::TimePoint until = now_ + duration;
  while (step(until)) {
  }
  now_ = std::max(now_, until);
}

bool World::run_until_idle(Duration limit) {
  const auto is_idle = [&] {
    return std::all_of(hosts_.begin(), hosts_.end(), [](const auto& host) {
      return std::all_of(host->lanes_.begin(), host->lanes_.end(), [](const auto& lane) {
        return lane->jobs_.empty() && lane->hooks_.empty();
      });
    });
  };
  return run_until(is_idle, limit);
}

bool World::step(base::TimePoint until) {
  CHECK(current_lane_ == nullptr);
  std::vector<std::pair<internal::SimulatedLane*, Work>> ready;
  std::optional<base::TimePoint> next;
  for (const auto& host : hosts_) {
    for (const auto& lane : host->lanes_) {
      const auto time = lane->next();
      if (!time) continue;
      if (!next || *time < *next) next = *time;
      if (*time > now_) continue;
      if (!lane->jobs_.empty() && lane->jobs_.begin()->first <= now_) {
        ready.emplace_back(lane.get(), Work::kJob);
      }
      if (!lane->timers_.empty() && lane->timers_.begin()->first.first <= now_) {
        ready.emplace_back(lane.get(), Work::kTimer);
      }
      if (lane->has_ready_hook()) ready.emplace_back(lane.get(), Work::kHooks);
    }
  }
  if (ready.empty()) {
    if (!next || *next > until) return false;
    now_ = *next;
    return true;
  }
  const auto [lane, work] = ready[random_.below(ready.size())];
  if (random_.one_in(5)) {
    // Its thread does not get a processor yet, while others may run many jobs.
    lane->busy_until_ = now_ + random_duration(microseconds(1), microseconds(100));
  } else {
    run(*lane, work);
  }
  return true;
}

void World::run(internal::SimulatedLane& lane, Work work) {
  steps_++;
  const auto time = static_cast<std::uint64_t>(now_.time_since_epoch().count());
  fingerprint_ = (fingerprint_ ^ time ^ lane.number_ << 8 ^ static_cast<std::uint64_t>(work)) *
                 0x9E3779B97F4A7C15u;
  fingerprint_ ^= fingerprint_ >> 29;

  current_lane_ = &lane;
  // Mostly a few microseconds; now and then something else has the processor.
  charged_ = Duration::zero();
  const auto cost = random_.one_in(500) ? random_duration(microseconds(100), Milliseconds(20))
                                        : random_duration(microseconds(1), microseconds(10));
  try {
    run_work(lane, work);
  } catch (const ProcessExit&) {
    lane.host().kill(Disk::Crash::kKeepAll);
  }
  lane.busy_until_ = now_ + charged_ + cost;
  charged_ = Duration::zero();
  current_lane_ = nullptr;
}

void World::run_work(internal::SimulatedLane& lane, Work work) {
  if (work == Work::kJob) {
    auto first = lane.jobs_.extract(lane.jobs_.begin());
    for (auto& hook : lane.hooks_) hook.jobs_before -= hook.jobs_before > 0 ? 1 : 0;
    first.mapped()();
  } else if (work == Work::kTimer) {
    auto first = lane.timers_.extract(lane.timers_.begin());
    first.mapped()();
  } else {
    for (auto& hook : std::exchange(lane.hooks_, {})) {
      if (hook.jobs_before > 0) {
        lane.hooks_.push_back(std::move(hook));
      } else if (lane.host().is_alive()) {  // an earlier one may have killed it
        hook.job();
      }
    }
  }
}

Duration World::random_duration(Duration low, Duration high) {
  CHECK(low <= high);
  return low + Duration(random_.below(static_cast<std::uint64_t>((high - low).count()) + 1));
}

Duration World::disk_time(Disk::Operation operation) {
  if (operation < Disk::Operation::kCreate)
    return random_duration(microseconds(1), microseconds(20));
  if (operation != Disk::Operation::kSync && operation != Disk::Operation::kSyncDirectory) {
    return random_duration(microseconds(2), microseconds(50));
  }
  return random_.one_in(100) ? random_duration(Milliseconds(5), Milliseconds(200))
                             : random_duration(microseconds(50), Milliseconds(3));
}

Duration World::latency(const Host& from, const Host& to) {
  const auto across = random_duration(options_.latency_min, options_.latency_max);
  return &from == &to ? across / 10 : across;
}

void World::cut(std::string_view from, std::string_view to) { cuts_.emplace(from, to); }

void World::cut_both(std::string_view a, std::string_view b) {
  cut(a, b);
  cut(b, a);
}

void World::heal(std::string_view a, std::string_view b) {
  cuts_.erase({std::string(a), std::string(b)});
  cuts_.erase({std::string(b), std::string(a)});
  links_changed();
}

void World::heal_all() {
  cuts_.clear();
  links_changed();
}

bool World::is_cut(const Host& from, const Host& to) const {
  return cuts_.contains({from.name(), to.name()});
}

void World::links_changed() {
  for (const auto& host : hosts_) host->network_->links_changed();
}

void World::reset_connections(std::string_view a, std::string_view b) {
  host(a).network_->break_with(host(b));
}

}  // namespace keelson::env::simulated
