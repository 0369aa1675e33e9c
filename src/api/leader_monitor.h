// LeaderMonitor: ends the streams of one lane that ask for a leader (metadata hasleader) once this
// member has gone without one for too long. api.md 7.4.
//
// It looks once per election timeout, while anybody is enrolled; after three looks in a row without
// a leader all who are enrolled are told, once, and are no longer.
//
// Touched by its lane only.
#pragma once

#include <cstdint>

#include "base/containers.h"
#include "base/function.h"
#include "http/grpc.h"
#include "member/front.h"

namespace keelson::api {

class LeaderMonitor {
 public:
  explicit LeaderMonitor(member::Front& front) : front_(front) {}
  ~LeaderMonitor() { front_.lane().cancel(timer_); }
  LeaderMonitor(const LeaderMonitor&) = delete;
  LeaderMonitor& operator=(const LeaderMonitor&) = delete;

  // Membership of one stream; leaving is its end.
  class Enrolment {
   public:
    // `lost` runs as a job of the lane. Nothing happens for a call that does not ask for a leader.
    Enrolment(LeaderMonitor& monitor, const http::Call& call, base::Function<void()> lost);
    ~Enrolment();
    Enrolment(const Enrolment&) = delete;
    Enrolment& operator=(const Enrolment&) = delete;

   private:
    LeaderMonitor& monitor_;
    std::uint64_t number_ = 0;  // 0: not enrolled
  };

 private:
  static constexpr int kLooksMax = 3;

  void schedule();
  void look();

  member::Front& front_;
  std::uint64_t last_number_ = 0;
  base::OrderedMap<std::uint64_t, base::Function<void()>> enrolled_;
  int looks_without_leader_ = 0;
  env::TimerId timer_ = 0;
};

}  // namespace keelson::api
