// Durations as Go writes and reads them: in flags, logs and answers ("300ms", "1h30m").
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"

namespace keelson::base {

// time.ParseDuration; a bare number other than 0 is none. The error is Go's text.
Result<Duration, std::string> parse_duration(std::string_view text);
// Duration.String: "1m0s", "1.5s", "250µs".
std::string duration_text(Duration duration);

}  // namespace keelson::base
