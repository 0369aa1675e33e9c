#include "env/posix/loop.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>

namespace keelson::env::posix {
namespace {

thread_local const Loop* current_loop = nullptr;

constexpr base::Duration kSleepMax = base::Seconds(1);
constexpr std::uint64_t kLoneEventsPerPoll = 8;
constexpr int kBackgroundNice = 5;  // a third of the weight
// A thread that wakes where one runs may wait until a tick of the kernel, milliseconds, whatever
// their weights: background threads ask more often whether one does.
constexpr base::Duration kBackgroundBurst = std::chrono::microseconds(100);
constexpr int kLooksPerTime = 16;

unsigned usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // Fails on machines with more cores than the set holds.
  return ::sched_getaffinity(0, sizeof set, &set) == 0 ? static_cast<unsigned>(CPU_COUNT(&set)) : 2;
}

// Staying awake for another thread would keep it from running.
bool one_core() {
  static const bool is = usable_cores() < 2;
  return is;
}

// Tells the core that it waits for another.
void rest_a_moment() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// As the kernel has it (linux/sched/types.h), which the C library does not declare.
struct SchedulingAttributes {
  std::uint32_t size = sizeof(SchedulingAttributes);
  std::uint32_t policy = SCHED_OTHER;
  std::uint64_t flags = 0;
  std::int32_t nice = 0;
  std::uint32_t priority = 0;
  std::uint64_t runtime = 0;  // Linux 6.12 and later: the slice, in ns
  std::uint64_t deadline = 0;
  std::uint64_t period = 0;
};

// Of the calling thread. Where that is refused, it is as important as any other. The slice is what
// it may go on for when another has woken on its core, whatever its niceness.
void yield_to_others() {
  errno = 0;
  const auto thread = static_cast<id_t>(::gettid());
  const int nice = ::getpriority(PRIO_PROCESS, thread);
  if (errno != 0 || ::setpriority(PRIO_PROCESS, thread, nice + kBackgroundNice) != 0) return;
  SchedulingAttributes attributes;
  if (::syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  if (attributes.policy != SCHED_OTHER) return;
  attributes.runtime =
      static_cast<std::uint64_t>(std::chrono::nanoseconds(kBackgroundBurst).count());
  MAYBE(::syscall(SYS_sched_setattr, 0, &attributes, 0) == 0);
}

[[noreturn]] void die(const std::string& thread, const char* what) {
  std::fprintf(stderr, "thread %s: uncaught exception: %s\n", thread.c_str(), what);
  std::fflush(stderr);
  std::abort();
}

}  // namespace

struct Loop::Reactor {
  explicit Reactor(boost::asio::io_context& io) : work(io.get_executor()), first(io) {}
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work;
  // Makes Asio open what it needs now, not when the process may be out of descriptors.
  boost::asio::posix::stream_descriptor first;
};

Loop::Loop(std::string name, Clock& clock, Crowd& crowd, Yield yield)
    : name_(std::move(name)),
      clock_(clock),
      crowd_(crowd),
      yield_(yield),
      io_(std::make_unique<boost::asio::io_context>(1)),
      reactor_(std::make_unique<Reactor>(*io_)),
      read_buffer_(std::make_unique_for_overwrite<char[]>(kReadBufferBytes)) {}

Loop::~Loop() { CHECK(!running_); }

bool Loop::discard() {
  CHECK(!running_);
  if (timers_.empty() && hooks_.empty() && queue_.empty() && shared_.empty()) return false;
  // What jobs own may cancel timers or post as it goes: the containers must be sound by then.
  queue_head_ = 0;
  const auto timers = std::exchange(timers_, {});
  timer_dues_.clear();
  const auto hooks = std::exchange(hooks_, {});
  const auto queue = std::exchange(queue_, {});
  const auto shared = std::exchange(shared_, {});
  return true;
}

void Loop::start() {
  CHECK(!running_);
  running_ = true;
  thread_ = std::thread([this] {
    ::pthread_setname_np(::pthread_self(), name_.substr(0, 15).c_str());
    if (background_) yield_to_others();
    if (patience_) patience_->begin(clock_.now());
    current_loop = this;
    try {
      run();
    } catch (const std::exception& exception) {
      die(name_, exception.what());
    } catch (...) {
      die(name_, "of unknown type");
    }
  });
}

void Loop::stop() {
  CHECK(!is_current());
  if (!running_) return;
  bool in_reactor = false;
  {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
    in_reactor = in_reactor_;
  }
  wake(in_reactor);
  thread_.join();
  running_ = false;
}

bool Loop::is_current() const { return current_loop == this; }

void Loop::post(LoopLane* lane, base::Job job) {
  if (is_current()) {
    queue_.push_back({lane, std::move(job)});
    jobs_queued_++;
    return;
  }
  bool was_asleep = false, in_reactor = false;
  {
    const std::scoped_lock lock(mutex_);
    others_posted_ |= current_loop == nullptr || current_loop->host_ != this;
    shared_.push_back({lane, std::move(job)});
    has_shared_.store(true, std::memory_order_release);
    was_asleep = sleeping_.exchange(false);
    in_reactor = in_reactor_;
  }
  if (was_asleep) wake(in_reactor);
}

void Loop::rouse() {
  if (!sleeping_.load(std::memory_order_relaxed) || one_core()) return;
  if (current_loop != nullptr && current_loop->stood_in_for_ == this &&
      current_loop->standing_in_.would_take()) {
    return;  // it will be stood in for
  }
  bool in_reactor = false;
  {
    const std::scoped_lock lock(mutex_);
    if (!sleeping_.exchange(false)) return;
    roused_ = true;
    in_reactor = in_reactor_;
  }
  wake(in_reactor);
}

void Loop::wake(bool in_reactor) {
  if (in_reactor) {
    boost::asio::post(*io_, [] {});
  } else {
    woken_.notify_one();
  }
}

void Loop::at_turn_end(LoopLane* lane, base::Job job) {
  hooks_.push_back({lane, std::move(job), jobs_queued_});
}

TimerId Loop::at(LoopLane* lane, base::TimePoint due, base::Job job) {
  const TimerId timer = ++last_timer_;
  timers_.emplace(std::pair(due, timer), Queued{lane, std::move(job)});
  timer_dues_.emplace(timer, due);
  return timer;
}

void Loop::cancel(TimerId timer) {
  const auto due = timer_dues_.find(timer);
  if (due == timer_dues_.end()) return;
  const auto it = timers_.find(std::pair(due->second, timer));
  const base::Job job =
      std::move(it->second.job);  // destroyed last: it may own what cancels others
  timers_.erase(it);
  timer_dues_.erase(due);
}

void Loop::run() {
  for (;;) {
    poll_io();
    run_timers();
    take_shared();
    run_jobs();
    run_hooks();
    stand_in();
    const std::scoped_lock lock(mutex_);
    if (stopping_) return;
  }
}

void Loop::poll_io() {
  const bool came = std::exchange(expects_soon_, false) && came_while_awake();
  if (!watches_) {
    if (came) return;
    if (const auto wait = until_next_timer(); wait > base::Duration::zero()) sleep(wait);
    let_crowd_gather();
    return;
  }
  if (!came) let_crowd_gather();
  std::size_t handled = 0;
  if (const auto wait = until_next_timer(); !came && wait > base::Duration::zero() && may_sleep()) {
    handled = io_->run_one_for(wait);
    // Asio tells that no more is ready only by asking the kernel once more. Where events come one
    // at a time that is not worth a system call; what is left out comes with the next turn.
    const bool alone = handled == 1 && !crowd_watch_.saw_several();
    if (alone && ++lone_events_ % kLoneEventsPerPoll != 0) return note_events(handled);
  }
  while (handled < kIoPerTurn && io_->poll_one() > 0) handled++;
  note_events(handled);
}

void Loop::note_events(std::size_t handled) {
  crowd_watch_.saw(handled);
  crowd_.tell(crowd_watch_.is_there());
}

void Loop::let_crowd_gather() {
  if (crowd_.is_there() && !background_ && queue_head_ == queue_.size() && hooks_.empty()) yield_();
}

// Stays awake a moment for what is expected. Where that is in vain, because answers take longer or
// their lane has no core to run on, it is tried ever more rarely: then it costs next to nothing.
bool Loop::came_while_awake() {
  if (one_core() || queue_head_ < queue_.size() || !hooks_.empty()) return false;
  if (!staying_awake_.take()) return false;
  const auto end = clock_.now() + kAwakeMax;
  do {
    for (int looks = 0; looks < kLooksPerTime; looks++) {
      if (has_shared_.load(std::memory_order_acquire)) {
        staying_awake_.won();
        return true;
      }
      rest_a_moment();
    }
  } while (clock_.now() < end);
  staying_awake_.lost();
  return false;
}

// Where there is no descriptor to watch.
void Loop::sleep(base::Duration at_most) {
  if (queue_head_ < queue_.size() || !hooks_.empty()) return;
  std::unique_lock lock(mutex_);
  if (!shared_.empty() || stopping_) return;
  sleeping_ = true;
  in_reactor_ = false;
  wakes_at_ = clock_.now() + at_most;
  woken_.wait_for(lock, at_most, [this] { return (!sleeping_ && !is_lent_) || stopping_; });
  awaits_return_ = true;
  woken_.wait(lock, [this] { return !is_lent_; });
  awaits_return_ = false;
  sleeping_ = false;
  if (background_) burst_began_ = clock_.now();
}

// Where there is.
bool Loop::may_sleep() {
  if (queue_head_ < queue_.size() || !hooks_.empty()) return false;
  const std::scoped_lock lock(mutex_);
  const bool may = shared_.empty() && !stopping_;
  sleeping_ = in_reactor_ = may;
  return may;
}

base::Duration Loop::until_next_timer() const {
  if (timers_.empty()) return kSleepMax;
  return std::min(kSleepMax, timers_.begin()->first.first - clock_.now());
}

void Loop::take_shared() {
  std::vector<Queued> taken;
  {
    const std::scoped_lock lock(mutex_);
    sleeping_ = false;
    expects_soon_ |= std::exchange(roused_, false);
    has_shared_.store(false, std::memory_order_release);
    if (shared_.empty()) return;
    if (queue_.empty()) {  // keeps both buffers in use
      queue_.swap(shared_);
      jobs_queued_ += queue_.size();
      return;
    }
    taken.swap(shared_);
  }
  jobs_queued_ += taken.size();
  std::move(taken.begin(), taken.end(), std::back_inserter(queue_));
}

void Loop::run_timers() {
  if (timers_.empty()) return;
  const auto now = clock_.now();
  for (std::size_t left = timers_.size(); left > 0 && !timers_.empty(); left--) {
    const auto it = timers_.begin();
    const auto [due, timer] = it->first;
    if (due > now) return;
    Queued queued = std::move(it->second);
    timers_.erase(it);
    timer_dues_.erase(timer);
    execute(queued.lane, std::move(queued.job));
  }
}

// Those that are queued, and what they post here if it is soon done. Long work in slices posts one
// after the other: what comes from other threads must come in between.
void Loop::run_jobs() {
  const std::size_t queued = queue_.size() - queue_head_;
  const auto turn_end = clock_.now() + kTurnMax;
  for (std::size_t ran = 0; ran < kJobsPerTurn && queue_head_ < queue_.size(); ran++) {
    if (ran >= queued && clock_.now() > turn_end) break;
    auto [lane, job] = std::move(queue_[queue_head_++]);  // running it may move the queue
    execute(lane, std::move(job));
    jobs_run_++;
  }
  if (queue_head_ == queue_.size()) {
    queue_.clear();
    queue_head_ = 0;
  } else if (queue_head_ > queue_.size() / 2) {
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(queue_head_));
    queue_head_ = 0;
  }
}

