// One whole member over the simulated disk: from start to stop and through crashes.
#include "member/member.h"

#include <gtest/gtest.h>

#include <set>

#include "env/simulated/world.h"
#include "member/keys_hasher.h"
#include "member/store_keeper.h"
#include "wal/snapshotter.h"
#include "wal/wal.h"

namespace keelson::member {
namespace {

using base::Milliseconds;
using base::Seconds;
using env::simulated::Disk;

constexpr std::uint32_t kPutField = etcdserverpb::InternalRaftRequest::kPutFieldNumber;
constexpr std::uint32_t kCompactionField =
    etcdserverpb::InternalRaftRequest::kCompactionFieldNumber;

std::string why_stopped;  // by stop_process

class MemberTest : public ::testing::Test {
 protected:
  MemberTest() : host_(world_.host("n1")) {
    set_stop_handler([](std::string_view why) {
      why_stopped = why;
      throw env::simulated::ProcessExit{};
    });
    why_stopped.clear();
    config_.name = "n1";
    config_.data_dir = "/data";
    config_.advertise_peer_urls = *membership::parse_url_list("http://n1:2380");
    config_.advertise_client_urls = {"http://n1:2379"};
    config_.initial_cluster = *membership::parse_initial_cluster("n1=http://n1:2380");
    config_.store.reserve = false;
    config_.store.segment_bytes = 64 * 1024;
    config_.wal_segment_bytes = 64 * 1024;
  }
  ~MemberTest() override {
    host_.kill(Disk::Crash::kKeepAll);
    member_.reset();
    set_stop_handler(nullptr);
  }

  void start() { ASSERT_EQ(try_start(), ""); }
  // Why it does not start, "" if it does.
  std::string try_start() {
    if (const std::string refusal = make(); !refusal.empty()) return refusal;
    return world_.run_until([&] { return ready_; }, Seconds(10)) ? "" : "not ready";
  }
  std::string make() {
    std::vector<env::Lane*> workers;
    for (int i = 0; i < workers_; i++) workers.push_back(&host_.lane("worker" + std::to_string(i)));
    auto made = Member::make(config_, host_.disk(), host_.clock(), host_.network(),
                             {.io = {&host_.lane("io0"), &host_.lane("io1")},
                              .raft = &host_.lane("raft"),
                              .log = &host_.lane("log"),
                              .apply = &host_.lane("apply"),
                              .store = &host_.lane("store"),
                              .workers = workers},
                             world_.random().next());
    if (!made) return made.error().text;
    member_ = *std::move(made);
    ready_ = false;
    member_->start([this] { ready_ = true; });
    return "";
  }
  void crash(Disk::Crash mode) {
    host_.kill(mode);
    member_.reset();
    host_.start();
  }
  void stop() {
    bool stopped = false;
    member_->stop([&stopped] { stopped = true; });
    ASSERT_TRUE(world_.run_until([&] { return stopped; }, Seconds(10)));
    crash(Disk::Crash::kLoseUnsynced);  // what a clean stop left is durable
  }

