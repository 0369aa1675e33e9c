#include "api/alarm_text.h"

#include <fmt/format.h>

namespace keelson::api {

std::string_view alarm_name(apply::AlarmType type) {
  switch (type) {
    case apply::AlarmType::kNone:
      return "NONE";
    case apply::AlarmType::kNoSpace:
      return "NOSPACE";
    case apply::AlarmType::kCorrupt:
      return "CORRUPT";
  }
  return "UNKNOWN";  // alarms come from the log, whose enums are open
}

// As protobuf's text form, which leaves out what is zero.
std::string alarm_text(const apply::AlarmMember& alarm) {
  std::string out;
  if (alarm.member_id != 0) out = fmt::format("memberID:{} ", alarm.member_id);
  const auto number = static_cast<std::int32_t>(alarm.type);
  const bool named = number >= 0 && number <= 2;
  return out + "alarm:" + (named ? std::string(alarm_name(alarm.type)) : std::to_string(number));
}

}  // namespace keelson::api
