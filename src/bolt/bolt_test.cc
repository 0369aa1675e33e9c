// Writer and reader held against each other and against a sorted map, and the reader against
// damage. bbolt itself is asked by tests/peers/bolttwin.

#include <gtest/gtest.h>

#include <map>

#include "base/little_endian.h"
#include "base/random.h"
#include "bolt/coming_file.h"
#include "bolt/reader.h"
#include "bolt/writer.h"
#include "env/simulated/disk.h"

namespace keelson::bolt {
namespace {

using env::simulated::Disk;
using Keys = std::map<std::string, std::string>;
using Content = std::map<std::string, Keys>;  // by bucket

// Either kind, by the name's length.
BucketKind kind_of(std::string_view name) {
  return name.size() % 2 == 0 ? BucketKind::kLarge : BucketKind::kSmall;
}

Plan plan_of(const Content& content, std::uint32_t page_bytes) {
  Layout layout(page_bytes);
  for (const auto& [name, keys] : content) {
    layout.begin_bucket(name.size(), kind_of(name));
    for (const auto& [key, value] : keys) layout.add(key.size(), value.size());
  }
  return layout.finish();
}

std::string front_of(Writer& writer, const Content& content) {
  std::string front;
  for (const auto& [name, keys] : content) {
    const BucketKind kind = kind_of(name);
    writer.begin_bucket(name, kind);
    for (const auto& [key, value] : keys) {
      kind == BucketKind::kLarge ? writer.add_size(key, value.size()) : writer.add(key, value);
    }
    front += writer.take();
  }
  EXPECT_TRUE(writer.end_front().ok());
  return front + writer.take();
}

std::string file_of(const Content& content, std::uint32_t page_bytes = kPageBytesDefault) {
  const Plan plan = plan_of(content, page_bytes);
  Writer writer(plan);
  std::string file = front_of(writer, content);
  EXPECT_EQ(file.size(), plan.leaves * page_bytes);
  for (const auto& [name, keys] : content) {
    writer.begin_bucket(name, kind_of(name));
    for (const auto& [key, value] : keys) writer.add(key, value);
    file += writer.take();
  }
  EXPECT_TRUE(writer.finish().ok());
  file += writer.take();
  EXPECT_EQ(file.size(), plan.file_bytes());
  return file;
}

class BoltTest : public ::testing::Test {
 protected:
  const env::File& file(std::string_view bytes) {
    EXPECT_TRUE(env::write_file(disk_, "/db", bytes).ok());
    file_ = disk_.open("/db", env::OpenMode::kRead).value();
    return *file_;
  }

  Disk disk_{1};
  std::unique_ptr<env::File> file_;
};

// All that a file holds, nested buckets under "outer/inner".
base::Result<> read_bucket(const Database& database, const Bucket& bucket, const std::string& name,
                           Content& out) {
  Keys& keys = out[name];
  Cursor cursor(database, bucket);
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, cursor.next());
    if (!more) return {};
    if (cursor.is_bucket()) {
      ASSIGN_OR_RETURN(const Bucket inner, cursor.bucket());
      const std::string inner_name = std::string(cursor.key());
      RETURN_IF_ERROR(
          read_bucket(database, inner, name.empty() ? inner_name : name + "/" + inner_name, out));
    } else {
      keys.emplace(cursor.key(), cursor.value());
    }
  }
}

base::Result<Content> read_all(const env::File& file) {
  ASSIGN_OR_RETURN(const Database database, Database::open(file));
  RETURN_IF_ERROR(check(database));
  Content content;
  RETURN_IF_ERROR(read_bucket(database, database.root(), "", content));
  content.erase("");
  return content;
}

