#include "env/simulated/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>

#include "env/channel.h"

namespace keelson::env::simulated {
namespace {

using base::Milliseconds;
using base::Seconds;

constexpr std::uint64_t kSeeds = 60;

TEST(WorldLaneTest, JobsOfALaneAndFromALaneKeepTheirOrder) {
  for (std::uint64_t seed = 0; seed < kSeeds; seed++) {
    World world(seed);
    Lane& a = world.host("n1").lane("a");
    Lane& b = world.host("n1").lane("b");
    std::vector<int> own, other;
    a.post([&] {
      for (int i = 0; i < 20; i++) {
        a.post([&, i] { own.push_back(i); });
        b.post([&, i] { other.push_back(i); });
      }
    });
    ASSERT_TRUE(world.run_until_idle());
    EXPECT_TRUE(std::is_sorted(own.begin(), own.end()) && own.size() == 20);
    EXPECT_TRUE(std::is_sorted(other.begin(), other.end()) && other.size() == 20);
  }
}

TEST(WorldLaneTest, EveryInterleavingOfTwoLanesComes) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 500; seed++) {
    World world(seed);
    std::string trace;
    for (const char* name : {"a", "b"}) {
      Lane& lane = world.host("n1").lane(name);
      for (int i = 0; i < 2; i++) lane.post([&trace, name] { trace += name; });
    }
    ASSERT_TRUE(world.run_until_idle());
    seen.insert(trace);
  }
  EXPECT_EQ(seen, (std::set<std::string>{"aabb", "abab", "abba", "baab", "baba", "bbaa"}));
}

TEST(WorldLaneTest, ALaneIsCurrentInItsJobsOnlyAndTimePasses) {
  World world(1);
  Lane& a = world.host("n1").lane("a");
  Lane& b = world.host("n1").lane("b");
  EXPECT_EQ(&world.host("n1").lane("a"), &a);
  const auto start = world.now();
  bool ran = false;
  a.post([&] {
    ran = true;
    EXPECT_TRUE(a.is_current());
    EXPECT_FALSE(b.is_current());
  });
  ASSERT_TRUE(world.run_until_idle());
  EXPECT_TRUE(ran);
  EXPECT_FALSE(a.is_current());
  a.post([] {});
  ASSERT_TRUE(world.run_until_idle());
  EXPECT_GT(world.now(), start) << "jobs take time";
}

TEST(WorldLaneTest, HooksRunAfterTheJobsThatHadArrived) {
  for (std::uint64_t seed = 0; seed < kSeeds; seed++) {
    World world(seed);
    Lane& lane = world.host("n1").lane("a");
    std::vector<std::string> trace;
    lane.post([&] {
      lane.post([&] { trace.push_back("queued"); });
      lane.at_turn_end([&] { trace.push_back("hook"); });
      trace.push_back("job");
    });
    ASSERT_TRUE(world.run_until_idle());
    EXPECT_EQ(trace, (std::vector<std::string>{"job", "queued", "hook"}));
  }
}

TEST(WorldLaneTest, TimersRunWhenDueInOrderUnlessCancelled) {
  World world(3);
  Lane& lane = world.host("n1").lane("a");
  std::vector<int> ran;
  const auto start = world.now();
  lane.post([&] {
    lane.after(Seconds(30), [&] { ran.push_back(3); });
    lane.after(Seconds(10), [&] {
      ran.push_back(1);
      EXPECT_GE(world.now() - start, Seconds(10));
    });
    const TimerId second = lane.after(Seconds(20), [&] { ran.push_back(2); });
    lane.after(Seconds(15), [&lane, second] { lane.cancel(second); });
  });
  ASSERT_TRUE(world.run_until_idle());
  EXPECT_TRUE(ran.empty()) << "idle: nothing waits but timers";
  const auto idle = world.now();
  world.run_for(Seconds(60));
  EXPECT_EQ(ran, (std::vector<int>{1, 3}));
  EXPECT_EQ(world.now() - idle, Seconds(60)) << "though nothing happened at the end";
}

