#include "env/simulated/disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <set>

namespace keelson::env::simulated {
namespace {

using ::testing::Contains;
using ::testing::UnorderedElementsAre;

constexpr std::uint64_t kSeeds = 1000;

std::string read(Disk& disk, const std::string& path) {
  const auto bytes = read_file(disk, path);
  return bytes ? *bytes : "-";
}

void write(Disk& disk, const std::string& path, std::uint64_t offset, std::string_view bytes,
           bool sync) {
  const auto file = disk.open(path, OpenMode::kCreate);
  ASSERT_TRUE(file);
  ASSERT_TRUE((*file)->write_at(offset, bytes));
  if (sync) ASSERT_TRUE((*file)->sync());
}

// A story, and everything a crash after it may leave: the content of /f and /g, "-" for no such
// file.
struct Row {
  const char* sentence;
  std::function<void(Disk&)> story;
  std::string lose_unsynced;
  std::string keep_all;
  std::set<std::string> random;
};

std::string state(Disk& disk) { return read(disk, "/f") + " " + read(disk, "/g"); }

const std::vector<Row>& rows() {
  static const std::vector<Row> rows{
      {"what was synced, name and bytes, stays",
       [](Disk& disk) {
         write(disk, "/f", 0, "old", true);
         ASSERT_TRUE(disk.sync_directory("/"));
       },
       "old -",
       "old -",
       {"old -"}},
      {"synced bytes without a synced name may be unreachable",
       [](Disk& disk) { write(disk, "/f", 0, "old", true); },
       "- -",
       "old -",
       {"- -", "old -"}},
      {"a synced name without synced bytes may be an empty file",
       [](Disk& disk) {
         write(disk, "/f", 0, "new", false);
         ASSERT_TRUE(disk.sync_directory("/"));
       },
       " -",
       "new -",
       {" -", "new -", std::string("\0\0\0 -", 5)}},
      {"an overwrite within a sector happens or does not",
       [](Disk& disk) {
         write(disk, "/f", 0, "old", true);
         ASSERT_TRUE(disk.sync_directory("/"));
         write(disk, "/f", 1, "LD", false);
       },
       "old -",
       "oLD -",
       {"old -", "oLD -"}},
      {"pending writes survive independently of their order",
       [](Disk& disk) {
         write(disk, "/f", 0, "....", true);
         ASSERT_TRUE(disk.sync_directory("/"));
         write(disk, "/f", 0, "a", false);
         write(disk, "/f", 2, "b", false);
       },
       ".... -",
       "a.b. -",
       {".... -", "a... -", "..b. -", "a.b. -"}},
      {"a truncation is a change like others",
       [](Disk& disk) {
         write(disk, "/f", 0, "long", true);
         ASSERT_TRUE(disk.sync_directory("/"));
         const auto file = *disk.open("/f", OpenMode::kReadWrite);
         ASSERT_TRUE(file->truncate(2));
       },
       "long -",
       "lo -",
       {"long -", "lo -"}},
      {"a rename happens at both ends or at neither",
       [](Disk& disk) {
         write(disk, "/g", 0, "old", true);
         write(disk, "/f", 0, "new", true);
         ASSERT_TRUE(disk.sync_directory("/"));
         ASSERT_TRUE(disk.rename("/f", "/g"));
       },
       "new old",
       "- new",
       {"new old", "- new"}},
      {"a file renamed before its first name was synced has one of its names, or none",
       [](Disk& disk) {
         write(disk, "/f", 0, "new", true);
         ASSERT_TRUE(disk.rename("/f", "/g"));
       },
       "- -",
       "- new",
       {"- -", "new -", "- new"}},
      {"a removal may be undone",
       [](Disk& disk) {
         write(disk, "/f", 0, "old", true);
         ASSERT_TRUE(disk.sync_directory("/"));
         ASSERT_TRUE(disk.remove("/f"));
       },
       "old -",
       "- -",
       {"old -", "- -"}},
      {"a synced removal may not",
       [](Disk& disk) {
         write(disk, "/f", 0, "old", true);
         ASSERT_TRUE(disk.sync_directory("/"));
         ASSERT_TRUE(disk.remove("/f"));
         ASSERT_TRUE(disk.sync_directory("/"));
       },
       "- -",
       "- -",
       {"- -"}},
      {"a new link may be lost, the old name stays",
       [](Disk& disk) {
         write(disk, "/f", 0, "one", true);
         ASSERT_TRUE(disk.sync_directory("/"));
         ASSERT_TRUE(disk.link("/f", "/g"));
       },
       "one -",
       "one one",
       {"one -", "one one"}},
      {"a removed name that was made again is the old file, the new one or none",
       [](Disk& disk) {
         write(disk, "/f", 0, "old", true);
         ASSERT_TRUE(disk.sync_directory("/"));
         ASSERT_TRUE(disk.remove("/f"));
         write(disk, "/f", 0, "new", true);
       },
       "old -",
       "new -",
       {"old -", "- -", "new -"}},
      {"directories that were made are durable, parents included",
       [](Disk& disk) {
         ASSERT_TRUE(disk.make_directories("/a/b"));
         write(disk, "/a/b/f", 0, "x", true);
         ASSERT_TRUE(disk.sync_directory("/a/b"));
         ASSERT_TRUE(disk.link("/a/b/f", "/f"));
         ASSERT_TRUE(disk.sync_directory("/"));
       },
       "x -",
       "x -",
       {"x -"}},
      {"directories that a process made just before it died are durable once they are asked for "
       "again",
       [](Disk& disk) {
         disk.cut_at(disk.changes() + 2, Disk::Crash::kKeepAll);  // before the sync of "/"
         ASSERT_FALSE(disk.make_directories("/a"));
         disk.power_on();
         ASSERT_TRUE(disk.make_directories("/a"));
         write(disk, "/a/f", 0, "x", true);
         ASSERT_TRUE(disk.sync_directory("/a"));
         ASSERT_TRUE(disk.link("/a/f", "/f"));
         ASSERT_TRUE(disk.sync_directory("/"));
       },
       "x -",
       "x -",
       {"x -"}},
  };
  return rows;
}

std::set<std::string> outcomes(const Row& row, Disk::Crash mode) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < kSeeds; seed++) {
    Disk disk(seed);
    row.story(disk);
    disk.crash(mode);
    seen.insert(state(disk));
  }
  return seen;
}

