#include "member/compactor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace keelson::member {
namespace {

using testing::ElementsAre;
using namespace std::chrono_literals;
using Compacted = std::pair<base::Seconds, std::int64_t>;

// Runs a plan for `looks` looks; the newest revision is that of `revision_at`. When and to what it
// compacts.
template <class RevisionAt>
std::vector<Compacted> run(const AutoCompaction& config, int looks, RevisionAt revision_at,
                           bool succeeds = true) {
  const base::TimePoint start{};
  CompactionPlan plan(config, start);
  std::vector<Compacted> done;
  plan.sample(revision_at(0s));
  for (int i = 1; i <= looks; i++) {
    const base::TimePoint now = start + i * plan.interval();
    const auto since = std::chrono::duration_cast<base::Seconds>(now - start);
    if (const auto revision = plan.due(now, revision_at(since))) {
      done.emplace_back(since, *revision);
      if (succeeds) plan.succeeded(*revision, now);
    }
    plan.sample(revision_at(since));
  }
  return done;
}

std::int64_t one_a_second(base::Seconds since) { return since.count() + 1; }

// Nothing for the first ten minutes; then, every ten, what is older than ten minutes and a look:
// the newest sample is as old as one when the next look comes.
TEST(CompactionPlan, APeriodBelowAnHour) {
  const AutoCompaction config{.mode = AutoCompaction::Mode::kPeriodic, .period = 600s};
  EXPECT_EQ(CompactionPlan(config, {}).interval(), 60s);
  EXPECT_THAT(run(config, 31, one_a_second),
              ElementsAre(Compacted{600s, 1}, Compacted{1200s, 541}, Compacted{1800s, 1141}));
}

// Nothing for the first three hours; then every hour what is older than three.
TEST(CompactionPlan, APeriodAboveAnHour) {
  const AutoCompaction config{.mode = AutoCompaction::Mode::kPeriodic, .period = 3h};
  EXPECT_EQ(CompactionPlan(config, {}).interval(), 360s);
  EXPECT_THAT(run(config, 51, one_a_second),
              ElementsAre(Compacted{3h, 1}, Compacted{4h, 3241}, Compacted{5h, 6841}));
}

TEST(CompactionPlan, WhereNothingWasWrittenNothingIsCompactedTwice) {
  const AutoCompaction config{.mode = AutoCompaction::Mode::kPeriodic, .period = 600s};
  EXPECT_THAT(run(config, 60, [](base::Seconds) { return 7; }), ElementsAre(Compacted{600s, 7}));
}

TEST(CompactionPlan, AFailureIsTriedAgainAtTheNextLook) {
  const AutoCompaction config{.mode = AutoCompaction::Mode::kPeriodic, .period = 600s};
  EXPECT_THAT(run(config, 12, one_a_second, /*succeeds=*/false),
              ElementsAre(Compacted{600s, 1}, Compacted{660s, 1}, Compacted{720s, 61}));
}

TEST(CompactionPlan, ByRevision) {
  const AutoCompaction config{.mode = AutoCompaction::Mode::kRevision, .revisions = 1000};
  EXPECT_EQ(CompactionPlan(config, {}).interval(), 300s);
  EXPECT_THAT(
      run(config, 6,
          [](base::Seconds since) { return std::min(one_a_second(since), std::int64_t{1501}); }),
      ElementsAre(Compacted{1200s, 201}, Compacted{1500s, 501}));
}

}  // namespace
}  // namespace keelson::member
