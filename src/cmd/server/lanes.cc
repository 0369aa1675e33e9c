#include "cmd/server/lanes.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <thread>

namespace keelson::cmd {
namespace {

// Up to here a wake between threads costs more than a core of its own brings.
constexpr unsigned kFewCores = 3;

unsigned io_lanes(unsigned cores) { return cores <= kFewCores ? 1 : cores; }
unsigned worker_lanes(unsigned cores) { return std::max(2u, cores / 2); }

std::string numbered(const char* lane, unsigned number) {
  return fmt::format("{}{}", lane, number);
}

}  // namespace

unsigned usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // Fails on machines with more cores than the set holds.
  if (::sched_getaffinity(0, sizeof set, &set) == 0) return static_cast<unsigned>(CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

std::vector<env::posix::LaneOnThread> lane_table(unsigned cores) {
  std::vector<env::posix::LaneOnThread> table;
  for (unsigned i = 0; i < io_lanes(cores); i++) {
    table.push_back({.lane = numbered("io", i), .thread = numbered("io", i)});
  }
  table.push_back({.lane = "raft", .thread = cores <= kFewCores ? "io0" : "raft"});
  for (const char* lane : {"log", "apply"}) table.push_back({.lane = lane, .thread = lane});
  table.push_back({.lane = "store", .thread = "store", .background = true});
  for (unsigned i = 0; i < worker_lanes(cores); i++) {
    table.push_back(
        {.lane = numbered("worker", i), .thread = numbered("worker", i), .background = true});
  }
  table.push_back({.lane = "transfer", .thread = "transfer", .background = true, .patient = true});
  return table;
}

member::Lanes lanes_of(env::posix::Runtime& runtime, unsigned cores) {
  member::Lanes lanes{.raft = &runtime.lane("raft"),
                      .log = &runtime.lane("log"),
                      .apply = &runtime.lane("apply"),
                      .store = &runtime.lane("store"),
                      .transfer = &runtime.lane("transfer")};
  for (unsigned i = 0; i < io_lanes(cores); i++) {
    lanes.io.push_back(&runtime.lane(numbered("io", i)));
  }
  for (unsigned i = 0; i < worker_lanes(cores); i++) {
    lanes.workers.push_back(&runtime.lane(numbered("worker", i)));
  }
  return lanes;
}

}  // namespace keelson::cmd
