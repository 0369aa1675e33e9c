// What every FileSystem promises, held by the one of this machine and by the simulated one.
#include "env/file.h"

#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cstdlib>

#include "env/posix/files.h"
#include "env/simulated/disk.h"

namespace keelson::env {
namespace {

// A file system and an empty directory in it.
class World {
 public:
  virtual ~World() = default;
  virtual FileSystem& files() = 0;
  virtual std::string directory() = 0;
  // Whether it is known to read from a disk what it does not have in memory.
  virtual bool is_on_disk() = 0;
};

class PosixWorld final : public World {
 public:
  PosixWorld() {
    std::string pattern = "/tmp/keelson_files_XXXXXX";
    CHECK(::mkdtemp(pattern.data()) != nullptr);
    directory_ = pattern;
  }
  ~PosixWorld() override { EXPECT_TRUE(files_.remove_all(directory_)); }
  FileSystem& files() override { return files_; }
  std::string directory() override { return directory_; }
  bool is_on_disk() override {
    struct statfs status;
    CHECK(::statfs(directory_.c_str(), &status) == 0);
    return status.f_type == EXT4_SUPER_MAGIC || status.f_type == XFS_SUPER_MAGIC;
  }

 private:
  posix::Files files_;
  std::string directory_;
};

class SimulatedWorld final : public World {
 public:
  SimulatedWorld() { CHECK(disk_.make_directories("/data").ok()); }
  FileSystem& files() override { return disk_; }
  std::string directory() override { return "/data"; }
  bool is_on_disk() override { return false; }

