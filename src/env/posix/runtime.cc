#include "env/posix/runtime.h"

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <latch>

#include "env/posix/clock.h"
#include "env/posix/files.h"
#include "env/posix/loop.h"
#include "env/posix/network.h"
#include "env/posix/resolver.h"

namespace keelson::env::posix {
namespace {

constexpr int kDrainRoundsMax = 200;

// Tells of signals for as long as it lives.
class SignalWatch {
 public:
  SignalWatch(LoopLane& lane, const std::vector<int>& signals, base::Function<void(int)> callback)
      : lane_(lane), set_(lane.loop().io()), callback_(std::move(callback)) {
    for (const int signal : signals) set_.add(signal);
    wait();
  }

 private:
  void wait() {
    set_.async_wait([this](const boost::system::error_code& ec, int signal) {
      if (ec) return;  // being destroyed
      lane_.loop().run_as(&lane_, [&] { callback_(signal); });
      wait();
    });
  }

  LoopLane& lane_;
  boost::asio::signal_set set_;
  base::Function<void(int)> callback_;
};

}  // namespace

struct Runtime::Parts {
  SystemClock clock;
  Crowd crowd;
  Files files;
  std::unique_ptr<ThreadResolver> resolver = std::make_unique<ThreadResolver>();
  SocketNetwork network{*resolver};
  std::vector<std::pair<std::string, std::unique_ptr<Loop>>> loops;  // by name of the thread
  std::vector<std::unique_ptr<LoopLane>> lanes;
  std::vector<std::unique_ptr<SignalWatch>> signals;
  bool running = false;

  Loop& loop_of_thread(const std::string& name) {
    for (auto& [thread, loop] : loops) {
      if (thread == name) return *loop;
    }
    return *loops.emplace_back(name, std::make_unique<Loop>(name, clock, crowd)).second;
  }

  // Visits each loop in turn, twice at least, until no loop ran a job between two visits of it.
  // Then none can have one: the first to run after the visits would have to be posted by another
  // such.
  void drain() {
    std::vector<std::uint64_t> before(loops.size());
    for (int round = 0; round < kDrainRoundsMax; round++) {
      bool quiet = round > 0;
      for (std::size_t i = 0; i < loops.size(); i++) {
        const std::uint64_t now = visit(*loops[i].second);
        quiet &= now - before[i] == 1;  // the last visit itself
        before[i] = now;
      }
      if (quiet) return;
    }
  }

  static std::uint64_t visit(Loop& loop) {
    std::latch done(1);
    std::uint64_t jobs_run = 0;
    loop.post(nullptr, [&] {
      jobs_run = loop.jobs_run();
      done.count_down();
    });
    done.wait();
    return jobs_run;
  }
};

Runtime::Runtime(const std::vector<LaneOnThread>& table) : parts_(std::make_unique<Parts>()) {
  for (const auto& row : table) {
    for (const auto& lane : parts_->lanes) CHECK_MSG(lane->name() != row.lane, "{}", row.lane);
    Loop& loop = parts_->loop_of_thread(row.thread);
    CHECK(row.background || !row.patient);
    if (!row.background) loop.run_in_foreground();
    if (row.patient) loop.be_patient();
    parts_->lanes.push_back(std::make_unique<LoopLane>(loop, row.lane, parts_->clock));
  }
}

Runtime::~Runtime() {
  stop();
  parts_->resolver.reset();  // whose threads, from now on, post no more
  parts_->signals.clear();
  for (bool any = true; any;) {
    any = false;
    for (auto& [thread, loop] : parts_->loops) any |= loop->discard();
  }
  parts_->loops.clear();  // before the lanes, which their last handlers may still name
}

Lane& Runtime::lane(std::string_view name) {
  const auto it = std::find_if(parts_->lanes.begin(), parts_->lanes.end(),
                               [&](const auto& lane) { return lane->name() == name; });
  CHECK_MSG(it != parts_->lanes.end(), "no lane {}", name);
  return **it;
}

void Runtime::start() {
  CHECK(!parts_->running);
  parts_->running = true;
  for (auto& [thread, loop] : parts_->loops) loop->start();
}

void Runtime::stop() {
  if (!parts_->running) return;
  for (auto& [thread, loop] : parts_->loops)
    CHECK(!loop->is_current());  // it would wait for itself
  parts_->drain();
  for (auto& [thread, loop] : parts_->loops) loop->stop();
  parts_->running = false;
}

FileSystem& Runtime::file_system() { return parts_->files; }

Network& Runtime::network() { return parts_->network; }

Resolver& Runtime::resolver() { return *parts_->resolver; }

Clock& Runtime::clock() { return parts_->clock; }

void Runtime::on_signals(const std::vector<int>& signals, Lane& lane,
                         base::Function<void(int)> callback) {
  CHECK(!parts_->running || lane.is_current());
  parts_->signals.push_back(
      std::make_unique<SignalWatch>(static_cast<LoopLane&>(lane), signals, std::move(callback)));
}

}  // namespace keelson::env::posix
