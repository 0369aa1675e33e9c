// Handover: a leader that is to stop lets another member lead first, so that nobody has to wait for
// an election. Only as long as a request may take; what it promised is kept without it.
//
// In jobs of io[0].
#pragma once

#include "base/function.h"
#include "member/front.h"

namespace keelson::member {

class Handover {
 public:
  // `done` is called within begin() if there is nothing to hand on, or nobody to take it.
  Handover(Front& front, base::Job done) : front_(front), done_(std::move(done)) {}
  ~Handover() { front_.lane().cancel(timer_); }
  Handover(const Handover&) = delete;
  Handover& operator=(const Handover&) = delete;

  void begin();

 private:
  // The voter that has been connected for the longest; kNone: there is none.
  raft::NodeId successor() const;
  void look(base::TimePoint end);

  Front& front_;
  base::Job done_;
  env::TimerId timer_ = 0;
};

}  // namespace keelson::member
