#include "member/held_views.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "env/simulated/world.h"
#include "mvcc/key_index.h"

namespace keelson::member {
namespace {

constexpr HeldViews::Limits kLimits{.bytes_max = 1000, .age_max = base::Seconds(60)};

// One lane, or two that share a budget, and Views of batches 1, 2, 3 ...
struct Held {
  explicit Held(int lanes = 1) {
    for (int i = 0; i < lanes; i++) {
      const auto number = static_cast<std::uint32_t>(i);
      env::Lane& lane = world.host("n1").lane(fmt::format("io{}", i));
      views.push_back(std::make_unique<HeldViews>(
          lane, number, kLimits, oldest, [this]() -> const View& { return newest; },
          [this] { ended_count++; }));
    }
  }
  ~Held() {
    holds.clear();
    for (auto& one : views) one->stop();
  }
  // Holds the View of a new batch under `name`; told to end, it lets go.
  void hold(const std::string& name, std::size_t lane = 0) {
    View view;
    index.put(name,
              {.mod = {++revision, 0}, .create_revision = revision, .version = 1, .bytes = 8});
    view.keys.index = index.publish();
    holds[name] = views[lane]->hold(view, [this, name] {
      told.push_back(name);
      holds.erase(name);
    });
  }

  env::simulated::World world{1};
  mvcc::KeyIndex index;
  std::int64_t revision = 1;
  View newest;
  OldestViews oldest;
  std::vector<std::unique_ptr<HeldViews>> views;
  std::map<std::string, std::unique_ptr<HeldViews::Hold>> holds;
  std::vector<std::string> told;
  int ended_count = 0;
};

using Names = std::vector<std::string>;

TEST(HeldViews, WithinTheBudgetNobodyIsTold) {
  Held held;
  held.hold("a");
  held.newest.retired_bytes = 1000;
  held.world.run_for(base::Seconds(59));
  EXPECT_EQ(held.told, Names{});
}

TEST(HeldViews, TheOldestGivesWayOneAtATime) {
  Held held;
  for (const char* name : {"a", "b", "c"}) held.hold(name);
  held.newest.retired_bytes = 1001;
  held.world.run_for(base::Milliseconds(1500));
  EXPECT_EQ(held.told, Names{"a"});
  held.world.run_for(base::Seconds(1));
  EXPECT_EQ(held.told, (Names{"a", "b"}));
  held.newest.retired_bytes = 10;  // what they held has gone
  held.world.run_for(base::Seconds(10));
  EXPECT_EQ(held.told, (Names{"a", "b"}));
  EXPECT_EQ(held.ended_count, 2);
  EXPECT_EQ(held.views[0]->held(), 1u);
}

TEST(HeldViews, TimeEndsAHoldThatKeepsNothing) {
  Held held;
  held.hold("a");
  held.world.run_for(base::Seconds(30));
  held.hold("b");
  held.world.run_for(base::Seconds(32));
  EXPECT_EQ(held.told, Names{"a"});
}

TEST(HeldViews, AHoldThatWentIsNotTold) {
  Held held;
  held.hold("a");
  held.hold("b");
  held.holds.erase("a");
  held.newest.retired_bytes = 1001;
  held.world.run_for(base::Milliseconds(1500));
  EXPECT_EQ(held.told, Names{"b"});
}

TEST(HeldViews, TheOldestOfAllLanesGivesWayFirst) {
  Held held(2);
  held.hold("a", 0);
  held.hold("b", 1);
  held.newest.retired_bytes = 1001;
  held.world.run_for(base::Milliseconds(1500));
  ASSERT_FALSE(held.told.empty());
  EXPECT_EQ(held.told.front(), "a");
}

TEST(HeldViews, OneThatWasToldAndHasNotGoneYetHoldsNobodyBack) {
  Held held;
  View view;
  view.keys.index = held.index.publish();
  auto slow = held.views[0]->hold(view, [&] { held.told.push_back("slow"); });
  held.hold("b");
  held.newest.retired_bytes = 1001;
  held.world.run_for(base::Milliseconds(2500));
  EXPECT_EQ(held.told, (Names{"slow", "b"}));
  slow.reset();
}

TEST(HeldViews, AfterStopNobodyIsTold) {
  Held held;
  held.hold("a");
  held.views[0]->stop();
  held.newest.retired_bytes = 1001;
  held.world.run_for(base::Seconds(100));
  EXPECT_EQ(held.told, Names{});
}

}  // namespace
}  // namespace keelson::member
