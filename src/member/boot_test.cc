// Boot: what a directory must be, B1 to B3, and what a start finds in one.
#include "member/boot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "env/simulated/disk.h"
#include "raft/wire.h"

namespace keelson::member {
namespace {

using env::simulated::Disk;
using ::testing::HasSubstr;

Config config(std::string name = "n1") {
  Config config;
  config.name = name;
  config.data_dir = "/data";
  config.advertise_peer_urls = *membership::parse_url_list("http://n1:2380");
  config.initial_cluster = *membership::parse_initial_cluster(name + "=http://n1:2380");
  config.store.reserve = false;
  config.wal_segment_bytes = 64 * 1024;
  config.store.segment_bytes = 64 * 1024;
  return config;
}

class BootTest : public ::testing::Test {
 protected:
  base::Result<Booted, BootError> boot(const Config& with = config()) {
    return member::boot(disk_, with, base::WallTime(base::Seconds(1'700'000'000)), 42);
  }
  std::string refusal(const Config& with = config()) {
    auto booted = boot(with);
    return booted ? "" : booted.error().text;
  }
  void write(const std::string& path, std::string_view bytes = "") {
    ASSERT_TRUE(disk_.make_directories(path.substr(0, path.rfind('/'))).ok());
    ASSERT_TRUE(env::write_file(disk_, path, bytes).ok());
  }
  raft::Entry entry(raft::Index index, raft::Term term = 2) {
    return {.term = term, .index = index, .data = {}};
  }

  Disk disk_{1};
};

TEST_F(BootTest, ANewMemberHasItsBootstrapEntryDurable) {
  {
    auto booted = boot();
    ASSERT_TRUE(booted.ok()) << booted.error().text;
    EXPECT_TRUE(booted->new_member);
    ASSERT_EQ(booted->entries.size(), 1u);
    EXPECT_EQ(booted->entries[0].type, raft::EntryType::kConfChange);
    EXPECT_EQ(booted->hard_state.commit, 1u);
    EXPECT_EQ(booted->applied_index, 0u);
  }
  disk_.crash(Disk::Crash::kLoseUnsynced);
  auto again = boot();
  ASSERT_TRUE(again.ok()) << again.error().text;
  EXPECT_FALSE(again->new_member);
  EXPECT_EQ(again->entries.size(), 1u);
  EXPECT_NE(again->identity.member_id, 0u);
}

TEST_F(BootTest, ACrashAtAnyStepOfTheFirstStartLeavesADirectoryThatStarts) {
  Disk counted(1);
  ASSERT_TRUE(member::boot(counted, config(), {}, 42).ok());
  ASSERT_GT(counted.changes(), 20u);
  for (std::uint64_t at = 1; at <= counted.changes(); at++) {
    for (const auto mode :
         {Disk::Crash::kLoseUnsynced, Disk::Crash::kRandom, Disk::Crash::kKeepAll}) {
      Disk disk(at);
      disk.cut_at(at, mode);
      EXPECT_FALSE(member::boot(disk, config(), {}, 42).ok());
      disk.power_on();
      auto again = member::boot(disk, config(), {}, 43);
      ASSERT_TRUE(again.ok()) << "step " << at << ": " << again.error().text;
      EXPECT_EQ(again->entries.size(), 1u);
    }
  }
}

TEST_F(BootTest, EtcdsOwnDatabaseIsRefusedUntouched) {
  write("/data/member/snap/db", "bolt");
  const auto before = disk_.contents();
  EXPECT_THAT(refusal(), HasSubstr("/data/member/snap/db is etcd's own database"));
  EXPECT_EQ(disk_.contents(), before) << "B2";
}

TEST_F(BootTest, AStoreWithoutItsLogIsRefused) {
  {
    auto booted = boot();
    ASSERT_TRUE(booted.ok());
    auto batch = std::make_shared<base::Batch>();
    batch->set_applied(1, 1);
    ASSERT_TRUE(booted->store->append(batch).ok());
    ASSERT_TRUE(booted->store->checkpoint({}, {}).ok());
  }
  ASSERT_TRUE(disk_.remove_all("/data/member/wal").ok());
  EXPECT_THAT(refusal(), HasSubstr("/data/member/store holds data up to log entry 1"));
}

TEST_F(BootTest, ALogWithoutItsStoreIsReplayedOnlyFromTheBeginning) {
  {
    auto booted = boot();
    ASSERT_TRUE(booted.ok());
    booted->wal->append({.term = 2, .vote = 1, .commit = 3}, std::vector{entry(2), entry(3)});
    ASSERT_TRUE(booted->wal->flush_and_sync().ok());
  }
  ASSERT_TRUE(disk_.remove_all("/data/member/store").ok());
  {
    auto booted = boot();
    ASSERT_TRUE(booted.ok()) << booted.error().text;
    EXPECT_EQ(booted->entries.size(), 3u);
    EXPECT_EQ(booted->applied_index, 0u);
  }
}

// B1: S <= C <= last.
TEST_F(BootTest, AStoreAheadOfTheLogIsRefused) {
  {
    auto booted = boot();
    ASSERT_TRUE(booted.ok());
    auto batch = std::make_shared<base::Batch>();
    batch->set_applied(9, 2);
    ASSERT_TRUE(booted->store->append(batch).ok());
    ASSERT_TRUE(booted->store->checkpoint({}, {}).ok());
  }
  EXPECT_THAT(refusal(), HasSubstr("holds log entry 9, but the write-ahead log "
                                   "/data/member/wal ends at 1: entries are missing"));
}

TEST_F(BootTest, TheNewestSnapshotThatTheStoreReachesIsTaken) {
  const auto mark = [](wal::Wal& wal, raft::Index index) {
    wal.save_snapshot({.conf_state = {.voters = {1}}, .index = index, .term = 2});
    ASSERT_TRUE(wal.flush_and_sync().ok());
  };
  {
    auto booted = boot();
    ASSERT_TRUE(booted.ok());
    booted->wal->append({.term = 2, .vote = 1, .commit = 5},
                        std::vector{entry(2), entry(3), entry(4), entry(5)});
    ASSERT_TRUE(booted->wal->flush_and_sync().ok());
    mark(*booted->wal, 2);
    mark(*booted->wal, 4);
    auto batch = std::make_shared<base::Batch>();
    batch->set_applied(3, 2);
    ASSERT_TRUE(booted->store->append(batch).ok());
    ASSERT_TRUE(booted->store->checkpoint({}, {}).ok());
  }
  auto booted = boot();
  ASSERT_TRUE(booted.ok()) << booted.error().text;
  EXPECT_EQ(booted->snapshot.index, 2u) << "the one at 4 is ahead of the store";
  EXPECT_EQ(booted->applied_index, 3u);
  EXPECT_EQ(booted->entries.size(), 3u);
  EXPECT_EQ(booted->hard_state.commit, 5u);
}

TEST_F(BootTest, CommitIsRaisedToWhatWasApplied) {
  {
    auto booted = boot();
    ASSERT_TRUE(booted.ok());
    booted->wal->append({.term = 2, .vote = 1, .commit = 1}, std::vector{entry(2), entry(3)});
    ASSERT_TRUE(booted->wal->flush_and_sync().ok());
    auto batch = std::make_shared<base::Batch>();
    batch->set_applied(3, 2);
    ASSERT_TRUE(booted->store->append(batch).ok());
    ASSERT_TRUE(booted->store->checkpoint({}, {}).ok());
  }
  auto booted = boot();
  ASSERT_TRUE(booted.ok());
  EXPECT_EQ(booted->hard_state.commit, 3u);
}

// B3: what cannot be read names its file.
// The process ends at a sync that fails, is started again, answers for more, and then power fails.
TEST_F(BootTest, AStartDoesNotTrustWhatAFailedSyncLeftInMemory) {
  for (std::uint64_t seed = 1; seed <= 40; seed++) {
    Disk disk(seed);
    const auto append = [](Booted& booted, raft::Index index) {
      booted.wal->append({.term = 2, .vote = 1, .commit = 1},
                         std::vector<raft::Entry>{{.term = 2, .index = index, .data = {}}});
      return booted.wal->flush_and_sync().ok();
    };
    {
      auto booted = member::boot(disk, config(), {}, 42);
      ASSERT_TRUE(booted.ok() && append(*booted, 2));
      disk.fail({.operation = Disk::Operation::kSync, .error_number = EIO, .path_part = ".wal"});
      ASSERT_FALSE(append(*booted, 3));
    }
    raft::Index last = 0;
    {
      auto again = member::boot(disk, config(), {}, 42);
      ASSERT_TRUE(again.ok()) << again.error().text;
      last = again->entries.back().index + 1;
      EXPECT_GE(last, 3u) << "what was answered for";
      ASSERT_TRUE(append(*again, last));
    }
    disk.crash(Disk::Crash::kLoseUnsynced);
    auto at_last = member::boot(disk, config(), {}, 42);
    ASSERT_TRUE(at_last.ok()) << "seed " << seed << ": " << at_last.error().text;
    EXPECT_EQ(at_last->entries.back().index, last) << "seed " << seed;
  }
}

TEST_F(BootTest, AFlippedBitIsNeverAStartWithLess) {
  {
    auto booted = boot();
    ASSERT_TRUE(booted.ok());
    booted->wal->append({.term = 2, .vote = 1, .commit = 3}, std::vector{entry(2), entry(3)});
    ASSERT_TRUE(booted->wal->flush_and_sync().ok());
  }
  const std::string log = "/data/member/wal/0000000000000000-0000000000000000.wal";
  for (const std::uint64_t offset : {20, 60, 90}) {
    disk_.flip_bit(log, offset);
    EXPECT_THAT(refusal(), HasSubstr(log)) << offset;
    disk_.flip_bit(log, offset);
  }
  EXPECT_EQ(refusal(), "");
}

TEST_F(BootTest, ASecondProcessIsRefused) {
  auto first = boot();
  ASSERT_TRUE(first.ok());
  EXPECT_NE(refusal(), "");
}

// Each member of a new cluster begins with the same entries, as etcd's do: one for each member, in
// the order of their ids.
TEST_F(BootTest, AClusterBeginsWithTheSameEntriesEverywhere) {
  std::vector<std::string> first;
  std::set<membership::MemberId> ids;
  std::set<membership::ClusterId> clusters;
  for (const std::string name : {"n1", "n2", "n3"}) {
    Config one = config();
    one.name = name;
    one.data_dir = "/" + name;
    one.initial_cluster =
        *membership::parse_initial_cluster("n1=http://n1:2380,n2=http://n2:2380,n3=http://n3:2380");
    one.advertise_peer_urls = *membership::parse_url_list("http://" + name + ":2380");
    auto booted = member::boot(disk_, one, {}, 42);
    ASSERT_TRUE(booted.ok()) << booted.error().text;
    ids.insert(booted->identity.member_id);
    clusters.insert(booted->identity.cluster_id);
    EXPECT_EQ(booted->hard_state, (raft::HardState{.term = 1, .commit = 3}));
    std::vector<std::string> entries;
    for (const raft::Entry& entry : booted->entries) {
      EXPECT_EQ(entry.type, raft::EntryType::kConfChange);
      EXPECT_EQ(entry.term, 1u);
      entries.emplace_back(entry.data.view());
    }
    ASSERT_EQ(entries.size(), 3u);
    if (first.empty()) first = entries;
    EXPECT_EQ(entries, first) << name;
  }
  EXPECT_EQ(ids.size(), 3u);
  EXPECT_EQ(clusters.size(), 1u);
}

// --force-new-cluster: from the directory of one member of three.
class ForceNewClusterTest : public BootTest {
 protected:
  ForceNewClusterTest() {
    three_.initial_cluster =
        *membership::parse_initial_cluster("n1=http://n1:2380,n2=http://n2:2380,n3=http://n3:2380");
    forced_ = three_;
    forced_.force_new_cluster = true;
  }
  // The first start, and these entries of term 2 behind its three, committed up to `commit`.
  void leave(Disk& disk, std::vector<raft::Entry> entries, raft::Index commit) {
    auto booted = member::boot(disk, three_, {}, 42);
    ASSERT_TRUE(booted.ok()) << booted.error().text;
    self_ = booted->identity.member_id;
    booted->wal->append({.term = 2, .vote = self_, .commit = commit}, entries);
    ASSERT_TRUE(booted->wal->flush_and_sync().ok());
  }
  raft::Entry change(raft::Index index, raft::ConfChangeType type, raft::NodeId id) const {
    return {.type = raft::EntryType::kConfChange,
            .term = 2,
            .index = index,
            .data = base::SharedBytes(raft::encode(raft::ConfChange{.type = type, .node_id = id}))};
  }
  // What the log's conf changes make of its members, and of whom it removes in which order.
  struct Log {
    std::set<raft::NodeId> members;
    std::vector<raft::NodeId> removed;
  };
  static Log read(const Booted& booted) {
    Log log;
    for (const raft::Entry& entry : booted.entries) {
      if (entry.type != raft::EntryType::kConfChange) continue;
      const auto change = raft::decode_conf_change(entry.data.view()).value();
      if (change.type == raft::ConfChangeType::kRemoveNode) {
        log.members.erase(change.node_id);
        log.removed.push_back(change.node_id);
      } else {
        log.members.insert(change.node_id);
      }
    }
    return log;
  }

  Config three_ = config(), forced_;
  membership::MemberId self_ = 0;
};

TEST_F(ForceNewClusterTest, OthersAreRemovedBehindWhatIsCommitted) {
  leave(disk_, {entry(4), entry(5), entry(6)}, 4);
  for (const Config* with : {&forced_, &three_, &forced_}) {
    auto booted = boot(*with);
    ASSERT_TRUE(booted.ok()) << booted.error().text;
    EXPECT_EQ(booted->identity.member_id, self_);
    ASSERT_EQ(booted->entries.size(), 6u) << "3 + 1 committed, 2 removals; 5 and 6 are dropped";
    EXPECT_EQ(booted->entries.back().index, 6u);
    EXPECT_EQ(booted->entries.back().term, 2u);
    EXPECT_EQ(booted->hard_state, (raft::HardState{.term = 2, .vote = self_, .commit = 6}));
    const Log log = read(*booted);
    EXPECT_EQ(log.members, std::set{self_});
    ASSERT_EQ(log.removed.size(), 2u);
    EXPECT_LT(log.removed[0], log.removed[1]);
  }
}

TEST_F(ForceNewClusterTest, WhatWasAppliedWasCommitted) {
  leave(disk_, {entry(4), entry(5)}, 3);
  {
    auto booted = boot(three_);
    ASSERT_TRUE(booted.ok());
    auto batch = std::make_shared<base::Batch>();
    batch->set_applied(4, 2);
    ASSERT_TRUE(booted->store->append(batch).ok());
    ASSERT_TRUE(booted->store->checkpoint({}, {}).ok());
  }
  auto booted = boot(forced_);
  ASSERT_TRUE(booted.ok()) << booted.error().text;
  EXPECT_EQ(booted->entries[3].type, raft::EntryType::kNormal) << "4 stays";
  EXPECT_EQ(booted->entries[4].type, raft::EntryType::kConfChange);
}

// As etcd's does: it cannot know where others would find it.
TEST_F(ForceNewClusterTest, AMemberThatIsNotInItsLogYetAddsItself) {
  Config joining = three_;
  joining.new_cluster = false;
  joining.running = {.id = 7,
                     .members = membership::initial_members(three_.initial_cluster, "t").value()};
  {
    auto booted = boot(joining);
    ASSERT_TRUE(booted.ok()) << booted.error().text;
    self_ = booted->identity.member_id;
  }
  joining.force_new_cluster = true;
  auto booted = boot(joining);
  ASSERT_TRUE(booted.ok()) << booted.error().text;
  ASSERT_EQ(booted->entries.size(), 1u);
  const auto change = raft::decode_conf_change(booted->entries[0].data.view()).value();
  EXPECT_EQ(change.node_id, self_);
  EXPECT_THAT(change.context, HasSubstr(R"("peerURLs":["http://localhost:2380"])"));
}

TEST_F(ForceNewClusterTest, WhoCannotVoteIsRefusedUntouched) {
  struct Row {
    raft::ConfChangeType type;
    const char* why;
  };
  for (const Row& row : {Row{raft::ConfChangeType::kAddLearnerNode, "is a learner"},
                         Row{raft::ConfChangeType::kRemoveNode, "was removed from the old one"}}) {
    Disk disk(1);
    leave(disk, {}, 3);
    leave(disk, {change(4, row.type, self_)}, 4);
    auto booted = member::boot(disk, forced_, {}, 42);
    ASSERT_FALSE(booted.ok());
    EXPECT_THAT(booted.error().text, HasSubstr(row.why));
    auto again = member::boot(disk, three_, {}, 42);
    ASSERT_TRUE(again.ok());
    EXPECT_EQ(again->entries.size(), 4u);
  }
}

TEST_F(ForceNewClusterTest, ADirectoryWithoutALogBeginsAsAnyOther) {
  auto booted = boot(forced_);
  ASSERT_TRUE(booted.ok()) << booted.error().text;
  EXPECT_TRUE(booted->new_member);
  EXPECT_EQ(read(*booted).members.size(), 3u);
}

TEST_F(ForceNewClusterTest, ACrashAtAnyStepLeavesADirectoryThatStarts) {
  Disk counted(1);
  leave(counted, {entry(4), entry(5), entry(6), entry(7), entry(8)}, 4);
  const auto before = counted.changes();
  ASSERT_TRUE(member::boot(counted, forced_, {}, 42).ok());
  ASSERT_GT(counted.changes(), before);
  for (std::uint64_t at = before + 1; at <= counted.changes(); at++) {
    for (const auto mode :
         {Disk::Crash::kLoseUnsynced, Disk::Crash::kRandom, Disk::Crash::kKeepAll}) {
      for (const Config* with : {&forced_, &three_}) {
        Disk disk(at);
        leave(disk, {entry(4), entry(5), entry(6), entry(7), entry(8)}, 4);
        disk.cut_at(at, mode);
        EXPECT_FALSE(member::boot(disk, forced_, {}, 42).ok());
        disk.power_on();
        auto again = member::boot(disk, *with, {}, 43);
        ASSERT_TRUE(again.ok()) << "step " << at << ": " << again.error().text;
        EXPECT_GE(again->hard_state.commit, 4u);
        // Alone, or as before: an entry that removes somebody counts only with all of them.
        raft::Index committed = again->hard_state.commit;
        again->entries.resize(committed);
        EXPECT_THAT(read(*again).members.size(), ::testing::AnyOf(1u, 3u));
      }
    }
  }
}

}  // namespace
}  // namespace keelson::member
