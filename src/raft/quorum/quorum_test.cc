// Quorums: scripts (raft.md 16.6), and twins that count subsets instead of sorting.
//
// With KEELSON_RAFT_SCRIPTS set to the scripts of etcd's raft, its quorum scripts beside them run
// too.
#include "raft/quorum/quorum.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "base/random.h"
#include "testing/script.h"

namespace keelson::raft {
namespace {

using testing::Directive;
using Acked = std::map<NodeId, Index>;
using Votes = std::map<NodeId, bool>;

template <class Value>
auto in(const std::map<NodeId, Value>& values) {
  return [&values](NodeId id) -> std::optional<Value> {
    const auto it = values.find(id);
    if (it == values.end()) return std::nullopt;
    return it->second;
  };
}

// --- twins

// The largest index that a majority has reached, by trying every index that somebody has.
Index slow_committed(const IdSet& voters, const Acked& acked) {
  if (voters.empty()) return kInfiniteIndex;
  Index best = 0;
  for (const auto& [unused, candidate] : acked) {
    std::size_t reached = 0;
    for (const NodeId id : voters) reached += acked.contains(id) && acked.at(id) >= candidate;
    if (2 * reached > voters.size()) best = std::max(best, candidate);
  }
  return best;
}

// Won if it is, whatever the missing ones say; lost likewise. Tries all that they could say.
VoteResult slow_vote(const IdSet& voters, const Votes& votes) {
  std::vector<NodeId> missing;
  for (const NodeId id : voters) {
    if (!votes.contains(id)) missing.push_back(id);
  }
  bool can_win = false, can_lose = false;
  for (std::uint32_t answers = 0; answers < 1u << missing.size(); answers++) {
    std::size_t yes = 0;
    for (const NodeId id : voters) yes += votes.contains(id) && votes.at(id);
    for (std::size_t i = 0; i < missing.size(); i++) yes += answers >> i & 1;
    (2 * yes > voters.size() || voters.empty() ? can_win : can_lose) = true;
  }
  if (!can_lose) return VoteResult::kWon;
  return can_win ? VoteResult::kPending : VoteResult::kLost;
}

struct Sample {
  JointConfig config;
  Acked acked;
  Votes votes;
};

Sample random_sample(base::Random& random) {
  Sample sample;
  const auto fill = [&](IdSet& ids) {
    for (auto left = random.below(8); left > 0; left--) ids.insert(1 + random.below(10));
  };
  fill(sample.config.incoming);
  fill(sample.config.outgoing);
  for (NodeId id = 1; id <= 10; id++) {
    if (!random.one_in(4)) sample.acked[id] = random.below(12);
    if (!random.one_in(3)) sample.votes[id] = random.one_in(2);
  }
  return sample;
}

TEST(Quorum, CommittedIndexAgreesWithItsTwin) {
  base::Random random(1);
  for (int i = 0; i < 20'000; i++) {
    const auto [config, acked, votes] = random_sample(random);
    const Index incoming = slow_committed(config.incoming, acked);
    const Index outgoing = slow_committed(config.outgoing, acked);
    ASSERT_EQ(committed_index(config.incoming, in(acked)), incoming) << "round " << i;
    ASSERT_EQ(committed_index(config, in(acked)), std::min(incoming, outgoing)) << "round " << i;
  }
}

TEST(Quorum, ManyVotersAgreeWithTheTwin) {
  base::Random random(2);
  for (std::size_t voters = 9; voters < 30; voters++) {
    IdSet ids;
    Acked acked;
    for (NodeId id = 1; id <= voters; id++) {
      ids.insert(id);
      acked[id] = random.below(100);
    }
    EXPECT_EQ(committed_index(ids, in(acked)), slow_committed(ids, acked)) << voters;
  }
}

TEST(Quorum, VoteAgreesWithItsTwin) {
  base::Random random(3);
  for (int i = 0; i < 5'000; i++) {
    const auto [config, acked, votes] = random_sample(random);
    const VoteResult incoming = slow_vote(config.incoming, votes);
    const VoteResult outgoing = slow_vote(config.outgoing, votes);
    ASSERT_EQ(vote_result(config.incoming, in(votes)), incoming) << "round " << i;
    const VoteResult joint = vote_result(config, in(votes));
    const bool won = incoming == VoteResult::kWon && outgoing == VoteResult::kWon;
    const bool lost = incoming == VoteResult::kLost || outgoing == VoteResult::kLost;
    ASSERT_EQ(joint == VoteResult::kWon, won) << "round " << i;
    ASSERT_EQ(joint == VoteResult::kLost, lost) << "round " << i;
  }
}

TEST(Quorum, IdSetIsSortedAndHoldsEachOnce) {
  IdSet ids{3, 1, 2, 3};
  EXPECT_EQ(ids.ids(), (std::vector<NodeId>{1, 2, 3}));
  EXPECT_FALSE(ids.insert(2));
  EXPECT_TRUE(ids.erase(2));
  EXPECT_FALSE(ids.erase(2));
  EXPECT_FALSE(ids.contains(2));
  EXPECT_EQ((JointConfig{{1, 3}, {2, 3}}.ids()), (IdSet{1, 2, 3}));
}

// --- scripts

std::vector<NodeId> id_list(const Directive& directive, std::string_view key) {
  std::vector<NodeId> ids;
  const auto* argument = directive.find(key);
  if (argument == nullptr || argument->values == std::vector<std::string>{"zero"}) return ids;
  for (const std::string& value : argument->values) ids.push_back(std::stoull(value));
  return ids;
}

IdSet set_of(const std::vector<NodeId>& ids) {
  IdSet set;
  for (const NodeId id : ids) set.insert(id);
  return set;
}

std::string index_text(Index index) {
  return index == kInfiniteIndex ? "∞" : std::to_string(index);
}

// A bar for each voter, as long as there are voters behind it.
std::string picture(const IdSet& voters, const Acked& acked) {
  if (voters.empty()) return "<empty majority quorum>";
  const auto of = [&acked](NodeId id) { return acked.contains(id) ? acked.at(id) : 0; };
  std::string out = std::string(voters.size(), ' ') + "    idx\n";
  for (const NodeId id : voters) {
    const auto bar = static_cast<std::size_t>(
        std::ranges::count_if(voters, [&](NodeId other) { return of(other) < of(id); }));
    out += acked.contains(id) ? std::string(bar, 'x') + ">" + std::string(voters.size() - bar, ' ')
                              : "?" + std::string(voters.size(), ' ');
    out += fmt::format(" {:>5}    (id={})\n", of(id), id);
  }
  return out;
}

std::string run_quorum(const Directive& directive) {
  const auto incoming = id_list(directive, "cfg"), outgoing = id_list(directive, "cfgj");
  const JointConfig config{set_of(incoming), set_of(outgoing)};
  const bool vote = directive.command == "vote";
  const auto* values = directive.find(vote ? "votes" : "idx");
  const std::vector<std::string> none;
  const auto& given = values == nullptr ? none : values->values;
  if (given.size() != config.ids().size()) {
    return fmt::format("error: mismatched input (explicit or _) for voters {}: {}",
                       config.ids().ids(), given);
  }
  // In the order of first mention.
  std::vector<NodeId> order = incoming;
  for (const NodeId id : outgoing) {
    if (!std::ranges::count(incoming, id)) order.push_back(id);
  }
  Acked acked;
  Votes votes;
  for (std::size_t i = 0; i < given.size(); i++) {
    if (given[i] == "_") continue;
    if (vote) {
      votes[order[i]] = given[i] == "y";
    } else {
      acked[order[i]] = std::stoull(given[i]);
    }
  }
  if (vote) {
    constexpr const char* kNames[] = {"VotePending", "VoteLost", "VoteWon"};
    return kNames[static_cast<int>(vote_result(config, in(votes)))];
  }
  return picture(config.ids(), acked) + index_text(committed_index(config, in(acked)));
}

TEST(QuorumScripts, Ours) {
  testing::run_scripts(std::string(KEELSON_TEST_DIR) + "/quorum/testdata",
                       [] { return run_quorum; });
}

TEST(QuorumScripts, FromElsewhere) {
  const char* const scripts = std::getenv("KEELSON_RAFT_SCRIPTS");
  if (scripts == nullptr || std::getenv("KEELSON_REWRITE") != nullptr) GTEST_SKIP();
  const auto directory = std::filesystem::path(scripts).parent_path() / "quorum" / "testdata";
  if (!std::filesystem::exists(directory)) GTEST_SKIP();
  testing::run_scripts(directory.string(), [] { return run_quorum; });
}

}  // namespace
}  // namespace keelson::raft