Content random_content(base::Random& random, std::uint32_t page_bytes) {
  Content content;
  const auto buckets = random.below(6);
  for (std::uint64_t b = 0; b < buckets; b++) {
    Keys& keys = content["bucket" + std::to_string(random.below(1000))];
    const auto count = random.below(3) == 0 ? random.below(2000) : random.below(30);
    const auto key_max = random.below(10) == 0 ? page_bytes * 2 : 40;
    for (std::uint64_t i = 0; i < count; i++) {
      std::string key(1 + random.below(key_max), 'k');
      for (std::size_t c = 0; c < std::min<std::size_t>(key.size(), 6); c++) {
        key[c] = static_cast<char>(random.below(256));
      }
      const auto value_max = random.below(50) == 0 ? page_bytes * 5 : 200;
      keys[key] = std::string(random.below(value_max), static_cast<char>('a' + random.below(26)));
    }
  }
  return content;
}

TEST_F(BoltTest, WhatIsWrittenIsRead) {
  for (std::uint64_t seed = 1; seed <= 60; seed++) {
    base::Random random(seed);
    const auto page_bytes = std::uint32_t{1024} << random.below(4);
    const Content content = random_content(random, page_bytes);
    const auto read = read_all(file(file_of(content, page_bytes)));
    ASSERT_TRUE(read.ok()) << "seed " << seed << ": " << read.error().message();
    ASSERT_EQ(*read, content) << "seed " << seed;
  }
}

TEST_F(BoltTest, EveryNumberOfKeysMakesAWholeTree) {
  Content content{{"key", {}}, {"meta", {{"consistent_index", "12345678"}}}};
  for (int count = 0; count < 1200; count++) {
    // One by one where pages and heights begin.
    if (count < 100 || count % 8 == 0) {
      const auto read = read_all(file(file_of(content, 1024)));
      ASSERT_TRUE(read.ok()) << count << " keys: " << read.error().message();
      ASSERT_EQ(*read, content);
    }
    content["key"][fmt::format("{:05}", count)] = std::string(30, 'v');
  }
}

TEST_F(BoltTest, AFileWithoutBucketsIsAnEmptyLeaf) {
  const std::string bytes = file_of({});
  EXPECT_EQ(bytes.size(), 3u * 4096);
  EXPECT_EQ(read_all(file(bytes)).value(), Content{});
}

TEST_F(BoltTest, BranchesHaveTheFirstKeysOfTheirChildren) {
  Content content;
  for (int i = 0; i < 5000; i++) content["b"][fmt::format("{:08}", i)] = std::string(50, 'v');
  const std::string bytes = file_of(content, 1024);
  int branches = 0;
  for (std::size_t at = 2048; at < bytes.size(); at += 1024) {
    const PageHeader header = decode_page_header(bytes.data() + at);
    if (!header.is(PageType::kBranch)) continue;
    branches++;
    EXPECT_GE(header.count, 2);
    for (std::size_t i = 0; i < header.count; i++) {
      const std::size_t place = at + kPageHeaderBytes + i * kElementBytes;
      const Element element = decode_branch(bytes.data() + place);
      const std::size_t child = element.child * 1024 + kPageHeaderBytes;
      const PageHeader below = decode_page_header(bytes.data() + element.child * 1024);
      const Element first = below.is(PageType::kBranch) ? decode_branch(bytes.data() + child)
                                                        : decode_leaf(bytes.data() + child);
      EXPECT_EQ(bytes.substr(place + element.position, element.key_bytes),
                bytes.substr(child + first.position, first.key_bytes));
    }
  }
  EXPECT_GT(branches, 10);
}

TEST_F(BoltTest, ASourceThatChangesBetweenThePassesIsAnError) {
  const Content before{{"a", {{"k", "v"}}}};
  const auto add_others = [](Writer& writer) {
    writer.begin_bucket("a");
    for (int i = 0; i < 1000; i++) writer.add(fmt::format("{:05}", i), "value");
  };
  Writer front(plan_of(before, 4096));
  add_others(front);
  EXPECT_FALSE(front.end_front().ok());
  Writer leaves(plan_of(before, 4096));
  front_of(leaves, before);
  add_others(leaves);
  EXPECT_FALSE(leaves.finish().ok());
}

