// Reconfiguration: which changes of the members are let through, and how a learner is promoted.
// api.md 9.1, 9.2.
#pragma once

#include <optional>
#include <vector>

#include "api/context.h"
#include "membership/member.h"

namespace keelson::api {

// Strict reconfiguration (--strict-reconfig-check), as of the newest View and of the connections to
// the others: kNotEnoughStarted, kUnhealthy, or nothing.
std::optional<RequestErrc> may_add(member::Front& front, bool learner);
std::optional<RequestErrc> may_remove(member::Front& front, membership::MemberId id);
std::optional<RequestErrc> may_promote(member::Front& front, membership::MemberId id);

// Makes a learner a voter, if this member leads: waits until what is committed is applied, asks how
// far the learner is, and proposes. On the front's lane; destroyed: nobody is told.
class Promotion {
 public:
  // How it ended. kOk: it votes. not_leader: another member is to be asked.
  struct Outcome {
    http::Status status;
    bool not_leader = false;
  };
  Promotion(member::Front& front, membership::MemberId id, base::Function<void(Outcome)> done);

 private:
  void ask_progress();
  void judge(const member::ProgressAnswer& progress);

  member::Front& front_;
  const membership::MemberId id_;
  base::Function<void(Outcome)> done_;
  Waiting waiting_;
};

}  // namespace keelson::api
