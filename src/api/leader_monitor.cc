#include "api/leader_monitor.h"

#include <utility>
#include <vector>

namespace keelson::api {

LeaderMonitor::Enrolment::Enrolment(LeaderMonitor& monitor, const http::Call& call,
                                    base::Function<void()> lost)
    : monitor_(monitor) {
  if (call.metadata("hasleader") != "true") return;
  number_ = ++monitor_.last_number_;
  monitor_.enrolled_.emplace(number_, std::move(lost));
  monitor_.schedule();
}

LeaderMonitor::Enrolment::~Enrolment() { monitor_.enrolled_.erase(number_); }

void LeaderMonitor::schedule() {
  if (timer_ != 0) return;
  timer_ = front_.lane().after(front_.config().election_timeout(), [this] {
    timer_ = 0;
    look();
  });
}

void LeaderMonitor::look() {
  const bool led = front_.progress().leader.load() != raft::kNone;
  looks_without_leader_ = led ? 0 : looks_without_leader_ + 1;
  if (looks_without_leader_ >= kLooksMax) {
    std::vector<std::uint64_t> numbers;
    for (const auto& [number, lost] : enrolled_) numbers.push_back(number);
    for (const std::uint64_t number : numbers) {
      const auto it = enrolled_.find(number);
      if (it == enrolled_.end()) continue;  // left when another was told
      auto lost = std::move(it->second);
      enrolled_.erase(it);
      lost();
    }
  }
  if (enrolled_.empty()) {
    looks_without_leader_ = 0;
  } else {
    schedule();
  }
}

}  // namespace keelson::api
