#include "env/posix/resolver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <latch>

#include "env/posix/runtime.h"

namespace keelson::env::posix {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;

using Answer = base::Result<std::vector<std::string>>;

// The system in these tests: "slow" is answered once it is told, all else by its own name.
struct System {
  std::latch slow{1};
  std::atomic<int> asked_slow = 0;
};
std::shared_ptr<System> the_system;  // of the test that runs

Answer ask(const std::string& host) {
  const auto system = the_system;
  if (host.starts_with("slow")) {
    system->asked_slow++;
    system->asked_slow.notify_all();
    system->slow.wait();
  }
  if (host == "nobody") {
    return base::fail(base::make_error(std::errc::no_such_device_or_address, "lookup nobody"));
  }
  return std::vector<std::string>{"address of " + host};
}

class ResolverTest : public ::testing::Test {
 protected:
  ResolverTest() {
    the_system = std::make_shared<System>();
    runtime_.start();
  }
  ~ResolverTest() override {
    runtime_.stop();
    resolver_.reset();
  }

  std::future<Answer> resolve(const std::string& host) {
    auto promise = std::make_shared<std::promise<Answer>>();
    resolver_->resolve(lane_, host, [promise, this](Answer answer) {
      EXPECT_TRUE(lane_.is_current());
      promise->set_value(std::move(answer));
    });
    return promise->get_future();
  }

  Runtime runtime_{{{.lane = "io", .thread = "io"}}};
  Lane& lane_ = runtime_.lane("io");
  std::unique_ptr<ThreadResolver> resolver_ = std::make_unique<ThreadResolver>(ask);
};

TEST_F(ResolverTest, AnswersInJobsOfTheLane) {
  EXPECT_THAT(*resolve("a").get(), ElementsAre("address of a"));
  EXPECT_THAT(*resolve("a").get(), ElementsAre("address of a")) << "asked anew";
  EXPECT_EQ(resolve("nobody").get().error().context, "lookup nobody");
}

TEST_F(ResolverTest, ASlowNameHoldsNobodyUp) {
  auto slow = resolve("slow"), same = resolve("slow");
  EXPECT_THAT(*resolve("a").get(), ElementsAre("address of a"));
  the_system->slow.count_down();
  EXPECT_THAT(*slow.get(), ElementsAre("address of slow"));
  EXPECT_THAT(*same.get(), ElementsAre("address of slow"));
  EXPECT_EQ(the_system->asked_slow, 1) << "one question for both";
}

TEST_F(ResolverTest, ThreadsAreBounded) {
  std::vector<std::future<Answer>> slow;
  for (std::size_t i = 0; i < ThreadResolver::kThreadsMax; i++) {
    slow.push_back(resolve("slow" + std::to_string(i)));
  }
  auto waits = resolve("a"), waits_too = resolve("a");
  the_system->slow.count_down();
  for (auto& one : slow) EXPECT_TRUE(one.get().ok());
  EXPECT_THAT(*waits.get(), ElementsAre("address of a"));
  EXPECT_THAT(*waits_too.get(), ElementsAre("address of a"));
}

TEST_F(ResolverTest, ItsEndWaitsForNoName) {
  auto slow = resolve("slow"), queued = resolve("slow");
  the_system->asked_slow.wait(0);
  resolver_.reset();
  EXPECT_THROW(static_cast<void>(slow.get()), std::future_error) << "forgotten";
  EXPECT_THROW(static_cast<void>(queued.get()), std::future_error);
  the_system->slow.count_down();
}

TEST(AskSystem, KnowsThisMachineAndGosWords) {
  EXPECT_THAT(*ThreadResolver::ask_system("localhost"), Contains("127.0.0.1"));
  EXPECT_THAT(*ThreadResolver::ask_system("127.0.0.9"), ElementsAre("127.0.0.9"));
  const auto unknown = ThreadResolver::ask_system("no such name.invalid");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().message(), "lookup no such name.invalid: no such host");
}

}  // namespace
}  // namespace keelson::env::posix
