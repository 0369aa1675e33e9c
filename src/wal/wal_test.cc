#include "wal/wal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "env/simulated/disk.h"
#include "wal/reader.h"

namespace keelson::wal {
namespace {

using env::simulated::Disk;

constexpr std::uint64_t kSmallSegment = 4096;

Options small_options() { return {.directory = "/m/wal", .segment_bytes = kSmallSegment}; }

raft::Entry entry(raft::Term term, raft::Index index, std::string data = "x") {
  return {.term = term, .index = index, .data = base::SharedBytes(std::move(data))};
}
raft::SnapshotMetadata mark(raft::Index index, raft::Term term) {
  return {.conf_state = {.voters = {1}, .learners = {}, .voters_outgoing = {}, .learners_next = {}},
          .index = index,
          .term = term};
}

std::unique_ptr<Wal> create(Disk& disk, Options options = small_options()) {
  EXPECT_TRUE(disk.make_directories("/m").ok());
  EXPECT_TRUE(disk.sync_directory("/").ok());
  auto wal =
      Wal::create(disk, std::move(options), encode_identity({.node_id = 1, .cluster_id = 2}), {});
  EXPECT_TRUE(wal.ok()) << (wal ? "" : wal.error().message());
  return std::move(wal).value();
}

void put(Wal& wal, const raft::HardState& state, std::vector<raft::Entry> entries) {
  wal.append(state, entries);
  const auto flushed = wal.flush_and_sync();
  ASSERT_TRUE(flushed.ok()) << flushed.error().message();
}

// "1:x 2:y state(1,1,2)"
std::string text(const Recovered& recovered) {
  std::string out;
  for (const auto& e : recovered.entries)
    out += fmt::format("{}.{}:{} ", e.term, e.index, e.data.view());
  const auto& s = recovered.hard_state;
  return out + fmt::format("state({},{},{})", s.term, s.vote, s.commit);
}

std::string tail_path(Disk& disk) {
  const auto names = list_segments(disk, "/m/wal");
  return "/m/wal/" + names->back().text();
}

// Opens, takes what is there, and lets go again.
Recovered reopen(Disk& disk, Start start = {}) {
  auto opened = Wal::open(disk, small_options(), start);
  EXPECT_TRUE(opened.ok()) << (opened ? "" : opened.error().message());
  if (!opened) return {};
  return std::move(opened->recovered);
}
std::optional<Error> open_error(Disk& disk, Start start = {}) {
  auto opened = Wal::open(disk, small_options(), start);
  if (opened) return std::nullopt;
  return opened.error();
}

TEST(Wal, KeepsWhatWasFlushed) {
  Disk disk(1);
  {
    auto wal = create(disk);
    put(*wal, {.term = 1, .vote = 1, .commit = 0}, {entry(1, 1, "a"), entry(1, 2, "b")});
    put(*wal, {.term = 1, .vote = 1, .commit = 2}, {});
    wal->append({}, std::vector{entry(1, 3, "lost: never flushed")});
  }
  const auto recovered = reopen(disk);
  EXPECT_EQ(text(recovered), "1.1:a 1.2:b state(1,1,2)");
  EXPECT_EQ(decode_identity(recovered.metadata), (Identity{.node_id = 1, .cluster_id = 2}));
  EXPECT_FALSE(recovered.repaired);
}

TEST(Wal, SyncsOnlyWhatMatters) {
  struct Row {
    const char* why;
    raft::HardState state;
    std::vector<raft::Entry> entries;
    bool synced;
  };
  Disk disk(1);
  auto wal = create(disk);
  for (const Row& row : {
           Row{"a new term", {.term = 1, .vote = 0, .commit = 0}, {}, true},
           Row{"a vote", {.term = 1, .vote = 2, .commit = 0}, {}, true},
           Row{"an entry", {}, {entry(1, 1)}, true},
           Row{"only commit moves", {.term = 1, .vote = 2, .commit = 1}, {}, false},
           Row{"the same state once more", {.term = 1, .vote = 2, .commit = 1}, {}, false},
           Row{"entry and commit", {.term = 1, .vote = 2, .commit = 2}, {entry(1, 2)}, true},
           Row{"nothing", {}, {}, false},
       }) {
    wal->append(row.state, row.entries);
    const auto before = wal->stats().syncs;
    const auto flushed = wal->flush_and_sync();
    ASSERT_TRUE(flushed.ok());
    EXPECT_EQ(flushed->synced, row.synced) << row.why;
    EXPECT_EQ(wal->stats().syncs - before, row.synced ? 1u : 0u) << row.why;
  }
}

TEST(Wal, OneWriteForAllThatGathered) {
  Disk disk(1);
  auto wal = create(disk);
  std::vector<env::simulated::Disk::Operation> operations;
  disk.on_operation([&](const Disk::Step& step) {
    operations.push_back(step.operation);
    return 0;
  });
  for (raft::Index i = 1; i <= 10; i++)
    wal->append({.term = 1, .vote = 1, .commit = i - 1}, std::vector{entry(1, i)});
  ASSERT_TRUE(wal->flush_and_sync().ok());
  disk.on_operation({});
  EXPECT_EQ(operations, (std::vector{Disk::Operation::kWrite, Disk::Operation::kSync}));
}

TEST(Wal, LaterEntriesReplaceEarlierOnes) {
  Disk disk(1);
  {
    auto wal = create(disk);
    put(*wal, {.term = 1, .vote = 1, .commit = 1},
        {entry(1, 1, "a"), entry(1, 2, "b"), entry(1, 3, "c")});
    put(*wal, {.term = 2, .vote = 3, .commit = 1}, {entry(2, 2, "B")});
  }
  EXPECT_EQ(text(reopen(disk)), "1.1:a 2.2:B state(2,3,1)");
}

// What a new leader or its snapshot has replaced must not come back because reading starts behind
// it.
TEST(Wal, ReplacedEntriesStayAway) {
  struct Row {
    const char* why;
    std::vector<raft::Entry> before;
    std::vector<raft::Entry> after;
    const char* expected;
  };
  for (const Row& row : {
           Row{"the snapshot's entry replaced older ones",
               {entry(1, 1), entry(1, 2), entry(1, 3), entry(2, 2)},
               {},
               ""},
           Row{"an entry before it did",
               {entry(1, 1), entry(1, 2), entry(1, 3), entry(2, 1), entry(2, 2)},
               {},
               ""},
           Row{"the leader's snapshot replaced another history",
               {entry(1, 1), entry(1, 2), entry(1, 3)},
               {},
               ""},
           Row{"the same, and the log went on",
               {entry(1, 1), entry(1, 2), entry(1, 3)},
               {entry(2, 3, "c")},
               "2.3:c "},
           Row{"the leader's snapshot is far ahead", {}, {entry(2, 3, "c")}, "2.3:c "},
           Row{"a snapshot of our own replaced nothing",
               {entry(1, 1), entry(2, 2), entry(2, 3, "c")},
               {},
               "2.3:c "},
       }) {
    Disk disk(1);
    {
      auto wal = create(disk);
      put(*wal, {.term = 2, .vote = 1, .commit = 2}, row.before);
      wal->save_snapshot(mark(2, 2));
      put(*wal, {}, row.after);
    }
    EXPECT_EQ(text(reopen(disk, {.index = 2, .term = 2})),
              row.expected + std::string("state(2,1,2)"))
        << row.why;
  }
}

TEST(Wal, ReadsOnFromASnapshot) {
  Disk disk(1);
  {
    auto wal = create(disk);
    put(*wal, {.term = 1, .vote = 1, .commit = 2},
        {entry(1, 1, "a"), entry(1, 2, "b"), entry(1, 3, "c")});
    wal->save_snapshot(mark(2, 1));
    ASSERT_TRUE(wal->flush_and_sync().ok());
  }
  EXPECT_EQ(text(reopen(disk, {.index = 2, .term = 1})), "1.3:c state(1,1,2)");
  EXPECT_EQ(open_error(disk, {.index = 2, .term = 7})->code, Errc::kSnapshotMismatch);
  EXPECT_EQ(open_error(disk, {.index = 1, .term = 1})->code, Errc::kSnapshotNotFound);
  EXPECT_EQ(text(read_log(disk, "/m/wal", {.index = 2, .term = 1}).value()), "1.3:c state(1,1,2)");
}

TEST(Wal, ValidSnapshotsAreCommitted) {
  Disk disk(1);
  std::uint64_t end = 0;
  {
    auto wal = create(disk);
    put(*wal, {.term = 1, .vote = 1, .commit = 2}, {entry(1, 1), entry(1, 2)});
    wal->save_snapshot(mark(2, 1));
    ASSERT_TRUE(wal->flush_and_sync().ok());
    // A snapshot of a leader: the mark first, so that a crash between the two leaves a mark that
    // does not count.
    wal->save_snapshot(mark(5, 1));
    wal->append({.term = 1, .vote = 1, .commit = 5}, {});
    ASSERT_TRUE(wal->flush_and_sync().ok());
    end = wal->stats().held_bytes;
  }
  ASSERT_EQ(valid_snapshots(disk, "/m/wal")->size(), 3u);
  EXPECT_EQ(text(reopen(disk, {.index = 5, .term = 1})), "state(1,1,5)");
  FrameBuffer state;
  state.add_state({.term = 1, .vote = 1, .commit = 5});
  ASSERT_TRUE(disk.open(tail_path(disk), env::OpenMode::kReadWrite)
                  .value()
                  ->truncate(end - state.bytes().size())
                  .ok());
  const auto snapshots = valid_snapshots(disk, "/m/wal");
  ASSERT_TRUE(snapshots.ok());
  ASSERT_EQ(snapshots->size(), 2u);
  EXPECT_EQ((*snapshots)[0].index, 0u);
  EXPECT_EQ((*snapshots)[1].index, 2u);
  EXPECT_EQ((*snapshots)[1].conf_state.voters, std::vector<raft::NodeId>{1});
}

TEST(Wal, GoesOnInNewFiles) {
  Disk disk(1);
  std::string wanted;
  {
    auto wal = create(disk);
    for (raft::Index i = 1; i <= 60; i++) {
      const std::string data(i % 7 * 100, static_cast<char>('a' + i % 26));
      put(*wal, {.term = 1, .vote = 1, .commit = i}, {entry(1, i, data)});
      wanted += fmt::format("1.{}:{} ", i, data);
      if (i % 3 == 0) {
        if (auto request = wal->next_spare()) wal->add_spare(make_spare(disk, *request).value());
      }
    }
    EXPECT_GE(wal->stats().cuts, 4u);
  }
  EXPECT_EQ(text(reopen(disk)), wanted + "state(1,1,60)");
  const auto names = list_segments(disk, "/m/wal").value();
  for (std::size_t i = 0; i < names.size(); i++) {
    EXPECT_EQ(names[i].sequence, i);
    // Each file says how the chain stands, whose it is and the last state: it can be read by
    // itself.
    auto file = disk.open("/m/wal/" + names[i].text(), env::OpenMode::kRead).value();
    Reader reader({{.file = file.get(), .path = names[i].text()}});
    std::vector<std::int64_t> types;
    std::optional<raft::Index> first;
    for (auto record = reader.next().value(); record; record = reader.next().value()) {
      types.push_back(record->type);
      if (record->type == 2 && !first) first = decode_entry(record->data)->index;
    }
    ASSERT_GE(types.size(), 3u);
    EXPECT_EQ(types[0], 4);
    EXPECT_EQ(types[1], 1);
    EXPECT_EQ(types[2], i == 0 ? 5 : 3);
    if (i > 0) EXPECT_EQ(names[i].index, first);
  }
}

TEST(Wal, ABatchLargerThanAFileStaysTogether) {
  Disk disk(1);
  {
    auto wal = create(disk);
    put(*wal, {.term = 1, .vote = 1, .commit = 0},
        {entry(1, 1, std::string(3 * kSmallSegment, 'x'))});
    put(*wal, {}, {entry(1, 2, "y")});
  }
  EXPECT_EQ(reopen(disk).entries.size(), 2u);
}

TEST(Wal, SecondOpenerIsRefused) {
  Disk disk(1);
  auto wal = create(disk);
  const auto error = open_error(disk);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, Errc::kLocked);
  EXPECT_NE(error->message().find("file already locked"), std::string::npos);
  EXPECT_TRUE(read_log(disk, "/m/wal", {}).ok()) << "reading beside it is fine";
  wal = nullptr;
  EXPECT_FALSE(open_error(disk));
}

TEST(Wal, CreatesOnlyInAnEmptyPlace) {
  Disk disk(1);
  {
    auto wal = create(disk);
  }
  EXPECT_EQ(Wal::create(disk, small_options(), "m", {}).error().code, Errc::kExists);
  ASSERT_TRUE(disk.make_directories("/m/empty").ok());
  EXPECT_TRUE(
      Wal::create(disk, {.directory = "/m/empty/", .segment_bytes = kSmallSegment}, "m", {}).ok());
  EXPECT_TRUE(has_log(disk, "/m/empty").value());
  EXPECT_FALSE(has_log(disk, "/m/nothing").value());
  EXPECT_EQ(disk.contents().count("/m/empty.tmp"), 0u);
}

TEST(Wal, AFailedStartIsSetAside) {
  Disk disk(1);
  ASSERT_TRUE(disk.make_directories("/m").ok());
  // /m is synced when wal.tmp is made in it, and when that has got its name: the second one fails.
  disk.on_operation([syncs = 0](const Disk::Step& step) mutable {
    if (step.operation != Disk::Operation::kSyncDirectory || step.path != "/m") return 0;
    return ++syncs == 2 ? EIO : 0;
  });
  const base::WallTime now(base::Duration(1'700'000'000'123'456'000));
  EXPECT_EQ(Wal::create(disk, small_options(), "m", now).error().code, Errc::kIo);
  disk.on_operation({});
  EXPECT_FALSE(has_log(disk, "/m/wal").value());
  EXPECT_TRUE(disk.status("/m/wal.broken.20231114.221320.123456")->has_value());
}

TEST(Wal, MissingFiles) {
  Disk disk(1);
  EXPECT_EQ(open_error(disk)->code, Errc::kNotFound) << "no directory";
  {
    auto wal = create(disk);
    for (raft::Index i = 1; i <= 40; i++) {
      put(*wal, {.term = 1, .vote = 1, .commit = i}, {entry(1, i, std::string(300, 'x'))});
    }
    wal->save_snapshot(mark(40, 1));
    ASSERT_TRUE(wal->flush_and_sync().ok());
  }
  const auto names = list_segments(disk, "/m/wal").value();
  ASSERT_GE(names.size(), 3u);
  ASSERT_TRUE(disk.remove("/m/wal/" + names[1].text()).ok());
  EXPECT_EQ(open_error(disk)->code, Errc::kNotFound) << "a hole";
  EXPECT_FALSE(open_error(disk, {.index = 40, .term = 1})) << "the hole lies before the start";
  ASSERT_TRUE(disk.remove("/m/wal/" + names[0].text()).ok());
  EXPECT_EQ(open_error(disk)->code, Errc::kNotFound) << "the start is gone";
}

TEST(Wal, ReleasesAndPurges) {
  Disk disk(1);
  auto wal = create(disk);
  for (raft::Index i = 1; i <= 80; i++) {
    put(*wal, {.term = 1, .vote = 1, .commit = i}, {entry(1, i, std::string(300, 'x'))});
  }
  const auto names = list_segments(disk, "/m/wal").value();
  ASSERT_GE(names.size(), 6u);
  EXPECT_TRUE(purge(disk, "/m/wal", 1)->empty()) << "all are locked";
  // Exactly the index a file begins with: the file before holds the entry before, and stays.
  wal->release_locks_to(names[3].index);
  EXPECT_EQ(wal->stats().held_files, names.size() - 2);
  EXPECT_EQ(purge(disk, "/m/wal", names.size() - 1)->size(), 1u) << "only as many as are too many";
  const auto purged = purge(disk, "/m/wal", 1).value();
  ASSERT_EQ(purged.size(), 1u);
  EXPECT_EQ(purged[0]->path(), "/m/wal/" + names[1].text());
  EXPECT_FALSE(disk.status(purged[0]->path())->has_value());
  EXPECT_GT(*purged[0]->size(), 0u) << "is still to be let go";
  EXPECT_EQ(list_segments(disk, "/m/wal")->front(), names[2]);
  wal->release_locks_to(1'000'000);
  EXPECT_EQ(wal->stats().held_files, 1u) << "the last one is never let go";
}

TEST(Wal, APurgeThatPowerInterruptsLeavesNoHole) {
  for (std::uint64_t seed = 1; seed <= 40; seed++) {
    Disk disk(seed);
    auto wal = create(disk);
    for (raft::Index i = 1; i <= 80; i++) {
      put(*wal, {.term = 1, .vote = 1, .commit = i}, {entry(1, i, std::string(300, 'x'))});
    }
    wal->release_locks_to(1'000'000);
    ASSERT_GE(purge(disk, "/m/wal", 1)->size(), 5u);
    wal.reset();
    disk.crash(Disk::Crash::kRandom);
    EXPECT_TRUE(valid_snapshots(disk, "/m/wal").ok()) << "seed " << seed;
  }
}

TEST(Wal, APurgeThatCannotBeSyncedIsInDoubt) {
  Disk disk(1);
  auto wal = create(disk);
  for (raft::Index i = 1; i <= 40; i++) {
    put(*wal, {.term = 1, .vote = 1, .commit = i}, {entry(1, i, std::string(300, 'x'))});
  }
  wal->release_locks_to(1'000'000);
  disk.fail({.operation = Disk::Operation::kRemove, .error_number = EIO});
  EXPECT_EQ(purge(disk, "/m/wal", 1).error().code, Errc::kIo) << "nothing was done";
  disk.fail({.operation = Disk::Operation::kSyncDirectory, .error_number = EIO});
  EXPECT_EQ(purge(disk, "/m/wal", 1).error().code, Errc::kInDoubt);
}

// A process is killed at some step, the next one takes up its log and answers for more, and then
// power fails: what was answered for must be there, though the first synced neither bytes nor
// names.
TEST(Wal, WhatIsTakenUpAfterAKillIsDurable) {
  const auto story = [](Disk& disk) {
    if (!disk.make_directories("/m")) return;
    auto made = Wal::create(disk, small_options(), encode_identity({.node_id = 1}), {});
    for (raft::Index i = 1; made && i <= 40; i++) {
      (*made)->append({.term = 1, .vote = 1}, std::vector{entry(1, i, std::string(300, 'x'))});
      if (!(*made)->flush_and_sync()) return;
    }
  };
  Disk counted(1);
  story(counted);
  ASSERT_GE(list_segments(counted, "/m/wal")->size(), 3u);
  for (std::uint64_t at = 1; at <= counted.changes(); at++) {
    Disk disk(at);
    disk.cut_at(at, Disk::Crash::kKeepAll);
    story(disk);
    disk.power_on();
    if (!disk.status("/m/wal")->has_value()) continue;
    raft::Index last = 0;
    {
      auto opened = Wal::open(disk, small_options(), {});
      ASSERT_TRUE(opened.ok()) << "step " << at << ": " << opened.error().message();
      last = opened->wal->last_index() + 1;
      put(*opened->wal, {.term = 2, .vote = 1}, {entry(2, last, "y")});
    }
    disk.crash(Disk::Crash::kLoseUnsynced);
    ASSERT_EQ(reopen(disk).entries.size(), last) << "step " << at;
  }
}

TEST(Wal, SparesAreUsedInTurnAndLeftoversRemoved) {
  Disk disk(1);
  auto options = small_options();
  options.spares = 2;
  {
    auto wal = create(disk, options);
    for (int i = 0; i < 2; i++) wal->add_spare(make_spare(disk, *wal->next_spare()).value());
    EXPECT_FALSE(wal->next_spare());
    EXPECT_EQ(disk.contents().at("/m/wal/0.tmp"), std::string(kSmallSegment, '\0'));
    // The disk is full: the reserve still takes a file's worth of entries.
    disk.set_capacity(disk.used());
    raft::Index i = 1;
    for (; wal->stats().cuts < 2; i++)
      put(*wal, {.term = 1, .vote = 1, .commit = i}, {entry(1, i, std::string(500, 'x'))});
    auto request = wal->next_spare();
    ASSERT_TRUE(request);
    EXPECT_FALSE(wal->next_spare()) << "one at a time";
    EXPECT_EQ(make_spare(disk, *request).error().code, Errc::kNoSpace);
    wal->spare_failed();
    disk.set_capacity(1u << 30);
    wal->add_spare(make_spare(disk, *wal->next_spare()).value());
    EXPECT_EQ(wal->stats().cuts_without_spare, 0u);
  }
  reopen(disk);
  for (const auto& [path, content] : disk.contents()) EXPECT_FALSE(path.ends_with(".tmp")) << path;
}

// Writes may outrun the making of spares; then any room will do.
TEST(Wal, WithoutRoomForAWholeFileItGrowsAsItIsWritten) {
  Disk disk(1);
  {
    constexpr std::uint64_t kPage = env::File::kPageBytes;  // as it grows
    auto wal = create(disk, {.directory = "/m/wal", .segment_bytes = 4 * kPage});
    disk.set_capacity(disk.used() + 2 * kPage);
    raft::Index i = 1;
    for (; wal->stats().cuts < 1; i++)
      put(*wal, {.term = 1, .vote = 1, .commit = i}, {entry(1, i, std::string(500, 'x'))});
    put(*wal, {.term = 1, .vote = 1, .commit = i}, {entry(1, i, "the last that fits")});
    EXPECT_EQ(wal->stats().cuts_without_spare, 1u);
    wal->append({}, std::vector{entry(1, i + 1, std::string(3 * kPage, 'x'))});
    const auto flushed = wal->flush_and_sync();
    ASSERT_FALSE(flushed);
    EXPECT_EQ(flushed.error().code, Errc::kNoSpace);
  }
  disk.set_capacity(1u << 30);
  EXPECT_EQ(reopen(disk).entries.back().data.view(), "the last that fits");
}

TEST(Wal, OnASmallVolumeFilesAreSmall) {
  constexpr std::uint64_t kMebibyte = std::uint64_t{1} << 20;
  Disk disk(1);
  ASSERT_TRUE(disk.make_directories("/m"));
  const auto bytes_on = [&](std::uint64_t volume, std::uint64_t wanted) {
    disk.set_capacity(volume);
    return segment_bytes_in(disk, "/m/wal", wanted).value();
  };
  EXPECT_EQ(bytes_on(std::uint64_t{1} << 40, kSegmentBytes), kSegmentBytes);
  EXPECT_EQ(bytes_on(192 * kMebibyte, kSegmentBytes), 12 * kMebibyte);
  EXPECT_EQ(bytes_on(8 * kMebibyte, kSegmentBytes), kMebibyte);
  EXPECT_EQ(bytes_on(8 * kMebibyte, 4096), 4096u) << "never more than is wanted";
}

TEST(Wal, ASpareLeavesOthersTheirRoom) {
  constexpr std::uint64_t kMegabyte = 1u << 20;
  const SpareRequest request{.path = "/m/0.tmp", .bytes = 4 * kMegabyte};
  Disk disk(1);
  ASSERT_TRUE(disk.make_directories("/m"));
  disk.set_capacity(16 * kMegabyte);
  ASSERT_TRUE(env::write_file(disk, "/m/other", std::string(11 * kMegabyte, 'x')));
  auto maker = SpareMaker::begin(disk, request).value();
  for (int i = 0; i < 3; i++) ASSERT_FALSE(maker.step().value());
  // The last megabyte but one goes to somebody else meanwhile: so the spare gives back its own.
  ASSERT_TRUE(env::write_file(disk, "/m/more", "x"));
  const auto done = maker.step();
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message(), testing::HasSubstr("No space left on device"));
  EXPECT_FALSE(disk.contents().contains("/m/0.tmp"));
  EXPECT_EQ(disk.space("/m").value().available, 5 * kMegabyte - 1);
  // With a sixteenth left it is made.
  ASSERT_TRUE(disk.remove("/m/more"));
  EXPECT_TRUE(make_spare(disk, request));
  EXPECT_EQ(disk.space("/m").value().available, kMegabyte);
}