void Loop::run_hooks() {
  if (hooks_.empty()) return;
  auto hooks = std::exchange(hooks_, {});
  for (auto& hook : hooks) {
    if (hook.after <= jobs_run_) {
      execute(hook.lane, std::move(hook.job));
    } else {
      hooks_.push_back(std::move(hook));
    }
  }
}

void Loop::execute(LoopLane* lane, base::Job job) {
  current_lane_ = lane;
  job();
  job = nullptr;  // what it owned goes in its lane too
  current_lane_ = nullptr;
  if (background_) let_others_run();
}

void Loop::let_others_run() {
  const auto now = clock_.now();
  if (now - burst_began_ < kBackgroundBurst) return;
  if (patience_) patience_->look(now);
  if (!gives_way()) yield_();
  burst_began_ = clock_.now();
}

void Loop::patiently(base::Function<void(Lane::Breathe&)> work, const OwnScheduling& scheduling) {
  std::optional<Patience> for_this;
  if (!patience_) {
    for_this.emplace(scheduling, Patience::kUnhurriedStarvedPercent).begin(clock_.now());
  }
  Patience& patience = patience_ ? *patience_ : *for_this;
  Lane::Breathe breathe = [this, &patience] { patience.look(clock_.now()); };
  work(breathe);
  if (for_this) for_this->end();
}

