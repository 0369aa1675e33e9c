#include "peer/stream_codec.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "raft/wire.h"

namespace keelson::peer {
namespace {

using raft::Entry;
using raft::Message;
using raft::MessageType;

constexpr std::uint64_t kLimit = std::uint64_t{512} << 20;

struct Collector final : MessageSink {
  void on_message(Message message) override { messages.push_back(std::move(message)); }
  std::vector<Message> messages;
};

std::string flat(FrameBuffer& buffer) {
  const std::size_t size = buffer.size();
  std::string all;
  for (const auto& piece : buffer.take()) all += piece.view();
  EXPECT_EQ(all.size(), size);
  EXPECT_TRUE(buffer.empty());
  return all;
}

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char byte : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return out;
}

std::string bytes_of(std::string_view hex_text) {
  std::string out;
  std::string digits;
  for (const char c : hex_text) {
    if (c != ' ') digits += c;
  }
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    out += static_cast<char>(std::stoi(digits.substr(i, 2), nullptr, 16));
  }
  return out;
}

std::string without_spaces(std::string text) {
  std::erase(text, ' ');
  return text;
}

Entry entry(raft::Term term, raft::Index index, std::string data) {
  return {.term = term, .index = index, .data = base::SharedBytes(std::move(data))};
}

Message append(raft::Term term, raft::Term log_term, raft::Index index, std::vector<Entry> entries,
               raft::Index commit) {
  return {.type = MessageType::kApp,
          .to = 2,
          .from = 1,
          .term = term,
          .log_term = log_term,
          .index = index,
          .entries = std::move(entries),
          .commit = commit};
}

std::string whole(const Message& message) {
  std::string out;
  raft::encode(message, out);
  return out;
}

// As etcd's encoders wrote them (rafthttp of 3.7.1).
TEST(StreamCodec, GoldenMsgApp) {
  const struct {
    std::string_view what;
    Message message;
    std::string bytes;
  } rows[] = {
      {"the first message is whole", append(1, 1, 1, {entry(1, 2, "abc")}, 1),
       "02 0000000000000019 0803 1002 1801 2001 2801 3001 3a09 1001 1802 2203 616263 4001"},
      {"one that goes on is not", append(1, 1, 2, {entry(1, 3, "x"), entry(1, 4, "")}, 2),
       "01 0000000000000002 0000000000000007 1001 1803 2201 78 0000000000000004 1001 1804"
       "0000000000000002"},
      {"nor is one without entries", append(1, 1, 4, {}, 4),
       "01 0000000000000000 0000000000000004"},
      {"a new term is", append(2, 1, 4, {entry(2, 5, "y")}, 4),
       "02 0000000000000017 0803 1002 1801 2002 2801 3004 3a07 1002 1805 2201 79 4004"},
      {"goes on in it", append(2, 2, 5, {entry(2, 6, "z")}, 5),
       "01 0000000000000001 0000000000000007 1002 1806 2201 7a 0000000000000005"},
      {"a step back is whole, and without entries ends where it stands", append(2, 2, 3, {}, 5),
       "02 000000000000000e 0803 1002 1801 2002 2802 3003 4005"},
      {"goes on from there", append(2, 2, 3, {entry(2, 4, "w")}, 5),
       "01 0000000000000001 0000000000000007 1002 1804 2201 77 0000000000000005"},
  };
  StreamEncoder encoder(StreamKind::kMsgApp);
  StreamDecoder decoder(StreamKind::kMsgApp, 1, 2, kLimit);
  Collector collector;
  for (const auto& row : rows) {
    FrameBuffer buffer;
    encoder.put(row.message, buffer);
    const std::string bytes = flat(buffer);
    EXPECT_EQ(hex(bytes), without_spaces(row.bytes)) << row.what;
    ASSERT_TRUE(decoder.feed(bytes, collector).ok());
    ASSERT_EQ(collector.messages.size(), 1u) << row.what;
    EXPECT_EQ(hex(whole(collector.messages[0])), hex(whole(row.message))) << row.what;
    collector.messages.clear();
    FrameBuffer heartbeat;
    encoder.put_heartbeat(heartbeat);
    EXPECT_EQ(hex(flat(heartbeat)), "00");
    ASSERT_TRUE(decoder.feed(std::string(1, '\0'), collector).ok());
    EXPECT_TRUE(collector.messages.empty()) << "a link heartbeat changes nothing";
    EXPECT_TRUE(decoder.between_messages());
  }
}

