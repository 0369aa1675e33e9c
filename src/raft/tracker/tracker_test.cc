// Progress and inflights: tables of their rules, and a walk of the window against a twin.
#include <gtest/gtest.h>

#include <deque>

#include "base/random.h"
#include "raft/describe.h"
#include "raft/tracker/inflights.h"
#include "raft/tracker/progress.h"

namespace keelson::raft {
namespace {

Progress progress(ProgressState state, Index match, Index next) {
  Progress p({.messages = 4, .bytes = 0});
  p.recent_active = true;
  p.match = match;
  p.next = next;
  p.state = state;
  return p;
}

TEST(Progress, RejectionsBringNextDown) {
  struct Row {
    const char* why;
    ProgressState state;
    Index match, next, rejected, hint;
    bool moved;
    Index next_after;
  };
  using enum ProgressState;
  const Row rows[] = {
      {"an old rejection of what is known to match", kReplicate, 5, 10, 5, 5, false, 10},
      {"a lost message: go on after match", kReplicate, 5, 10, 9, 9, true, 6},
      {"not the answer to the last probe", kProbe, 0, 10, 5, 5, false, 10},
      {"step back by one at least", kProbe, 0, 10, 9, 9, true, 9},
      {"the hint skips", kProbe, 0, 10, 9, 2, true, 3},
      {"never to or below match", kProbe, 4, 10, 9, 2, true, 5},
      {"a hint beyond anything", kProbe, 0, 10, 9, ~Index{0}, true, 1},
  };
  for (const Row& row : rows) {
    Progress p = progress(row.state, row.match, row.next);
    p.append_paused = row.state == kProbe;
    p.sent_commit = row.next - 1;
    EXPECT_EQ(p.maybe_decrease(row.rejected, row.hint), row.moved) << row.why;
    EXPECT_EQ(p.next, row.next_after) << row.why;
    EXPECT_LT(p.match, p.next) << row.why;
    if (row.moved) {
      EXPECT_FALSE(p.append_paused) << row.why;
      EXPECT_LT(p.sent_commit, p.next) << row.why;
    }
  }
}

TEST(Progress, AcceptedAppendsMoveMatchOnce) {
  Progress p = progress(ProgressState::kProbe, 3, 5);
  EXPECT_FALSE(p.maybe_update(3)) << "known";
  EXPECT_TRUE(p.maybe_update(4));
  EXPECT_EQ(describe(p), "StateProbe match=4 next=5");
  EXPECT_TRUE(p.maybe_update(9)) << "more than was sent, by a snapshot";
  EXPECT_EQ(describe(p), "StateProbe match=9 next=10");
}

TEST(Progress, ProbeSendsOneMessage) {
  Progress p = progress(ProgressState::kProbe, 0, 1);
  p.sent_entries(0, 0);
  EXPECT_FALSE(p.paused()) << "an empty probe does not wait";
  p.sent_entries(3, 30);
  EXPECT_EQ(describe(p), "StateProbe match=0 next=1 paused");
}

TEST(Progress, ReplicateStreamsUntilItIsFull) {
  Progress p = progress(ProgressState::kProbe, 0, 1);
  p.become_replicate();
  for (int i = 0; i < 3; i++) p.sent_entries(2, 20);
  EXPECT_EQ(describe(p), "StateReplicate match=0 next=7 inflight=3");
  p.sent_entries(1, 10);
  EXPECT_EQ(describe(p), "StateReplicate match=0 next=8 paused inflight=4[full]");
  EXPECT_TRUE(p.maybe_update(4));
  p.inflights.free_up_to(4);
  EXPECT_EQ(describe(p), "StateReplicate match=4 next=8 inflight=2");
}

TEST(Progress, SnapshotWaitsAndIsProbedBehind) {
  Progress p = progress(ProgressState::kReplicate, 3, 9);
  p.sent_entries(2, 0);
  p.become_snapshot(20);
  EXPECT_EQ(describe(p), "StateSnapshot match=3 next=21 paused pendingSnap=20");
  Progress failed = p;
  p.become_probe();
  EXPECT_EQ(describe(p), "StateProbe match=3 next=21") << "it has probably arrived";
  failed.pending_snapshot = 0;
  failed.become_probe();
  EXPECT_EQ(describe(failed), "StateProbe match=3 next=4") << "it has not";
}

TEST(Progress, CommitIsWorthSendingIfItCanBeUsed) {
  Progress p = progress(ProgressState::kReplicate, 5, 8);
  p.sent_commit = 5;
  EXPECT_TRUE(p.can_bump_commit(6));
  EXPECT_FALSE(p.can_bump_commit(5)) << "it knows";
  p.sent_commit = 7;
  EXPECT_FALSE(p.can_bump_commit(9)) << "it has no entry to commit that it was not told of";
}

TEST(Inflights, BytesAreASoftLimit) {
  Inflights inflights({.messages = 10, .bytes = 100});
  inflights.add(1, 60);
  EXPECT_FALSE(inflights.full());
  inflights.add(2, 60);
  EXPECT_TRUE(inflights.full());
  inflights.free_up_to(1);
  EXPECT_FALSE(inflights.full());
  EXPECT_EQ(inflights.bytes(), 60u);
  inflights.reset();
  EXPECT_EQ(inflights.bytes(), 0u);
}

TEST(InflightsDeathTest, FullMeansFull) {
  Inflights inflights({.messages = 1, .bytes = 0});
  inflights.add(1, 0);
  EXPECT_DEATH(inflights.add(2, 0), "full inflights");
}

TEST(Inflights, RandomWindowAgreesWithTheTwin) {
  base::Random random(1);
  Inflights inflights({.messages = 16, .bytes = 500});
  std::deque<std::pair<Index, std::uint64_t>> twin;
  Index last = 0, freed = 0;
  for (int i = 0; i < 20'000; i++) {
    if (!inflights.full() && !random.one_in(3)) {
      last += random.below(3);
      twin.emplace_back(last, random.below(90));
      inflights.add(twin.back().first, twin.back().second);
    } else {
      freed = std::min(last, freed + random.below(6));
      inflights.free_up_to(freed);
      std::erase_if(twin, [freed](const auto& sent) { return sent.first <= freed; });
    }
    std::uint64_t bytes = 0;
    for (const auto& sent : twin) bytes += sent.second;
    ASSERT_EQ(inflights.count(), twin.size());
    ASSERT_EQ(inflights.bytes(), bytes);
    ASSERT_EQ(inflights.full(), twin.size() == 16 || bytes >= 500);
  }
}

}  // namespace
}  // namespace keelson::raft