TEST(WorldLaneTest, RunUntilStopsAtItsConditionOrItsLimit) {
  World world(1);
  Lane& lane = world.host("n1").lane("a");
  int ticks = 0;
  std::function<void()> tick = [&] {
    ticks++;
    lane.after(Seconds(1), [&] { tick(); });
  };
  lane.post([&] { tick(); });
  EXPECT_TRUE(world.run_until([&] { return ticks == 5; }, Seconds(100)));
  EXPECT_EQ(ticks, 5);
  EXPECT_FALSE(world.run_until([&] { return ticks == 1000; }, Seconds(10)));
  EXPECT_LE(ticks, 16);
}

TEST(WorldLaneTest, ChannelsHandOverBatches) {
  std::set<std::size_t> sizes;
  for (std::uint64_t seed = 0; seed < kSeeds; seed++) {
    World world(seed);
    Lane& from = world.host("n1").lane("a");
    Lane& to = world.host("n1").lane("b");
    std::vector<int> got;
    Channel<int> channel(to, 100, [&](std::vector<int> batch) {
      sizes.insert(batch.size());
      got.insert(got.end(), batch.begin(), batch.end());
    });
    for (int i = 0; i < 5; i++) from.post([&, i] { EXPECT_TRUE(channel.push(int(i))); });
    ASSERT_TRUE(world.run_until_idle());
    EXPECT_EQ(got, (std::vector<int>{0, 1, 2, 3, 4}));
  }
  EXPECT_GT(sizes.size(), 2u) << "batches of several sizes are to be met";
}

// The slow lane's job may run first, while its push is the later one.
TEST(WorldLaneTest, AChannelHandsOverNothingBeforeItWasPushed) {
  for (std::uint64_t seed = 0; seed < kSeeds; seed++) {
    World world(seed);
    Host& host = world.host("n1");
    Lane& to = host.lane("to");
    base::TimePoint pushed{}, before{};
    std::vector<std::pair<int, base::TimePoint>> got;
    Channel<int> channel(to, 100, [&](std::vector<int> batch) {
      for (const int value : batch) got.emplace_back(value, host.clock().now());
    });
    host.lane("slow").post([&] {
      const auto file = *host.disk().open("/f", OpenMode::kCreate);
      EXPECT_TRUE(channel.push(1));
      for (int i = 0; i < 50; i++) EXPECT_TRUE(file->sync());
      pushed = host.clock().now();
      for (int value = 3; value < 6; value++) EXPECT_TRUE(channel.push(int(value)));
      to.post([&] { got.emplace_back(6, host.clock().now()); });
    });
    host.lane("fast").post([&] {
      before = host.clock().now();
      EXPECT_TRUE(channel.push(2));
    });
    ASSERT_TRUE(world.run_until_idle());
    ASSERT_EQ(got.size(), 6u);
    for (int i = 2; i < 6; i++) {  // in order, and before what was posted later
      EXPECT_EQ(got[i].first, i + 1);
      EXPECT_GE(got[i].second, pushed);
    }
    EXPECT_EQ(got[0].first + got[1].first, 3);
    EXPECT_LT(std::max(got[0].second, got[1].second), pushed) << "nor later than need be";
    EXPECT_LT(before, pushed);
  }
}

TEST(WorldDiskTest, DiskOperationsTakeTimeAndHoldTheirLaneOnly) {
  World world(1);
  Host& host = world.host("n1");
  base::TimePoint synced{}, other{};
  const auto start = world.now();
  host.lane("log").post([&] {
    const auto file = *host.disk().open("/f", OpenMode::kCreate);
    for (int i = 0; i < 100; i++) EXPECT_TRUE(file->sync());
    synced = host.clock().now();
  });
  host.lane("raft").post([&] { other = host.clock().now(); });
  ASSERT_TRUE(world.run_until_idle());
  EXPECT_GT(synced - start, Milliseconds(10));
  EXPECT_LT(other - start, Milliseconds(10));
}

// A line-less echo server on one host, and clients that send and await bytes.
class Endpoint : public StreamHandler {
 public:
  explicit Endpoint(std::unique_ptr<Stream> stream, bool echoes = false)
      : stream_(std::move(stream)), echoes_(echoes) {
    stream_->start(*this);
  }
  void on_bytes(std::string_view bytes) override {
    received.append(bytes);
    if (echoes_) stream_->write(std::string(bytes));
  }
  void on_end() override { ended = true; }
  void on_drained() override {
    EXPECT_EQ(stream_->unsent(), 0u);
    drained++;
  }
  void on_closed(const base::Error& error) override {
    EXPECT_FALSE(closed.has_value());
    closed = error;
  }
  Stream& stream() { return *stream_; }

