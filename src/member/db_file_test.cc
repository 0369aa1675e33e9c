// The db file of one whole member over the simulated disk, read back from its bytes.
#include "member/db_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/random.h"
#include "bolt/reader.h"
#include "env/simulated/world.h"
#include "member/applier.h"
#include "member/db_transfer.h"
#include "member/member.h"
#include "member/staged_store.h"
#include "mvcc/record.h"

namespace keelson::member {
namespace {

using base::Milliseconds;
using base::Seconds;
using Bytes = std::map<std::string, std::string>;

class DbFileTest : public ::testing::Test {
 protected:
  DbFileTest() : host_(world_.host("n1")) {
    member_ = make_member(host_);
    const auto has_version = [this] {
      return member_->shared().views.load()->roster->version.has_value();
    };
    EXPECT_TRUE(world_.run_until(has_version, Seconds(10)));
  }
  static Config config_of(const std::string& name) {
    Config config;
    config.name = name;
    config.data_dir = "/data";
    config.advertise_peer_urls = *membership::parse_url_list("http://" + name + ":2380");
    config.advertise_client_urls = {"http://" + name + ":2379"};
    config.initial_cluster = *membership::parse_initial_cluster(name + "=http://" + name + ":2380");
    config.store.reserve = false;
    config.store.segment_bytes = 8192;
    config.store.collection_gain_bytes = 512;
    config.store.checkpoint_interval = Milliseconds(20);
    return config;
  }
  // Of a cluster of its own; started.
  static std::unique_ptr<Member> make_member(env::simulated::Host& host) {
    auto made = Member::make(config_of(host.name()), host.disk(), host.clock(), host.network(),
                             {.io = {&host.lane("io0")},
                              .raft = &host.lane("raft"),
                              .log = &host.lane("log"),
                              .apply = &host.lane("apply"),
                              .store = &host.lane("store"),
                              .workers = {&host.lane("worker0")}},
                             1);
    EXPECT_TRUE(made.ok());
    auto member = *std::move(made);
    member->start([] {});
    return member;
  }
  ~DbFileTest() override {
    host_.kill(env::simulated::Disk::Crash::kKeepAll);
    member_.reset();
  }

  // The revision after it.
  std::int64_t propose(std::uint32_t field, const google::protobuf::Message& request) {
    std::optional<std::int64_t> revision;
    Front& front = member_->front(0);
    front.lane().post([&] {
      front.propose(field, request.SerializeAsString(), [&](base::Result<Reply, Failure> reply) {
        revision = reply ? reply->revision : -1;
      });
    });
    EXPECT_TRUE(world_.run_until([&] { return revision.has_value(); }, Seconds(20)));
    return revision.value_or(-1);
  }
  void put(const std::string& key, const std::string& value) {
    etcdserverpb::PutRequest request;
    request.set_key(key);
    request.set_value(value);
    history_[key].push_back({propose(4, request), false});
  }
  void erase(const std::string& key) {
    if (history_[key].empty() || history_[key].back().tombstone) return;
    etcdserverpb::DeleteRangeRequest request;
    request.set_key(key);
    history_[key].push_back({propose(5, request), true});
  }
  void compact(std::int64_t revision) {
    etcdserverpb::CompactionRequest request;
    request.set_revision(revision);
    ASSERT_NE(propose(7, request), -1);
    floor_ = revision;
  }
  void write_some(int count) {
    for (int i = 0; i < count; i++) {
      const std::string key = "k" + std::to_string(random_.below(30));
      random_.one_in(4) ? erase(key) : put(key, std::string(random_.below(400), 'v'));
    }
  }

