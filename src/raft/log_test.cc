// The log: tables of its rules, and a walk against a twin that is one plain vector.
#include "raft/log.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "raft/wire.h"

namespace keelson::raft {
namespace {

Entry entry(Term term, Index index, std::size_t bytes = 0) {
  return {.term = term, .index = index, .data = base::SharedBytes(std::string(bytes, 'x'))};
}

// Entries of these terms from index 1.
std::vector<Entry> of_terms(const std::vector<Term>& terms, Index first = 1) {
  std::vector<Entry> entries;
  for (const Term term : terms) entries.push_back(entry(term, first + entries.size()));
  return entries;
}

std::vector<Term> terms_of(const Log& log) {
  std::vector<Term> terms;
  for (Index i = log.first_index(); i <= log.last_index(); i++) terms.push_back(*log.term(i));
  return terms;
}

// The first `stable` of these entries are in storage, the others are not durable yet.
struct Fixture {
  Fixture(const std::vector<Term>& terms, std::size_t stable) {
    const auto entries = of_terms(terms);
    storage.append(std::span(entries).first(stable));
    log.emplace(storage, Log::Options{});
    log->append({entries.begin() + static_cast<std::ptrdiff_t>(stable), entries.end()});
  }
  MemoryStorage storage;
  std::optional<Log> log;
};

TEST(Log, FollowerAppends) {
  struct Row {
    const char* why;
    EntryId previous;
    std::vector<Term> terms;
    Index leader_commit;
    std::optional<Index> last_new;
    std::vector<Term> after;
    Index commit;
  };
  // The log is 1 2 3 (terms) with the first committed.
  const Row rows[] = {
      {"another term before", {.term = 2, .index = 3}, {4}, 3, std::nullopt, {1, 2, 3}, 1},
      {"a gap", {.term = 3, .index = 4}, {4}, 3, std::nullopt, {1, 2, 3}, 1},
      {"the end, as a heartbeat does", {.term = 3, .index = 3}, {}, 3, 3, {1, 2, 3}, 3},
      {"commit beyond what is known to agree", {.term = 1, .index = 1}, {}, 3, 1, {1, 2, 3}, 1},
      {"commit never goes back", {.term = 3, .index = 3}, {}, 0, 3, {1, 2, 3}, 1},
      {"new entries", {.term = 3, .index = 3}, {4, 4}, 4, 5, {1, 2, 3, 4, 4}, 4},
      {"known entries change nothing", {.term = 1, .index = 1}, {2}, 2, 2, {1, 2, 3}, 2},
      {"a conflict cuts the rest", {.term = 1, .index = 1}, {5}, 9, 2, {1, 5}, 2},
      {"known, then conflict", {.term = 1, .index = 1}, {2, 5, 5}, 1, 4, {1, 2, 5, 5}, 1},
      {"from the very start", {}, {1, 2, 3, 3}, 1, 4, {1, 2, 3, 3}, 1},
  };
  for (const Row& row : rows) {
    for (const std::size_t stable : {0, 1, 2, 3}) {
      SCOPED_TRACE(fmt::format("{}, {} stable", row.why, stable));
      Fixture at({1, 2, 3}, stable);
      at.log->commit_to(1);
      const auto last = at.log->maybe_append(
          row.previous, of_terms(row.terms, row.previous.index + 1), row.leader_commit);
      EXPECT_EQ(last, row.last_new);
      EXPECT_EQ(terms_of(*at.log), row.after);
      EXPECT_EQ(at.log->committed(), row.commit);
    }
  }
}

TEST(LogDeathTest, NeverLosesWhatIsCommitted) {
  Fixture at({1, 2, 3}, 3);
  at.log->commit_to(2);
  EXPECT_DEATH(at.log->maybe_append({.term = 1, .index = 1}, of_terms({4}, 2), 2),
               "conflict with committed entry");
  EXPECT_DEATH(at.log->commit_to(4), "corrupted, truncated, or lost");
  EXPECT_DEATH(at.log->applied_to(3, 0), "out of range");
}

TEST(Log, TermsAtTheEdges) {
  Fixture at({1, 1, 2, 2, 3}, 4);
  ASSERT_TRUE(at.storage.compact(2).ok());
  EXPECT_EQ(at.log->term(1).error(), Errc::kCompacted);
  EXPECT_EQ(*at.log->term(2), 1u) << "the entry is gone, its term is known";
  EXPECT_EQ(*at.log->term(5), 3u);
  EXPECT_EQ(at.log->term(6).error(), Errc::kUnavailable);
  EXPECT_EQ(at.log->slice(2, 4, kNoLimit).error(), Errc::kCompacted);
  EXPECT_EQ(at.log->term_or_zero(9), 0u);
}

TEST(Log, UpToDateIsByTermThenByLength) {
  Fixture at({1, 2, 2}, 3);
  EXPECT_TRUE(at.log->is_up_to_date({.term = 3, .index = 1})) << "a later term, however short";
  EXPECT_TRUE(at.log->is_up_to_date({.term = 2, .index = 3}));
  EXPECT_FALSE(at.log->is_up_to_date({.term = 2, .index = 2}));
  EXPECT_FALSE(at.log->is_up_to_date({.term = 1, .index = 9}));
}

TEST(Log, ConflictHintSkipsWholeTerms) {
  Fixture at({2, 2, 5, 5, 5}, 3);
  EXPECT_EQ(at.log->find_conflict_by_term(5, 5), (EntryId{.term = 5, .index = 5}));
  EXPECT_EQ(at.log->find_conflict_by_term(5, 4), (EntryId{.term = 2, .index = 2}));
  EXPECT_EQ(at.log->find_conflict_by_term(5, 1), (EntryId{.term = 0, .index = 0}));
  EXPECT_EQ(at.log->find_conflict_by_term(9, 4), (EntryId{.term = 0, .index = 9})) << "unknown";
}

TEST(Log, SlicesKeepTheLimitAcrossStorageAndUnstable) {
  Fixture at({1, 1, 1, 1, 1, 1}, 3);
  const std::uint64_t one = encoded_size(entry(1, 1));
  const auto count = [&at](Index lo, Index hi, std::uint64_t bytes) {
    return at.log->slice(lo, hi, bytes)->size();
  };
  EXPECT_EQ(count(1, 7, kNoLimit), 6u);
  EXPECT_EQ(count(1, 7, 0), 1u) << "the first comes whatever its size";
  EXPECT_EQ(count(1, 7, 2 * one), 2u) << "cut within storage: nothing of the rest";
  EXPECT_EQ(count(1, 7, 3 * one), 3u);
  EXPECT_EQ(count(1, 7, 5 * one), 5u);
  EXPECT_EQ(count(2, 7, 5 * one - 1), 4u);
  EXPECT_EQ(count(5, 7, one), 1u);
  EXPECT_EQ(count(4, 4, 0), 0u);
}

TEST(Log, ConfirmationsCountOnlyForWhatIsStillThere) {
  Fixture at({1, 1, 2}, 1);
  at.log->accept_unstable();
  at.log->stable_to({.term = 1, .index = 3});
  EXPECT_EQ(at.log->unstable().offset(), 2u) << "another term: overwritten since";
  at.log->stable_to({.term = 1, .index = 9});
  EXPECT_EQ(at.log->unstable().offset(), 2u) << "not there";
  at.log->stable_to({.term = 1, .index = 2});
  EXPECT_EQ(at.log->unstable().offset(), 3u);
  EXPECT_EQ(at.log->unstable().offset_in_progress(), 4u);
}

TEST(Log, WhatIsUnderWayIsHandedOutOnce) {
  Fixture at({1, 1}, 0);
  EXPECT_EQ(at.log->next_unstable().size(), 2u);
  at.log->accept_unstable();
  EXPECT_TRUE(at.log->next_unstable().empty());
  // The second is overwritten while it is being written: it is to be written again.
  ASSERT_TRUE(at.log->maybe_append({.term = 1, .index = 1}, of_terms({2, 2}, 2), 0));
  ASSERT_EQ(at.log->next_unstable().size(), 2u);
  EXPECT_EQ(at.log->next_unstable().front().index, 2u);
}

TEST(Log, OnlyDurableEntriesAreApplied) {
  Fixture at({1, 1, 1}, 2);
  at.log->commit_to(3);
  auto next = at.log->next_committed();
  ASSERT_EQ(next.size(), 2u);
  at.log->accept_applying(2, encoded_size(next));
  EXPECT_FALSE(at.log->has_next_committed());
  at.log->stable_to({.term = 1, .index = 3});
  at.storage.append(std::vector{entry(1, 3)});
  EXPECT_EQ(at.log->next_committed().size(), 1u) << "before the first are applied";
  at.log->applied_to(2, encoded_size(next));
  EXPECT_EQ(at.log->next_committed().front().index, 3u);
}

TEST(Log, SnapshotStandsInFrontOfItsEntries) {
  Fixture at({1, 1}, 2);
  at.log->restore({.data = {}, .metadata = {.conf_state = {}, .index = 10, .term = 4}});
  EXPECT_EQ(at.log->first_index(), 11u);
  EXPECT_EQ(at.log->last_id(), (EntryId{.term = 4, .index = 10}));
  at.log->append({entry(4, 11)});
  at.log->commit_to(11);
  EXPECT_FALSE(at.log->has_next_committed()) << "the snapshot must be durable first";
  EXPECT_NE(at.log->next_unstable_snapshot(), nullptr);
  at.log->accept_unstable();
  EXPECT_EQ(at.log->next_unstable_snapshot(), nullptr);
  at.log->stable_to({.term = 4, .index = 10});
  EXPECT_EQ(at.log->unstable().count(), 1u) << "names the snapshot, not an entry";
  ASSERT_TRUE(at.storage.apply_snapshot({.data = {}, .metadata = {.index = 10, .term = 4}}).ok());
  at.log->stable_snapshot_to(9);
  EXPECT_TRUE(at.log->has_unstable_snapshot()) << "an older one";
  at.log->stable_snapshot_to(10);
  at.log->applied_to(10, 0);
  EXPECT_FALSE(at.log->has_unstable_snapshot());
  at.storage.append(std::vector{entry(4, 11)});
  at.log->stable_to({.term = 4, .index = 11});
  EXPECT_EQ(at.log->next_committed().size(), 1u);
}

// A follower of one leader after another, its appends confirmed late and in order; the twin is one
// vector of terms. Every leader begins with some of what the follower has and from then on only
// appends.
class RandomFollower {
 public:
  explicit RandomFollower(std::uint64_t seed) : random_(seed), log_(storage_, {}) {}

