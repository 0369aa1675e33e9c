// Alarms as people and probes read them. api.md 9.5, operations.md 3.2.
#pragma once

#include <string>

#include "apply/alarms.h"

namespace keelson::api {

// "NOSPACE"; "UNKNOWN" for a type of a later release.
std::string_view alarm_name(apply::AlarmType type);
// "memberID:8 alarm:NOSPACE", as in Status.
std::string alarm_text(const apply::AlarmMember& alarm);

}  // namespace keelson::api
