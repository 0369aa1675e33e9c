// Runtime: this machine as a server sees it: lanes on threads, files, network, clock, signals.
//
// Life: make it from the table of lanes; wire; start(); ... ; stop(); take the parts down; destroy
// it last. Streams, listeners and timers are touched in their lanes while the threads run, and by
// the one thread that remains before start() and after stop().
//
// An exception that leaves a job ends the process: nobody could say which jobs others still rely
// on.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "env/clock.h"
#include "env/file.h"
#include "env/lane.h"
#include "env/resolver.h"
#include "env/stream.h"

namespace keelson::env::posix {

// A lane and the thread that runs it; lanes that name one thread share it.
struct LaneOnThread {
  std::string lane;
  std::string thread;  // shown by ps and top; its first 15 bytes
  // Of work that no client's write waits for: a thread of such lanes alone yields to the others
  // where cores are short.
  bool background = false;
  // Of the background, and nobody waits for any single job of it: where that may be ended again,
  // its thread takes only what the others leave of the cores (patience.h).
  bool patient = false;
};

class Runtime {
 public:
  explicit Runtime(const std::vector<LaneOnThread>& table);
  ~Runtime();  // stops first if need be
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // One of the table. Jobs may be posted before start() and then wait for it.
  Lane& lane(std::string_view name);
  void start();
  // Runs what is queued, and what that queues, until all lanes are idle; then ends the threads.
  // Jobs posted later never run. A lane that never becomes idle (traffic still comes in, a job
  // posts itself for ever) is cut short. From outside the lanes.
  void stop();

  FileSystem& file_system();
  Network& network();
  Resolver& resolver();
  Clock& clock();

  // Runs `callback` as a job of `lane` each time one of these signals comes, in place of what it
  // would do to the process. Before start(), or in a job of that lane.
  void on_signals(const std::vector<int>& signals, Lane& lane, base::Function<void(int)> callback);

 private:
  struct Parts;
  const std::unique_ptr<Parts> parts_;
};

}  // namespace keelson::env::posix