  std::unique_ptr<DbFile> capture() { return capture(*member_); }
  std::unique_ptr<DbFile> capture(Member& member) {
    std::unique_ptr<DbFile> file;
    Front& front = member.front(0);
    front.lane().post([&] {
      front.on_state([&](std::shared_ptr<const View> view, store::Store& store) {
        file = std::make_unique<DbFile>(DbState::of(std::move(view), store));
        return base::Job([] {});
      });
    });
    EXPECT_TRUE(world_.run_until([&] { return file != nullptr; }, Seconds(10)));
    return file;
  }
  static std::string bytes_of(DbFile& file) {
    for (;;) {
      const auto planned = file.plan();
      if (!planned) return planned.error().message();
      if (*planned) break;
    }
    std::string all;
    for (;;) {
      auto bytes = file.next();
      if (!bytes) return bytes.error().message();
      if (bytes->empty()) break;
      all += *bytes;
    }
    EXPECT_EQ(all.size(), file.bytes());
    return all;
  }
  std::map<std::string, Bytes> read(const std::string& bytes) {
    std::map<std::string, Bytes> content;
    EXPECT_TRUE(env::write_file(disk_, "/db", bytes).ok());
    const auto file = disk_.open("/db", env::OpenMode::kRead).value();
    const auto database = bolt::Database::open(*file).value();
    EXPECT_TRUE(bolt::check(database).ok());
    bolt::Cursor buckets(database, database.root());
    while (buckets.next().value()) {
      Bytes& keys = content[std::string(buckets.key())];
      bolt::Cursor cursor(database, buckets.bucket().value());
      while (cursor.next().value()) keys.emplace(cursor.key(), cursor.value());
    }
    return content;
  }
  // The revision keys of all that a compaction at the floor leaves. Slow and obvious.
  std::vector<std::string> kept() const {
    std::vector<std::string> keys;
    for (const auto& [key, changes] : history_) {
      for (std::size_t i = 0; i < changes.size(); i++) {
        const Change& change = changes[i];
        const bool is_newest_at_floor =
            change.revision <= floor_ &&
            (i + 1 == changes.size() || changes[i + 1].revision > floor_);
        const bool stays = is_newest_at_floor && (!change.tombstone || change.revision == floor_);
        if (change.revision <= floor_ && !stays) continue;
        keys.push_back(base::revision_key({change.revision, 0}, change.tombstone));
      }
    }
    std::sort(keys.begin(), keys.end());
    return keys;
  }

  struct Change {
    std::int64_t revision;
    bool tombstone;
  };
  env::simulated::World world_{1};
  env::simulated::Host& host_;
  env::simulated::Disk disk_{2};
  std::unique_ptr<Member> member_;
  base::Random random_{3};
  std::map<std::string, std::vector<Change>> history_;
  std::int64_t floor_ = -1;
};

std::string big_endian(std::uint64_t value) {
  std::string out;
  for (int shift = 56; shift >= 0; shift -= 8) out += static_cast<char>(value >> shift);
  return out;
}

std::vector<std::string> keys_of(const Bytes& bucket) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : bucket) keys.push_back(key);
  return keys;
}

TEST_F(DbFileTest, OfANewMemberHasAllBuckets) {
  const auto file = capture();
  const auto content = read(bytes_of(*file));
  std::vector<std::string> names;
  for (const auto& [name, keys] : content) names.push_back(name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"alarm", "auth", "authRoles", "authUsers", "cluster", "key",
                                      "lease", "members", "members_removed", "meta"}));
  EXPECT_EQ(content.at("members").size(), 1u);
  EXPECT_EQ(content.at("meta").at("consistent_index"), big_endian(file->applied_index()));
  EXPECT_EQ(content.at("meta").at("storageVersion"), file->storage_version());
}

TEST_F(DbFileTest, IsTheStateOfItsMomentWhateverHappensMeanwhile) {
  for (int round = 0; round < 8; round++) {
    write_some(60);
    if (round % 2 == 1) compact(member_->shared().views.load()->keys.revision - 10);
    const auto view = member_->shared().views.load();
    const auto file = capture();
    const auto expected = kept();
    const std::int64_t floor = floor_;
    // Half of it is planned; then everything changes, and what was is collected.
    if (round % 3 == 0) ASSERT_TRUE(file->plan().ok());
    write_some(60);
    compact(member_->shared().views.load()->keys.revision);
    world_.run_for(Seconds(5));
    const auto content = read(bytes_of(*file));
    EXPECT_EQ(keys_of(content.at("key")), expected) << "round " << round;
    EXPECT_EQ(file->applied_index(), view->applied_index);
    const Bytes& meta = content.at("meta");
    EXPECT_EQ(meta.at("consistent_index"), big_endian(view->applied_index));
    EXPECT_EQ(meta.at("term"), big_endian(view->applied_term));
    if (floor > 0) EXPECT_EQ(meta.at("scheduledCompactRev"), base::revision_key({floor, 0}));
  }
}