  std::string received;
  bool ended = false;
  int drained = 0;
  std::optional<base::Error> closed;

 private:
  std::unique_ptr<Stream> stream_;
  const bool echoes_;
};

struct Pair {
  explicit Pair(std::uint64_t seed, WorldOptions options = {}, bool echoes = false)
      : world(seed, options) {
    listener = *server.network().listen(
        "n1:2379", {}, {&server.lane("io")}, [this, echoes](std::unique_ptr<Stream> stream) {
          EXPECT_TRUE(server.lane("io").is_current());
          accepted.push_back(std::make_unique<Endpoint>(std::move(stream), echoes));
        });
  }
  ~Pair() {
    client_end.reset();
    accepted.clear();
    listener.reset();
  }
  std::optional<base::Error> connect(const std::string& address = "n1:2379",
                                     base::Duration timeout = Seconds(5)) {
    std::optional<base::Error> error;
    bool answered = false;
    client.lane("io").post([&, address, timeout] {
      client.network().connect(client.lane("io"), address, timeout, [&](auto stream) {
        answered = true;
        if (!stream) {
          error = stream.error();
        } else {
          client_end = std::make_unique<Endpoint>(*std::move(stream));
        }
      });
      EXPECT_FALSE(answered) << "never from within connect()";
    });
    EXPECT_TRUE(world.run_until([&] { return answered; }, Seconds(60)));
    return error;
  }

  World world;
  Host& server = world.host("n1");
  Host& client = world.host("n2");
  std::unique_ptr<Listener> listener;
  std::vector<std::unique_ptr<Endpoint>> accepted;
  std::unique_ptr<Endpoint> client_end;
};

TEST(WorldNetworkTest, BytesArriveInOrderOnceCutAnyhow) {
  for (std::uint64_t seed = 0; seed < kSeeds; seed++) {
    Pair pair(seed, {.connection_bytes_max = 1000}, true);
    ASSERT_FALSE(pair.connect());
    std::string sent;
    for (int i = 0; i < 30; i++) {
      const auto bytes = pair.world.random().bytes(pair.world.random().below(400));
      sent += bytes;
      pair.client_end->stream().write({base::SharedBytes(bytes), base::SharedBytes()});
    }
    EXPECT_GT(pair.client_end->stream().unsent(), 0u);
    ASSERT_TRUE(pair.world.run_until(
        [&] { return pair.client_end->received.size() == sent.size(); }, Seconds(60)));
    EXPECT_EQ(pair.client_end->received, sent);
    EXPECT_GE(pair.client_end->drained, 1);
    EXPECT_EQ(pair.client_end->stream().peer_address(), "n1:2379");
    EXPECT_EQ(pair.accepted[0]->stream().peer_address(), pair.client_end->stream().local_address());
  }
}

TEST(WorldNetworkTest, APausedReaderHoldsTheWriterBack) {
  Pair pair(1, {.connection_bytes_max = 100});
  ASSERT_FALSE(pair.connect());
  ASSERT_TRUE(pair.world.run_until([&] { return !pair.accepted.empty(); }, Seconds(1)));
  pair.accepted[0]->stream().pause_reading();
  pair.client_end->stream().write(std::string(250, 'x'));
  pair.world.run_for(Seconds(10));
  EXPECT_EQ(pair.accepted[0]->received, "");
  EXPECT_EQ(pair.client_end->stream().unsent(), 150u);
  pair.accepted[0]->stream().resume_reading();
  pair.world.run_for(Seconds(10));
  EXPECT_EQ(pair.accepted[0]->received.size(), 250u);
  EXPECT_EQ(pair.client_end->drained, 1);
}

TEST(WorldNetworkTest, AGracefulCloseDeliversAllThenEnds) {
  Pair pair(2, {.connection_bytes_max = 100});
  ASSERT_FALSE(pair.connect());
  pair.client_end->stream().write(std::string(1000, 'x'));
  pair.client_end->stream().close_gracefully(Seconds(30));
  ASSERT_TRUE(pair.world.run_until(
      [&] { return !pair.accepted.empty() && pair.accepted[0]->ended; }, Seconds(10)));
  EXPECT_EQ(pair.accepted[0]->received.size(), 1000u);
  EXPECT_FALSE(pair.client_end->closed.has_value()) << "the other side has not ended";
  pair.accepted[0]->stream().close_gracefully(Seconds(30));
  pair.world.run_for(Seconds(1));
  ASSERT_TRUE(pair.client_end->closed && pair.accepted[0]->closed);
  EXPECT_FALSE(pair.client_end->closed->code);
  EXPECT_FALSE(pair.accepted[0]->closed->code);
}

