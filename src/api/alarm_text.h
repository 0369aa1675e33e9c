// Alarms as people and probes read them. api.md 9.5, operations.md 3.2.
#pragma once

#include <string>

#include "apply/alarms.h"

namespace keelson::api {

// False for a type of a later release: alarms come from the log, whose enums are open.
bool is_known(apply::AlarmType type);
// "NOSPACE"; the number of a type not known.
std::string alarm_type_text(apply::AlarmType type);
// "memberID:8 alarm:NOSPACE", as in Status.
std::string alarm_text(const apply::AlarmMember& alarm);

}  // namespace keelson::api