TEST_F(DbFileTest, HasTheLeases) {
  etcdserverpb::LeaseGrantRequest grant;
  for (const std::int64_t id : {7, 3, 1 << 20}) {
    grant.set_id(id);
    grant.set_ttl(100 + id);
    propose(8, grant);
  }
  const auto content = read(bytes_of(*capture()));
  Bytes expected;
  for (const std::int64_t id : {3, 7, 1 << 20}) {
    expected[big_endian(static_cast<std::uint64_t>(id))] =
        lease::encode_lease({.id = id, .ttl = Seconds(100 + id), .remaining_ttl = Seconds(0)});
  }
  EXPECT_EQ(content.at("lease"), expected);
}

TEST_F(DbFileTest, NeedsItsViewOnlyUntilAllIsMarked) {
  write_some(50);
  auto view = member_->shared().views.load();
  const std::weak_ptr<const View> watched = view;
  view.reset();
  const auto file = capture();
  write_some(1);
  EXPECT_FALSE(watched.expired());
  ASSERT_TRUE(file->plan().ok());
  EXPECT_TRUE(file->is_marked());
  world_.run_for(Seconds(1));
  EXPECT_TRUE(watched.expired());
}

// Else whoever wakes on the core meanwhile waits for milliseconds.
TEST_F(DbFileTest, PlansInShortSlices) {
  for (int i = 0; i < 25; i++) {
    etcdserverpb::TxnRequest request;
    for (int j = 0; j < 100; j++) {
      request.add_success()->mutable_request_put()->set_key(fmt::format("k{}", i * 100 + j));
    }
    propose(6, request);
  }
  const auto file = capture();
  int slices = 0;
  for (; !file->is_marked(); slices++) ASSERT_TRUE(file->plan().ok());
  EXPECT_GE(slices, 3) << "a thousand keys at most in each";
}

// From a leader's hands into a follower's, as peer/ carries it.
class DbTransferTest : public DbFileTest {
 protected:
  DbTransferTest() {
    other_.data_dir = "/other";
    paths_ = Paths::of(other_);
    EXPECT_TRUE(host_.disk().make_directories(paths_.snap).ok());
    options_.reserve = false;
    options_.store_id = 5;
    options_.segment_bytes = 8192;
  }
  env::Lane& lane() { return host_.lane("io0"); }
  void on_lane(base::Job job) {
    bool done = false;
    lane().post([&] {
      job();
      done = true;
    });
    EXPECT_TRUE(world_.run_until([&] { return done; }, Seconds(10)));
  }
  DbSource::Made make_source() {
    std::optional<DbSource::Made> made;
    DbSource::make(member_->shared(), lane(), [&](base::Result<DbSource::Made> result) {
      EXPECT_TRUE(lane().is_current());
      made = *std::move(result);
    });
    EXPECT_TRUE(world_.run_until([&] { return made.has_value(); }, Seconds(10)));
    return *std::move(made);
  }
  std::unique_ptr<DbSink> make_sink(raft::Index index) {
    return std::make_unique<DbSink>(lane(), host_.lane("worker0"), host_.disk(), paths_,
                                    DbSink::Wanted{.index = index}, options_, coming_);
  }
  base::SharedBytes next(DbSource& source) {
    std::optional<base::SharedBytes> piece;
    on_lane(
        [&] { source.next([&](peer::SnapshotSource::Piece got) { piece = *std::move(got); }); });
    EXPECT_TRUE(world_.run_until([&] { return piece.has_value(); }, Seconds(10)));
    return *piece;
  }
  std::string rest_of(DbSource& source) {
    std::string bytes;
    for (auto piece = next(source); !piece.empty(); piece = next(source)) bytes += piece.view();
    return bytes;
  }
  // "" or what was wrong.
  std::string told(base::Function<void(peer::SnapshotSink::Done)> ask) {
    std::optional<std::string> answer;
    on_lane([&] {
      ask([&](base::Result<> result) { answer = result ? "" : result.error().message(); });
    });
    EXPECT_TRUE(world_.run_until([&] { return answer.has_value(); }, Seconds(60)));
    return *answer;
  }
  std::string write(DbSink& sink, const base::SharedBytes& bytes) {
    return told([&](auto done) { sink.write(bytes, std::move(done)); });
  }
  std::string finish(DbSink& sink) {
    return told([&](auto done) { sink.finish(std::move(done)); });
  }
  std::string import_path() const { return env::join_path(paths_.member, "store.import"); }
  std::uint64_t staged_bytes() {
    if (!host_.disk().status(import_path()).value()) return 0;
    std::uint64_t sum = 0;
    for (const auto& name : host_.disk().list(import_path()).value()) {
      sum += host_.disk().status(env::join_path(import_path(), name)).value()->size;
    }
    return sum;
  }
  std::vector<std::string> left() {
    world_.run_for(Seconds(1));
    auto names = host_.disk().list(paths_.member).value();
    for (const auto& name : host_.disk().list(paths_.snap).value()) names.push_back("snap/" + name);
    return names;
  }

