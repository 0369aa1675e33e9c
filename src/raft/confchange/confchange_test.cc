// Configurations: scripts (raft.md 16.6), tables of restore, and random walks against a twin that
// states the rules as sets.
//
// With KEELSON_RAFT_SCRIPTS set to the scripts of etcd's raft, its confchange scripts beside them
// run too.
#include "raft/confchange/confchange.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <set>
#include <sstream>

#include "base/random.h"
#include "raft/describe.h"
#include "testing/script.h"

namespace keelson::raft {
namespace {

using testing::Directive;

std::vector<ConfChangeSingle> parse_changes(const std::string& text) {
  std::vector<ConfChangeSingle> changes;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const auto place = std::string_view("vrul").find(word[0]);
    EXPECT_NE(place, std::string_view::npos) << word;
    changes.push_back(
        {.type = static_cast<ConfChangeType>(place), .node_id = std::stoull(word.substr(1))});
  }
  return changes;
}

// One configuration and a leader's progress with it.
class Walk {
 public:
  std::string run(const Directive& directive) {
    const Index last_index = last_index_++;
    const auto changes = parse_changes(directive.input);
    const auto result = step(directive, changes);
    if (!result) return std::string(describe(result.error()));
    configuration_ = result->configuration;
    follow(*result, last_index, {.messages = 10, .bytes = 0}, progress_);
    return describe(configuration_) + "\n" + describe(progress_);
  }

 private:
  ReconfigurationResult step(const Directive& directive,
                             const std::vector<ConfChangeSingle>& changes) const {
    if (directive.command == "simple") return simple_change(configuration_, changes);
    if (directive.command == "leave-joint") return leave_joint(configuration_);
    return enter_joint(configuration_, directive.text("autoleave") == "true", changes);
  }

  Configuration configuration_;
  ProgressMap progress_;
  Index last_index_ = 0;
};

std::function<std::string(const Directive&)> fresh_walk() {
  auto walk = std::make_shared<Walk>();
  return [walk](const Directive& directive) { return walk->run(directive); };
}

TEST(ConfChangeScripts, Ours) {
  testing::run_scripts(std::string(KEELSON_TEST_DIR) + "/confchange/testdata", fresh_walk);
}

TEST(ConfChangeScripts, FromElsewhere) {
  const char* const scripts = std::getenv("KEELSON_RAFT_SCRIPTS");
  if (scripts == nullptr || std::getenv("KEELSON_REWRITE") != nullptr) GTEST_SKIP();
  const auto directory = std::filesystem::path(scripts).parent_path() / "confchange" / "testdata";
  if (!std::filesystem::exists(directory)) GTEST_SKIP();
  testing::run_scripts(directory.string(), fresh_walk);
}

TEST(ConfChange, RestoreRefusesWhatCannotBe) {
  struct Row {
    const char* why;
    ConfState state;
    bool ok;
  };
  const Row rows[] = {
      {"nothing at all, before the first member", {}, true},
      {"voters", {.voters = {2, 1}}, true},
      {"voters and learners", {.voters = {1}, .learners = {2}}, true},
      {"joint with a voter to be a learner",
       {.voters = {1}, .voters_outgoing = {1, 2}, .learners_next = {2}, .auto_leave = true},
       true},
      {"learners only", {.learners = {1}}, false},
      {"a voter twice", {.voters = {1, 1}}, false},
      {"nobody as voter", {.voters = {0}}, false},
      {"a voter that is a learner", {.voters = {1}, .learners = {1}}, false},
      {"an outgoing voter that is a learner already",
       {.voters = {1}, .learners = {2}, .voters_outgoing = {2}},
       false},
      {"to be a learner without going out", {.voters = {1}, .learners_next = {2}}, false},
      {"to be a learner and to stay a voter",
       {.voters = {1, 2}, .voters_outgoing = {1, 2}, .learners_next = {2}},
       false},
      {"leaving by itself what it is not in", {.voters = {1}, .auto_leave = true}, false},
      {"no incoming voters", {.voters_outgoing = {1}}, false},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(restore_configuration(row.state).ok(), row.ok) << row.why;
  }
}

// The rules of one change, as sets.
struct Twin {
  std::set<NodeId> incoming, outgoing, learners, next;