TEST(DiskCrashTest, Table) {
  for (const auto& row : rows()) {
    SCOPED_TRACE(row.sentence);
    EXPECT_THAT(outcomes(row, Disk::Crash::kLoseUnsynced), UnorderedElementsAre(row.lose_unsynced));
    EXPECT_THAT(outcomes(row, Disk::Crash::kKeepAll), UnorderedElementsAre(row.keep_all));
    EXPECT_EQ(outcomes(row, Disk::Crash::kRandom), row.random);
  }
}

TEST(DiskCrashTest, WhatADeadProcessLeftIsStillNotDurable) {
  Disk disk(1);
  write(disk, "/f", 0, "new", false);
  disk.crash(Disk::Crash::kKeepAll);
  EXPECT_EQ(read(disk, "/f"), "new");
  disk.crash(Disk::Crash::kLoseUnsynced);
  EXPECT_EQ(read(disk, "/f"), "-");
}

TEST(DiskCrashTest, TornWritesKeepWholeSectors) {
  constexpr std::size_t kSector = 512;
  std::set<std::string> shapes;
  for (std::uint64_t seed = 0; seed < kSeeds; seed++) {
    Disk disk(seed);
    write(disk, "/f", 0, std::string(4 * kSector, 'o'), true);
    ASSERT_TRUE(disk.sync_directory("/"));
    write(disk, "/f", 100, std::string(3 * kSector, 'n'), false);
    disk.crash(seed % 2 == 0 ? Disk::Crash::kRandom : Disk::Crash::kTear);
    const std::string bytes = read(disk, "/f");
    ASSERT_EQ(bytes.size(), 4 * kSector);
    EXPECT_EQ(bytes.substr(0, 100), std::string(100, 'o'));
    EXPECT_EQ(bytes.substr(100 + 3 * kSector), std::string(kSector - 100, 'o'));
    std::string shape;
    for (const auto [start, end] :
         {std::pair(100u, 512u), {512, 1024}, {1024, 1536}, {1536, 1636}}) {
      const auto sector = bytes.substr(start, end - start);
      EXPECT_EQ(sector, std::string(sector.size(), sector[0])) << "torn within a sector";
      shape.push_back(sector[0]);
    }
    shapes.insert(shape);
  }
  EXPECT_EQ(shapes.size(), 16u) << "every combination of four sectors is to be met";
}

