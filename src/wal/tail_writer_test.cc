#include "wal/tail_writer.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "env/simulated/disk.h"

namespace keelson::wal {
namespace {

using env::simulated::Disk;

constexpr std::size_t kPage = env::File::kPageBytes;

class TailWriterTest : public ::testing::Test {
 protected:
  std::unique_ptr<env::File> open() {
    auto file = disk_.open("/f", env::OpenMode::kCreate);
    CHECK(file.ok());
    return *std::move(file);
  }
  std::string content() { return *env::read_file(disk_, "/f"); }

  Disk disk_{1};
};

std::string padded(std::string bytes) {
  bytes.resize((bytes.size() + kPage - 1) / kPage * kPage);
  return bytes;
}

TEST_F(TailWriterTest, WritesWholePagesWhateverItIsGiven) {
  disk_.on_operation([](const Disk::Step& step) {
    if (step.operation == Disk::Operation::kWrite) EXPECT_EQ(step.bytes % kPage, 0u);
    return 0;
  });
  const auto file = open();
  TailWriter writer;
  ASSERT_TRUE(writer.begin(*file, 0).ok());
  base::Random random(7);
  std::string expected;
  for (const std::size_t most : {10u, 300u, 5000u, 600'000u}) {
    for (int i = 0; i < 20; i++) {
      const std::string bytes(random.below(most), static_cast<char>('a' + random.below(26)));
      ASSERT_TRUE(writer.write(bytes).ok());
      expected += bytes;
    }
    ASSERT_EQ(content(), padded(expected)) << "zeros follow to the end of the page";
  }
}

TEST_F(TailWriterTest, GoesOnBehindWhatIsThere) {
  for (const std::size_t end : {std::size_t{0}, std::size_t{1}, kPage - 1, kPage, 3 * kPage + 17}) {
    const auto file = open();
    const std::string before(end, 'b');
    ASSERT_TRUE(file->truncate(0).ok());
    ASSERT_TRUE(file->write_at(0, before).ok());
    TailWriter writer;
    ASSERT_TRUE(writer.begin(*file, end).ok());
    ASSERT_TRUE(writer.write("next").ok());
    EXPECT_EQ(content(), padded(before + "next"));
  }
}

TEST_F(TailWriterTest, WhatIsNotThereIsAnError) {
  const auto file = open();
  ASSERT_TRUE(file->write_at(0, "short").ok());
  TailWriter writer;
  const auto begun = writer.begin(*file, 7);
  ASSERT_FALSE(begun.ok());
  EXPECT_EQ(begun.error().message(),
            "wal: i/o error in /f at offset 0: 5 bytes where 7 were expected");
}

// A page that is begun is written again: what it held durably before must survive that.
TEST_F(TailWriterTest, PowerLossInTheNextWriteLeavesWhatWasSynced) {
  for (std::uint64_t seed = 1; seed <= 50; seed++) {
    Disk disk(seed);
    {
      auto file = *disk.open("/f", env::OpenMode::kCreate);
      ASSERT_TRUE(disk.sync_directory("/").ok());
      TailWriter writer;
      ASSERT_TRUE(writer.begin(*file, 0).ok());
      ASSERT_TRUE(writer.write(std::string(1000, 'a')).ok());
      ASSERT_TRUE(file->sync().ok());
      ASSERT_TRUE(writer.write(std::string(6000, 'b')).ok());
      disk.crash(Disk::Crash::kRandom);
    }
    EXPECT_EQ(env::read_file(disk, "/f")->substr(0, 1000), std::string(1000, 'a'));
  }
}

}  // namespace
}  // namespace keelson::wal