 private:
  simulated::Disk disk_{1};
};

using MakeWorld = std::unique_ptr<World> (*)();

class FileSystemTest : public ::testing::TestWithParam<MakeWorld> {
 protected:
  std::string at(std::string_view name) { return join_path(world_->directory(), name); }
  std::unique_ptr<File> open(std::string_view name, OpenMode mode) {
    auto file = files_.open(at(name), mode);
    CHECK_MSG(file.ok(), "{}", file.error().message());
    return *std::move(file);
  }
  std::string read(std::string_view name) {
    auto bytes = read_file(files_, at(name));
    return bytes ? *bytes : bytes.error().message();
  }
  std::unique_ptr<World> world_ = GetParam()();
  FileSystem& files_ = world_->files();
};

template <class T>
std::error_code code_of(const base::Result<T>& result) {
  return result ? std::error_code() : result.error().code;
}

TEST_P(FileSystemTest, OpenModesAgreeWithWhatIsThere) {
  EXPECT_EQ(code_of(files_.open(at("f"), OpenMode::kRead)), std::errc::no_such_file_or_directory);
  EXPECT_EQ(code_of(files_.open(at("f"), OpenMode::kReadWrite)),
            std::errc::no_such_file_or_directory);
  EXPECT_TRUE(files_.open(at("f"), OpenMode::kCreateNew, 0640));
  EXPECT_EQ(code_of(files_.open(at("f"), OpenMode::kCreateNew)), std::errc::file_exists);
  EXPECT_TRUE(files_.open(at("f"), OpenMode::kCreate));
  EXPECT_TRUE(files_.open(at("f"), OpenMode::kReadWrite));
  EXPECT_TRUE(files_.open(at("f"), OpenMode::kRead));
  EXPECT_EQ(code_of(files_.open(at("f/g"), OpenMode::kCreate)), std::errc::not_a_directory);
  EXPECT_EQ(code_of(files_.open(world_->directory(), OpenMode::kRead)), std::errc::is_a_directory);
  EXPECT_EQ((*files_.status(at("f")))->permissions, 0640u);
}

TEST_P(FileSystemTest, ErrorsNameTheCallAndThePath) {
  const auto file = files_.open(at("absent"), OpenMode::kRead);
  EXPECT_EQ(file.error().message(), "open " + at("absent") + ": No such file or directory");
  EXPECT_EQ(files_.remove(at("absent")).error().context, "remove " + at("absent"));
  EXPECT_EQ(files_.rename(at("a"), at("b")).error().context,
            "rename " + at("a") + " to " + at("b"));
}

TEST_P(FileSystemTest, ReadsBackWhatWasWritten) {
  const auto file = open("f", OpenMode::kCreate);
  const std::vector<std::string_view> parts{"", "abc", "", "defg", ""};
  ASSERT_TRUE(file->write_at(2, parts));
  ASSERT_TRUE(file->write_at(4, "XY"));
  EXPECT_EQ(*file->size(), 9u);
  EXPECT_EQ(read("f"), std::string("\0\0abXYefg", 9));
  ASSERT_TRUE(file->write_at(0, std::span<const std::string_view>()));

  char bytes[16];
  EXPECT_EQ(*file->read_at(6, bytes), 3u) << "the file ends first";
  EXPECT_EQ(*file->read_at(9, bytes), 0u);
  EXPECT_EQ(*file->read_at(100, bytes), 0u);
  EXPECT_TRUE(file->sync());
  EXPECT_TRUE(file->push_out(0, 9, true));
  EXPECT_TRUE(file->push_out(0, 0, false));
}

TEST_P(FileSystemTest, ManyPartsAndManyBytesArriveInOrder) {
  const auto file = open("f", OpenMode::kCreate);
  std::vector<std::string> pieces;
  for (std::size_t i = 0; i < 3000; i++) pieces.push_back(std::string(i % 700, char('a' + i % 26)));
  const std::vector<std::string_view> parts(pieces.begin(), pieces.end());
  ASSERT_TRUE(file->write_at(1, parts));
  std::string expected(1, '\0');
  for (const auto& piece : pieces) expected += piece;
  EXPECT_EQ(read("f"), expected);
}

TEST_P(FileSystemTest, WhatGoesAroundTheCacheArrivesWhateverItsShape) {
  constexpr std::size_t kPage = File::kPageBytes;
  alignas(kPage) static std::array<char, 3 * kPage> memory;
  for (std::size_t i = 0; i < memory.size(); i++) memory[i] = static_cast<char>('a' + i % 23);
  const std::string_view bytes(memory.data(), memory.size());
  const auto file = open("f", OpenMode::kCreate);
  file->bypass_cache();
  ASSERT_TRUE(file->write_at(kPage, bytes.substr(0, 2 * kPage)));
  EXPECT_EQ(read("f"), std::string(kPage, '\0') + std::string(bytes.substr(0, 2 * kPage)));
  ASSERT_TRUE(file->write_at(0, bytes.substr(1, kPage))) << "not where a page begins in memory";
  ASSERT_TRUE(file->write_at(3 * kPage, bytes.substr(0, 5))) << "no whole page";
  ASSERT_TRUE(file->write_at(kPage + 7, bytes.substr(kPage, kPage))) << "not at a page of the file";
  ASSERT_TRUE(file->sync());
  std::string expected(bytes.substr(1, kPage));
  expected.append(bytes.substr(0, 2 * kPage)).append(bytes.substr(0, 5));
  expected.replace(kPage + 7, kPage, bytes.substr(kPage, kPage));
  EXPECT_EQ(read("f"), expected);
}

TEST_P(FileSystemTest, TryReadGivesAllOrCold) {
  const auto file = open("f", OpenMode::kCreate);
  ASSERT_TRUE(file->write_at(0, "0123456789"));
  char bytes[8];
  EXPECT_FALSE(file->try_read_at(5, bytes).has_value()) << "it reaches past the end";
  if (auto got = file->try_read_at(1, bytes)) {  // a file system may know nothing of memory
    ASSERT_TRUE(*got);
    EXPECT_EQ(std::string_view(bytes, **got), "12345678");
  }
  EXPECT_EQ(**file->try_read_at(3, std::span<char>()), 0u);
}

TEST_P(FileSystemTest, WhatIsSettledIsReadFromTheDisk) {
  constexpr std::size_t kPageBytes = 4096, kPages = 64;
  std::string bytes;
  for (std::size_t i = 0; i < kPages; i++) bytes.append(kPageBytes, char('a' + i % 26));
  const auto file = open("f", OpenMode::kCreate);
  ASSERT_TRUE(file->write_at(0, bytes));
  ASSERT_TRUE(file->sync());
  const auto in_memory = [&](const File& reader) {
    std::size_t pages = 0;
    for (std::size_t i = kPages; i-- > 0;) {  // backwards: nothing is read ahead
      char byte;
      pages += reader.try_read_at(i * kPageBytes, std::span(&byte, 1)).has_value() ? 1 : 0;
    }
    return pages;
  };
  const std::size_t before = in_memory(*file);
  const auto reader = open("f", OpenMode::kRead);
  ASSERT_TRUE(reader->settle()) << "who only reads may";
  // Some other program may hold on to a page just now.
  if (world_->is_on_disk()) EXPECT_LE(in_memory(*reader), before / 2);
  EXPECT_EQ(read("f"), bytes);
}

TEST_P(FileSystemTest, TruncateAndPreallocate) {
  const auto file = open("f", OpenMode::kCreate);
  ASSERT_TRUE(file->write_at(0, "0123456789"));
  ASSERT_TRUE(file->truncate(4));
  ASSERT_TRUE(file->truncate(6));
  EXPECT_EQ(read("f"), std::string("0123\0\0", 6)) << "what was cut off does not come back";
  ASSERT_TRUE(file->preallocate(8));
  EXPECT_EQ(*file->size(), 8u);
  ASSERT_TRUE(file->preallocate(3));
  ASSERT_TRUE(file->preallocate(0));
  EXPECT_EQ(read("f"), std::string("0123\0\0\0\0", 8)) << "it never shrinks";
}

TEST_P(FileSystemTest, ALockExcludesOtherOpensUntilUnlockOrClose) {
  auto first = open("f", OpenMode::kCreate);
  const auto second = open("f", OpenMode::kReadWrite);
  EXPECT_EQ(*first->try_lock(), true);
  EXPECT_EQ(*first->try_lock(), true) << "it has it already";
  EXPECT_EQ(*second->try_lock(), false);
  EXPECT_TRUE(second->unlock());
  EXPECT_EQ(*second->try_lock(), false) << "it was not the second's to release";
  EXPECT_TRUE(first->unlock());
  EXPECT_EQ(*second->try_lock(), true);
  EXPECT_EQ(*first->try_lock(), false);
  EXPECT_TRUE(second->unlock());
  EXPECT_EQ(*first->try_lock(), true);
  first.reset();
  EXPECT_EQ(*second->try_lock(), true);
}

TEST_P(FileSystemTest, AFileOpenedForReadingIsNotChanged) {
  ASSERT_TRUE(write_file(files_, at("f"), "abc"));
  const auto file = open("f", OpenMode::kRead);
  EXPECT_FALSE(file->write_at(0, "x"));
  EXPECT_FALSE(file->truncate(0));
  EXPECT_FALSE(file->preallocate(100));
  EXPECT_FALSE(file->try_lock());
  EXPECT_EQ(read("f"), "abc");
}

TEST_P(FileSystemTest, Directories) {
  EXPECT_TRUE(files_.make_directories(at("a/b/c")));
  EXPECT_TRUE(files_.make_directories(at("a/b/c/")));
  const auto status = *files_.status(at("a/b"));
  EXPECT_TRUE(status->is_directory);
  EXPECT_EQ(status->permissions, 0700u);
  EXPECT_TRUE(write_file(files_, at("a/z"), "1"));
  EXPECT_TRUE(write_file(files_, at("a/k"), "2"));
  EXPECT_EQ(*files_.list(at("a")), (std::vector<std::string>{"b", "k", "z"}));
  EXPECT_TRUE(files_.sync_directory(at("a")));
  EXPECT_EQ(code_of(files_.make_directories(at("a/z"))), std::errc::not_a_directory);
  EXPECT_EQ(code_of(files_.make_directories(at("a/z/y"))), std::errc::not_a_directory);
  EXPECT_EQ(code_of(files_.list(at("a/z"))), std::errc::not_a_directory);
  EXPECT_EQ(code_of(files_.list(at("q"))), std::errc::no_such_file_or_directory);
  EXPECT_EQ(code_of(files_.sync_directory(at("q"))), std::errc::no_such_file_or_directory);
  EXPECT_FALSE(files_.status(at("q"))->has_value());
  EXPECT_FALSE(files_.status(at("a/z/q"))->has_value());
}

TEST_P(FileSystemTest, RenameReplacesAFileAndKeepsOpenOnes) {
  ASSERT_TRUE(write_file(files_, at("old"), "old"));
  ASSERT_TRUE(write_file(files_, at("new"), "new"));
  const auto replaced = open("old", OpenMode::kReadWrite);
  ASSERT_TRUE(files_.rename(at("new"), at("old")));
  EXPECT_EQ(read("old"), "new");
  EXPECT_FALSE(files_.status(at("new"))->has_value());
  char bytes[3];
  EXPECT_EQ(*replaced->read_at(0, bytes), 3u) << "who has it open keeps it";
  EXPECT_EQ(std::string_view(bytes, 3), "old");

  ASSERT_TRUE(files_.make_directories(at("d/e")));
  EXPECT_EQ(code_of(files_.rename(at("old"), at("d"))), std::errc::is_a_directory);
  EXPECT_EQ(code_of(files_.rename(at("d"), at("old"))), std::errc::not_a_directory);
  EXPECT_EQ(code_of(files_.rename(at("d"), at("d/e/f"))), std::errc::invalid_argument);
  EXPECT_EQ(code_of(files_.rename(at("none"), at("x"))), std::errc::no_such_file_or_directory);
  ASSERT_TRUE(files_.make_directories(at("g")));
  EXPECT_EQ(code_of(files_.rename(at("g"), at("d"))), std::errc::directory_not_empty);
  EXPECT_TRUE(files_.rename(at("d"), at("g")));
  EXPECT_TRUE(files_.status(at("g/e"))->has_value());
}

TEST_P(FileSystemTest, LinksShareOneFile) {
  ASSERT_TRUE(write_file(files_, at("a"), "1"));
  ASSERT_TRUE(files_.link(at("a"), at("b")));
  EXPECT_EQ(code_of(files_.link(at("a"), at("b"))), std::errc::file_exists);
  EXPECT_EQ(code_of(files_.link(at("none"), at("c"))), std::errc::no_such_file_or_directory);
  ASSERT_TRUE(open("b", OpenMode::kReadWrite)->write_at(0, "2"));
  EXPECT_EQ(read("a"), "2");
  ASSERT_TRUE(files_.remove(at("a")));
  EXPECT_EQ(read("b"), "2");
}

TEST_P(FileSystemTest, Remove) {
  ASSERT_TRUE(files_.make_directories(at("a/b")));
  ASSERT_TRUE(write_file(files_, at("a/f"), "1"));
  EXPECT_EQ(code_of(files_.remove(at("a"))), std::errc::directory_not_empty);
  EXPECT_TRUE(files_.remove(at("a/b")));
  EXPECT_EQ(code_of(files_.remove(at("a/b"))), std::errc::no_such_file_or_directory);
  EXPECT_TRUE(files_.make_directories(at("a/b/c/d")));
  EXPECT_TRUE(files_.remove_all(at("a")));
  EXPECT_TRUE(files_.remove_all(at("a"))) << "nothing to remove is no error";
  EXPECT_EQ(files_.list(world_->directory())->size(), 0u);
}

TEST_P(FileSystemTest, AFileWithoutANameIsShortened) {
  ASSERT_TRUE(write_file(files_, at("f"), std::string(10'000, 'x')));
  const auto file = open("f", OpenMode::kReadWrite);
  ASSERT_TRUE(files_.remove(at("f")));
  for (const std::uint64_t left : {6000, 2000}) {
    EXPECT_TRUE(*shorten(*file, 4000));
    EXPECT_EQ(*file->size(), left);
  }
  EXPECT_FALSE(*shorten(*file, 4000));
  EXPECT_EQ(*file->size(), 2000u) << "the rest goes with the file";
}

TEST_P(FileSystemTest, WriteFileReplacesTheContent) {
  ASSERT_TRUE(write_file(files_, at("f"), "a longer one", 0644));
  ASSERT_TRUE(write_file(files_, at("f"), "short"));
  EXPECT_EQ(read("f"), "short");
  EXPECT_EQ(code_of(read_file(files_, at("g"))), std::errc::no_such_file_or_directory);
}

TEST_P(FileSystemTest, SpaceHasSenseInIt) {
  const auto space = *files_.space(world_->directory());
  EXPECT_GT(space.total, 0u);
  EXPECT_LE(space.available, space.total);
}

INSTANTIATE_TEST_SUITE_P(Posix, FileSystemTest, ::testing::Values(+[] {
                           return std::unique_ptr<World>(std::make_unique<PosixWorld>());
                         }));
INSTANTIATE_TEST_SUITE_P(Simulated, FileSystemTest, ::testing::Values(+[] {
                           return std::unique_ptr<World>(std::make_unique<SimulatedWorld>());
                         }));

TEST(JoinPathTest, PutsOneSlashBetween) {
  EXPECT_EQ(join_path("a", "b"), "a/b");
  EXPECT_EQ(join_path("a/", "b"), "a/b");
  EXPECT_EQ(join_path("/", "b"), "/b");
  EXPECT_EQ(join_path("", "b"), "b");
}

}  // namespace
}  // namespace keelson::env