TEST(DiskCrashTest, TearTearsMostWrites) {
  std::uint64_t torn = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; seed++) {
    Disk disk(seed);
    write(disk, "/f", 0, std::string(4096, 'o'), true);
    ASSERT_TRUE(disk.sync_directory("/"));
    write(disk, "/f", 0, std::string(4096, 'n'), false);
    disk.crash(Disk::Crash::kTear);
    const std::string bytes = read(disk, "/f");
    torn += bytes.find('o') != std::string::npos && bytes.find('n') != std::string::npos ? 1 : 0;
  }
  EXPECT_GT(torn, kSeeds * 3 / 5);
}

TEST(DiskCrashTest, TornAppendsLeaveAPrefixZerosOrAShortFile) {
  std::set<std::uint64_t> sizes;
  for (std::uint64_t seed = 0; seed < kSeeds; seed++) {
    Disk disk(seed);
    write(disk, "/f", 0, "", true);
    ASSERT_TRUE(disk.sync_directory("/"));
    write(disk, "/f", 0, std::string(1200, 'n'), false);
    disk.crash(Disk::Crash::kRandom);
    const std::string bytes = read(disk, "/f");
    sizes.insert(bytes.size());
    for (std::size_t i = 0; i < bytes.size(); i++) {
      ASSERT_TRUE(bytes[i] == 'n' || bytes[i] == '\0');
      if (i % 512 != 0) ASSERT_EQ(bytes[i], bytes[i - 1]);
    }
  }
  EXPECT_EQ(sizes, (std::set<std::uint64_t>{0, 512, 1024, 1200}));
}

TEST(DiskCrashTest, ARenameBetweenDirectoriesIsDurableAtBothEndsOrNeither) {
  for (const std::string synced : {"/a", "/b"}) {
    Disk disk(1);
    ASSERT_TRUE(disk.make_directories("/a"));
    ASSERT_TRUE(disk.make_directories("/b"));
    write(disk, "/b/f", 0, "first", true);  // pending at the far end, before the rename
    write(disk, "/a/f", 0, "second", true);
    ASSERT_TRUE(disk.rename("/a/f", "/b/f"));
    ASSERT_TRUE(disk.sync_directory(synced));
    disk.crash(Disk::Crash::kRandom);
    EXPECT_EQ(read(disk, "/a/f"), "-");
    EXPECT_EQ(read(disk, "/b/f"), "second");
  }
}

TEST(DiskCrashTest, FilesOfAnEarlierLifeAreDeadAndTheirLocksGone) {
  Disk disk(1);
  const auto file = *disk.open("/f", OpenMode::kCreate);
  ASSERT_EQ(*file->try_lock(), true);
  disk.crash(Disk::Crash::kKeepAll);
  char byte = 0;
  EXPECT_EQ(file->read_at(0, std::span(&byte, 1)).error().code, std::errc::io_error);
  EXPECT_EQ(file->try_read_at(0, std::span(&byte, 1))->error().code, std::errc::io_error);
  EXPECT_EQ(file->write_at(0, "x").error().message(), "write /f: Input/output error");
  for (const auto& result : {file->sync(), file->truncate(0), file->preallocate(9),
                             file->push_out(0, 1, false), file->unlock()}) {
    EXPECT_FALSE(result);
  }
  EXPECT_FALSE(file->size());
  EXPECT_FALSE(file->try_lock());
  const auto again = *disk.open("/f", OpenMode::kReadWrite);
  EXPECT_EQ(*again->try_lock(), true);
  EXPECT_EQ(*again->size(), 0u);
}