  Config other_;
  Paths paths_;
  store::Options options_;
  std::shared_ptr<std::atomic<bool>> coming_ = std::make_shared<std::atomic<bool>>(false);
};

TEST_F(DbTransferTest, RestsBetweenPiecesOnlyWhileOthersWork) {
  write_some(200);
  auto made = make_source();
  const auto timed = [&] {
    const auto before = world_.now();
    next(*made.source);
    return world_.now() - before;
  };
  while (!next(*made.source).empty()) {
  }
  EXPECT_LT(timed(), kDbRest) << "nobody writes";
  write_some(1);
  EXPECT_GE(timed(), kDbRest);
}

TEST_F(DbTransferTest, BecomesAStagedStoreOfTheSameContent) {
  write_some(200);
  compact(member_->shared().views.load()->keys.revision - 50);
  auto made = make_source();
  EXPECT_EQ(made.snapshot.metadata.index, member_->shared().views.load()->applied_index);
  EXPECT_EQ(made.snapshot.metadata.conf_state.voters.size(), 1u);
  EXPECT_NE(made.snapshot.data.view(), "");
  auto content = read(bytes_of(*capture()));
  auto sink = make_sink(made.snapshot.metadata.index);
  std::uint64_t bytes = 0;
  for (auto piece = next(*made.source); !piece.empty(); piece = next(*made.source)) {
    bytes += piece.size();
    ASSERT_EQ(write(*sink, piece), "");
  }
  EXPECT_EQ(bytes, made.source->size());
  ASSERT_EQ(finish(*sink), "");
  sink.reset();
  const std::string staged = staged_path(paths_, made.snapshot.metadata.index);
  EXPECT_EQ(left(), (std::vector<std::string>{"snap", staged.substr(staged.rfind('/') + 1)}));
  EXPECT_FALSE(*coming_);
  auto opened = store::Store::open(host_.disk(), staged, options_).value();
  std::vector<std::string> keys;
  ASSERT_TRUE(opened.store
                  ->load([&](std::string_view, std::span<const store::LiveRevision> revisions) {
                    for (const auto& one : revisions) {
                      keys.push_back(base::revision_key(one.mod, one.tombstone));
                    }
                  })
                  .ok());
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(keys, keys_of(content.at("key")));
  content["meta"].erase("consistent_index");
  content["meta"].erase("term");
  for (std::size_t i = 0; i < base::kBucketCount; i++) {
    const auto bucket = static_cast<base::Bucket>(i);
    const auto& map = opened.store->buckets()[bucket];
    EXPECT_EQ(Bytes(map.begin(), map.end()), content.at(std::string(base::bucket_name(bucket))));
  }
}