TEST(StreamCodec, GoldenMessage) {
  StreamEncoder encoder(StreamKind::kMessage);
  FrameBuffer buffer;
  encoder.put_heartbeat(buffer);
  EXPECT_EQ(hex(flat(buffer)), "00000000000000020808");
  encoder.put({.type = MessageType::kHeartbeatResp, .to = 2, .from = 1, .term = 3}, buffer);
  const std::string bytes = flat(buffer);
  EXPECT_EQ(hex(bytes), without_spaces("0000000000000008 0809 1002 1801 2003"));
  StreamDecoder decoder(StreamKind::kMessage, 1, 2, kLimit);
  Collector collector;
  ASSERT_TRUE(decoder.feed(bytes_of("00000000000000020808") + bytes, collector).ok());
  ASSERT_EQ(collector.messages.size(), 1u);
  EXPECT_EQ(collector.messages[0].type, MessageType::kHeartbeatResp);
}

// etcd 3.5 and 3.6 write every scalar, zero or not, and an empty snapshot.
TEST(StreamCodec, ReadsWhatOlderMembersWrite) {
  StreamDecoder decoder(StreamKind::kMessage, 1, 2, kLimit);
  Collector collector;
  const std::string bytes = bytes_of(
      "0000000000000020"
      "0808 1002 1801 2005 2800 3000 4007 4a0a 1208 0a02 2800 1000 1800 5000 5800 6800");
  ASSERT_TRUE(decoder.feed(bytes, collector).ok());
  ASSERT_EQ(collector.messages.size(), 1u);
  EXPECT_EQ(collector.messages[0].commit, 7u);
  EXPECT_FALSE(collector.messages[0].snapshot.has_value());
}

Message random_message(base::Random& random, StreamKind kind) {
  Message message = append(random.below(3), random.below(3), random.below(4), {}, random.below(9));
  if (kind == StreamKind::kMessage) {
    message.type = static_cast<MessageType>(random.below(24));
    message.context.assign(random.below(20), 'c');
    message.reject = random.below(2) == 1;
  }
  for (std::uint64_t i = random.below(4); i > 0; --i) {
    const std::uint64_t size = random.below(8) == 0 ? 3000 + random.below(6000) : random.below(30);
    message.entries.push_back(
        entry(message.term, message.index + message.entries.size() + 1, std::string(size, 'd')));
  }
  return message;
}

TEST(StreamCodec, WhatIsWrittenIsReadHoweverItIsCut) {
  base::Random random(11);
  for (int round = 0; round < 300; ++round) {
    const StreamKind kind = round % 2 == 0 ? StreamKind::kMsgApp : StreamKind::kMessage;
    StreamEncoder encoder(kind);
    FrameBuffer buffer;
    std::vector<std::string> sent;
    raft::Index index = 0;
    for (int i = 0; i < 8; ++i) {
      Message message = random_message(random, kind);
      if (random.below(2) == 1) {  // often one that goes on
        message.term = message.log_term = 1;
        message.index = index;
        for (std::size_t k = 0; k < message.entries.size(); ++k) {
          message.entries[k].index = index + k + 1;
        }
      }
      index = message.index + message.entries.size();
      encoder.put(message, buffer);
      sent.push_back(whole(message));
      if (random.below(3) == 0) encoder.put_heartbeat(buffer);
    }
    const std::string bytes = flat(buffer);
    StreamDecoder decoder(kind, 1, 2, kLimit);
    Collector collector;
    const std::size_t piece_max = std::size_t{1} << random.below(14);
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t piece = 1 + random.below(piece_max);
      ASSERT_TRUE(decoder.feed(std::string_view(bytes).substr(at, piece), collector).ok());
      at += piece;
    }
    EXPECT_TRUE(decoder.between_messages());
    ASSERT_EQ(collector.messages.size(), sent.size());
    for (std::size_t i = 0; i < sent.size(); ++i) {
      EXPECT_EQ(hex(whole(collector.messages[i])), hex(sent[i]));
    }
  }
}

