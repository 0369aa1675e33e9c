#include "apply/alarms.h"

#include <algorithm>

#include "base/varint.h"
#include "proto/rpc.pb.h"

namespace keelson::apply {

std::string encode_alarm(AlarmMember alarm) {
  std::string out;
  base::put_varint_field(out, 1, alarm.member_id);
  base::put_varint_field(out, 2, static_cast<std::uint64_t>(static_cast<std::int64_t>(alarm.type)));
  return out;
}

bool AlarmSet::recover(std::string_view key) {
  etcdserverpb::AlarmMember stored;
  if (!stored.ParseFromArray(key.data(), static_cast<int>(key.size()))) return false;
  const AlarmMember alarm{.member_id = stored.memberid(),
                          .type = static_cast<AlarmType>(stored.alarm())};
  alarms_.insert(std::lower_bound(alarms_.begin(), alarms_.end(), alarm), alarm);
  return true;
}

void AlarmSet::activate(base::Batch& batch, AlarmMember alarm) {
  const auto it = std::lower_bound(alarms_.begin(), alarms_.end(), alarm);
  if (it != alarms_.end() && *it == alarm) return;
  alarms_.insert(it, alarm);
  batch.put(base::Bucket::kAlarm, encode_alarm(alarm), "");
}

bool AlarmSet::deactivate(base::Batch& batch, AlarmMember alarm) {
  const auto it = std::lower_bound(alarms_.begin(), alarms_.end(), alarm);
  if (it == alarms_.end() || *it != alarm) return false;
  alarms_.erase(it);
  batch.erase(base::Bucket::kAlarm, encode_alarm(alarm));
  return true;
}

bool AlarmSet::active(AlarmType type) const {
  return std::any_of(alarms_.begin(), alarms_.end(),
                     [type](const AlarmMember& alarm) { return alarm.type == type; });
}

}  // namespace keelson::apply
