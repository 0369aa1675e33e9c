// AlarmSet: the alarms of all members, persistent and cluster-wide until disarmed. api.md 7.6-7.8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/storage.h"

namespace keelson::apply {

enum class AlarmType : std::int32_t { kNone = 0, kNoSpace = 1, kCorrupt = 2 };

struct AlarmMember {
  std::uint64_t member_id = 0;
  AlarmType type = AlarmType::kNone;
  friend auto operator<=>(const AlarmMember&, const AlarmMember&) = default;
};

class AlarmSet {
 public:
  // One key of the alarm bucket; false if it is no alarm.
  [[nodiscard]] bool recover(std::string_view key);
  // Idempotent; persisted in `batch` when it is new.
  void activate(base::Batch& batch, AlarmMember alarm);
  // False if it was not set.
  bool deactivate(base::Batch& batch, AlarmMember alarm);
  bool active(AlarmType type) const;
  // Sorted by member, then type.
  const std::vector<AlarmMember>& all() const { return alarms_; }

 private:
  std::vector<AlarmMember> alarms_;
};

// Canonical proto3 AlarmMember: the key in the bucket. formats.md 4.3.
std::string encode_alarm(AlarmMember alarm);

}  // namespace keelson::apply