// P5: what a follower does with it while it runs.
TEST_F(DbTransferTest, TakesThePlaceOfTheStateOfARunningMember) {
  env::simulated::Host& host = world_.host("n2");
  std::unique_ptr<Member> follower = make_member(host);
  const auto view_of = [&] { return follower->shared().views.load(); };
  ASSERT_TRUE(
      world_.run_until([&] { return view_of()->roster->version.has_value(); }, Seconds(10)));
  const auto before = view_of();
  write_some(200);
  compact(member_->shared().views.load()->keys.revision - 50);
  world_.run_for(Seconds(1));

  auto made = make_source();
  const raft::Index index = made.snapshot.metadata.index;
  ASSERT_GT(index, before->applied_index);
  const Paths paths = Paths::of(follower->config());
  DbSink sink(lane(), host.lane("worker0"), host.disk(), paths, {.index = index}, options_,
              coming_);
  for (auto piece = next(*made.source); !piece.empty(); piece = next(*made.source)) {
    ASSERT_EQ(write(sink, piece), "");
  }
  ASSERT_EQ(finish(sink), "");
  const auto apply = [&](ApplyWork work) {
    host.lane("apply").post([&follower, work = std::move(work)]() mutable {
      follower->shared().applier->inbox().push_always(std::move(work));
    });
  };
  apply({.install = index});
  // Whoever asks for a state meanwhile gets one that is whole.
  const auto asked = capture(*follower);
  ASSERT_TRUE(world_.run_until([&] { return view_of()->applied_index == index; }, Seconds(10)));
  const auto content = read(bytes_of(*capture()));
  EXPECT_EQ(read(bytes_of(*capture(*follower))), content);
  EXPECT_NO_FATAL_FAILURE(read(bytes_of(*asked)));
  EXPECT_EQ(before->keys.revision, 1) << "the old View is as it was";
  EXPECT_EQ(before->roster->members.front().name, "n2");
  EXPECT_EQ(view_of()->roster->members.front().name, "n1");

  // Entries go on from there.
  etcdserverpb::InternalRaftRequest request;
  request.mutable_header()->set_id(1);
  request.mutable_put()->set_key("after");
  request.mutable_put()->set_value("the snapshot");
  const std::int64_t revision = view_of()->keys.revision;
  apply({.entries = {{.term = made.snapshot.metadata.term,
                      .index = index + 1,
                      .data = base::SharedBytes(request.SerializeAsString())}}});
  ASSERT_TRUE(world_.run_until([&] { return view_of()->applied_index == index + 1; }, Seconds(10)));
  EXPECT_EQ(view_of()->keys.revision, revision + 1);
  EXPECT_EQ(read(bytes_of(*capture(*follower))).at("key").size(), content.at("key").size() + 1);
  world_.run_for(Seconds(5));
  std::vector<std::string> stores;
  for (const std::string& name : host.disk().list(paths.member).value()) {
    if (name.starts_with("store")) stores.push_back(name);
  }
  EXPECT_EQ(stores, std::vector<std::string>{"store"});
  host.kill(env::simulated::Disk::Crash::kKeepAll);
}

TEST_F(DbTransferTest, ABrokenTransferLeavesNothing) {
  write_some(50);
  auto made = make_source();
  const auto piece = next(*made.source);
  auto sink = make_sink(made.snapshot.metadata.index);
  ASSERT_EQ(write(*sink, piece), "");
  auto other = make_sink(made.snapshot.metadata.index);
  EXPECT_EQ(write(*other, piece), "another snapshot is coming: Device or resource busy");
  on_lane([&] {
    sink->write(piece, [](base::Result<>) {});
    sink.reset();
    other.reset();
  });
  EXPECT_EQ(left(), std::vector<std::string>{"snap"});
  EXPECT_FALSE(*coming_);
}

// 100 records of 256 KB, and what else a file must have.
std::string file_of_many(std::uint64_t index) {
  const std::string consistent_index = big_endian(index);
  const auto value_of = [](std::int64_t revision) {
    return std::string(mvcc::encode({.key = "k",
                                     .create_revision = revision,
                                     .mod_revision = revision,
                                     .version = 1,
                                     .value = std::string(256 * 1024, 'v'),
                                     .lease = 0})
                           .view());
  };
  constexpr std::int64_t kFirst = 1 << 20, kEnd = kFirst + 100;
  bolt::Layout layout;
  layout.begin_bucket(3, bolt::BucketKind::kLarge);
  for (std::int64_t revision = kFirst; revision < kEnd; revision++) {
    layout.add(base::kRevisionKeyBytes, value_of(revision).size());
  }
  layout.begin_bucket(4);
  layout.add(base::kConsistentIndexKey.size(), 8);
  bolt::Writer writer(layout.finish());
  for (const bool is_front : {true, false}) {
    writer.begin_bucket("key", bolt::BucketKind::kLarge);
    for (std::int64_t revision = kFirst; revision < kEnd; revision++) {
      const std::string key = base::revision_key({revision, 0}), value = value_of(revision);
      is_front ? writer.add_size(key, value.size()) : writer.add(key, value);
    }
    writer.begin_bucket("meta");
    writer.add(base::kConsistentIndexKey, consistent_index);
    EXPECT_TRUE((is_front ? writer.end_front() : writer.finish()).ok());
  }
  return writer.take();
}