  // The revision, or what went wrong.
  std::string propose(std::uint32_t field, const google::protobuf::Message& request,
                      std::size_t lane = 0) {
    std::string outcome = "nothing";
    bool done = false;
    Front& front = member_->front(lane);
    front.lane().post([&] {
      front.propose(field, request.SerializeAsString(), [&](base::Result<Reply, Failure> reply) {
        done = true;
        outcome = reply ? std::to_string(reply->revision) : "failed";
        if (reply) {
          EXPECT_GE(front.view()->keys.revision, reply->revision) << "P1";
        }
      });
    });
    world_.run_until([&] { return done || !host_.is_alive(); }, Seconds(20));
    return outcome;
  }
  std::string put(const std::string& key, const std::string& value, std::size_t lane = 0) {
    etcdserverpb::PutRequest request;
    request.set_key(key);
    request.set_value(value);
    return propose(kPutField, request, lane);
  }
  std::string compact(std::int64_t revision) {
    etcdserverpb::CompactionRequest request;
    request.set_revision(revision);
    return propose(kCompactionField, request);
  }
  std::shared_ptr<const View> view() { return member_->shared().views.load(); }
  // "k1=v1 k2=v2" of all keys.
  std::string all(const View& view, std::int64_t revision = 0) {
    etcdserverpb::RangeRequest request;
    request.set_key(std::string(1, '\0'));
    request.set_range_end(std::string(1, '\0'));
    request.set_revision(revision);
    auto result = mvcc::range(view.keys, request, *view.reader, 1 << 20);
    if (!result) return "error " + std::to_string(static_cast<int>(result.error()));
    std::string out;
    for (const auto& bytes : result->kvs) {
      mvccpb::KeyValue kv;
      CHECK(kv.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
      out += (out.empty() ? "" : " ") + kv.key() + "=" + kv.value();
    }
    return out;
  }
  std::string all() { return all(*view()); }

  env::simulated::World world_{1};
  env::simulated::Host& host_;
  Config config_;
  int workers_ = 1;
  bool ready_ = false;
  std::unique_ptr<Member> member_;
};

TEST_F(MemberTest, StartsPublishesItselfAndAnswers) {
  start();
  const auto roster = view()->roster;
  ASSERT_EQ(roster->members.size(), 1u);
  EXPECT_EQ(roster->members[0].name, "n1");
  EXPECT_TRUE(view()->linearizable);
  EXPECT_EQ(put("a", "1"), "2");
  EXPECT_EQ(put("b", "2", 1), "3") << "from another lane";
  EXPECT_EQ(all(), "a=1 b=2");
  world_.run_for(Seconds(5));
  ASSERT_TRUE(view()->roster->version.has_value());
  EXPECT_EQ(view()->roster->version->text(), "3.7.0");
}

TEST_F(MemberTest, AnsweredWritesSurviveEveryKindOfCrash) {
  int i = 0;
  std::string expected;
  for (const auto mode :
       {Disk::Crash::kLoseUnsynced, Disk::Crash::kRandom, Disk::Crash::kKeepAll}) {
    start();
    EXPECT_EQ(all(), expected);
    const std::string key = "k" + std::to_string(i++);
    ASSERT_NE(put(key, "v"), "failed");
    expected += (expected.empty() ? "" : " ") + key + "=v";
    crash(mode);
  }
  start();
  EXPECT_EQ(all(), expected);
}

TEST_F(MemberTest, ACleanStopLeavesNothingToReplay) {
  start();
  for (int i = 0; i < 20; i++) put("k", std::to_string(i));
  const auto applied = view()->applied_index;
  stop();
  start();
  EXPECT_EQ(member_->shared().progress.term, 3u) << "a term for each start";
  EXPECT_EQ(all(), "k=19");
  EXPECT_EQ(view()->applied_index, applied + 2)
      << "the new leader's first entry and its attributes";
}

TEST_F(MemberTest, StopAnswersWhatIsOutstanding) {
  start();
  int answered = 0;
  Front& front = member_->front(0);
  front.lane().post([&] {
    for (int i = 0; i < 50; i++) {
      etcdserverpb::PutRequest request;
      request.set_key("k");
      front.propose(kPutField, request.SerializeAsString(), [&](auto) { answered++; });
      front.barrier([&](auto) { answered++; });
    }
  });
  stop();
  EXPECT_EQ(answered, 100);
}

TEST_F(MemberTest, AFailedSyncStopsTheProcessAndLosesNothingAnswered) {
  start();
  put("a", "1");
  host_.disk().fail(
      {.operation = Disk::Operation::kSync, .error_number = EIO, .path_part = ".wal"});
  EXPECT_EQ(put("b", "2"), "nothing");
  EXPECT_FALSE(host_.is_alive());
  EXPECT_NE(why_stopped.find("write-ahead log"), std::string::npos) << why_stopped;
  crash(Disk::Crash::kLoseUnsynced);
  start();
  EXPECT_EQ(all().substr(0, 3), "a=1");
}

TEST_F(MemberTest, AFailedWriteOfTheStoreStopsTheProcess) {
  start();
  put("a", "1");
  host_.disk().fail(
      {.operation = Disk::Operation::kWrite, .error_number = EIO, .path_part = "/store"});
  put("b", "2");
  world_.run_for(Seconds(5));
  EXPECT_FALSE(host_.is_alive());
  EXPECT_NE(why_stopped.find("store"), std::string::npos) << why_stopped;
  crash(Disk::Crash::kLoseUnsynced);
  start();
  EXPECT_EQ(all().substr(0, 3), "a=1");
}

// D7, P4: snapshot <= synced checkpoint <= last entry, whenever power fails.
TEST_F(MemberTest, SnapshotsComeEverySnapshotCountAndNeverAheadOfTheStore) {
  config_.snapshot_count = 10;
  config_.snapshots_max = 0;
  start();
  for (int i = 0; i < 100; i++) put("k", std::string(100, 'x'));
  world_.run_for(Seconds(3));
  for (int i = 0; i < 100; i++) put("k", std::string(100, 'x'));
  world_.run_for(Seconds(3));
  wal::Snapshotter snapshotter(host_.disk(), "/data/member/snap");
  const auto files = snapshotter.list();
  ASSERT_TRUE(files.ok());
  ASSERT_GE(files->size(), 2u);
  for (std::size_t i = 1; i < files->size(); i++) {
    EXPECT_GT((*files)[i - 1].index - (*files)[i].index, 10u) << "newest first";
  }
  crash(Disk::Crash::kLoseUnsynced);
  const auto marks = wal::valid_snapshots(host_.disk(), "/data/member/wal");
  ASSERT_TRUE(marks.ok());
  start();
  EXPECT_GT(marks->back().index, 100u);
  EXPECT_EQ(view()->keys.revision, 201);
}

// A start reads what follows the newest snapshot: that is bounded in bytes too, by entries of this
// life and of those before.
TEST_F(MemberTest, SnapshotsComeAfterSoManyBytesOfTheLog) {
  config_.snapshot_count = 100'000;
  config_.snapshot_log_bytes = 10'000;
  config_.snapshots_max = 0;
  const auto newest_after = [&](int puts) {
    for (int i = 0; i < puts; i++) put("k", std::string(1000, 'x'));
    world_.run_for(Seconds(3));
    const auto files = wal::Snapshotter(host_.disk(), "/data/member/snap").list();
    return files.ok() && !files->empty() ? files->front().index : 0;
  };
  start();
  EXPECT_EQ(newest_after(5), 0u);
  crash(Disk::Crash::kLoseUnsynced);
  start();
  const raft::Index first = newest_after(6);
  EXPECT_GT(first, 10u);
  EXPECT_EQ(newest_after(5), first);
  EXPECT_GT(newest_after(6), first);
}

// Two workers, and one file takes long: the later snapshot would be marked first, and a start,
// which takes the last mark, would look for a file of the log that is purged.
TEST_F(MemberTest, SnapshotsAreMarkedInTheirOrder) {
  workers_ = 2;
  config_.snapshot_count = 1;
  config_.snapshots_max = 0;
  config_.wals_max = 0;
  config_.store.checkpoint_interval = Milliseconds(1);
  start();
  for (int i = 0; i < 600; i++) put("k", "v");
  const auto marks = wal::valid_snapshots(host_.disk(), "/data/member/wal");
  ASSERT_TRUE(marks.ok());
  EXPECT_GT(marks->size(), 50u);
  for (std::size_t i = 1; i < marks->size(); i++) {
    EXPECT_LT((*marks)[i - 1].index, (*marks)[i].index);
  }
}

// The ids of requests come from the wall clock. A machine without a battery starts it anew, and the
// entries it finds have the ids of what it proposes next.
TEST_F(MemberTest, EntriesOfAFormerLifeAnswerNobody) {
  config_.store.checkpoint_interval = Seconds(3600);
  const auto began = world_.now();
  start();
  EXPECT_EQ(put("a", "1", 1), "2");
  EXPECT_EQ(put("a", "2", 1), "3");
  crash(Disk::Crash::kKeepAll);
  host_.set_wall_offset(began - world_.now());
  ASSERT_EQ(make(), "");
  EXPECT_EQ(put("b", "3", 1), "4");  // not "2"
}

// D7 broken on purpose: the log is released and purged while the store's checkpoint lies behind,
// and with the crash goes what was answered. Kept, the log stays until the store has it.
class SnapshotRule : public MemberTest, public ::testing::WithParamInterface<bool> {};

TEST_P(SnapshotRule, TheLogIsReleasedOnlyUpToTheSyncedCheckpoint) {
  config_.broken.snapshot_ahead_of_checkpoint = GetParam();
  config_.store.checkpoint_interval = Seconds(3600);
  config_.snapshot_count = 10;
  config_.snapshots_max = 1;
  config_.wals_max = 1;
  config_.wal_segment_bytes = 8 * 1024;
  config_.purge_interval = Milliseconds(50);
  start();
  std::string expected;
  for (int i = 0; i < 60; i++) {
    const std::string key = "k" + std::to_string(100 + i);
    ASSERT_NE(put(key, std::string(500, 'x')), "failed");
    expected += (i == 0 ? "" : " ") + key + "=" + std::string(500, 'x');
  }
  world_.run_for(Seconds(1));
  const auto logs = wal::list_segments(host_.disk(), "/data/member/wal");
  ASSERT_TRUE(logs.ok());
  EXPECT_EQ(logs->front().sequence > 0, GetParam()) << "purged";
  crash(Disk::Crash::kLoseUnsynced);
  const std::string refusal = try_start();
  if (GetParam()) {
    EXPECT_NE(refusal.find("expected a checkpoint at index "), std::string::npos) << refusal;
  } else {
    ASSERT_EQ(refusal, "");
    EXPECT_EQ(all(), expected);
  }
}
INSTANTIATE_TEST_SUITE_P(KeptAndBroken, SnapshotRule, ::testing::Bool());

TEST_F(MemberTest, OldFilesOfTheLogAndSnapshotsArePurged) {
  config_.snapshot_count = 10;
  config_.snapshots_max = 2;
  config_.wals_max = 2;
  config_.wal_segment_bytes = 8 * 1024;
  start();
  for (int round = 0; round < 4; round++) {
    for (int i = 0; i < 60; i++) put("k", std::string(500, 'x'));
    world_.run_for(Seconds(35));  // past a checkpoint, a snapshot and the purge
  }
  const auto logs = wal::list_segments(host_.disk(), "/data/member/wal");
  ASSERT_TRUE(logs.ok());
  EXPECT_LE(logs->size(), 7u) << "two, and those behind the newest snapshot";
  EXPECT_GT(logs->front().sequence, 5u);
  const auto names = host_.disk().list("/data/member/snap");
  EXPECT_LE(names->size(), 3u);
  crash(Disk::Crash::kRandom);
  start();
  EXPECT_EQ(view()->keys.revision, 241);
}

TEST_F(MemberTest, AHeldViewKeepsItsRevisionAcrossCompactionAndCollection) {
  config_.store.segment_bytes = 4096;
  config_.store.collection_gain_bytes = 512;
  config_.store.checkpoint_interval = Milliseconds(20);
  start();
  for (int i = 0; i < 10; i++) put("k" + std::to_string(i), "old");
  const auto held = view();
  const std::string before = all(*held);
  for (int i = 0; i < 200; i++) put("k" + std::to_string(i % 10), std::string(200, 'n'));
  ASSERT_NE(compact(200), "failed");
  world_.run_for(Seconds(20));
  EXPECT_EQ(all(*held), before);
  EXPECT_EQ(all(*view(), 5), "error 0") << "kCompacted for whoever asks now";
}

// A compare needs a record that cannot be read, and later can again: a lone member must not decide
// twice, or what it has answered in between would have been of another state.
class UndecidedTest : public MemberTest {
 protected:
  void SetUp() override {
    start();
    ASSERT_EQ(put("a-key-to-find", "v"), "2");
    world_.run_for(Seconds(3));  // it is in the store
    flip();
  }
  // Damages the record, or mends it.
  void flip() {
    if (path_.empty()) {
      for (const auto& [path, bytes] : host_.disk().contents()) {
        at_ = bytes.find("a-key-to-find");
        if (path.starts_with("/data/member/store") && at_ != std::string::npos) {
          path_ = path;
          break;
        }
      }
    }
    ASSERT_NE(path_, "") << "it is not in the store";
    host_.disk().flip_bit(path_, at_);
  }
  // If it has its value, b is put.
  void ask() {
    etcdserverpb::TxnRequest request;
    auto* compare = request.add_compare();
    compare->set_key("a-key-to-find");
    compare->set_target(etcdserverpb::Compare::VALUE);
    compare->set_value("v");
    auto* then = request.add_success()->mutable_request_put();
    then->set_key("b");
    then->set_value("x");
    answer_.reset();
    Front& front = member_->front(0);
    front.lane().post([this, &front, bytes = request.SerializeAsString()] {
      front.propose(etcdserverpb::InternalRaftRequest::kTxnFieldNumber, bytes,
                    [this](base::Result<Reply, Failure> reply) { answer_ = reply.ok(); });
    });
  }