  void apply(const ConfChangeSingle& change) {
    const NodeId id = change.node_id;
    if (id == kNone || change.type == ConfChangeType::kUpdateNode) return;
    if (change.type == ConfChangeType::kAddLearnerNode && learners.contains(id)) return;
    incoming.erase(id);
    learners.erase(id);
    next.erase(id);
    if (change.type == ConfChangeType::kAddNode) incoming.insert(id);
    if (change.type == ConfChangeType::kAddLearnerNode) {
      (outgoing.contains(id) ? next : learners).insert(id);
    }
  }
  ConfState conf_state(bool auto_leave) const {
    return {.voters = {incoming.begin(), incoming.end()},
            .learners = {learners.begin(), learners.end()},
            .voters_outgoing = {outgoing.begin(), outgoing.end()},
            .learners_next = {next.begin(), next.end()},
            .auto_leave = auto_leave};
  }
};

// Any walk through configurations: results equal the twin's, survive a restore, and progress covers
// exactly who is in.
TEST(ConfChange, RandomWalksAgreeWithTheTwin) {
  base::Random random(4);
  for (int walk = 0; walk < 300; walk++) {
    Configuration now;
    Twin twin;
    ProgressMap progress;
    for (int i = 0; i < 30; i++) {
      std::vector<ConfChangeSingle> changes;
      for (auto left = random.below(4); left > 0; left--) {
        changes.push_back(
            {.type = static_cast<ConfChangeType>(random.below(4)), .node_id = random.below(6)});
      }
      const auto kind = random.below(3);
      const auto result = kind == 0   ? simple_change(now, changes)
                          : kind == 1 ? enter_joint(now, false, changes)
                                      : leave_joint(now);
      if (!result) continue;
      if (kind == 1) twin.outgoing = twin.incoming;
      if (kind == 2) {
        twin.learners.merge(twin.next);
        twin.next.clear();
        twin.outgoing.clear();
      } else {
        for (const auto& change : changes) twin.apply(change);
      }
      follow(*result, 10, {.messages = 1, .bytes = 0}, progress);
      now = result->configuration;
      ASSERT_EQ(describe(now.conf_state()), describe(twin.conf_state(false)));
      const auto restored = restore_configuration(now.conf_state());
      ASSERT_TRUE(restored.ok() && *restored == now) << describe(now);
      IdSet tracked;
      for (const auto& [id, of] : progress) tracked.insert(id);
      ASSERT_EQ(tracked, now.ids()) << describe(now);
    }
  }
}

TEST(ConfChange, WhichStepAChangeAsksFor) {
  const Configuration plain = *restore_configuration({.voters = {1, 2, 3}});
  const auto change = [&plain](ConfChangeTransition transition, const std::string& changes) {
    const auto result =
        change_configuration(plain, {.transition = transition, .changes = parse_changes(changes)});
    return result ? describe(result->configuration) : std::string(describe(result.error()));
  };
  using enum ConfChangeTransition;
  EXPECT_EQ(change(kAuto, "v4"), "voters=(1 2 3 4)");
  EXPECT_EQ(change(kAuto, "v4 r1"), "voters=(2 3 4)&&(1 2 3) autoleave");
  EXPECT_EQ(change(kJointImplicit, "v4"), "voters=(1 2 3 4)&&(1 2 3) autoleave");
  EXPECT_EQ(change(kJointExplicit, "v4"), "voters=(1 2 3 4)&&(1 2 3)");
  EXPECT_EQ(change(kAuto, ""), "can't leave a non-joint config");
  EXPECT_EQ(change(kJointExplicit, "r1 r2 r3"), "removed all voters");
}

}  // namespace
}  // namespace keelson::raft
