#include "mvcc/record.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "proto/kv.pb.h"

namespace keelson::mvcc {
namespace {

std::int64_t any_number(base::Random& random) {
  const auto number = static_cast<std::int64_t>(random.next() >> random.below(64));
  return random.one_in(4) ? 0 : random.one_in(8) ? -number : number;
}

// Stored bytes are what etcd would store: the generated message is the judge.
TEST(Record, IsTheCanonicalEncodingOfTheMessage) {
  base::Random random(1);
  for (int round = 0; round < 2000; round++) {
    mvccpb::KeyValue message;
    message.set_key(random.bytes(random.below(200)));
    message.set_create_revision(any_number(random));
    message.set_mod_revision(any_number(random));
    message.set_version(any_number(random));
    message.set_value(random.bytes(random.below(300)));
    message.set_lease(any_number(random));
    const KeyValueView kv{.key = message.key(),
                          .create_revision = message.create_revision(),
                          .mod_revision = message.mod_revision(),
                          .version = message.version(),
                          .value = message.value(),
                          .lease = message.lease()};
    const auto encoded = encode(kv);
    ASSERT_EQ(encoded.view(), message.SerializeAsString());
    ASSERT_EQ(encoded_size(kv), encoded.size());

    const auto decoded = decode(encoded);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->key, kv.key);
    EXPECT_EQ(decoded->create_revision, kv.create_revision);
    EXPECT_EQ(decoded->mod_revision, kv.mod_revision);
    EXPECT_EQ(decoded->version, kv.version);
    EXPECT_EQ(decoded->value, kv.value);
    EXPECT_EQ(decoded->lease, kv.lease);
  }
}

TEST(Record, PackedOnesAreTheSameAndOutliveTheirPacker) {
  base::Random random(3);
  std::vector<std::string> keys;
  std::vector<base::SharedBytes> packed;
  {
    PackedRecords records;
    for (int i = 0; i < 5000; i++) {
      keys.push_back(random.bytes(random.below(random.one_in(50) ? 20'000 : 100)));
      packed.push_back(records.encode({.key = keys.back()}));
    }
  }
  for (std::size_t i = 0; i < keys.size(); i++) {
    ASSERT_EQ(packed[i].view(), encode({.key = keys[i]}).view());
    if (i % 3 == 0) packed[i] = {};
  }
}

TEST(Record, ZeroBytesAreAnEmptyKeyValue) {
  const auto kv = decode("");
  ASSERT_TRUE(kv);
  EXPECT_TRUE(kv->key.empty());
  EXPECT_EQ(kv->mod_revision, 0);
}

TEST(Record, DamageIsNoticedOrHarmless) {
  const auto encoded = encode({.key = "key",
                               .create_revision = 2,
                               .mod_revision = 300,
                               .version = 7,
                               .value = "value",
                               .lease = -1});
  for (std::size_t length = 1; length < encoded.size(); length++) {
    const std::string cut(encoded.view().substr(0, length));
    mvccpb::KeyValue message;
    EXPECT_EQ(decode(cut).has_value(), message.ParseFromString(cut)) << length;
  }
  EXPECT_FALSE(
      decode("\x0a\x05"
             "ab"));  // longer than what is there
  EXPECT_FALSE(
      decode("\x3a\x01"
             "a"));                  // a field that KeyValue does not have
  EXPECT_FALSE(decode("\x08\x01"));  // the key as a number
  base::Random random(2);
  for (int round = 0; round < 5000; round++) {
    MAYBE(decode(random.bytes(random.below(30))).has_value());
  }
}

}  // namespace
}  // namespace keelson::mvcc