TEST(DiskCrashTest, AStoryIsCutAtEachOfItsSteps) {
  // Replace a file the right way; at whatever step the power fails, the old or the new one is
  // there, and the new one once replace() said so.
  const auto replace = [](Disk& disk) -> base::Result<> {
    RETURN_IF_ERROR(write_file(disk, "/f.tmp", "new"));
    RETURN_IF_ERROR(disk.rename("/f.tmp", "/f"));
    return disk.sync_directory("/");
  };
  const auto prepare = [](Disk& disk) {
    ASSERT_TRUE(write_file(disk, "/f", "old"));
    ASSERT_TRUE(disk.sync_directory("/"));
  };
  Disk whole(0);
  prepare(whole);
  const std::uint64_t first = whole.changes() + 1;
  ASSERT_TRUE(replace(whole));
  const std::uint64_t last = whole.changes();
  EXPECT_EQ(last - first + 1, 6u) << "create, truncate, write, sync, rename, sync directory";

  std::set<std::string> seen;
  for (std::uint64_t step = first; step <= last + 1; step++) {
    for (std::uint64_t seed = 0; seed < 50; seed++) {
      Disk disk(seed);
      prepare(disk);
      disk.cut_at(step, Disk::Crash::kRandom);
      const bool acknowledged = replace(disk).ok();
      EXPECT_EQ(acknowledged, step > last);
      EXPECT_EQ(disk.is_off(), !acknowledged);
      EXPECT_EQ(disk.status("/f").ok(), acknowledged) << "nothing works until the power is back";
      if (acknowledged) disk.cut(Disk::Crash::kRandom);
      disk.power_on();
      const std::string content = read(disk, "/f");
      EXPECT_TRUE(content == "new" || (content == "old" && !acknowledged)) << content;
      seen.insert(content);
    }
  }
  EXPECT_EQ(seen.size(), 2u);
}

TEST(DiskFailureTest, TheNthOperationOfAKindFails) {
  Disk disk(1);
  disk.fail({.operation = Disk::Operation::kSync, .error_number = EIO, .nth = 2, .times = 2});
  disk.fail({.operation = Disk::Operation::kCreate, .error_number = EMFILE, .path_part = "wal"});
  EXPECT_EQ(disk.open("/0.wal", OpenMode::kCreate).error().code, std::errc::too_many_files_open);
  const auto file = *disk.open("/0.wal", OpenMode::kCreate);
  EXPECT_TRUE(file->sync());
  EXPECT_FALSE(file->sync());
  EXPECT_FALSE(file->sync());
  EXPECT_TRUE(file->sync());
  disk.fail({.operation = Disk::Operation::kSync, .error_number = EIO});
  disk.clear_failures();
  EXPECT_TRUE(file->sync());
}

TEST(DiskFailureTest, AFailedWriteHasWrittenWholeBlocks) {
  std::set<std::uint64_t> sizes;
  const std::string bytes(1500, 'x');
  for (std::uint64_t seed = 0; seed < kSeeds; seed++) {
    Disk disk(seed);
    write(disk, "/f", 0, std::string(100, 'a'), true);
    const auto file = *disk.open("/f", OpenMode::kReadWrite);
    disk.fail({.operation = Disk::Operation::kWrite, .error_number = EIO});
    EXPECT_EQ(file->write_at(100, bytes).error().code, std::errc::io_error);
    const std::string left = read(disk, "/f");
    EXPECT_EQ(left, (std::string(100, 'a') + bytes).substr(0, left.size()));
    sizes.insert(left.size());
  }
  sizes.erase(1536);  // rare
  EXPECT_EQ(sizes, (std::set<std::uint64_t>{100, 512, 1024}));
}

// What Linux does, in the end at the latest: readers see bytes that will not be there.
TEST(DiskFailureTest, ASecondSyncDoesNotMendAFailedOne) {
  for (const bool pushed : {false, true}) {
    std::set<std::string> left;
    for (std::uint64_t seed = 0; seed < kSeeds; seed++) {
      Disk disk(seed);
      const auto file = *disk.open("/f", OpenMode::kCreate);
      ASSERT_TRUE(disk.sync_directory("/"));
      ASSERT_TRUE(file->write_at(0, "a"));
      disk.fail({.operation = pushed ? Disk::Operation::kPushOut : Disk::Operation::kSync,
                 .error_number = EIO});
      EXPECT_FALSE(pushed ? file->push_out(0, 1, true) : file->sync());
      EXPECT_TRUE(file->sync());
      EXPECT_EQ(read(disk, "/f"), "a") << "programs still see it";
      disk.crash(Disk::Crash::kKeepAll);
      EXPECT_EQ(read(disk, "/f"), "a") << "those of the next life too";
      disk.crash(Disk::Crash::kRandom);
      left.insert(read(disk, "/f"));
    }
    EXPECT_THAT(left, Contains(""));
    EXPECT_THAT(left, Contains("a"));
  }
}

