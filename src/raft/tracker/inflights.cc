#include "raft/tracker/inflights.h"

#include "base/check.h"

namespace keelson::raft {

void Inflights::add(Index last, std::uint64_t bytes) {
  CHECK_MSG(!full(), "cannot add into a full inflights");
  CHECK(window_.empty() || window_.back().last <= last);
  window_.push_back({last, bytes});
  bytes_ += bytes;
}

void Inflights::free_up_to(Index index) {
  while (!window_.empty() && window_.front().last <= index) {
    bytes_ -= window_.front().bytes;
    window_.pop_front();
  }
}

void Inflights::reset() {
  window_.clear();
  bytes_ = 0;
}

}  // namespace keelson::raft
