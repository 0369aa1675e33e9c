#include "api/alarm_text.h"

#include <fmt/format.h>

namespace keelson::api {

bool is_known(apply::AlarmType type) {
  using enum apply::AlarmType;
  return type == kNone || type == kNoSpace || type == kCorrupt;
}

std::string alarm_type_text(apply::AlarmType type) {
  switch (type) {
    case apply::AlarmType::kNone:
      return "NONE";
    case apply::AlarmType::kNoSpace:
      return "NOSPACE";
    case apply::AlarmType::kCorrupt:
      return "CORRUPT";
  }
  return std::to_string(static_cast<std::int32_t>(type));
}

// As protobuf's text form, which leaves out what is zero.
std::string alarm_text(const apply::AlarmMember& alarm) {
  std::string out;
  if (alarm.member_id != 0) out = fmt::format("memberID:{} ", alarm.member_id);
  return out + "alarm:" + alarm_type_text(alarm.type);
}

}  // namespace keelson::api
