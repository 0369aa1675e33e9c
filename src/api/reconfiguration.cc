#include "api/reconfiguration.h"

#include "member/peers.h"

namespace keelson::api {
namespace {

// A connection that broke a moment ago may break again.
constexpr base::Duration kHealthyAfter = base::Seconds(5);
constexpr base::Duration kAppliedPatience = base::Seconds(1);

std::size_t quorum(std::size_t voters) { return voters / 2 + 1; }

// Voters, this member among them, that have been connected for a while.
std::size_t connected_voters(member::Front& front) {
  const auto now = front.lane().clock().now();
  std::size_t connected = 0;
  for (const membership::Member& member : front.view()->roster->members) {
    if (member.is_learner) continue;
    if (member.id == front.identity().member_id) {
      connected++;
      continue;
    }
    const auto since = front.shared().peers->transport().active_since(member.id);
    if (since && now - *since >= kHealthyAfter) connected++;
  }
  return connected;
}

}  // namespace

std::optional<RequestErrc> may_add(member::Front& front, bool learner) {
  if (!front.config().strict_reconfig_check) return std::nullopt;
  const membership::Roster& roster = *front.view()->roster;
  if (!learner && !roster.may_add_voter()) return RequestErrc::kNotEnoughStarted;
  // Whoever is added is down at first.
  const std::size_t voters = roster.voters();
  if (voters > 1 && connected_voters(front) < quorum(voters + 1)) return RequestErrc::kUnhealthy;
  return std::nullopt;
}

std::optional<RequestErrc> may_remove(member::Front& front, membership::MemberId id) {
  if (!front.config().strict_reconfig_check) return std::nullopt;
  const membership::Roster& roster = *front.view()->roster;
  const membership::Member* member = roster.find(id);
  if (member != nullptr && member->is_learner) return std::nullopt;
  if (!roster.may_remove_voter(id)) return RequestErrc::kNotEnoughStarted;
  // One that is down is no part of the quorum that is there.
  const bool is_self = id == front.identity().member_id;
  if (!is_self && !front.shared().peers->transport().active_since(id)) return std::nullopt;
  if (connected_voters(front) < 2 + (roster.voters() - 1) / 2) return RequestErrc::kUnhealthy;
  return std::nullopt;
}

std::optional<RequestErrc> may_promote(member::Front& front, membership::MemberId id) {
  if (!front.config().strict_reconfig_check || front.view()->roster->may_promote(id)) {
    return std::nullopt;
  }
  return RequestErrc::kNotEnoughStarted;
}

Promotion::Promotion(member::Front& front, membership::MemberId id,
                     base::Function<void(Outcome)> done)
    : front_(front), id_(id), done_(std::move(done)), waiting_(front) {
  const raft::Index committed = front.progress().committed.load(std::memory_order_acquire);
  waiting_ =
      front.when([committed](const member::View& view) { return view.applied_index >= committed; },
                 kAppliedPatience,
                 [this](auto view) {
                   waiting_ = 0;
                   if (!view) return done_({status_of(view.error())});
                   ask_progress();
                 });
}

void Promotion::ask_progress() {
  waiting_ =
      front_.ask_progress(id_, [this](base::Result<member::ProgressAnswer, member::Errc> got) {
        waiting_ = 0;
        if (!got) return done_({status_of(got.error())});
        judge(*got);
      });
}

void Promotion::judge(const member::ProgressAnswer& progress) {
  if (!progress.leads) return done_({status_of(member::Errc::kNotLeader), true});
  if (!progress.known) return done_({status_of(RequestErrc::kMemberNotFound)});
  if (10 * progress.match < 9 * progress.own_match) {
    return done_({status_of(RequestErrc::kLearnerNotReady)});
  }
  if (const auto refused = may_promote(front_, id_)) return done_({status_of(*refused)});
  membership::ConfigChangeContext context{.member = {.id = id_}, .is_promote = true};
  waiting_ = front_.propose_change({.type = raft::ConfChangeType::kAddNode,
                                    .node_id = id_,
                                    .context = membership::config_change_json(context)},
                                   [this](base::Result<member::Reply, member::Failure> reply) {
                                     waiting_ = 0;
                                     done_({reply ? http::Status{} : status_of(reply.error())});
                                   });
}

}  // namespace keelson::api