// --- what a crash or wear leaves: formats.md 1.7
// ---------------------------------------------------------------

struct Log {
  std::uint64_t before_last = 0;  // where the last record's frame begins
  std::uint64_t end = 0;
};
// One file: entries 1..3, then 4 with a large payload.
Log make_log(Disk& disk, std::size_t last_bytes = 1200) {
  auto wal = create(disk);
  Log log;
  put(*wal, {.term = 1, .vote = 1, .commit = 0}, {entry(1, 1), entry(1, 2), entry(1, 3)});
  log.before_last = wal->stats().held_bytes;
  put(*wal, {}, {entry(1, 4, std::string(last_bytes, 'z'))});
  log.end = wal->stats().held_bytes;
  return log;
}
void overwrite(Disk& disk, const std::string& path, std::uint64_t offset, std::string_view bytes) {
  auto file = disk.open(path, env::OpenMode::kReadWrite).value();
  ASSERT_TRUE(file->write_at(offset, bytes).ok());
}

// The file cut short at every byte of the last record: the record is gone, the rest is there, and
// the log goes on.
TEST(WalTail, CutAtEveryByte) {
  Disk measure(1);
  const Log log = make_log(measure);
  for (std::uint64_t cut = log.before_last; cut < log.end; cut++) {
    Disk disk(1);
    make_log(disk);
    ASSERT_TRUE(disk.open(tail_path(disk), env::OpenMode::kReadWrite).value()->truncate(cut).ok());
    {
      auto opened = Wal::open(disk, small_options(), {});
      ASSERT_TRUE(opened.ok()) << cut << ": " << opened.error().message();
      EXPECT_EQ(opened->recovered.entries.size(), 3u);
      EXPECT_EQ(opened->recovered.repaired, cut != log.before_last) << cut;
      EXPECT_EQ(disk.contents().count(tail_path(disk) + ".broken"),
                opened->recovered.repaired ? 1u : 0u);
      put(*opened->wal, {}, {entry(1, 4, "again")});
    }
    EXPECT_EQ(text(reopen(disk)), "1.1:x 1.2:x 1.3:x 1.4:again state(1,1,0)") << cut;
  }
}

