#include "member/view.h"

#include <gtest/gtest.h>

#include "env/simulated/world.h"

namespace keelson::member {
namespace {

using env::simulated::World;

std::shared_ptr<View> view_at(raft::Index applied) {
  auto view = std::make_shared<View>();
  view->applied_index = applied;
  return view;
}

TEST(ViewCache, RenewsWithinATurnAndIsTheNewest) {
  World world(1);
  env::Lane& lane = world.host("n1").lane("io");
  ViewCell cell;
  ViewCache cache(lane, cell);
  std::vector<raft::Index> seen;
  lane.post([&] {
    cell.publish(view_at(1));
    seen.push_back(cache.get()->applied_index);
    cell.publish(view_at(2));
    seen.push_back(cache.get()->applied_index);
  });
  lane.post([&] { seen.push_back(cache.get()->applied_index); });
  EXPECT_TRUE(world.run_until_idle());
  EXPECT_EQ(seen, (std::vector<raft::Index>{1, 2, 2}));
}

// Else the last read before a silence would keep every page and file of its day.
TEST(ViewCache, ALaneThatSleepsHoldsNoView) {
  World world(1);
  env::Lane& lane = world.host("n1").lane("io");
  ViewCell cell;
  ViewCache cache(lane, cell);
  int released = 0;
  for (raft::Index applied = 1; applied <= 2; applied++) {
    auto view = view_at(applied);
    view->on_release = [&released] { released++; };
    cell.publish(std::move(view));
    lane.post([&] { EXPECT_EQ(cache.get()->applied_index, applied); });
    EXPECT_TRUE(world.run_until_idle());
    EXPECT_FALSE(cache.holds());
  }
  EXPECT_EQ(released, 1);  // the second is still the newest
  cell.publish(nullptr);
  EXPECT_EQ(released, 2);
}

}  // namespace
}  // namespace keelson::member
