// keelson-sim: runs of the whole server under a virtual clock, disk and network, one per seed.
//
//   keelson-sim --seed 7 --aloud         one run, telling its story
//   keelson-sim --seeds 500 --jobs 2     runs 1 to 500; each failure with its seed and last steps
//   keelson-sim --members 3 --seeds 200  of clusters
//   keelson-sim --seeds 400 --planted stale-view   must fail (KEELSON_PLANTED_BUGS=ON only)
//
// Each run of many has a process of its own, so that a crash or an endless loop is its seed's
// failure and no more.

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "base/planted.h"
#include "env/log.h"
#include "sim/cluster.h"
#include "sim/simulation.h"

namespace {

using namespace keelson;

constexpr unsigned kRunSecondsMax = 300;

struct Flags {
  sim::RunOptions run;
  std::uint64_t first = 1;
  std::uint64_t seeds = 0;  // 0: only run.seed, here
  std::size_t jobs = 1;
  bool log = false;
  bool planted = false;  // a bug is planted: one failure is wanted, and enough
  std::size_t members = 1;
};

const sim::Story* running = nullptr;
std::uint64_t running_seed = 0;

// For whoever aborts: a CHECK of the server, a sanitizer.
void on_abort(int signal) {
  std::signal(signal, SIG_DFL);
  std::fprintf(stderr, "%s\nseed %llu: ended by signal %d (%s)\n",
               running != nullptr ? running->tail().c_str() : "",
               static_cast<unsigned long long>(running_seed), signal, strsignal(signal));
  std::raise(signal);
}

bool run_one(const Flags& flags, std::uint64_t seed, bool print) {
  sim::RunOptions options = flags.run;
  options.seed = seed;
  running_seed = seed;
  const auto run = [](auto simulation) {
    running = &simulation->story();
    sim::Verdict verdict = simulation->run();
    running = nullptr;
    return verdict;
  };
  const sim::Verdict verdict =
      flags.members == 1 ? run(std::make_unique<sim::Simulation>(options))
                         : run(std::make_unique<sim::ClusterSimulation>(options, flags.members));
  if (!verdict.ok()) {
    const bool tell = !options.aloud && !flags.planted;
    fmt::print(stderr, "{}\nseed {}: {}\n", tell ? verdict.story : "", seed, verdict.violation);
  }
  if (print) {
    fmt::print(
        "seed {} trace {:016x} lives {} entries {} revision {} calls {} answered {} refused {} "
        "unknown {}\n",
        seed, verdict.trace, verdict.lives, verdict.entries, verdict.revision, verdict.calls.asked,
        verdict.calls.answered, verdict.calls.refused, verdict.calls.unknown);
    for (const auto& [what, times] : verdict.calls.seen) fmt::print("  {} x {}\n", times, what);
  }
  return verdict.ok();
}

// The seeds of `flags`, `jobs` processes at a time. How many failed.
int run_many(const Flags& flags) {
  std::map<pid_t, std::uint64_t> children;
  int failed = 0;
  const auto reap = [&] {
    int status = 0;
    const pid_t pid = wait(&status);
    const std::uint64_t seed = children.at(pid);
    children.erase(pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
    failed++;
    if (flags.planted) return;
    fmt::print("seed {} failed; again: keelson-sim --seed {} --calls {} --members {}{}{} --aloud\n",
               seed, seed, flags.run.calls, flags.members,
               flags.run.same_members ? " --same-members" : "",
               flags.run.disk_errors ? " --disk-errors" : "");
  };
  for (std::uint64_t seed = flags.first; seed < flags.first + flags.seeds; seed++) {
    if (children.size() >= flags.jobs) reap();
    if (flags.planted && failed > 0) break;
    const pid_t pid = fork();
    if (pid == 0) {
      alarm(kRunSecondsMax);
      std::_Exit(run_one(flags, seed, false) ? 0 : 1);
    }
    children[pid] = seed;
  }
  while (!children.empty()) reap();
  fmt::print("{} runs, seeds {} to {}: {} failed\n", flags.seeds, flags.first,
             flags.first + flags.seeds - 1, failed);
  return failed;
}

[[noreturn]] void usage() {
  fmt::print(stderr,
             "keelson-sim [--seed N] [--aloud] [--disk] [--log]   one run\n"
             "keelson-sim --seeds N [--first N] [--jobs N]   many\n"
             "both: [--members N [--same-members]] [--disk-errors] [--calls N] [--keep LINES] "
             "[--planted BUG]\n");
  std::exit(2);
}

void plant([[maybe_unused]] std::string_view name) {
#ifdef KEELSON_PLANTED_BUGS
  for (std::size_t i = 0; i < std::size(base::kPlantedBugNames); i++) {
    if (name != base::kPlantedBugNames[i]) continue;
    base::planted_bug = static_cast<base::PlantedBug>(i);
    return;
  }
#endif
  usage();
}

Flags parse(int argc, char** argv) {
  Flags flags;
  for (int i = 1; i < argc; i++) {
    const std::string flag = argv[i];
    if (flag == "--aloud") {
      flags.run.aloud = true;
      continue;
    }
    if (flag == "--disk") {
      flags.run.tell_disk = true;
      continue;
    }
    if (flag == "--disk-errors") {
      flags.run.disk_errors = true;
      continue;
    }
    if (flag == "--same-members") {
      flags.run.same_members = true;
      continue;
    }
    if (flag == "--log") {
      flags.log = true;
      continue;
    }
    if (i + 1 >= argc) usage();
    if (flag == "--planted") {
      flags.planted = true;
      plant(argv[++i]);
      continue;
    }
    const std::uint64_t number = std::strtoull(argv[++i], nullptr, 10);
    if (flag == "--seed") {
      flags.run.seed = number;
    } else if (flag == "--seeds") {
      flags.seeds = number;
    } else if (flag == "--first") {
      flags.first = number;
    } else if (flag == "--jobs") {
      flags.jobs = number;
    } else if (flag == "--calls") {
      flags.run.calls = number;
    } else if (flag == "--members") {
      flags.members = number;
    } else if (flag == "--keep") {
      flags.run.keep = number;
    } else {
      usage();
    }
  }
  return flags;
}

}  // namespace

int main(int argc, char** argv) {
  const Flags flags = parse(argc, argv);
  if (!flags.log) CHECK(env::open_log({.outputs = {"/dev/null"}}).ok());
  for (const int signal : {SIGABRT, SIGSEGV, SIGALRM}) std::signal(signal, on_abort);
  if (flags.seeds > 0) {
    const bool failed = run_many(flags) > 0;
    return failed == flags.planted ? 0 : 1;
  }
  return run_one(flags, flags.run.seed, true) ? 0 : 1;
}