  std::optional<bool> answer_;
  std::size_t at_ = 0;
  std::string path_;
};

TEST_F(UndecidedTest, WhatItHasAnsweredStays) {
  ask();
  ASSERT_TRUE(world_.run_until([&] { return answer_.has_value(); }, Seconds(20)));
  EXPECT_FALSE(*answer_);
  ASSERT_EQ(put("c", "y"), "3") << "it goes on";
  flip();
  crash(Disk::Crash::kLoseUnsynced);
  start();
  EXPECT_EQ(all(), "a-key-to-find=v c=y");
  EXPECT_EQ(put("d", "z"), "4");
}

// The start falls back to before the record, and reads from the log what was damaged.
TEST_F(UndecidedTest, WhatItHasAnsweredStaysThoughTheStoreIsHealedFromTheLog) {
  ask();
  ASSERT_TRUE(world_.run_until([&] { return answer_.has_value(); }, Seconds(20)));
  ASSERT_EQ(put("c", "y"), "3");
  for (const auto mode : {Disk::Crash::kLoseUnsynced, Disk::Crash::kRandom}) {
    world_.run_for(Seconds(3));
    crash(mode);
    start();
    EXPECT_EQ(all(), "a-key-to-find=v c=y");
  }
  EXPECT_EQ(put("d", "z"), "4");
  ask();
  ASSERT_TRUE(world_.run_until([&] { return answer_.has_value(); }, Seconds(20)));
  EXPECT_TRUE(*answer_) << "now it can be read";
  EXPECT_EQ(all(), "a-key-to-find=v b=x c=y d=z");
}

// Whether anybody was told nobody knows.
TEST_F(UndecidedTest, WhatItHasDecidedStays) {
  const auto before = view()->applied_index;
  ask();
  ASSERT_TRUE(world_.run_until([&] { return view()->applied_index > before; }, Seconds(20)));
  EXPECT_EQ(all(), "error " + std::to_string(static_cast<int>(mvcc::Errc::kUnreadable)));
  flip();
  crash(Disk::Crash::kLoseUnsynced);
  start();
  EXPECT_EQ(all(), "a-key-to-find=v");
}

TEST_F(UndecidedTest, SeveralAtOnce) {
  for (int i = 0; i < 3; i++) ask();
  EXPECT_EQ(put("c", "y"), "3");
  EXPECT_EQ(answer_, false);
  flip();
  crash(Disk::Crash::kLoseUnsynced);
  start();
  EXPECT_EQ(all(), "a-key-to-find=v c=y");
}

// With rests of half a millisecond, 400 keys at a time, and entries in between.
TEST_F(MemberTest, ACompactionRestsBetweenItsSlices) {
  start();
  constexpr int kKeys = 4000;
  for (int i = 0; i < 2 * kKeys; i++) put("k" + std::to_string(i % kKeys), "v");
  ASSERT_NE(compact(2 * kKeys), "failed");
  const auto begun = host_.clock().now();
  ASSERT_TRUE(world_.run_until([&] { return !view()->compaction_hashes->expects(2 * kKeys); },
                               Seconds(10)));
  EXPECT_GE(host_.clock().now() - begun, (kKeys / 1000 - 1) * std::chrono::microseconds(600))
      << "its hashing rests as well";
  int answered = 0;
  while (view()->compacting) {
    ASSERT_NE(put("other", "v"), "failed");
    answered++;
  }
  EXPECT_GE(host_.clock().now() - begun, Milliseconds(kKeys / 400 / 2 - 1));
  EXPECT_GT(answered, 1);
}

// As a compaction's: a thousand keys at a time, and 600 us of rest.
TEST_F(MemberTest, AHashRestsWhileAnybodyWrites) {
  start();
  constexpr int kKeys = 5000;
  for (int i = 0; i < kKeys; i++) put("k" + std::to_string(i), "v");
  Front& front = member_->front(0);
  const auto time_of_hash = [&](bool busy) {
    bool done = false;
    std::unique_ptr<KeysHasher> hasher;
    front.lane().post([&] {
      hasher = std::make_unique<KeysHasher>(front, 0, [&](const auto& hash) {
        done = true;
        EXPECT_TRUE(hash.ok());
      });
    });
    const auto begun = host_.clock().now();
    while (!done && busy) EXPECT_NE(put("other", "v"), "failed");
    EXPECT_TRUE(world_.run_until([&] { return done; }, Seconds(10)));
    const auto took = host_.clock().now() - begun;
    front.lane().post([&] { hasher.reset(); });
    world_.run_for(Milliseconds(1));
    return took;
  };
  constexpr auto kRests = (kKeys / 1000 - 1) * std::chrono::microseconds(600);
  world_.run_for(Seconds(1));
  EXPECT_LT(time_of_hash(false), kRests) << "nobody gains";
  put("other", "v");
  EXPECT_GE(time_of_hash(true), kRests - std::chrono::microseconds(600)) << "once it has seen it";
}

// A member that asks gives up: for it the rests are shorter, if that helps. The worker has
// something else to do first; meanwhile something is applied.
TEST_F(MemberTest, AHashIsMadeForWhoWaitsWithinItsTime) {
  start();
  constexpr int kKeys = 5000;
  for (int i = 0; i < kKeys; i++) put("k" + std::to_string(i), "v");
  world_.run_for(Seconds(1));  // the worker has nothing else to do any more
  Front& front = member_->front(0);
  const auto hold_up_worker = [&] {
    const auto end = host_.clock().now() + Milliseconds(10);
    const auto file = host_.disk().open("/held-up", env::OpenMode::kCreate).value();
    while (host_.clock().now() < end) ASSERT_TRUE(file->sync().ok());
  };
  const auto time_of_hash = [&](base::Duration patience) {
    std::optional<base::TimePoint> begun, ended;
    std::unique_ptr<KeysHasher> hasher;
    front.lane().post([&] {
      begun = host_.clock().now();
      host_.lane("worker0").post(hold_up_worker);
      hasher = std::make_unique<KeysHasher>(
          front, 0, [&](const auto&) { ended = host_.clock().now(); }, patience);
    });
    while (!ended) EXPECT_NE(put("other", "v"), "failed");
    front.lane().post([&] { hasher.reset(); });
    world_.run_for(Milliseconds(1));
    return *ended - *begun;
  };
  constexpr auto kRests = (kKeys / 1000) * kSliceRest;
  EXPECT_GE(time_of_hash(Seconds(7)), Milliseconds(10) + kRests);
  EXPECT_LE(time_of_hash(Milliseconds(14)), Milliseconds(12) + std::chrono::microseconds(100));
  EXPECT_GE(time_of_hash(Milliseconds(9)), Milliseconds(10) + kRests) << "it is late anyway";
}

TEST_F(MemberTest, NoSliceIsBegunForWhoHasGone) {
  start();
  Front& front = member_->front(0);
  int slices = 0;
  Ticket ticket = 0;
  front.lane().post([&] {
    ticket = front.in_slices([&] { return ++slices == 1'000'000; },
                             [] { ADD_FAILURE() << "it was forgotten"; });
  });
  ASSERT_TRUE(world_.run_until([&] { return slices > 10; }, Seconds(10)));
  bool forgotten = false;
  front.lane().post([&] {
    front.forget(ticket);
    forgotten = true;
  });
  ASSERT_TRUE(world_.run_until([&] { return forgotten; }, Seconds(10)));
  const int before = slices;
  world_.run_for(Seconds(1));
  EXPECT_LE(slices, before + 1) << "the one under way";
}

// A View that is newest for long must not keep what was collected, neither on disk nor in memory.
TEST_F(MemberTest, WhatCollectionFreedIsGoneThoughNobodyWrites) {
  config_.store.segment_bytes = 4096;
  config_.store.collection_gain_bytes = 512;
  config_.store.checkpoint_interval = Milliseconds(20);
  start();
  for (int i = 0; i < 200; i++) put("k" + std::to_string(i % 10), std::string(200, 'n'));
  world_.run_for(Seconds(2));
  const Space before = view()->space;
  ASSERT_NE(compact(200), "failed");
  world_.run_for(Seconds(20));
  EXPECT_LT(view()->space.live_bytes, before.live_bytes / 5);
  EXPECT_LT(view()->space.file_bytes, before.file_bytes / 4);
  std::uint64_t on_disk = 0;
  for (const std::string& name : *host_.disk().list("/data/member/store")) {
    on_disk += (*host_.disk().status("/data/member/store/" + name))->size;
  }
  EXPECT_LT(on_disk, before.file_bytes / 2);
  EXPECT_NE(all(), "");
}

// The store has all that was answered when it is asked, however lately.
TEST_F(MemberTest, TheStoreIsAskedWithAllThatIsPublished) {
  start();
  for (int i = 0; i < 20; i++) {
    put("k", std::to_string(i));
    Front& front = member_->front(0);
    std::uint64_t records = 0;
    bool done = false;
    front.lane().post([&] {
      front.on_store([&](store::Store& store) {
        records = store.stats().records;
        return base::Job([&] { done = true; });
      });
    });
    ASSERT_TRUE(world_.run_until([&] { return done; }, Seconds(1)));
    EXPECT_EQ(records, i + 1u);
  }
}

// Defragment on a member where nothing else happens: the little that is dead, in a segment that has
// not ended, is reclaimed all the same.
TEST_F(MemberTest, WhatIsDeadIsReclaimedWhenAskedForThoughNothingIsWritten) {
  config_.store.segment_bytes = std::uint64_t{1} << 20;
  start();
  for (int i = 0; i < 300; i++) put("k" + std::to_string(i % 10), std::string(1000, 'n'));
  ASSERT_NE(compact(301), "failed");
  world_.run_for(Seconds(5));
  const std::string before = all();
  ASSERT_GT(view()->space.file_bytes, std::uint64_t{300'000});
  host_.lane("store").post([&] { member_->shared().store_keeper->reclaim(); });
  world_.run_for(Seconds(5));
  EXPECT_LT(view()->space.file_bytes, std::uint64_t{30'000});
  EXPECT_EQ(all(), before);
  crash(Disk::Crash::kRandom);
  start();
  EXPECT_EQ(all(), before);
}

// P3: the apply lane waits for the store, raft does not.
TEST_F(MemberTest, WhatIsNotYetInTheStoreIsBoundedAndStaysReadable) {
  config_.pending_bytes_max = 1000;
  start();
  for (int i = 0; i < 50; i++)
    ASSERT_NE(put("k" + std::to_string(i % 5), std::string(300, 'x')), "failed");
  EXPECT_EQ(view()->keys.revision, 51);
  for (std::int64_t revision = 2; revision <= 51; revision++) {
    EXPECT_NE(all(*view(), revision).find("k"), std::string::npos) << "P2";
  }
}

TEST_F(MemberTest, ColdRecordsAreReadByTheApplyLane) {
  start();
  put("a", "1");
  world_.run_for(Seconds(3));
  host_.disk().set_cold_one_in(1);
  etcdserverpb::PutRequest request;
  request.set_key("a");
  request.set_value("2");
  request.set_prev_kv(true);
  EXPECT_EQ(propose(kPutField, request), "3");
}

TEST_F(MemberTest, ASecondMemberOnTheDirectoryIsRefused) {
  start();
  auto second = Member::make(config_, host_.disk(), host_.clock(), host_.network(), {}, 1);
  ASSERT_FALSE(second.ok());
}

}  // namespace
}  // namespace keelson::member