TEST(DiskFailureTest, WhatWasSettledIsWhatStays) {
  std::set<std::string> left;
  for (std::uint64_t seed = 0; seed < kSeeds; seed++) {
    Disk disk(seed);
    write(disk, "/f", 0, "old", true);
    ASSERT_TRUE(disk.sync_directory("/"));
    const auto file = *disk.open("/f", OpenMode::kReadWrite);
    ASSERT_TRUE(file->write_at(0, "new bytes"));
    disk.fail({.operation = Disk::Operation::kSync, .error_number = EIO});
    EXPECT_FALSE(file->sync());
    ASSERT_TRUE(file->write_at(9, ", and more"));
    disk.fail({.operation = Disk::Operation::kSync, .error_number = EIO});
    EXPECT_FALSE(file->settle());
    ASSERT_TRUE(file->settle());
    const std::string settled = read(disk, "/f");
    left.insert(settled);
    disk.crash(Disk::Crash::kLoseUnsynced);
    EXPECT_EQ(read(disk, "/f"), settled);
  }
  EXPECT_THAT(left, Contains("old"));
  EXPECT_THAT(left, Contains("new bytes"));
  EXPECT_THAT(left, Contains("new bytes, and more"));
}

TEST(DiskFailureTest, WhatFailsInTheBackgroundIsToldOnce) {
  Disk disk(1);
  auto file = *disk.open("/f", OpenMode::kCreate);
  EXPECT_FALSE(disk.fail_write_back("/f")) << "there is nothing to write";
  EXPECT_TRUE(file->sync());
  ASSERT_TRUE(file->write_at(0, "a"));
  EXPECT_TRUE(disk.fail_write_back("/f"));
  EXPECT_EQ(read(disk, "/f"), "a");
  disk.crash(Disk::Crash::kKeepAll);
  file = *disk.open("/f", OpenMode::kReadWrite);
  EXPECT_FALSE(file->settle()) << "nobody was told yet";
  EXPECT_TRUE(file->settle());
}

TEST(DiskFailureTest, AFullDiskTakesTheBlocksThatFit) {
  Disk disk(1);
  disk.set_capacity(1800);
  write(disk, "/f", 0, std::string(600, 'f'), true);
  const auto file = *disk.open("/g", OpenMode::kCreate);
  EXPECT_EQ(file->preallocate(1201).error().code, std::errc::no_space_on_device);
  EXPECT_EQ(file->truncate(1201).error().code, std::errc::no_space_on_device);
  EXPECT_EQ(file->write_at(0, std::string(1201, 'g')).error().code, std::errc::no_space_on_device);
  EXPECT_EQ(read(disk, "/g"), std::string(1024, 'g'));
  EXPECT_TRUE(file->write_at(0, std::string(1024, 'G'))) << "what is there may be overwritten";
  EXPECT_EQ(disk.space("/")->available, 176u);
  ASSERT_TRUE(disk.remove("/f"));
  EXPECT_EQ(disk.space("/")->available, 776u);
  EXPECT_TRUE(file->write_at(1024, std::string(776, 'h')));
}

TEST(DiskFailureTest, FlippedBitsAreSeenAndStay) {
  Disk disk(1);
  write(disk, "/f", 0, "abc", true);
  ASSERT_TRUE(disk.sync_directory("/"));
  disk.flip_bit("/f", 1, 0);
  EXPECT_EQ(read(disk, "/f"), "acc");
  disk.crash(Disk::Crash::kLoseUnsynced);
  EXPECT_EQ(read(disk, "/f"), "acc");
}

TEST(DiskFailureTest, ObserversSeeEveryStepAndMayRefuseIt) {
  Disk disk(1);
  std::vector<std::string> trace;
  disk.on_operation([&](const Disk::Step& step) {
    trace.push_back(
        fmt::format("{} {} {}", static_cast<int>(step.operation), step.path, step.bytes));
    return step.operation == Disk::Operation::kTruncate ? EIO : 0;
  });
  EXPECT_EQ(write_file(disk, "/f", "abc").error().message(), "truncate /f: Input/output error");
  EXPECT_EQ(trace, (std::vector<std::string>{
                       fmt::format("{} /f 0", static_cast<int>(Disk::Operation::kCreate)),
                       fmt::format("{} /f 0", static_cast<int>(Disk::Operation::kTruncate))}));
}