// Every set of sectors of the last record left unwritten, as they read in a file of zeros.
TEST(WalTail, EverySectorLost) {
  Disk measure(1);
  const Log log = make_log(measure);
  const std::uint64_t first = log.before_last / 512, last = (log.end - 1) / 512;
  ASSERT_GE(last - first, 2u);
  for (std::uint64_t lost = 1; lost < 1u << (last - first + 1); lost++) {
    Disk disk(1);
    make_log(disk);
    for (std::uint64_t sector = first; sector <= last; sector++) {
      if ((lost >> (sector - first) & 1) == 0) continue;
      const std::uint64_t begin = std::max(sector * 512, log.before_last);
      const std::uint64_t end = std::min((sector + 1) * 512, log.end);
      overwrite(disk, tail_path(disk), begin, std::string(end - begin, '\0'));
    }
    {
      auto opened = Wal::open(disk, small_options(), {});
      ASSERT_TRUE(opened.ok()) << lost << ": " << opened.error().message();
      EXPECT_EQ(opened->recovered.entries.size(), 3u);
      // With its length gone the frame is no frame: nothing to repair, but what is left of it must
      // go.
      EXPECT_EQ(opened->recovered.repaired, (lost & 1) == 0) << lost;
      put(*opened->wal, {}, {entry(1, 4, "again")});
    }
    EXPECT_EQ(text(reopen(disk)), "1.1:x 1.2:x 1.3:x 1.4:again state(1,1,0)") << lost;
    const std::string content = disk.contents().at(tail_path(disk));
    EXPECT_EQ(content.find_last_not_of('\0') < log.before_last + 64, true)
        << "no remains behind the end";
  }
}

