#include "wal/record.h"

#include <gtest/gtest.h>

#include <bit>

#include "base/crc32c.h"
#include "base/random.h"
#include "proto/raft.pb.h"
#include "proto/wal.pb.h"

namespace keelson::wal {
namespace {

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return out;
}

raft::Entry entry(raft::Term term, raft::Index index, std::string data) {
  return {.term = term, .index = index, .data = base::SharedBytes(std::move(data))};
}

// The frames a new log begins with, by the byte.
TEST(Record, GoldenHead) {
  FrameBuffer frames;
  frames.add_crc();
  frames.add_metadata(encode_identity({.node_id = 1, .cluster_id = 2}));
  frames.add_snapshot({});
  EXPECT_EQ(hex(frames.bytes().substr(0, 16)),
            "0400000000000084"    // 4 bytes, 4 of padding
            "0804100000000000");  // type 4, crc 0
  const std::uint32_t after_metadata = base::crc32c(0, std::string_view("\x08\x01\x10\x02", 4));
  walpb::Record metadata;
  metadata.set_type(1);
  metadata.set_crc(after_metadata);
  metadata.set_data("\x08\x01\x10\x02", 4);
  const std::string record = metadata.SerializeAsString();
  EXPECT_EQ(hex(frames.bytes().substr(24, record.size())), hex(record));
  EXPECT_EQ(frames.crc(), base::crc32c(after_metadata, std::string_view("\x08\x00\x10\x00", 4)));
}

TEST(Record, FramesAreAligned) {
  for (std::size_t length = 0; length < 40; length++) {
    FrameBuffer frames;
    frames.add_metadata(std::string(length, 'x'));
    const auto frame = decode_frame_length(decode_length_field(frames.bytes())).value();
    EXPECT_EQ(frames.bytes().size() % 8, 0u);
    EXPECT_EQ(frames.bytes().size(), 8u + frame.record + frame.padding);
    EXPECT_EQ((8 - frame.record % 8) % 8, frame.padding);
    // The sign bit says that there is padding at all.
    EXPECT_EQ(static_cast<unsigned char>(frames.bytes()[7]),
              frame.padding == 0 ? 0 : 0x80 | frame.padding);
    const auto record = decode_record(frames.bytes().substr(8, frame.record));
    ASSERT_TRUE(record);
    EXPECT_EQ(record->data, std::string(length, 'x'));
    EXPECT_EQ(record->crc, base::crc32c(0, record->data));
  }
}

TEST(Record, LengthField) {
  struct Row {
    std::uint64_t field;
    bool valid;
    std::uint64_t record, padding;
  };
  for (const Row& row : {
           Row{16, true, 16, 0}, Row{0x8400000000000004, true, 4, 4},
           Row{0x8700000000000001, true, 1, 7},
           Row{0x00FFFFFFFFFFFFF8, true, 0x00FFFFFFFFFFFFF8, 0},
           Row{4, false, 0, 0},                   // padding is missing
           Row{0x8300000000000004, false, 0, 0},  // too little of it
           Row{0x8000000000000010, false, 0, 0},  // said to be there, but none
           Row{0x0400000000000004, false, 0, 0},  // without the sign
           Row{0xC400000000000004, false, 0, 0},  // a bit that means nothing
       }) {
    const auto length = decode_frame_length(row.field);
    ASSERT_EQ(length.has_value(), row.valid) << fmt::format("{:x}", row.field);
    if (!length) continue;
    EXPECT_EQ(length->record, row.record);
    EXPECT_EQ(length->padding, row.padding);
  }
}

// What the generated messages write, zeros included as older etcd does, ours reads; and the other
// way.
TEST(Record, AgreesWithGeneratedMessages) {
  raftpb::Entry wanted;
  wanted.set_type(raftpb::EntryNormal);
  wanted.set_term(7);
  wanted.set_index(300);
  wanted.set_data("hello");
  auto read = decode_entry(wanted.SerializeAsString());
  ASSERT_TRUE(read);
  EXPECT_EQ(read->type, raft::EntryType::kNormal);
  EXPECT_EQ(read->term, 7u);
  EXPECT_EQ(read->index, 300u);
  EXPECT_EQ(read->data.view(), "hello");

  raft::SnapshotMetadata mark{.conf_state = {.voters = {1, 300},
                                             .learners = {7},
                                             .voters_outgoing = {},
                                             .learners_next = {},
                                             .auto_leave = true},
                              .index = 500,
                              .term = 3};
  FrameBuffer frames;
  frames.add_snapshot(mark);
  frames.add_state({.term = 3, .vote = 300, .commit = 501});
  const auto length = decode_frame_length(decode_length_field(frames.bytes())).value();
  walpb::Record record;
  ASSERT_TRUE(record.ParseFromString(std::string(frames.bytes().substr(8, length.record))));
  walpb::Snapshot snapshot;
  ASSERT_TRUE(snapshot.ParseFromString(record.data()));
  EXPECT_EQ(snapshot.index(), 500u);
  EXPECT_EQ(snapshot.conf_state().voters(1), 300u);
  EXPECT_EQ(snapshot.conf_state().learners(0), 7u);
  EXPECT_TRUE(snapshot.conf_state().auto_leave());
  const auto again = decode_snapshot(record.data());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->conf_state, mark.conf_state);
  EXPECT_EQ(again->term, 3u);
}