  void step() {
    if (random_.one_in(6)) change_leader();
    for (auto left = random_.below(3); left > 0; left--) leader_.push_back(term_);
    append();
    if (random_.one_in(2) && !log_.next_unstable().empty()) hand_out();
    if (random_.one_in(2) && !writing_.empty()) confirm();
  }
  const Log& log() const { return log_; }
  const std::vector<Term>& twin() const { return twin_; }

 private:
  struct Writing {
    std::vector<Entry> entries;
    EntryId last;
    Term term = 0;
  };

  void change_leader() {
    term_++;
    const Index common = log_.committed() + random_.below(twin_.size() - log_.committed() + 1);
    leader_.assign(twin_.begin(), twin_.begin() + static_cast<std::ptrdiff_t>(common));
  }
  void append() {
    const auto differ = std::ranges::mismatch(twin_, leader_).in1 - twin_.begin();
    const Index lo = log_.committed();
    const Index previous = lo + random_.below(static_cast<Index>(differ) - lo + 1);
    const Index end = previous + random_.below(leader_.size() - previous + 1);
    std::vector<Entry> entries;
    for (Index i = previous; i < end; i++) entries.push_back(entry(leader_[i], i + 1));
    if (end > static_cast<Index>(differ)) {
      twin_.assign(leader_.begin(), leader_.begin() + static_cast<std::ptrdiff_t>(end));
    }
    const Term previous_term = previous == 0 ? 0 : leader_[previous - 1];
    EXPECT_EQ(log_.maybe_append({.term = previous_term, .index = previous}, std::move(entries),
                                random_.below(end + 1)),
              end);
  }
  void hand_out() {
    const auto fresh = log_.next_unstable();
    writing_.push_back({{fresh.begin(), fresh.end()}, log_.last_id(), term_});
    log_.accept_unstable();
  }
  void confirm() {
    const Writing done = std::move(writing_.front());
    writing_.erase(writing_.begin());
    storage_.append(done.entries);
    // One from an older term may name an entry that went and came back.
    if (done.term == term_) log_.stable_to(done.last);
  }