// One bit over anywhere in the records, in the last file: damage, refused, and the message says
// where. Never is it taken for the end of the log, in which case what follows would be thrown away.
TEST(WalTail, FlippedBits) {
  Disk measure(1);
  const Log log = make_log(measure, 700);
  for (std::uint64_t offset = 0; offset < log.end; offset++) {
    for (unsigned bit = 0; bit < 8; bit++) {
      Disk disk(1);
      make_log(disk, 700);
      disk.flip_bit(tail_path(disk), offset, bit);
      const std::string path = tail_path(disk);
      const auto error = open_error(disk);
      EXPECT_EQ(disk.contents().count(path + ".broken"), 0u) << offset << "." << bit;
      if (!error) {
        EXPECT_EQ(reopen(disk).entries.size(), 4u)
            << offset << "." << bit << ": padding carries nothing";
        continue;
      }
      EXPECT_EQ(error->file, path) << error->message();
      // A crc record, and a record that passes for one of another type, are only found out by what
      // follows.
      EXPECT_LE(error->offset, log.end);
    }
  }
}

// A frame whose length fills the end of a sector: that sector was lost, the next one kept. Whatever
// the length is: 128 is one bit, which might as well have turned over.
TEST(WalTail, ALengthThatWasNotWrittenIsTorn) {
  for (std::size_t size = 0; size < 140; size++) {
    SCOPED_TRACE(size);
    Disk disk(1);
    raft::Index last = 0;
    std::uint64_t at = 0;
    {
      auto wal = create(disk);
      while (wal->stats().held_bytes % 512 != 504) {
        last++;
        put(*wal, {.term = 1, .vote = 1}, {entry(1, last, std::string(8 * (last % 3), 'q'))});
        ASSERT_LT(last, 200u);
      }
      at = wal->stats().held_bytes;
      put(*wal, {.term = 1, .vote = 1}, {entry(1, last + 1, std::string(size, 'q'))});
    }
    if (at > kSmallSegment) at -= kSmallSegment;
    EXPECT_EQ(reopen(disk).entries.size(), last + 1);
    overwrite(disk, tail_path(disk), at, std::string(8, '\0'));
    const auto recovered = reopen(disk);
    EXPECT_TRUE(recovered.repaired);
    EXPECT_EQ(recovered.entries.size(), last);
  }
}

