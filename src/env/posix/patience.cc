#include "env/posix/patience.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <thread>

#include "base/check.h"

namespace keelson::env::posix {
namespace {

bool set_idle(bool idle) {
  const sched_param none{};
  return ::sched_setscheduler(0, idle ? SCHED_IDLE : SCHED_OTHER, &none) == 0;
}

// Tried by a thread that is not needed again.
bool may_come_back() {
  bool may = false;
  std::thread([&may] { may = set_idle(true) && set_idle(false); }).join();
  return may;
}

// /proc/thread-self/schedstat: time on a core, time of waiting for one, number of runs.
std::optional<base::Duration> waited() {
  const int file = ::open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
  if (file < 0) return std::nullopt;
  char text[80] = {};
  const ssize_t got = ::read(file, text, sizeof text - 1);
  ::close(file);
  std::int64_t waited_ns = 0;
  if (got <= 0 || std::sscanf(text, "%*d %" SCNd64, &waited_ns) != 1) return std::nullopt;
  return std::chrono::nanoseconds(waited_ns);
}

}  // namespace

const OwnScheduling kOwnScheduling{
    .may_come_back = may_come_back, .set_idle = set_idle, .waited = waited};

void Patience::begin(base::TimePoint now) {
  may_ = scheduling_.waited().has_value() && scheduling_.may_come_back();
  if (may_) go(now);
}

void Patience::go(base::TimePoint now) {
  may_ = scheduling_.set_idle(true);
  is_idle_ = may_;
  begin_to_look(now);
}

void Patience::end() {
  if (gives_way()) MAYBE(scheduling_.set_idle(false));
  is_idle_ = may_ = false;
}

void Patience::begin_to_look(base::TimePoint now) {
  waited_ = scheduling_.waited().value_or(base::Duration(0));
  looked_ = now;
  next_look_ = now + kLook;
}

// Of the time since it looked last. What cannot be known is taken for all of it.
std::int64_t Patience::waited_percent(base::TimePoint now) const {
  const auto waited = scheduling_.waited();
  return waited ? (*waited - waited_) * 100 / (now - looked_) : 100;
}

void Patience::change(base::TimePoint now) {
  if (!gives_way()) return go(now);
  const std::int64_t percent = waited_percent(now);
  if (percent < starved_percent_) {
    away_ = kAwayMin;
    return begin_to_look(now);
  }
  next_look_ = now + away_;
  away_ = percent < kHopelessPercent ? kAwayMin : std::min(2 * away_, kAwayMax);
  is_idle_ = false;
  may_ = scheduling_.set_idle(false);
}

}  // namespace keelson::env::posix