TEST(WorldNetworkTest, AGracefulCloseGivesUpInTime) {
  Pair pair(2);
  ASSERT_FALSE(pair.connect());
  pair.client_end->stream().close_gracefully(Seconds(3));
  pair.world.run_for(Seconds(10));
  EXPECT_EQ(pair.client_end->closed->code, std::errc::timed_out);
}

TEST(WorldNetworkTest, DestroyingAStreamEndsItOrResetsItIfBytesWereUnread) {
  for (const bool unread : {false, true}) {
    Pair pair(3);
    ASSERT_FALSE(pair.connect());
    ASSERT_TRUE(pair.world.run_until([&] { return !pair.accepted.empty(); }, Seconds(1)));
    pair.accepted[0]->stream().pause_reading();
    if (unread) pair.client_end->stream().write("x");
    pair.world.run_for(Seconds(1));
    pair.accepted.clear();
    pair.world.run_for(Seconds(1));
    EXPECT_EQ(pair.client_end->ended, !unread);
    EXPECT_EQ(pair.client_end->closed.has_value(), unread);
    pair.client_end->stream().write("nobody is there");
    pair.world.run_for(Seconds(1));
    ASSERT_TRUE(pair.client_end->closed.has_value());
    EXPECT_EQ(pair.client_end->closed->code, std::errc::connection_reset);
  }
}

TEST(WorldNetworkTest, ConnectTellsWhyItFailed) {
  Pair pair(4);
  const auto code = [&](const std::string& address) {
    const auto error = pair.connect(address, Milliseconds(100));
    return error ? error->code : std::error_code();
  };
  EXPECT_EQ(code("n1:1"), std::errc::connection_refused);
  EXPECT_EQ(code("n7:1"), std::errc::host_unreachable);
  EXPECT_EQ(code("127.0.0.1:2379"), std::errc::connection_refused) << "that is the client itself";
  EXPECT_EQ(code("n1"), std::errc::invalid_argument);
  pair.world.cut("n1", "n2");
  EXPECT_EQ(code("n1:2379"), std::errc::timed_out);
  pair.world.heal_all();
  EXPECT_EQ(code("n1:2379"), std::error_code());
  EXPECT_EQ(pair.server.network()
                .listen("n1:2379", {}, {&pair.server.lane("io")}, [](auto) {})
                .error()
                .code,
            std::errc::address_in_use);
  EXPECT_EQ(
      pair.server.network().listen("n2:1", {}, {&pair.server.lane("io")}, [](auto) {}).error().code,
      std::errc::address_not_available);
}

TEST(WorldNetworkTest, ACutLinkDelaysAndAHealedOneDelivers) {
  for (std::uint64_t seed = 0; seed < kSeeds; seed++) {
    Pair pair(seed, {}, true);
    ASSERT_FALSE(pair.connect());
    pair.world.run_for(Seconds(1));
    const bool there = seed % 2 == 0;  // one direction suffices to hold up an echo
    pair.world.cut(there ? "n2" : "n1", there ? "n1" : "n2");
    pair.client_end->stream().write("hello");
    pair.world.run_for(Seconds(20));
    EXPECT_EQ(pair.accepted[0]->received, there ? "" : "hello");
    EXPECT_EQ(pair.client_end->received, "");
    pair.world.heal("n1", "n2");
    pair.world.run_for(Seconds(1));
    EXPECT_EQ(pair.client_end->received, "hello");
    EXPECT_FALSE(pair.client_end->closed.has_value());
  }
}

