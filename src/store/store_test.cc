// The store as its owner uses it: append, read, checkpoint, open again.

#include "store/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "store/store_testing.h"

namespace keelson::store {
namespace {

using testing::World;

TEST(Store, NewStoreIsEmptyAndStaysWhenOpenedAgain) {
  World world;
  ASSERT_TRUE(world.open());
  EXPECT_TRUE(world.recovered().fresh);
  EXPECT_TRUE(world.live().empty());
  ASSERT_TRUE(world.reopen());
  EXPECT_FALSE(world.recovered().fresh);
  EXPECT_EQ(world.recovered().applied_index, 0u);
  EXPECT_EQ(world.recovered().newest, (base::Revision{}));
  EXPECT_EQ(world.recovered().scheduled_compact, -1);
  EXPECT_EQ(world.store().store_id(), 7u);
}

TEST(Store, ReadsWhatWasAppendedAndWhatIsPending) {
  World world;
  ASSERT_TRUE(world.open());
  world.put("a", "one");
  world.commit();
  world.put("b", "two");
  const auto pending = world.commit_pending();
  const auto reader = make_reader(world.store().snapshot(), {pending});
  EXPECT_EQ(world.value(*reader, {2, 0}), "one");
  EXPECT_EQ(world.value(*reader, {3, 0}), "two");
  EXPECT_EQ(world.value(*reader, {4, 0}), "error 0");  // kMissing
  EXPECT_EQ(world.store().stats().reads_missing, 1u);
  // Also once the store has it while the view still calls it pending.
  world.append(pending);
  const auto both = make_reader(world.store().snapshot(), {pending});
  EXPECT_EQ(world.value(*both, {3, 0}), "two");
}

TEST(Store, RecoversTheNewestCheckpointAndDropsWhatFollows) {
  World world;
  ASSERT_TRUE(world.open());
  world.put("a", "one");
  world.change(base::Bucket::kLease, "l1", "x");
  world.commit();
  world.checkpoint();
  world.put("a", "two");
  world.change(base::Bucket::kLease, "l1", "y");
  world.commit();
  EXPECT_EQ(world.store().synced_applied_index(), 1u);
  ASSERT_TRUE(world.reopen());
  EXPECT_EQ(world.recovered().applied_index, 1u);
  EXPECT_EQ(world.recovered().newest, (base::Revision{2, 0}));
  EXPECT_GT(world.recovered().dropped_bytes, 0u);
  EXPECT_THAT(world.live(), ::testing::ElementsAre("a 2/0 create=2 version=1"));
  EXPECT_EQ(*world.store().buckets().find(base::Bucket::kLease, "l1"), "x");
  EXPECT_EQ(world.value(*make_reader(world.store().snapshot(), {}), {2, 0}), "one");
}

TEST(Store, SecondOpenIsRefused) {
  World world;
  ASSERT_TRUE(world.open());
  const auto second = Store::open(world.disk(), world.directory(), world.options());
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, std::errc::device_or_resource_busy);
}

TEST(Store, CheckpointIsDueByTimeAndByBytes) {
  World world;
  world.options().checkpoint_bytes = 1000;
  ASSERT_TRUE(world.open());
  const base::TimePoint start{};
  EXPECT_FALSE(world.store().checkpoint_due(start));
  world.put("a", "one");
  world.commit();
  EXPECT_TRUE(world.store().checkpoint_due(start));  // the first
  ASSERT_TRUE(world.store().checkpoint(start, {}));
  world.put("a", "two");
  world.commit();
  EXPECT_FALSE(world.store().checkpoint_due(start + base::Milliseconds(999)));
  EXPECT_TRUE(world.store().checkpoint_due(start + base::Milliseconds(1000)));
  world.put("a", std::string(1000, 'x'));
  world.commit();
  EXPECT_TRUE(world.store().checkpoint_due(start));
}

}  // namespace
}  // namespace keelson::store