// W4: nothing that a walk in order of keys asks for lies behind what it asks for next.
TEST_F(BoltTest, AWalkGoesOverTheLeavesFrontToBack) {
  class Order final : public PageListener {
   public:
    base::Result<> on_page(std::uint64_t id, std::uint64_t pages) override {
      if (id < leaves) return {};
      EXPECT_EQ(id, next);
      next = id + pages;
      return {};
    }
    std::uint64_t leaves = 0, next = 0;
  };
  Content content;
  for (int i = 0; i < 5000; i++) {
    content["large!"][fmt::format("{:08}", i)] = std::string(i % 700 == 0 ? 5000 : 50, 'v');
    content["small"][fmt::format("{:08}", i)] = std::string(9, 'v');
  }
  content["few"] = {{"k", "v"}};
  content["none"] = {};
  const Plan plan = plan_of(content, 1024);
  const auto database = Database::open(file(file_of(content, 1024))).value();
  Order order;
  order.leaves = order.next = plan.leaves;
  Cursor buckets(database, database.root(), &order);
  while (buckets.next().value()) {
    Cursor cursor(database, buckets.bucket().value(), &order);
    while (cursor.next().value()) {
    }
  }
  EXPECT_EQ(order.next, plan.pages);
}

// A walk that stands before each page until that has come, whatever the order of pages is.
class ComingTest : public BoltTest {
 protected:
  // What a walk over everything comes to, the file growing by random pieces where it waits.
  base::Result<Content> walk(const std::string& bytes, std::uint64_t seed) {
    EXPECT_TRUE(env::write_file(disk_, "/db", "").ok());
    random_.emplace(seed);
    coming_ = std::make_unique<ComingFile>(disk_.open("/db", env::OpenMode::kReadWrite).value());
    there_ = first_key_at_ = last_key_at_ = 0;
    bytes_ = bytes;
    std::optional<Database> database;
    for (;;) {
      ASSIGN_OR_RETURN(database, Database::open_coming(*coming_));
      if (database) break;
      grow();
    }
    coming_->set_page_bytes(database->meta().page_bytes);
    Content content;
    Cursor buckets(*database, database->root(), coming_.get());
    for (;;) {
      ASSIGN_OR_RETURN(const bool more, next(buckets));
      if (!more) return content;
      Keys& keys = content[std::string(buckets.key())];
      Cursor cursor(*database, buckets.bucket().value(), coming_.get());
      for (;;) {
        ASSIGN_OR_RETURN(const bool more_keys, next(cursor));
        if (!more_keys) break;
        keys.emplace(cursor.key(), cursor.value());
        if (first_key_at_ == 0) first_key_at_ = there_;
        last_key_at_ = there_;
      }
    }
  }
  base::Result<bool> next(Cursor& cursor) {
    for (;;) {
      ASSIGN_OR_RETURN(const auto next, cursor.advance());
      if (next != Cursor::Next::kLater) return next == Cursor::Next::kElement;
      grow();
    }
  }
  void grow() {
    if (there_ == bytes_.size()) return coming_->end();
    const auto some = std::string_view(bytes_).substr(there_, piece_min_ + random_->below(3000));
    CHECK(coming_->come(base::SharedBytes::copy_of(some)).ok());
    there_ += some.size();
  }
  // How much of the file went to the disk, but for its last pieces.
  std::size_t bytes_on_disk() {
    std::string on_disk = env::read_file(disk_, "/db").value();
    return static_cast<std::size_t>(
        std::ranges::count_if(on_disk, [](char byte) { return byte != 0; }));
  }

  std::uint64_t piece_min_ = 1;
  std::optional<base::Random> random_;
  std::unique_ptr<ComingFile> coming_;
  std::string bytes_;
  std::uint64_t there_ = 0;  // of them
  // How much was there at the first key and the last.
  std::uint64_t first_key_at_ = 0, last_key_at_ = 0;
};

Content one_large_bucket() {
  Content content;
  for (int i = 0; i < 5000; i++) content["large!"][fmt::format("{:08}", i)] = std::string(50, 'v');
  return content;
}

TEST_F(ComingTest, AFileOfOursIsWalkedAsItComes) {
  for (std::uint64_t seed = 1; seed <= 30; seed++) {
    base::Random random(seed);
    const auto page_bytes = std::uint32_t{1024} << random.below(3);
    const Content content = random_content(random, page_bytes);
    const auto walked = walk(file_of(content, page_bytes), seed);
    ASSERT_TRUE(walked.ok()) << "seed " << seed << ": " << walked.error().message();
    ASSERT_EQ(*walked, content) << "seed " << seed;
  }
}