TEST(WorldNetworkTest, ConnectionsBreakByChanceAndByOrderAndBothEndsAreTold) {
  int by_chance = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; seed++) {
    Pair pair(seed, {.reset_one_in = 3});
    ASSERT_FALSE(pair.connect());
    pair.world.run_for(Seconds(1));
    pair.client_end->stream().write("x");
    EXPECT_FALSE(pair.client_end->closed.has_value()) << "never from within a call";
    pair.world.run_for(Seconds(1));
    EXPECT_EQ(pair.client_end->closed.has_value(), pair.accepted[0]->closed.has_value());
    by_chance += pair.client_end->closed.has_value() ? 1 : 0;
    pair.world.reset_connections("n1", "n2");
    pair.world.run_for(Seconds(1));
    EXPECT_TRUE(pair.client_end->closed && pair.accepted[0]->closed);
  }
  EXPECT_GT(by_chance, 0);
  EXPECT_LT(by_chance, static_cast<int>(kSeeds));
}

TEST(WorldNetworkTest, BeyondTheLimitConnectionsWait) {
  Pair pair(5);
  pair.listener.reset();
  pair.listener = *pair.server.network().listen(
      "unix:socket", {.connections_max = 1}, {&pair.server.lane("io")},
      [&](std::unique_ptr<Stream> stream) {
        pair.accepted.push_back(std::make_unique<Endpoint>(std::move(stream)));
      });
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < 2; i++) {
    pair.server.lane("io").post([&] {
      pair.server.network().connect(pair.server.lane("io"), "unix:socket", Seconds(1),
                                    [&](auto stream) { streams.push_back(*std::move(stream)); });
    });
  }
  pair.world.run_for(Seconds(1));
  EXPECT_EQ(streams.size(), 2u);
  EXPECT_EQ(pair.accepted.size(), 1u);
  pair.accepted.clear();
  pair.world.run_for(Seconds(1));
  EXPECT_EQ(pair.accepted.size(), 1u);
}

TEST(WorldKillTest, AKilledHostRunsNothingMoreAndItsConnectionsBreak) {
  Pair pair(6);
  ASSERT_FALSE(pair.connect());
  pair.world.run_for(Seconds(1));
  int ran = 0;
  auto owned = std::make_shared<int>(1);
  const std::weak_ptr<int> watched = owned;
  Lane& lane = pair.server.lane("raft");
  lane.post([&, owned] { ran++; });
  lane.after(Seconds(1), [&, owned = std::move(owned)] { ran++; });
  const auto file = *pair.server.disk().open("/f", OpenMode::kCreate);
  pair.server.kill(Disk::Crash::kLoseUnsynced);
  EXPECT_TRUE(watched.expired());
  EXPECT_FALSE(pair.server.disk().status("/").ok());

  // What the objects of the dead process do on their way down.
  lane.post([&] { ran++; });
  lane.cancel(lane.after(Seconds(1), [&] { ran++; }));
  pair.accepted[0]->stream().write("x");
  pair.accepted.clear();
  pair.listener.reset();
  EXPECT_FALSE(file->sync());
  pair.world.run_for(Seconds(10));
  EXPECT_EQ(ran, 0);
  EXPECT_EQ(pair.client_end->closed->code, std::errc::connection_reset);
  EXPECT_EQ(pair.connect("n1:2379", Seconds(1))->code, std::errc::connection_refused);

  pair.server.start();
  pair.server.lane("raft").post([&] { ran++; });
  pair.world.run_for(Seconds(1));
  EXPECT_EQ(ran, 1);
  EXPECT_TRUE(pair.server.disk().status("/").ok());
}

// As a kernel resets what stands in the queue of a listener that dies.
TEST(WorldKillTest, AConnectionThatWasNotYetAcceptedBreaksToo) {
  int waiting = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; seed++) {
    Pair pair(seed);
    ASSERT_FALSE(pair.connect());
    waiting += pair.accepted.empty() ? 1 : 0;
    pair.server.kill(Disk::Crash::kLoseUnsynced);
    pair.world.run_for(Seconds(1));
    ASSERT_TRUE(pair.client_end->closed.has_value()) << seed;
    EXPECT_EQ(pair.client_end->closed->code, std::errc::connection_reset);
  }
  EXPECT_GT(waiting, 0);
}

