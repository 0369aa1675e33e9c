#include "wal/snapshotter.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/crc32c.h"
#include "env/simulated/disk.h"
#include "proto/raft.pb.h"
#include "proto/snap.pb.h"
#include "wal/wal.h"

namespace keelson::wal {
namespace {

using env::simulated::Disk;

raft::Snapshot snapshot(raft::Term term, raft::Index index, std::string data = "{}") {
  return {.data = base::SharedBytes(std::move(data)),
          .metadata = {.conf_state = {.voters = {1, 2},
                                      .learners = {3},
                                      .voters_outgoing = {},
                                      .learners_next = {}},
                       .index = index,
                       .term = term}};
}
raft::SnapshotMetadata mark(raft::Term term, raft::Index index) {
  return {.conf_state = {}, .index = index, .term = term};
}

class SnapshotterTest : public ::testing::Test {
 protected:
  SnapshotterTest() { EXPECT_TRUE(disk_.make_directories("/snap").ok()); }
  void touch(const std::string& name, std::string_view bytes = "x") {
    ASSERT_TRUE(env::write_file(disk_, "/snap/" + name, bytes).ok());
  }
  std::vector<std::string> names() { return disk_.list("/snap").value(); }

  Disk disk_{1};
  Snapshotter snapshotter_{disk_, "/snap"};
};

TEST_F(SnapshotterTest, WritesWhatEtcdReads) {
  ASSERT_TRUE(snapshotter_.save(snapshot(2, 10'000, "tree")).ok());
  EXPECT_EQ(names(), std::vector<std::string>{"0000000000000002-0000000000002710.snap"});
  snappb::snapshot frame;
  ASSERT_TRUE(frame.ParseFromString(disk_.contents().begin()->second));
  EXPECT_EQ(frame.crc(), base::crc32c(0, frame.data()));
  raftpb::Snapshot read;
  ASSERT_TRUE(read.ParseFromString(frame.data()));
  EXPECT_EQ(read.data(), "tree");
  EXPECT_EQ(read.metadata().index(), 10'000u);
  EXPECT_EQ(read.metadata().term(), 2u);
  EXPECT_EQ(read.metadata().conf_state().voters_size(), 2);
  EXPECT_EQ(read.metadata().conf_state().learners(0), 3u);
}

TEST_F(SnapshotterTest, LoadsTheNewestThatTheLogKnows) {
  for (raft::Index index : {5, 9, 12}) ASSERT_TRUE(snapshotter_.save(snapshot(1, index)).ok());
  ASSERT_TRUE(snapshotter_.save(snapshot(2, 3)).ok());
  struct Row {
    const char* why;
    std::vector<raft::SnapshotMetadata> marks;
    std::optional<raft::Index> expected;
  };
  for (const Row& row : {
           Row{"all are marked: greatest term, then index",
               {mark(1, 5), mark(1, 9), mark(1, 12), mark(2, 3)},
               3},
           Row{"the newest two are not marked", {mark(1, 5), mark(1, 9)}, 9},
           Row{"the index with another term does not count", {mark(2, 12), mark(1, 5)}, 5},
           Row{"none is marked", {mark(0, 0)}, std::nullopt},
       }) {
    const auto loaded = snapshotter_.load_newest(row.marks);
    ASSERT_TRUE(loaded.ok());
    EXPECT_TRUE(loaded->broken.empty());
    ASSERT_EQ(loaded->snapshot.has_value(), row.expected.has_value()) << row.why;
    if (row.expected) EXPECT_EQ(loaded->snapshot->metadata.index, *row.expected) << row.why;
  }
}

TEST_F(SnapshotterTest, SetsBrokenFilesAside) {
  ASSERT_TRUE(snapshotter_.save(snapshot(1, 5, "older")).ok());
  const std::string good = encode_snapshot_file(snapshot(1, 9));
  std::string no_checksum;
  {
    snappb::snapshot frame;
    ASSERT_TRUE(frame.ParseFromString(good));
    frame.set_crc(0);
    no_checksum = frame.SerializeAsString();
  }
  for (std::size_t i = 0; i < good.size(); i++) {
    std::string flipped = good;
    flipped[i] = static_cast<char>(flipped[i] ^ 4);
    EXPECT_FALSE(decode_snapshot_file(flipped).ok()) << i;
    EXPECT_FALSE(decode_snapshot_file(std::string_view(good).substr(0, i)).ok()) << i;
  }
  const std::vector<std::string> bad = {"", "garbage", good.substr(0, good.size() - 1),
                                        no_checksum};
  for (std::size_t i = 0; i < bad.size(); i++)
    touch(fmt::format("0000000000000001-{:016x}.snap", 100 + i), bad[i]);
  const std::vector marks = {mark(1, 5)};
  const auto loaded = snapshotter_.load_newest(marks);
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->broken.size(), bad.size());
  EXPECT_EQ(loaded->snapshot->data.view(), "older");
  EXPECT_NE(loaded->broken[0].message().find("/snap/0000000000000001-0000000000000067.snap"),
            std::string::npos);
  EXPECT_EQ(names().size(), 1 + bad.size());
  EXPECT_TRUE(names()[1].ends_with(".snap.broken"));
  EXPECT_TRUE(snapshotter_.load_newest(marks)->broken.empty()) << "once is enough";
}

// A disk that cannot be read just now must not cost a good file its name.
TEST_F(SnapshotterTest, AReadErrorIsNoBrokenFile) {
  ASSERT_TRUE(snapshotter_.save(snapshot(1, 5)).ok());
  disk_.fail({.operation = Disk::Operation::kRead, .error_number = EIO});
  const std::vector marks = {mark(1, 5)};
  EXPECT_EQ(snapshotter_.load_newest(marks).error().code, Errc::kIo);
  EXPECT_TRUE(snapshotter_.load_newest(marks)->snapshot);
}

TEST_F(SnapshotterTest, AFailedSaveLeavesNothing) {
  for (const auto operation :
       {Disk::Operation::kWrite, Disk::Operation::kSync, Disk::Operation::kSyncDirectory}) {
    disk_.fail({.operation = operation, .error_number = ENOSPC});
    EXPECT_EQ(snapshotter_.save(snapshot(1, 5)).error().code, Errc::kNoSpace);
    EXPECT_TRUE(names().empty());
  }
}

// Whatever a crash leaves of an unfinished save, the snapshot before it is found.
TEST_F(SnapshotterTest, SurvivesACrashAtEveryStep) {
  for (std::uint64_t seed = 1; seed <= 20; seed++) {
    for (std::uint64_t step = 1; step <= 6; step++) {
      Disk disk(seed);
      ASSERT_TRUE(disk.make_directories("/snap").ok());
      Snapshotter snapshotter(disk, "/snap");
      ASSERT_TRUE(snapshotter.save(snapshot(1, 5, "kept")).ok());
      disk.cut_at(disk.changes() + step, Disk::Crash::kRandom);
      const bool saved = snapshotter.save(snapshot(1, 9, std::string(3000, 'n'))).ok();
      if (!disk.is_off()) disk.cut(Disk::Crash::kRandom);
      disk.power_on();
      const std::vector marks = {mark(1, 5), mark(1, 9)};
      const auto loaded = snapshotter.load_newest(marks);
      ASSERT_TRUE(loaded.ok());
      ASSERT_TRUE(loaded->snapshot);
      if (saved) EXPECT_EQ(loaded->snapshot->metadata.index, 9u);
      if (loaded->snapshot->metadata.index == 5) EXPECT_EQ(loaded->snapshot->data.view(), "kept");
    }
  }
}

TEST_F(SnapshotterTest, TidiesUp) {
  for (const char* name : {"db", "db.tmp.123", "tmp123", "000000000000000a.snap.db",
                           "0000000000000014.snap.db", "zz.snap.db", "notes"}) {
    touch(name);
  }
  EXPECT_EQ(snapshotter_.remove_unfinished().value(),
            (std::vector<std::string>{"db.tmp.123", "tmp123"}));
  EXPECT_TRUE(snapshotter_.has_database(10).value());
  EXPECT_EQ(snapshotter_.remove_databases_below(20).value(),
            std::vector<std::string>{"000000000000000a.snap.db"});
  EXPECT_FALSE(snapshotter_.has_database(10).value());
  EXPECT_TRUE(snapshotter_.has_database(20).value());
  EXPECT_EQ(names(),
            (std::vector<std::string>{"0000000000000014.snap.db", "db", "notes", "zz.snap.db"}));
}

TEST_F(SnapshotterTest, PurgesTheOldestByCount) {
  for (raft::Index index = 1; index <= 7; index++) {
    ASSERT_TRUE(snapshotter_.save(snapshot(1, index)).ok());
    touch(fmt::format("{:016x}.snap.db", index));
  }
  const auto removed = snapshotter_.purge(5).value();
  EXPECT_EQ(removed,
            (std::vector<std::string>{"0000000000000001-0000000000000001.snap",
                                      "0000000000000001-0000000000000002.snap",
                                      "0000000000000001.snap.db", "0000000000000002.snap.db"}));
  EXPECT_EQ(snapshotter_.list()->size(), 5u);
  EXPECT_EQ(snapshotter_.list()->front().index, 7u);
}

// A log and a snapshot that etcd 3.7.1 wrote (one member, sixty puts, a snapshot every twenty
// entries, killed), cut after the last frame.
TEST(EtcdsOwnFiles, AreRead) {
  const std::string directory = KEELSON_TEST_DIR "/testdata/etcd-3.7.1";
  Disk disk(1);
  for (const char* name :
       {"0000000000000000-0000000000000000.wal", "0000000000000002-000000000000003f.snap"}) {
    std::ifstream in(directory + "/" + name, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    ASSERT_FALSE(bytes.empty()) << name;
    ASSERT_TRUE(disk.make_directories("/etcd").ok());
    ASSERT_TRUE(env::write_file(disk, std::string("/etcd/") + name, bytes).ok());
  }
  const auto marks = valid_snapshots(disk, "/etcd").value();
  ASSERT_EQ(marks.size(), 4u);
  EXPECT_EQ(marks[3].index, 63u);
  EXPECT_EQ(marks[3].conf_state.voters, std::vector<raft::NodeId>{0x667880157b8812c8});

  const auto loaded = Snapshotter(disk, "/etcd").load_newest(marks).value();
  ASSERT_TRUE(loaded.snapshot);
  EXPECT_EQ(loaded.snapshot->metadata.index, 63u);
  EXPECT_EQ(loaded.snapshot->metadata.conf_state.voters, marks[3].conf_state.voters);

  const auto all = read_log(disk, "/etcd", {}).value();
  ASSERT_EQ(all.entries.size(), 64u);
  EXPECT_EQ(all.entries[0].type, raft::EntryType::kConfChange);
  EXPECT_NE(all.entries[63].data.view().find("v60"), std::string_view::npos);
  EXPECT_EQ(decode_identity(all.metadata),
            (Identity{.node_id = 0x667880157b8812c8, .cluster_id = 0xdc50b8daae93b3e0}));
  EXPECT_EQ(all.hard_state.term, 2u);
  EXPECT_EQ(all.hard_state.vote, 0x667880157b8812c8u);

  auto opened =
      Wal::open(disk, {.directory = "/etcd", .segment_bytes = 100'000}, {.index = 63, .term = 2});
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  EXPECT_EQ(opened->recovered.entries.size(), 1u);
  EXPECT_FALSE(opened->recovered.repaired);
}

}  // namespace
}  // namespace keelson::wal