// Only the end of the last file may be torn.
TEST(WalTail, NothingIsTornInTheMiddle) {
  struct Row {
    const char* why;
    std::function<void(Disk&, const std::string& first)> damage;
    Errc expected;
  };
  const auto at = [](std::uint64_t offset, std::string bytes) {
    return [=](Disk& disk, const std::string& path) { overwrite(disk, path, offset, bytes); };
  };
  const auto cut = [](std::uint64_t size) {
    return [=](Disk& disk, const std::string& path) {
      ASSERT_TRUE(disk.open(path, env::OpenMode::kReadWrite).value()->truncate(size).ok());
    };
  };
  for (const Row& row : {
           Row{"a sector of zeros", at(1536, std::string(512, '\0')), Errc::kCrcMismatch},
           Row{"zeros to the end", at(1024, std::string(3072, '\0')), Errc::kCrcMismatch},
           Row{"cut within a record", cut(1111), Errc::kBadRecord},
           Row{"cut within a length", cut(84), Errc::kBadRecord},
           Row{"cut between records", cut(64), Errc::kCrcMismatch},
           Row{"other bytes", at(1600, "other bytes"), Errc::kCrcMismatch},
       }) {
    Disk disk(1);
    {
      auto wal = create(disk);
      for (raft::Index i = 1; i <= 16; i++)
        put(*wal, {.term = 1, .vote = 1, .commit = 0}, {entry(1, i, std::string(700, 'q'))});
      ASSERT_GE(wal->stats().held_files, 2u);
    }
    const std::string first = "/m/wal/" + list_segments(disk, "/m/wal")->front().text();
    row.damage(disk, first);
    const auto error = open_error(disk);
    ASSERT_TRUE(error) << row.why;
    EXPECT_EQ(error->code, row.expected) << row.why << ": " << error->message();
    EXPECT_EQ(read_log(disk, "/m/wal", {}).error().code, row.expected) << row.why;
  }
}