// On this thread, of another loop. False if it does not sleep, or not where it could be lent.
bool Loop::lend() {
  const std::scoped_lock lock(mutex_);
  if (!sleeping_ || in_reactor_ || background_ || stopping_) return false;
  sleeping_ = false;
  return is_lent_ = true;
}

// On the thread it was lent to.
void Loop::run_lent() {
  const Loop* const host = std::exchange(current_loop, this);
  host_ = host;
  take_shared();
  run_jobs();
  run_hooks();
  host_ = nullptr;
  current_loop = host;
}

void Loop::take_back() {
  bool wake = false;
  {
    const std::scoped_lock lock(mutex_);
    is_lent_ = false;
    // Its thread sleeps on if it has nothing to do, and nothing sooner than when it went to sleep.
    sleeping_ = shared_.empty() && queue_.empty() && hooks_.empty() &&
                (timers_.empty() || timers_.begin()->first.first >= wakes_at_);
    wake = !sleeping_ || awaits_return_;
  }
  if (wake) woken_.notify_one();
}

void Loop::stand_in_for(Loop& other) {
  if (stands_in_for_ != nullptr || &other == this || !standing_in_.take() || !other.lend()) return;
  stands_in_for_ = &other;
  stood_in_for_ = &other;
}

// Pays as long as nobody wants anything of this thread meanwhile, and the disk is quick.
void Loop::stand_in() {
  if (stands_in_for_ == nullptr) return;
  Loop& other = *std::exchange(stands_in_for_, nullptr);
  {
    const std::scoped_lock lock(mutex_);
    others_posted_ = false;
  }
  const auto before = clock_.now();
  other.run_lent();
  other.take_back();
  const bool was_quick = clock_.now() - before <= kStandInMax;
  const bool io_waited = watches_ && io_->poll_one() > 0;
  const std::scoped_lock lock(mutex_);
  was_quick && !io_waited && !others_posted_ ? standing_in_.won() : standing_in_.lost();
}

void LoopLane::post(base::Job job) { loop_.post(this, std::move(job)); }

void LoopLane::at_turn_end(base::Job job) {
  CHECK(is_mine());
  loop_.at_turn_end(this, std::move(job));
}

TimerId LoopLane::at(base::TimePoint due, base::Job job) {
  CHECK(is_mine());
  return loop_.at(this, due, std::move(job));
}

void LoopLane::cancel(TimerId timer) {
  CHECK(is_mine());
  loop_.cancel(timer);
}

void LoopLane::expect_soon() {
  if (is_current()) loop_.expect_soon();
}

void LoopLane::rouse() { loop_.rouse(); }

// All lanes of a runtime are of this kind.
void LoopLane::stand_in_for(Lane& other) {
  if (is_current()) loop_.stand_in_for(static_cast<LoopLane&>(other).loop_);
}

bool LoopLane::is_current() const { return loop_.is_current() && loop_.current_lane() == this; }

bool LoopLane::gives_way() const { return loop_.gives_way(); }
void LoopLane::patiently(base::Function<void(Breathe&)> work) { loop_.patiently(std::move(work)); }

bool LoopLane::is_mine() const { return is_current() || !loop_.is_running(); }

}  // namespace keelson::env::posix
