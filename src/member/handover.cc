#include "member/handover.h"

#include "env/log.h"
#include "member/peers.h"

namespace keelson::member {

void Handover::begin() {
  const raft::NodeId self = front_.identity().member_id;
  const std::string id = membership::id_text(self);
  if (front_.progress().leader != self) {
    env::log_info("skipped leadership transfer; local server is not leader",
                  {{"local-member-id", id}});
    return done_();
  }
  if (front_.view()->roster->voters() < 2) {
    env::log_info("skipped leadership transfer for single voting member cluster",
                  {{"local-member-id", id}});
    return done_();
  }
  const raft::NodeId to = successor();
  if (to == raft::kNone || !front_.transfer_leader(to)) {
    env::log_warn("leadership transfer failed",
                  {{"local-member-id", id}, {"error", "unhealthy cluster"}});
    return done_();
  }
  env::log_info("leadership transfer starting",
                {{"local-member-id", id}, {"transferee-member-id", membership::id_text(to)}});
  look(front_.lane().clock().now() + front_.config().request_timeout());
}

void Handover::look(base::TimePoint end) {
  const raft::NodeId leader = front_.progress().leader;
  const bool handed_on = leader != front_.identity().member_id && leader != raft::kNone;
  if (handed_on || front_.lane().clock().now() >= end) {
    env::log_info(handed_on ? "leadership transfer finished" : "leadership transfer timed out",
                  {{"current-leader-member-id", membership::id_text(leader)}});
    return done_();
  }
  timer_ = front_.lane().after(front_.config().tick / 10, [this, end] {
    timer_ = 0;
    look(end);
  });
}

raft::NodeId Handover::successor() const {
  raft::NodeId longest = raft::kNone;
  base::TimePoint since = base::TimePoint::max();
  for (const membership::Member& member : front_.view()->roster->members) {
    if (member.is_learner || member.id == front_.identity().member_id) continue;
    const auto active = front_.shared().peers->transport().active_since(member.id);
    if (!active || *active >= since) continue;
    since = *active;
    longest = member.id;
  }
  return longest;
}

}  // namespace keelson::member