// Whatever the order, and though the disk has only what was not taken when it came.
TEST_F(ComingTest, OnlyWhatWasNotTakenGoesToTheDisk) {
  const Content content = one_large_bucket();
  const std::string bytes = file_of(content, 1024);
  ASSERT_EQ(walk(bytes, 1).value(), content);
  const Plan plan = plan_of(content, 1024);
  const std::size_t pieces = bytes.size() / 1500;
  EXPECT_LT(bytes_on_disk(), plan.leaves * 1024 + pieces * 1024);
  EXPECT_LT(bytes_on_disk(), bytes.size() * 2 / 3);
  // With a root that comes last all of it is needed later.
  std::string later = bytes;
  Meta meta = *decode_meta(later.data() + kPageHeaderBytes);
  std::string root = later.substr(meta.root * 1024, 1024);
  PageHeader header = decode_page_header(root.data());
  header.id = meta.root = meta.high_water++;
  encode(header, root.data());
  encode(meta, later.data() + kPageHeaderBytes);
  ASSERT_EQ(walk(later + root, 1).value(), content);
  EXPECT_GT(bytes_on_disk(), bytes.size() * 2 / 3);
}

// A page in two pieces is taken when the second one is there, and never written.
TEST_F(ComingTest, OfAFileOfOursOnlyTheFrontGoesToTheDisk) {
  const Content content = one_large_bucket();
  const Plan plan = plan_of(content, 1024);
  piece_min_ = 1024;
  ASSERT_EQ(walk(file_of(content, 1024), 1).value(), content);
  EXPECT_LE(bytes_on_disk(), plan.leaves * 1024);
}

TEST_F(ComingTest, APageThatIsNamedTwiceIsDamage) {
  Content content;
  for (int i = 0; i < 200; i++) content["b"][fmt::format("{:04}", i)] = std::string(50, 'v');
  std::string bytes = file_of(content, 1024);
  const PageHeader branch = decode_page_header(bytes.data() + 2048);
  ASSERT_TRUE(branch.is(PageType::kBranch));
  // The last child is the first one, which has been taken long since.
  char* last = bytes.data() + 2048 + kPageHeaderBytes + (branch.count - 1) * kElementBytes;
  Element element = decode_branch(last);
  element.child = plan_of(content, 1024).leaves;
  encode_branch(element, last);
  EXPECT_EQ(walk(bytes, 1).error().message(),
            fmt::format("/db at {}: expected page {}, found a header of 0: Bad message",
                        element.child * 1024, element.child));
}

TEST_F(ComingTest, TheFirstKeyIsReadBeforeTheSecondLeafIsThere) {
  const Content content = one_large_bucket();
  const std::string bytes = file_of(content, 1024);
  ASSERT_EQ(walk(bytes, 1).value(), content);
  const Plan plan = plan_of(content, 1024);
  EXPECT_LT(first_key_at_, (plan.leaves + 1) * 1024 + 3000);
  EXPECT_LT(plan.leaves, plan.pages / 10);
  EXPECT_EQ(last_key_at_, bytes.size());
}

// As etcd's own may be: the root, which all else hangs on, is the last page.
TEST_F(ComingTest, AFileWhoseRootComesLastIsWaitedFor) {
  Content content;
  for (int i = 0; i < 500; i++) content["b"][fmt::format("{:08}", i)] = std::string(50, 'v');
  std::string bytes = file_of(content, 1024);
  Meta meta = *decode_meta(bytes.data() + kPageHeaderBytes);
  std::string root = bytes.substr(meta.root * 1024, 1024);
  PageHeader header = decode_page_header(root.data());
  header.id = meta.root = meta.high_water++;
  encode(header, root.data());
  encode(meta, bytes.data() + kPageHeaderBytes);
  bytes += root;
  ASSERT_EQ(walk(bytes, 1).value(), content);
  EXPECT_EQ(first_key_at_, bytes.size());
}