// What has come is in segments before the rest comes, and all of it goes if that does not.
TEST_F(DbTransferTest, IsStagedWhileItComes) {
  const std::string bytes = file_of_many(1000);
  auto sink = make_sink(1000);
  const auto give = [&](std::size_t begin, std::size_t end) {
    auto answer = write(*sink, base::SharedBytes(bytes.substr(begin, end - begin)));
    world_.run_for(Seconds(1));
    return answer;
  };
  const std::string import = import_path();
  ASSERT_EQ(give(0, 5000), "");
  EXPECT_FALSE(host_.disk().status(import).value()) << "the root has not come";
  ASSERT_EQ(give(5000, bytes.size() / 2), "");
  const std::uint64_t of_half = staged_bytes();
  EXPECT_GT(of_half, bytes.size() / 3);
  ASSERT_EQ(give(bytes.size() / 2, bytes.size()), "");
  EXPECT_GT(staged_bytes(), of_half + bytes.size() / 4);
  EXPECT_FALSE(host_.disk().status(staged_path(paths_, 1000)).value());
  on_lane([&] { sink.reset(); });
  EXPECT_EQ(left(), std::vector<std::string>{"snap"});
  EXPECT_FALSE(*coming_);
}

// Else an etcd would give up where the root comes late and much is to be caught up with.
TEST_F(DbTransferTest, APieceIsAnsweredHoweverMuchTheWalkHasToDo) {
  auto sink = make_sink(1000);
  const std::string bytes = file_of_many(1000);
  ASSERT_EQ(write(*sink, base::SharedBytes(bytes.substr(0, bytes.size() - 2))), "");
  EXPECT_LT(staged_bytes(), bytes.size() / 4) << "the next one is to be there when it is done";
  ASSERT_EQ(write(*sink, base::SharedBytes(bytes.substr(bytes.size() - 2, 1))), "");
  EXPECT_GT(staged_bytes(), bytes.size() * 2 / 5) << "one is ahead, not two";
  EXPECT_LT(staged_bytes(), bytes.size() * 3 / 4);
  world_.run_for(Seconds(1));
  EXPECT_GT(staged_bytes(), bytes.size() * 19 / 20) << "it goes on by itself";
  ASSERT_EQ(write(*sink, base::SharedBytes(bytes.substr(bytes.size() - 1))), "");
  ASSERT_EQ(finish(*sink), "");
  const auto opened = store::Store::open(host_.disk(), staged_path(paths_, 1000), options_).value();
  EXPECT_EQ(opened.recovered.newest.main, (1 << 20) + 99);
}

TEST_F(DbTransferTest, DamageIsSaidWithTheNextPieceAndNothingIsLeft) {
  write_some(400);
  auto made = make_source();
  std::string bytes = rest_of(*made.source);
  bytes[bytes.size() / 2 / 4096 * 4096] ^= 1;
  auto sink = make_sink(made.snapshot.metadata.index);
  EXPECT_EQ(write(*sink, base::SharedBytes(bytes.substr(0, bytes.size() - 2))), "");
  EXPECT_THAT(write(*sink, base::SharedBytes(bytes.substr(bytes.size() - 2, 1))),
              ::testing::HasSubstr("found a header of"));
  EXPECT_FALSE(host_.disk().status(import_path()).value());
  EXPECT_THAT(finish(*sink), ::testing::HasSubstr("found a header of"));
  on_lane([&] { sink.reset(); });
  EXPECT_EQ(left(), std::vector<std::string>{"snap"});
}

TEST_F(DbTransferTest, ATornFileIsRefused) {
  write_some(100);
  auto made = make_source();
  const auto piece = next(*made.source);
  auto sink = make_sink(made.snapshot.metadata.index);
  ASSERT_EQ(write(*sink, piece.slice(0, piece.size() / 2)), "");
  EXPECT_NE(finish(*sink), "");
  sink.reset();
  EXPECT_EQ(left(), std::vector<std::string>{"snap"});
  EXPECT_FALSE(*coming_);
}

TEST_F(DbTransferTest, RoomIsAskedForWithTheFirstPages) {
  write_some(100);
  auto made = make_source();
  auto sink = make_sink(made.snapshot.metadata.index);
  const auto piece = next(*made.source);
  world_.run_for(Seconds(5));  // the member's own files come to rest
  host_.disk().set_capacity(std::uint64_t{1} << 30);
  const auto space = host_.disk().space(paths_.snap).value();
  host_.disk().set_capacity(space.total - space.available + 2 * made.source->size());
  EXPECT_EQ(write(*sink, piece.slice(0, 8192)), "");
  EXPECT_THAT(write(*sink, piece.slice(8192, 4096)), ::testing::HasSubstr("staging a snapshot of"));
}

}  // namespace
}  // namespace keelson::member