TEST(Record, TakesPackedListsAndUnknownFields) {
  // index 2; conf_state { voters packed [1, 300]; field 9 = "z" }; field 15 = fixed64
  const std::string bytes(
      "\x08\x02\x1a\x08\x0a\x03\x01\xac\x02\x4a\x01z\x79"
      "12345678",
      21);
  const auto snapshot = decode_snapshot(bytes);
  ASSERT_TRUE(snapshot);
  EXPECT_EQ(snapshot->index, 2u);
  EXPECT_EQ(snapshot->conf_state.voters, (std::vector<raft::NodeId>{1, 300}));
}

TEST(Record, RefusesMalformed) {
  struct Row {
    const char* why;
    std::string bytes;
  };
  for (const Row& row :
       {Row{"a tag without a value", "\x08"}, Row{"field number 0", std::string("\x00\x01", 2)},
        Row{"bytes beyond the end", "\x1a\x05xx"}, Row{"a group", "\x0b"},
        Row{"a varint of eleven bytes", "\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"},
        Row{"fixed64 cut short", "\x09xxx"}}) {
    EXPECT_FALSE(decode_record(row.bytes)) << row.why;
    EXPECT_FALSE(decode_entry(row.bytes)) << row.why;
    EXPECT_FALSE(decode_state(row.bytes)) << row.why;
    EXPECT_FALSE(decode_snapshot(row.bytes)) << row.why;
    EXPECT_FALSE(decode_identity(row.bytes)) << row.why;
  }
  EXPECT_FALSE(decode_entry("\x08\x03")) << "an entry type that nobody knows";
}

// Random bytes must never do more than be refused.
TEST(Record, SurvivesNoise) {
  base::Random random(1);
  for (int i = 0; i < 20'000; i++) {
    const std::string bytes = random.bytes(random.below(40));
    MAYBE(decode_record(bytes));
    MAYBE(decode_entry(bytes));
    MAYBE(decode_snapshot(bytes));
  }
}

TEST(Record, ChainsFramesAnew) {
  FrameBuffer one(17), two(99);
  one.add_entry(entry(1, 1, "a"));
  one.add_entry(entry(1, 2, std::string(1000, 'b')));
  one.add_state({.term = 1, .vote = 2, .commit = 1});
  ASSERT_TRUE(two.add_frames_of(one.bytes()));
  FrameBuffer direct(99);
  direct.add_entry(entry(1, 1, "a"));
  direct.add_entry(entry(1, 2, std::string(1000, 'b')));
  direct.add_state({.term = 1, .vote = 2, .commit = 1});
  EXPECT_EQ(two.bytes(), direct.bytes());
  EXPECT_EQ(two.crc(), direct.crc());
}

// Whatever the chain and the entry: a crc record of seven, eight or fewer bytes goes first.
TEST(Record, NoLengthOfOneBitFillsTheEndOfASector) {
  std::size_t crc_records = 0;
  for (const std::uint32_t crc : {0u, 1u, 1u << 7, 1u << 14, 1u << 21, 1u << 28, ~0u}) {
    for (std::size_t size = 0; size < 300; size++) {
      FrameBuffer frames(crc, 504);
      frames.add_entry(entry(1, 1, std::string(size, 'x')));
      frames.add_entry(entry(1, 2, "y"));
      std::string_view rest = frames.bytes();
      ASSERT_GT(std::popcount(decode_length_field(rest)), 1) << crc << ", " << size;
      std::size_t entries = 0;
      for (std::uint32_t chain = crc; !rest.empty();) {
        const auto length = decode_frame_length(decode_length_field(rest));
        ASSERT_TRUE(length.has_value());
        const auto record = decode_record(rest.substr(8, length->record));
        ASSERT_TRUE(record.has_value());
        EXPECT_EQ(record->crc, chain = base::crc32c(chain, record->data));
        const bool is_entry = record->type == static_cast<std::int64_t>(RecordType::kEntry);
        is_entry ? entries++ : crc_records++;
        rest.remove_prefix(8 + length->record + length->padding);
      }
      EXPECT_EQ(entries, 2u);
    }
  }
  EXPECT_GT(crc_records, 5u);
  EXPECT_LT(crc_records, 50u);
}

}  // namespace
}  // namespace keelson::wal