TEST_F(ComingTest, WithADamagedFirstMetaAllOfItIsWaitedFor) {
  const Content content{{"a", {{"k", "v"}}}};
  std::string bytes = file_of(content);
  bytes[20] ^= 1;
  EXPECT_EQ(walk(bytes, 1).value(), content);
  EXPECT_EQ(first_key_at_, bytes.size());
  bytes[4096 + 20] ^= 1;
  EXPECT_EQ(walk(bytes, 1).error().message(),
            "/db at 0: expected a valid meta page of bbolt, 0 or 1: Bad message");
}

TEST_F(ComingTest, DamageIsFoundWhereItLiesAndAFileThatEndsEarlyAtItsEnd) {
  Content content;
  for (int i = 0; i < 500; i++) content["b"][fmt::format("{:08}", i)] = std::string(50, 'v');
  const std::string good = file_of(content, 1024);
  std::string bytes = good;
  const std::uint64_t leaves = plan_of(content, 1024).leaves;
  bytes[leaves * 1024] ^= 1;
  EXPECT_EQ(walk(bytes, 1).error().message(),
            fmt::format("/db at {}: expected page {}, found a header of {}: Bad message",
                        leaves * 1024, leaves, leaves ^ 1));
  EXPECT_EQ(walk(good.substr(0, good.size() - 1), 1).error().message(),
            fmt::format("/db at {}: expected 1024 bytes of a page, and the file ends after 1023: "
                        "Bad message",
                        good.size() - 1024));
}

TEST_F(BoltTest, TheNewerOfTwoMetasCountsAndOneIsEnough) {
  const Content content{{"a", {{"k", "v"}}}};
  std::string bytes = file_of(content);
  bytes[20] ^= 1;  // the first meta's version
  EXPECT_EQ(read_all(file(bytes)).value(), content) << "the second, whose page size must be found";
  bytes = file_of(content);
  bytes[4096 + 20] ^= 1;
  EXPECT_EQ(read_all(file(bytes)).value(), content);
  Meta meta = *decode_meta(bytes.data() + kPageHeaderBytes);
  meta.txid += 1;
  meta.root = 77;
  encode(meta, bytes.data() + 4096 + kPageHeaderBytes);
  EXPECT_EQ(read_all(file(bytes)).error().message(),
            "/db at 0: expected a page from 2 to 2, found 77: Bad message");
  bytes[20] ^= 1;
  bytes[4096 + 20] ^= 1;
  EXPECT_EQ(read_all(file(bytes)).error().message(),
            "/db at 0: expected a valid meta page of bbolt, 0 or 1: Bad message");
}

TEST_F(BoltTest, BytesBehindTheFileAreNoPartOfIt) {
  const Content content{{"a", {{"k", "v"}}}};
  EXPECT_EQ(read_all(file(file_of(content) + std::string(32, 'h'))).value(), content);
}

TEST_F(BoltTest, AFileCutShortIsRefused) {
  const std::string bytes = file_of({{"a", {{"k", std::string(9000, 'v')}}}});
  for (std::size_t length = 0; length < bytes.size(); length += 512) {
    EXPECT_FALSE(read_all(file(bytes.substr(0, length))).ok()) << length;
  }
}

// One line for each way to be wrong.
TEST_F(BoltTest, DamageIsNamedWithItsPlace) {
  Content content;
  for (int i = 0; i < 100; i++) content["b"][fmt::format("{:04}", i)] = std::string(30, 'v');
  const std::string good = file_of(content, 1024);
  const std::size_t leaf = plan_of(content, 1024).leaves * 1024;
  ASSERT_EQ(leaf, 4096u) << "a branch and the root";
  const struct {
    std::size_t at;
    std::string bytes;
    const char* text;
  } rows[] = {
      {4096, "\x09", "/db at 4096: expected page 4, found a header of 9"},
      {4096 + 8, "\x10", "/db at 4104: expected a branch or a leaf, found flags 0x10"},
      {4096 + 12, "\x7f", "/db at 4108: expected a page that ends before page"},
      {4096 + 16, "\x04", "/db at 4112: expected flags 0 or 1 of an element, found 0x4"},
      {4096 + 20, "\xff\xff\xff", "/db at 4112: expected an element within its page"},
      {4096 + 24, std::string(4, '\0'), "/db at 4112: expected a key of 1 to 32768 bytes, found 0"},
      {4096 + 31, "\xff", "/db at 4112: expected a value of at most 2147483646 bytes"},
      {4096 + 20 + 16, "\x10", "/db at 4128: expected an element within its page"},
  };
  for (const auto& row : rows) {
    std::string bytes = good;
    bytes.replace(row.at, row.bytes.size(), row.bytes);
    const auto read = read_all(file(bytes));
    ASSERT_FALSE(read.ok()) << row.text;
    EXPECT_EQ(read.error().message().substr(0, std::string(row.text).size()), row.text);
  }
}