TEST(DiskFailureTest, ACrashFromWithinAnOperationEndsIt) {
  Disk disk(1);
  const auto file = *disk.open("/f", OpenMode::kCreate);
  disk.on_operation([&](const Disk::Step& step) {
    if (step.operation == Disk::Operation::kWrite) disk.crash(Disk::Crash::kKeepAll);
    return 0;
  });
  EXPECT_EQ(file->write_at(0, "x").error().code, std::errc::io_error);
  EXPECT_EQ(read(disk, "/f"), "") << "the write belonged to the life that ended";
}

TEST(DiskTest, ColdReadsComeAsOftenAsAskedFor) {
  Disk disk(1);
  write(disk, "/f", 0, "abc", true);
  const auto file = *disk.open("/f", OpenMode::kRead);
  char bytes[3];
  const auto count_cold = [&] {
    int cold = 0;
    for (int i = 0; i < 1000; i++) cold += file->try_read_at(0, bytes).has_value() ? 0 : 1;
    return cold;
  };
  EXPECT_EQ(count_cold(), 0);
  disk.set_cold_one_in(4);
  EXPECT_NEAR(count_cold(), 250, 80);
  disk.set_cold_one_in(1);
  EXPECT_EQ(count_cold(), 1000);
}

TEST(DiskTest, RelativePathsStartAtTheRoot) {
  Disk disk(1);
  ASSERT_TRUE(disk.make_directories("a/b"));
  write(disk, "a/b/f", 0, "x", true);
  EXPECT_EQ(read(disk, "/a/./b//f"), "x");
  EXPECT_EQ(read(disk, "a/b/../b/f"), "x");
  EXPECT_EQ(disk.contents(), (std::map<std::string, std::string>{{"/a/b/f", "x"}}));
}

// Twin: a plain string per file, under random writes, truncations and syncs; a crash that loses
// what is pending leaves the string as it was at the last sync.
TEST(DiskTest, AgreesWithPlainStrings) {
  for (std::uint64_t seed = 0; seed < 40; seed++) {
    base::Random random(seed);
    Disk disk(seed);
    auto file = *disk.open("/f", OpenMode::kCreate);
    ASSERT_TRUE(disk.sync_directory("/"));
    std::string seen, synced;
    for (int step = 0; step < 200; step++) {
      const std::uint64_t place = random.below(20'000);
      switch (random.below(6)) {
        case 0:
          ASSERT_TRUE(file->truncate(place));
          seen.resize(place);
          break;
        case 1:
          ASSERT_TRUE(file->preallocate(place));
          seen.resize(std::max<std::size_t>(seen.size(), place));
          break;
        case 2:
          ASSERT_TRUE(file->sync());
          synced = seen;
          break;
        case 3:
          if (!random.one_in(4)) break;
          file.reset();
          disk.crash(Disk::Crash::kLoseUnsynced);
          file = *disk.open("/f", OpenMode::kReadWrite);
          seen = synced;
          break;
        default:
          const auto bytes = random.one_in(4) ? std::string(random.below(9000), '\0')
                                              : random.bytes(random.below(9000));
          ASSERT_TRUE(file->write_at(place, bytes));
          if (bytes.empty()) break;
          seen.resize(std::max(seen.size(), place + bytes.size()));
          seen.replace(place, bytes.size(), bytes);
      }
      ASSERT_EQ(*file->size(), seen.size());
      std::string part(random.below(9000), '\0');
      const std::uint64_t from = random.below(20'000);
      part.resize(*file->read_at(from, part));
      ASSERT_EQ(part, from < seen.size() ? seen.substr(from, part.size()) : "");
    }
    EXPECT_EQ(read(disk, "/f"), seen) << "seed " << seed;
  }
}

TEST(DiskTest, SameSeedSameDisasters) {
  const auto run = [](std::uint64_t seed) {
    base::Random random(99);
    Disk disk(seed);
    for (int i = 0; i < 60; i++) {
      const auto path = fmt::format("/{}", random.below(8));
      write(disk, path, random.below(3000), random.bytes(random.below(3000)), random.one_in(3));
      if (random.one_in(5)) MAYBE(disk.rename(path, fmt::format("/{}", random.below(8))).ok());
      if (random.one_in(5)) MAYBE(disk.sync_directory("/").ok());
      if (random.one_in(10)) disk.crash(Disk::Crash::kRandom);
    }
    return disk.contents();
  };
  EXPECT_EQ(run(7), run(7));
  EXPECT_NE(run(7), run(8));
}

}  // namespace
}  // namespace keelson::env::simulated