TEST(StreamCodec, RefusesWhatNoMemberWrites) {
  const struct {
    std::string_view what;
    StreamKind kind;
    std::string_view bytes;
    DecodeErrc errc;
  } rows[] = {
      {"a type nobody knows", StreamKind::kMsgApp, "03", DecodeErrc::kUnknownType},
      {"a message too large", StreamKind::kMessage, "0000000000000401", DecodeErrc::kTooLarge},
      {"the largest number", StreamKind::kMessage, "ffffffffffffffff", DecodeErrc::kTooLarge},
      {"a whole one too large", StreamKind::kMsgApp, "020000000000000401", DecodeErrc::kTooLarge},
      {"an entry too large", StreamKind::kMsgApp, "01 0000000000000001 0000000000000401",
       DecodeErrc::kTooLarge},
      {"a message that is none", StreamKind::kMessage, "0000000000000001 ff",
       DecodeErrc::kMalformed},
      {"an entry that is none", StreamKind::kMsgApp, "01 0000000000000001 0000000000000001 ff",
       DecodeErrc::kMalformed},
      {"messages within a message", StreamKind::kMessage, "0000000000000002 7200",
       DecodeErrc::kMalformed},
  };
  for (const auto& row : rows) {
    const std::string bytes = bytes_of(row.bytes);
    for (const std::size_t piece : {std::size_t{1}, bytes.size()}) {
      StreamDecoder decoder(row.kind, 1, 2, 1024);
      Collector collector;
      base::Result<void, DecodeErrc> result;
      for (std::size_t at = 0; at < bytes.size() && result; at += piece) {
        result = decoder.feed(std::string_view(bytes).substr(at, piece), collector);
      }
      ASSERT_FALSE(result.ok()) << row.what;
      EXPECT_EQ(result.error(), row.errc) << row.what;
      EXPECT_TRUE(collector.messages.empty()) << row.what;
    }
  }
}

// Entries of no bytes cost memory all the same.
TEST(StreamCodec, ManyEntriesOfNothingAreTooLarge) {
  StreamDecoder decoder(StreamKind::kMsgApp, 1, 2, 100 * sizeof(Entry));
  Collector collector;
  ASSERT_TRUE(decoder.feed(bytes_of("01 7fffffffffffffff"), collector).ok());
  int taken = 0;
  while (decoder.feed(std::string(8, '\0'), collector).ok()) ++taken;
  EXPECT_EQ(taken, 101);
}

TEST(StreamCodec, EntriesOfNothingAndMessagesOfNothingAreRead) {
  StreamDecoder decoder(StreamKind::kMsgApp, 7, 9, kLimit);
  Collector collector;
  ASSERT_TRUE(decoder
                  .feed(bytes_of("01 0000000000000001 0000000000000000 0000000000000005"
                                 "02 0000000000000000"),
                        collector)
                  .ok());
  ASSERT_EQ(collector.messages.size(), 2u);
  EXPECT_EQ(collector.messages[0].from, 7u);
  EXPECT_EQ(collector.messages[0].to, 9u);
  EXPECT_EQ(collector.messages[0].commit, 5u);
  EXPECT_EQ(collector.messages[0].entries.size(), 1u);
  EXPECT_EQ(collector.messages[1].type, MessageType::kHup);
}

TEST(StreamCodec, LargePayloadIsNotCopied) {
  const base::SharedBytes data(std::string(10'000, 'p'));
  Message message = append(0, 0, 0, {{.term = 0, .index = 1, .data = data}}, 0);
  FrameBuffer buffer;
  StreamEncoder(StreamKind::kMsgApp).put(message, buffer);
  const auto pieces = buffer.take();
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[1].data(), data.data());
}

}  // namespace
}  // namespace keelson::peer