// A list of free pages, as bbolt keeps one unless it is told not to.
TEST_F(BoltTest, FreePagesAreCountedWhereTheyAreListed) {
  const Content content{{"a", {{"k", "v"}}}};
  std::string bytes = file_of(content, 1024);  // root in page 2
  std::string list(1024, '\0');
  encode({.id = 3, .flags = 0x10, .count = 1}, list.data());
  base::store_le(list.data() + kPageHeaderBytes, std::uint64_t{4});
  bytes += list + std::string(1024, 'x');
  Meta meta{.page_bytes = 1024, .root = 2, .freelist = 3, .high_water = 5, .txid = 4};
  const auto with_meta = [&] {
    encode(meta, bytes.data() + kPageHeaderBytes);
    return read_all(file(bytes));
  };
  EXPECT_EQ(with_meta().value(), content);
  bytes[3072 + 10] = 0;
  EXPECT_EQ(with_meta().error().message(),
            "/db at 4096: expected page 4 to be reachable or free: Bad message");
  bytes[3072 + 10] = 1;
  bytes[3072 + 16] = 2;
  EXPECT_EQ(with_meta().error().message(),
            "/db at 2048: expected page 2 to be used once: Bad message");
  bytes[3072 + 16] = 9;
  EXPECT_EQ(with_meta().error().message(),
            "/db at 3088: expected the id of a free page above 0, found 9: Bad message");
  meta.freelist = 99;
  EXPECT_EQ(with_meta().error().message(),
            "/db at 0: expected a list of free pages below page 5, found it at 99: Bad message");
}

// Whatever is flipped: an error, or something that is in order.
TEST_F(BoltTest, NoFlippedBitsEndTheProcess) {
  Content content;
  for (int i = 0; i < 60; i++) content["b"][fmt::format("{:04}", i)] = std::string(30, 'v');
  content["c"] = {{"small", "inline"}};
  const std::string good = file_of(content, 1024);
  base::Random random(7);
  std::size_t refused = 0;
  for (int round = 0; round < 1500; round++) {
    std::string bytes = good;
    for (std::uint64_t flips = 1 + random.below(3); flips > 0; flips--) {
      bytes[random.below(bytes.size())] ^= static_cast<char>(1 << random.below(8));
    }
    refused += read_all(file(bytes)).ok() ? 0 : 1;
  }
  EXPECT_GT(refused, 150u);
}

// A branch that names itself.
TEST_F(BoltTest, ATreeWithoutEndIsRefused) {
  std::string page(1024, '\0');
  encode({.id = 2, .flags = 0x01, .count = 1}, page.data());
  encode_branch({.position = 16, .key_bytes = 1, .child = 2}, page.data() + kPageHeaderBytes);
  page[kPageHeaderBytes + kElementBytes] = 'k';
  std::string bytes = file_of({}, 1024);
  bytes.replace(2048, 1024, page);
  const auto database = Database::open(file(bytes)).value();
  Cursor cursor(database, database.root());
  EXPECT_EQ(cursor.next().error().message(),
            "/db at 2048: expected a tree of at most 64 heights: Bad message");
  EXPECT_EQ(check(database).error().message(),
            "/db at 2048: expected page 2 to be used once: Bad message");
}

}  // namespace
}  // namespace keelson::bolt
