// Auto compaction: forgets the past by itself, as --auto-compaction-mode says. operations.md 7.3.
//
//   periodic, P   what is older than P goes; looked at ten times in P (or in an hour, if P is
//   longer) revision, N   all but the newest N revisions go; looked at every five minutes
//
// Only the leader compacts; the others go on sampling, so that whoever leads next knows the
// revision of P ago. A member that has just started knows nothing older than itself: nothing goes
// for the first P.
//
// CompactionPlan is the rule alone, told of time and revisions. Compactor runs it: jobs of one io
// lane.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

#include "base/time.h"
#include "member/config.h"
#include "member/front.h"

namespace keelson::member {

class CompactionPlan {
 public:
  // `now` is the start of this member.
  CompactionPlan(const AutoCompaction& config, base::TimePoint now);

  // Between two looks.
  base::Duration interval() const;
  // A sample of the newest revision: once at the start, then after each look.
  void sample(std::int64_t revision);
  // A look: the revision to compact to, if it is time. `newest`: the newest revision.
  std::optional<std::int64_t> due(base::TimePoint now, std::int64_t newest);
  // What became of it. One that did not succeed is due again at the next look.
  void succeeded(std::int64_t revision, base::TimePoint now);

 private:
  base::Duration every() const { return std::min<base::Duration>(config_.period, kHour); }

  static constexpr base::Duration kHour = base::Seconds(3600);
  const AutoCompaction config_;
  std::deque<std::int64_t> samples_;  // periodic: over the last P, oldest first
  std::int64_t last_ = 0;             // compacted to
  base::TimePoint last_at_;           // periodic: the last success, or the start
  base::Duration wait_;               // periodic: from there until the next; P at first
};

class Compactor {
 public:
  explicit Compactor(Front& front) : front_(front) {}
  Compactor(const Compactor&) = delete;
  Compactor& operator=(const Compactor&) = delete;

  // Does nothing if auto compaction is off.
  void start();
  void stop();

 private:
  void look();
  void compact(std::int64_t revision);
  void look_again();
  std::int64_t newest() { return front_.view()->keys.revision; }

  Front& front_;
  std::optional<CompactionPlan> plan_;
  Ticket ticket_ = 0;
  env::TimerId timer_ = 0;
  bool stopped_ = false;
};

}  // namespace keelson::member