TEST(WalTail, RecordsThatContradict) {
  struct Row {
    const char* why;
    std::function<void(FrameBuffer&)> add;
    Errc expected;
  };
  for (const Row& row : {
           Row{"another member's metadata", [](FrameBuffer& f) { f.add_metadata("other"); },
               Errc::kMetadataConflict},
           Row{"a gap", [](FrameBuffer& f) { f.add_entry(entry(1, 3)); }, Errc::kGap},
           Row{"an index far away", [](FrameBuffer& f) { f.add_entry(entry(1, ~0ull)); },
               Errc::kGap},
           Row{"an entry of unknown type",
               [](FrameBuffer& f) {
                 f.add_entry(
                     {.type = static_cast<raft::EntryType>(9), .term = 1, .index = 2, .data = {}});
               },
               Errc::kBadRecord},
       }) {
    Disk disk(1);
    {
      auto wal = create(disk);
      put(*wal, {}, {entry(1, 1)});
    }
    auto file = disk.open(tail_path(disk), env::OpenMode::kReadWrite).value();
    Reader reader({{.file = file.get(), .path = "x"}});
    while (reader.next()->has_value()) {
    }
    FrameBuffer frames(reader.crc());
    row.add(frames);
    ASSERT_TRUE(file->write_at(reader.valid_bytes(), frames.bytes()).ok());
    file = nullptr;
    const auto error = open_error(disk);
    ASSERT_TRUE(error) << row.why;
    EXPECT_EQ(error->code, row.expected) << row.why;
    EXPECT_EQ(error->offset, reader.valid_bytes()) << row.why;
  }
}

