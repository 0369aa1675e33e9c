// The bytes of docs/format/store.md: names, headers, and whole files kept in testdata/golden.
//
// The golden files are a store made by a fixed story. If a change alters them, the format has
// changed: that needs a new version, not a rewrite (KEELSON_REWRITE=1 rewrites them, while no
// release has been made).

#include "store/format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "store/store_testing.h"

namespace keelson::store {
namespace {

using testing::World;

const std::string kGolden = std::string(KEELSON_TEST_DIR) + "/testdata/golden/";

std::string read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

TEST(Format, Names) {
  using Kind = FileName::Kind;
  EXPECT_EQ(parse_name(segment_name(0x1f))->id, 0x1fu);
  EXPECT_EQ(parse_name(log_name(3))->kind, Kind::kLog);
  const auto dead = parse_name(dead_name(5, 0xabc));
  EXPECT_EQ(dead->kind, Kind::kDead);
  EXPECT_EQ(dead->id, 5u);
  EXPECT_EQ(dead->generation, 0xabcu);
  EXPECT_EQ(parse_name("reserve-1")->kind, Kind::kReserve);
  EXPECT_EQ(parse_name("manifest")->kind, Kind::kManifest);
  for (const char* foreign : {"", "x.seg", "1.seg", "00000000000000zz.seg", "manifest.old",
                              "0000000000000001.dead", "reserve-2", "0000000000000001.seg.tmp"}) {
    EXPECT_FALSE(parse_name(foreign)) << foreign;
  }
}

TEST(Format, HeadersOfOthersAreRefused) {
  const std::string good = encode(FileHeader{.magic = Magic::kLog, .store_id = 1, .file_id = 2});
  ASSERT_EQ(good.size(), kFileHeaderBytes);
  ASSERT_TRUE(decode_file_header(good, Magic::kLog, "f"));
  const auto with = [&good](std::size_t at, char byte) {
    std::string changed = good;
    changed[at] = byte;
    store_le(&changed[0], base::crc32c(0, std::string_view(changed).substr(4)));
    return decode_file_header(changed, Magic::kLog, "f");
  };
  EXPECT_THAT(with(8, 2).error().message(), ::testing::HasSubstr("format version 2"));
  EXPECT_THAT(with(12, 1).error().message(), ::testing::HasSubstr("encrypted (cipher 1"));
  EXPECT_THAT(with(32, 9).error().message(), ::testing::HasSubstr("key 9"));
  EXPECT_THAT(with(4, 'X').error().message(), ::testing::HasSubstr("magic"));
  EXPECT_FALSE(decode_file_header(good, Magic::kSegment, "f"));
  EXPECT_FALSE(decode_file_header(good.substr(0, 63), Magic::kLog, "f"));
}

TEST(Format, ARecordBelongsToItsPlace) {
  const RecordHeader header{.type = RecordType::kPut,
                            .body_crc = body_crc({5, 1}, false, "value"),
                            .length = 5,
                            .revision = {5, 1}};
  char bytes[kRecordHeaderBytes];
  encode(header, 3, 64, bytes);
  ASSERT_TRUE(decode_record_header(bytes, 3, 64));
  EXPECT_FALSE(decode_record_header(bytes, 3, 72)) << "another offset";
  EXPECT_FALSE(decode_record_header(bytes, 4, 64)) << "another segment";
  EXPECT_EQ(body_crc({5, 1}, true, "v"), base::crc32c(0, base::revision_key({5, 1}, true) + "v"));
}

TEST(Format, KeyValues) {
  const std::string encoded = testing::encode_key_value("key", 3, 5, 2, "value", -7);
  const auto fields = parse_key_value(encoded);
  ASSERT_TRUE(fields);
  EXPECT_EQ(fields->key, "key");
  EXPECT_EQ(fields->create_revision, 3);
  EXPECT_EQ(fields->version, 2);
  EXPECT_EQ(fields->lease, -7);
  EXPECT_TRUE(parse_key_value(""));  // the record that only lifts a revision
  for (std::size_t cut = 1; cut < encoded.size(); cut++) {
    parse_key_value(std::string_view(encoded).substr(0, cut));  // must not read beyond
  }
  EXPECT_FALSE(parse_key_value("\x0A\x7F"));
  EXPECT_FALSE(parse_key_value("\x0D"));
}

// Three sealed segments of which one was collected, a .dead file, a tail, two generations of bucket
// log.
void golden_story(World& world) {
  world.options().segment_bytes = 700;
  world.options().bucket_log_dead_bytes = 128;
  world.options().collection_gain_bytes = 300;
  ASSERT_TRUE(world.open());
  for (int i = 0; i < 12; i++) {
    world.begin_transaction();
    // The first segment keeps most of its records, so the one dead in it outlives its tombstone.
    world.put_in_transaction("stays/" + std::to_string(i), std::string(i < 4 ? 150 : 5, 'v'),
                             i == 3 ? 77 : 0);
    if (i >= 4) world.put_in_transaction("turns", std::string(100, static_cast<char>('a' + i)));
    if (i == 2) world.put("doomed", "x");
    if (i == 8) world.erase("doomed");
    world.change(base::Bucket::kLease, "lease", "state " + std::to_string(i));
    if (i % 4 == 0) world.change(base::Bucket::kAlarm, std::to_string(i), "");
    if (i == 8) world.change(base::Bucket::kAlarm, "0", std::nullopt);
    ASSERT_TRUE(world.commit());
    ASSERT_TRUE(world.checkpoint());
    ASSERT_TRUE(world.settle());
  }
  world.compact(world.truth().revision - 1);
  ASSERT_TRUE(world.commit());
  ASSERT_TRUE(world.checkpoint());
  for (int i = 0; i < 2; i++) {
    ASSERT_TRUE(world.settle());
    ASSERT_TRUE(world.checkpoint());
  }
  ASSERT_TRUE(world.settle());
}

TEST(Golden, TheStoryMakesTheseFiles) {
  World world;
  golden_story(world);
  EXPECT_GT(world.store().stats().collections, 0u);
  EXPECT_GT(world.store().stats().bucket_log_rewrites, 0u);
  EXPECT_THAT(*world.disk().list(world.directory()),
              ::testing::Contains(::testing::EndsWith(".dead")));
  world.close();
  for (const auto& [path, content] : world.disk().contents()) {
    const std::string name = path.substr(path.rfind('/') + 1);
    if (std::getenv("KEELSON_REWRITE") != nullptr) {
      std::ofstream(kGolden + name, std::ios::binary) << content;
    }
    EXPECT_TRUE(read(kGolden + name) == content) << name << " is not as in testdata/golden";
  }
}

TEST(Golden, TheseFilesMakeTheStory) {
  World told;
  golden_story(told);
  const auto names = told.disk().list(told.directory());
  told.close();
  World world;
  ASSERT_TRUE(world.disk().make_directories(world.directory()));
  for (const std::string& name : *names) {
    ASSERT_TRUE(env::write_file(world.disk(), env::join_path(world.directory(), name),
                                read(kGolden + name)));
  }
  const auto opened = Store::open(world.disk(), world.directory(), world.options());
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_EQ(opened->recovered.applied_index, told.truth().applied);
  EXPECT_EQ(opened->recovered.scheduled_compact, told.truth().floor);
  std::map<std::string, std::vector<base::Revision>> loaded;
  ASSERT_TRUE(opened->store->load([&](std::string_view key, std::span<const LiveRevision> live) {
    for (const LiveRevision& revision : live) loaded[std::string(key)].push_back(revision.mod);
  }));
  EXPECT_EQ(loaded, told.truth().live());
  EXPECT_EQ(*opened->store->buckets().find(base::Bucket::kLease, "lease"), "state 11");
}

}  // namespace
}  // namespace keelson::store