  base::Random random_;
  MemoryStorage storage_;
  Log log_;
  Term term_ = 1;
  std::vector<Term> leader_, twin_;
  std::vector<Writing> writing_;
};

TEST(Log, RandomAppendsAgreeWithTheTwin) {
  for (std::uint64_t seed = 0; seed < 300; seed++) {
    RandomFollower follower(seed);
    for (int step = 0; step < 80; step++) {
      follower.step();
      ASSERT_EQ(terms_of(follower.log()), follower.twin()) << "seed " << seed << " step " << step;
      ASSERT_LE(follower.log().committed(), follower.log().last_index());
    }
  }
}

// --- MemoryStorage

TEST(MemoryStorage, AppendReplacesAndSkips) {
  MemoryStorage storage;
  storage.append(of_terms({1, 1, 1}));
  storage.append(of_terms({2}, 2));
  EXPECT_EQ(storage.last_index(), 2u);
  EXPECT_EQ(*storage.term(2), 2u);
  ASSERT_TRUE(storage.compact(2).ok());
  storage.append(of_terms({1, 2, 3}, 1));
  EXPECT_EQ(storage.first_index(), 3u) << "what is compacted is skipped";
  EXPECT_EQ(*storage.term(3), 3u);
  storage.append(of_terms({1}, 1));
  EXPECT_EQ(storage.last_index(), 3u) << "all of it is compacted: nothing happens";
}

TEST(MemoryStorage, CountsWhatItHolds) {
  MemoryStorage storage;
  std::vector<Entry> entries;
  for (Index i = 1; i <= 10; i++) entries.push_back(entry(1, i, 100));
  storage.append(entries);
  EXPECT_EQ(storage.bytes_held(), encoded_size(entries));
  ASSERT_TRUE(storage.compact(9).ok());
  EXPECT_EQ(storage.bytes_held(), encoded_size(entries.back()));
  storage.append(of_terms({2}, 10));
  EXPECT_EQ(storage.bytes_held(), encoded_size(entry(2, 10)));
  EXPECT_EQ(storage.compact(9).error(), Errc::kCompacted);
}

TEST(MemoryStorage, SnapshotsOnlyGoForward) {
  MemoryStorage storage;
  const auto at = [](Index index) {
    return Snapshot{.data = {},
                    .metadata = {.conf_state = {.voters = {1}}, .index = index, .term = 1}};
  };
  EXPECT_TRUE(storage.apply_snapshot(at(0)).ok()) << "a configuration for an empty log";
  EXPECT_EQ(storage.initial_state().conf_state.voters, std::vector<NodeId>{1});
  EXPECT_TRUE(storage.apply_snapshot(at(4)).ok());
  EXPECT_EQ(storage.apply_snapshot(at(4)).error(), Errc::kSnapshotOutOfDate);
  EXPECT_EQ(storage.first_index(), 5u);
  storage.append(of_terms({1, 1, 1}, 5));
  EXPECT_TRUE(storage.create_snapshot(6, {.voters = {1, 2}}, {}).ok());
  EXPECT_EQ(storage.create_snapshot(5, {}, {}).error(), Errc::kSnapshotOutOfDate);
  EXPECT_EQ(storage.first_index(), 5u) << "making one drops nothing";
  EXPECT_EQ(storage.snapshot()->metadata.index, 6u);
  storage.append(of_terms({1, 1, 1}, 8));
  EXPECT_TRUE(storage.compact(9).ok());
  EXPECT_EQ(storage.create_snapshot(8, {.voters = {1}}, {}).error(), Errc::kCompacted)
      << "the log was compacted past it while it was being written";
  EXPECT_TRUE(storage.create_snapshot(9, {.voters = {1, 2}}, {}).ok()) << "its term is still known";
  storage.set_conf_state({.voters = {1, 2, 3}});
  EXPECT_EQ(storage.initial_state().conf_state.voters.size(), 3u);
}

}  // namespace
}  // namespace keelson::raft