// A length field can claim anything; nothing is allocated for it.
TEST(WalTail, HugeLengths) {
  struct Row {
    std::uint64_t length;
    bool torn;  // a length that a crash may leave; else damage
  };
  for (const Row& row : {Row{0x7FFFFFFFFFFFFFFF, false}, Row{0x00FFFFFFFFFFFFF8, false},
                         Row{0x8100FFFFFFFFFFFF, false}, Row{1u << 29, true}, Row{5000, true}}) {
    Disk disk(1);
    const Log log = make_log(disk);
    std::string field(8, '\0');
    for (std::size_t i = 0; i < 8; i++) field[i] = static_cast<char>(row.length >> (8 * i));
    overwrite(disk, tail_path(disk), log.end, field);
    if (!row.torn) {
      EXPECT_EQ(open_error(disk)->code, Errc::kBadRecord) << row.length;
      continue;
    }
    const auto recovered = reopen(disk);
    EXPECT_TRUE(recovered.repaired);
    EXPECT_EQ(recovered.entries.size(), 4u);
  }
}

// --- twins: a random history on a disk that crashes at each of its steps
// ----------------------------------------

struct Model {
  std::vector<raft::Entry> entries;  // index i + 1 at place i
  raft::HardState state;
  raft::Index snapshot = 0;
};

// Runs a seeded history until the disk fails or it is over. `durable` is what was answered for,
// `written` what may be there besides.
class History {
 public:
  History(Disk& disk, std::uint64_t seed) : disk_(disk), random_(seed) {}

  Model durable, written;
  bool created = false;

  bool run(int steps) {
    auto made = Wal::create(disk_, small_options(), "metadata", {});
    if (!made) return false;
    created = true;
    wal_ = std::move(made).value();
    return go_on(steps);
  }
  // After a crash: checks what is there and goes on from it.
  void recover(int steps) {
    wal_ = nullptr;
    ASSERT_TRUE(settle(disk_, "/m/wal").ok());
    const auto snapshots = valid_snapshots(disk_, "/m/wal");
    ASSERT_TRUE(snapshots.ok()) << snapshots.error().message();
    ASSERT_FALSE(snapshots->empty());
    const auto& last = snapshots->back();
    ASSERT_GE(last.index, durable.snapshot);
    auto opened = Wal::open(disk_, small_options(), {.index = last.index, .term = last.term});
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    const auto& recovered = opened->recovered;
    EXPECT_EQ(recovered.metadata, "metadata");
    EXPECT_TRUE(recovered.hard_state == durable.state || plausible(recovered.hard_state));
    check_entries(last.index, recovered.entries);
    ASSERT_LE(recovered.hard_state.commit, last.index + recovered.entries.size());

    durable.state = recovered.hard_state;
    durable.entries.resize(last.index);
    durable.entries.insert(durable.entries.end(), recovered.entries.begin(),
                           recovered.entries.end());
    durable.snapshot = last.index;
    written = durable;
    stages_ = {durable.entries};
    wal_ = std::move(opened->wal);
    EXPECT_TRUE(go_on(steps));
  }
  void end() { wal_ = nullptr; }

 private:
  // What was read is what was answered for, or that with some of what was written later on top.
  void check_entries(raft::Index start, const std::vector<raft::Entry>& entries) {
    for (const auto& stage : stages_) {
      if (stage.size() != start + entries.size()) continue;
      if (std::equal(entries.begin(), entries.end(),
                     stage.begin() + static_cast<std::ptrdiff_t>(start), same))
        return;
    }
    ADD_FAILURE() << "neither what was answered for nor some of what was written later";
  }
  static bool same(const raft::Entry& a, const raft::Entry& b) {
    return a.term == b.term && a.index == b.index && a.type == b.type &&
           a.data.view() == b.data.view();
  }
  bool plausible(const raft::HardState& state) const {
    return state.term >= durable.state.term && state.term <= written.state.term &&
           state.commit <= written.state.commit;
  }

