#include "api/quota.h"

#include <algorithm>

#include "api/proposing.h"

namespace keelson::api {
bool within_quota(Context& context, std::uint64_t cost) {
  const std::int64_t quota = context.front.config().effective_quota();
  const auto& view = *context.front.view();
  if (cost == 0 || quota < 0) return true;
  if (view.space.live_bytes + cost < static_cast<std::uint64_t>(quota)) return true;
  const apply::AlarmMember alarm{.member_id = context.front.identity().member_id,
                                 .type = apply::AlarmType::kNoSpace};
  if (std::find(view.alarms->begin(), view.alarms->end(), alarm) == view.alarms->end()) {
    etcdserverpb::AlarmRequest request;
    request.set_action(etcdserverpb::AlarmRequest::ACTIVATE);
    request.set_memberid(alarm.member_id);
    request.set_alarm(etcdserverpb::NOSPACE);
    context.front.propose(kAlarmField, request.SerializeAsString(), [](auto) {});
  }
  return false;
}

}  // namespace keelson::api