TEST(WorldKillTest, AHostThatStandsStillGoesOnLater) {
  World world(1);
  Host& host = world.host("n1");
  Lane& lane = host.lane("raft");
  Lane& other = world.host("n2").lane("raft");
  const auto start = world.now();
  std::string ran;
  lane.after(Seconds(1), [&] { ran += "timer "; });
  other.after(Seconds(2), [&] { ran += "other "; });
  host.stand_still(Seconds(5));
  lane.post([&] { ran += "job "; });
  world.run_for(Seconds(4));
  EXPECT_EQ(ran, "other ");
  world.run_for(Seconds(2));
  EXPECT_TRUE(ran == "other job timer " || ran == "other timer job ") << ran;
  EXPECT_GE(world.now() - start, Seconds(5));

  host.stand_still(Seconds(5));
  host.kill(Disk::Crash::kKeepAll);
  host.start();
  lane.post([&] { ran = "started"; });
  world.run_for(Seconds(1));
  EXPECT_EQ(ran, "started") << "another process";
}

TEST(WorldKillTest, AHostMayBeKilledInTheMiddleOfAJob) {
  World world(7);
  Host& host = world.host("n1");
  bool went_on = false;
  std::unique_ptr<File> file;
  host.disk().on_operation([&](const Disk::Step& step) {
    if (step.operation == Disk::Operation::kSync) host.kill(Disk::Crash::kRandom);
    return 0;
  });
  host.lane("log").post([&] {
    file = *host.disk().open("/f", OpenMode::kCreate);
    EXPECT_FALSE(file->sync());
    host.lane("raft").post([&] { went_on = true; });
  });
  world.run_for(Seconds(1));
  EXPECT_FALSE(host.is_alive());
  EXPECT_FALSE(went_on);
}

TEST(WorldTest, WallClocksDiffer) {
  World world(1);
  const auto right = world.host("n1").clock().wall_now();
  world.host("n2").set_wall_offset(-Seconds(3600));
  EXPECT_EQ(right - world.host("n2").clock().wall_now(), Seconds(3600));
  EXPECT_EQ(world.host("n1").clock().now(), world.host("n2").clock().now());
}

// Three hosts that chatter, write and are killed: everything there is, at once.
std::pair<std::uint64_t, std::string> chatter(std::uint64_t seed) {
  World world(seed, {.reset_one_in = 50, .connection_bytes_max = 2000});
  std::string trace;
  std::vector<std::unique_ptr<Endpoint>> ends;
  std::vector<std::unique_ptr<Listener>> listeners;
  std::map<std::string, std::function<void()>> ticks;
  const std::vector<std::string> names{"n1", "n2", "n3"};
  for (const auto& name : names) {
    Host& host = world.host(name);
    listeners.push_back(*host.network().listen(
        name + ":1", {}, {&host.lane("io")}, [&](std::unique_ptr<Stream> stream) {
          ends.push_back(std::make_unique<Endpoint>(std::move(stream), true));
        }));
    ticks[name] = [&, name] {
      Host& self = world.host(name);
      trace += fmt::format("{} {}\n", name, self.clock().now().time_since_epoch().count());
      MAYBE(write_file(self.disk(), "/f", trace).ok());
      self.lane("io").post([&] {
        const auto to = names[world.random().below(3)] + ":1";
        self.network().connect(self.lane("io"), to, Milliseconds(50), [&](auto stream) {
          if (!stream) return;
          ends.push_back(std::make_unique<Endpoint>(*std::move(stream)));
          ends.back()->stream().write(std::string(3000, 'x'));
        });
      });
      self.lane("log").after(Milliseconds(world.random().below(30)), [&, name] { ticks[name](); });
    };
    host.lane("log").post([&, name] { ticks[name](); });
  }
  world.run_for(Milliseconds(300));
  world.cut_both("n1", "n2");
  world.run_for(Milliseconds(300));
  world.host("n3").kill(Disk::Crash::kRandom);
  world.heal_all();
  world.run_for(Milliseconds(300));
  for (const auto& end : ends) trace += fmt::format("{} ", end->received.size());
  for (const auto& name : names) {
    for (const auto& [path, content] : world.host(name).disk().contents()) {
      trace += fmt::format("{} {} ", path, content.size());
    }
  }
  ends.clear();
  listeners.clear();
  return {world.fingerprint(), trace};
}

TEST(WorldTest, SameSeedSameHistory) {
  for (std::uint64_t seed = 0; seed < 10; seed++) {
    const auto first = chatter(seed);
    EXPECT_GT(first.second.size(), 1000u);
    EXPECT_EQ(first, chatter(seed)) << "seed " << seed;
    EXPECT_NE(first.first, chatter(seed + 100).first);
  }
}

}  // namespace
}  // namespace keelson::env::simulated