  bool go_on(int steps) {
    for (int i = 0; i < steps; i++) {
      if (!step()) return false;
    }
    return true;
  }
  bool step() {
    if (auto request = wal_->next_spare(); request && random_.one_in(2)) {
      auto spare = make_spare(disk_, *request);
      if (!spare) return false;
      wal_->add_spare(std::move(spare).value());
    } else if (request) {
      wal_->spare_failed();
    }
    for (std::uint64_t batch = 1 + random_.below(3); batch > 0; batch--) gather();
    const bool synced_state =
        written.state.term != durable.state.term || written.state.vote != durable.state.vote;
    const bool entries = gathered_entries_;
    gathered_entries_ = false;
    auto flushed = wal_->flush_and_sync();
    if (!flushed) return false;
    EXPECT_TRUE(flushed->synced || !(entries || synced_state));
    if (flushed->synced) {
      durable = written;
      stages_ = {durable.entries};
    }
    if (random_.one_in(10)) wal_->release_locks_to(durable.snapshot);
    return true;
  }
  void gather() {
    std::vector<raft::Entry> entries;
    auto& log = written.entries;
    // Entries of a term may have survived a crash without the state that came with them.
    const raft::Term last_term = log.empty() ? 1 : log.back().term;
    if (written.state.term < last_term ||
        random_.one_in(8)) {  // a new leader, whose log is shorter
      written.state.term = std::max(written.state.term, last_term) + 1;
      written.state.vote = 1 + random_.below(3);
      const auto keep = written.state.commit + random_.below(log.size() - written.state.commit + 1);
      log.resize(keep);
      log.push_back(entry(written.state.term, log.size() + 1, ""));
      entries.push_back(log.back());
      stages_.push_back(log);
    }
    for (std::uint64_t n = random_.below(4); n > 0; n--) {
      log.push_back(entry(written.state.term, log.size() + 1,
                          random_.bytes(random_.below(random_.one_in(5) ? 1500 : 90))));
      entries.push_back(log.back());
      stages_.push_back(log);
    }
    if (random_.one_in(2)) {
      written.state.commit += random_.below(log.size() - written.state.commit + 1);
    }
    gathered_entries_ = gathered_entries_ || !entries.empty();
    wal_->append(written.state, entries);
    if (written.state.commit > written.snapshot && random_.one_in(6)) {
      written.snapshot = written.state.commit;
      gathered_entries_ = true;
      wal_->save_snapshot(mark(written.snapshot, written.entries[written.snapshot - 1].term));
    }
  }

  Disk& disk_;
  base::Random random_;
  std::unique_ptr<Wal> wal_;
  std::vector<std::vector<raft::Entry>> stages_{
      {}};  // the log after each entry since the last sync
  bool gathered_entries_ = false;
};

void crash_everywhere(std::uint64_t seed, Disk::Crash mode, int steps) {
  std::uint64_t begin = 0, changes = 0;
  {
    Disk disk(seed);
    ASSERT_TRUE(disk.make_directories("/m").ok());
    ASSERT_TRUE(disk.sync_directory("/").ok());
    begin = disk.changes();
    History history(disk, seed);
    ASSERT_TRUE(history.run(steps));
    changes = disk.changes();
  }
  for (std::uint64_t at = begin + 1; at <= changes; at++) {
    SCOPED_TRACE(fmt::format("seed {} crash at operation {}", seed, at));
    Disk disk(seed);
    ASSERT_TRUE(disk.make_directories("/m").ok());
    ASSERT_TRUE(disk.sync_directory("/").ok());
    History history(disk, seed);
    disk.cut_at(at, mode);
    history.run(steps);
    history.end();
    ASSERT_TRUE(disk.is_off());
    disk.power_on();
    if (!history.created && !has_log(disk, "/m/wal").value()) continue;  // as if it had never been
    history.recover(6);
    disk.crash(mode);
    history.recover(2);  // and a second time
    history.end();
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(WalCrash, LoseUnsynced) {
  for (std::uint64_t seed = 1; seed <= 4; seed++)
    crash_everywhere(seed, Disk::Crash::kLoseUnsynced, 40);
}
TEST(WalCrash, Random) {
  for (std::uint64_t seed = 100; seed <= 112; seed++)
    crash_everywhere(seed, Disk::Crash::kRandom, 40);
}
TEST(WalCrash, ProcessKilled) {
  for (std::uint64_t seed = 200; seed <= 203; seed++)
    crash_everywhere(seed, Disk::Crash::kKeepAll, 40);
}

// The process ends at any operation that fails, and is started again while the machine runs on.
TEST(WalCrash, FailedOperations) {
  for (std::uint64_t seed = 300; seed <= 306; seed++) {
    std::uint64_t at = 1;
    for (bool met = true; met; at++) {
      SCOPED_TRACE(fmt::format("seed {} error at operation {}", seed, at));
      Disk disk(seed);
      ASSERT_TRUE(disk.make_directories("/m").ok());
      ASSERT_TRUE(disk.sync_directory("/").ok());
      History history(disk, seed);
      met = false;
      const std::uint64_t begin = disk.changes();
      disk.on_operation([&](const Disk::Step& step) {
        if (met || step.operation < Disk::Operation::kCreate || step.number != begin + at) return 0;
        met = true;
        return EIO;
      });
      history.run(40);
      history.end();
      disk.on_operation(nullptr);
      if (!history.created && !has_log(disk, "/m/wal").value()) continue;
      history.recover(6);
      disk.crash(Disk::Crash::kLoseUnsynced);
      history.recover(2);
      history.end();
      if (::testing::Test::HasFailure()) return;
    }
    EXPECT_GT(at, 100u);
  }
}

// A failed write or sync is the end: the caller stops. What was answered for before is there at the
// next start.
TEST(WalCrash, FailedSyncIsReported) {
  for (const auto operation : {Disk::Operation::kWrite, Disk::Operation::kSync}) {
    Disk disk(7);
    auto wal = create(disk);
    put(*wal, {.term = 1, .vote = 1, .commit = 0}, {entry(1, 1, "kept")});
    disk.fail({.operation = operation, .error_number = EIO});
    wal->append({}, std::vector{entry(1, 2, "doubtful")});
    EXPECT_EQ(wal->flush_and_sync().error().code, Errc::kIo);
    EXPECT_DEATH(MAYBE(wal->flush_and_sync().ok()), "failed_");
    wal = nullptr;
    disk.crash(Disk::Crash::kLoseUnsynced);
    EXPECT_GE(reopen(disk).entries.size(), 1u);
  }
}

}  // namespace
}  // namespace keelson::wal
