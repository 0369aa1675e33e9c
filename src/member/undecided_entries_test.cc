#include "member/undecided_entries.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "env/simulated/world.h"

namespace keelson::member {
namespace {

using env::simulated::Disk;

class UndecidedEntriesTest : public ::testing::Test {
 protected:
  UndecidedEntriesTest() : host_(world_.host("n1")) {
    for (const char* directory : {"/member", "/wal"})
      CHECK(disk().make_directories(directory).ok());
    log_begins_at(1);
    CHECK(disk().sync_directory("/wal").ok());
  }
  Disk& disk() { return host_.disk(); }
  // There is one file of the log, whose name says so.
  void log_begins_at(raft::Index index) {
    CHECK(disk().remove_all("/wal").ok());
    CHECK(disk().make_directories("/wal").ok());
    const auto name = fmt::format("/wal/{:016x}-{:016x}.wal", 7, index);
    CHECK(env::write_file(disk(), name, "").ok());
    CHECK(disk().sync_directory("/wal").ok());
  }
  void crash(Disk::Crash mode = Disk::Crash::kLoseUnsynced) {
    entries_.reset();
    host_.kill(mode);
    host_.start();
  }
  // "": it could be opened.
  std::string open() {
    auto opened = UndecidedEntries::open(disk(), "/member", "/wal");
    if (!opened) return opened.error().message();
    entries_ = *std::move(opened);
    return "";
  }
  void add(raft::Index index, raft::Term term = 3) {
    ASSERT_TRUE(entries_->add({.term = term, .index = index}).ok());
  }
  bool has(raft::Index index, raft::Term term = 3) {
    return entries_->contains({.term = term, .index = index});
  }
  std::string text() { return env::read_file(disk(), "/member/undecided").value(); }
  void write(const std::string& text) {
    ASSERT_TRUE(env::write_file(disk(), "/member/undecided", text).ok());
  }

  env::simulated::World world_{1};
  env::simulated::Host& host_;
  std::unique_ptr<UndecidedEntries> entries_;
};

TEST_F(UndecidedEntriesTest, WithoutAnyThereIsNoFile) {
  ASSERT_EQ(open(), "");
  EXPECT_EQ(entries_->newest(), 0u);
  EXPECT_FALSE(has(1));
  EXPECT_FALSE(disk().status("/member/undecided")->has_value());
}

TEST_F(UndecidedEntriesTest, WhatWasAddedSurvivesACrash) {
  ASSERT_EQ(open(), "");
  for (const raft::Index index : {5, 9, 500}) {
    add(index);
    crash();
    ASSERT_EQ(open(), "");
    EXPECT_TRUE(has(5) && has(index));
    EXPECT_EQ(entries_->newest(), index);
  }
  EXPECT_FALSE(has(6));
  EXPECT_FALSE(has(5, 4)) << "another entry, where one of a log that was cut stood";
}

TEST_F(UndecidedEntriesTest, ALastLineThatIsTornGoes) {
  ASSERT_EQ(open(), "");
  add(5);
  add(6);
  const std::string whole = text();
  for (std::size_t bytes = whole.size() / 2; bytes < whole.size(); bytes++) {
    write(whole.substr(0, bytes));
    ASSERT_EQ(open(), "") << bytes;
    EXPECT_TRUE(has(5) && !has(6)) << bytes;
    EXPECT_EQ(text(), whole.substr(0, whole.size() / 2)) << bytes;
  }
  add(7);
  crash();
  ASSERT_EQ(open(), "");
  EXPECT_TRUE(has(5) && has(7));
}

TEST_F(UndecidedEntriesTest, ADamagedLineIsRefused) {
  ASSERT_EQ(open(), "");
  add(5);
  add(6);
  for (const std::size_t at : {0, 20, 40}) {
    disk().flip_bit("/member/undecided", at);
    EXPECT_EQ(
        open(),
        "/member/undecided: at 0 there is no term and index with their checksum: Bad message");
    disk().flip_bit("/member/undecided", at);
  }
  EXPECT_EQ(open(), "");
}

TEST_F(UndecidedEntriesTest, WhatTheLogHasNotIsDropped) {
  ASSERT_EQ(open(), "");
  for (raft::Index index = 1; index <= 100; index++) add(index);
  log_begins_at(51);
  ASSERT_EQ(open(), "");
  EXPECT_TRUE(!has(50) && has(51) && has(100));
  // So it does in a long life.
  for (raft::Index index = 101; index <= 4200; index++) add(index);
  const auto grown = text().size();
  log_begins_at(4000);
  for (raft::Index index = 4201; index <= 9000; index++) add(index);
  EXPECT_LT(text().size(), 2 * grown);
  EXPECT_FALSE(has(3999));
  crash();
  ASSERT_EQ(open(), "");
  EXPECT_TRUE(has(4000) && has(9000));
}

}  // namespace
}  // namespace keelson::member
