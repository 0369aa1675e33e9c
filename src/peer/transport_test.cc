// Members that talk over a simulated network, and strangers that ask them.
#include "peer/transport.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "peer/stream_codec.h"
#include "peer/world_test.h"
#include "raft/wire.h"

namespace keelson::peer {
namespace {

using namespace testing;  // NOLINT
using env::simulated::World;
using std::chrono_literals::operator""s;
using std::chrono_literals::operator""ms;

const std::string kMsgApp1 = "/raft/stream/msgapp/1", kMsgApp2 = "/raft/stream/msgapp/2";
const std::string kMessage1 = "/raft/stream/message/1", kMessage2 = "/raft/stream/message/2";

class TransportTest : public ::testing::Test {
 protected:
  // Members 1 and 2 (and 3), with all streams open.
  void make(NodeId count, const std::function<void(Options&)>& change = {}) {
    for (NodeId id = 1; id <= count; ++id) {
      members[id] = std::make_unique<Member>(world, id, change);
    }
    for (auto& [a, member] : members) {
      for (NodeId b = 1; b <= count; ++b) {
        if (a != b) member->know(b);
      }
    }
    world.run_for(1s);
    for (auto& [a, member] : members) {
      ASSERT_EQ(member->transport->active_peers(), count - 1);
      member->take();
    }
  }
  Member& member(NodeId id) { return *members.at(id); }
  bool until(const std::function<bool()>& done, base::Duration limit = 10s) {
    return world.run_until(done, limit);
  }

  World world{7};
  std::map<NodeId, std::unique_ptr<Member>> members;
};

TEST_F(TransportTest, StreamsAreOpenedByWhoReadsThem) {
  make(2);
  EXPECT_EQ(member(1).asked(kMsgApp2), 1);
  EXPECT_EQ(member(1).asked(kMessage2), 1);
  EXPECT_EQ(member(2).asked(kMsgApp1), 1);
  EXPECT_EQ(member(2).asked(kMessage1), 1);
  EXPECT_TRUE(member(1).transport->active_since(2).has_value());
  EXPECT_FALSE(member(1).transport->active_since(3).has_value());

  std::vector<Message> batch = {append(1, 2, 1), heartbeat(1, 2), append(1, 2, 3), heartbeat(1, 7),
                                heartbeat(1, raft::kNone)};
  ASSERT_TRUE(member(1).transport->send(std::move(batch)));
  ASSERT_TRUE(member(2).send({.type = MessageType::kAppResp, .to = 1, .from = 2, .index = 2}));
  ASSERT_TRUE(until([&] { return member(2).events.size() == 3 && member(1).events.size() == 1; }));
  EXPECT_TRUE(member(2).heard("MsgApp from 1 @1"));
  EXPECT_TRUE(member(2).heard("MsgApp from 1 @3"));
  EXPECT_TRUE(member(2).heard("MsgHeartbeat from 1"));
  EXPECT_EQ(member(1).take(), "MsgAppResp from 2");
  EXPECT_EQ(member(1).asked("/raft") + member(2).asked("/raft"), 0);
}

TEST_F(TransportTest, WhatGoesOnLeavesAsOneMessage) {
  make(2);
  member(2).keep_messages = true;
  ASSERT_TRUE(member(1).transport->send(
      {append(1, 2, 1), heartbeat(1, 2), append(1, 2, 2), append(1, 2, 3)}));
  ASSERT_TRUE(until([&] { return member(2).messages.size() == 2; }));
  world.run_for(1s);
  ASSERT_EQ(member(2).messages.size(), 2u);
  const auto joined = std::ranges::find(member(2).messages, MessageType::kApp, &Message::type);
  ASSERT_NE(joined, member(2).messages.end());
  EXPECT_EQ(joined->index, 0u);
  EXPECT_EQ(joined->entries.size(), 3u);
  EXPECT_EQ(joined->entries.back().index, 3u);
}

TEST_F(TransportTest, AMessageIsNotAltered) {
  make(2);
  member(2).keep_messages = true;
  base::Random random(3);
  std::map<std::string, int> sent;
  const MessageType types[] = {MessageType::kApp, MessageType::kProp, MessageType::kReadIndex,
                               MessageType::kVote, MessageType::kHeartbeatResp};
  for (int i = 0; i < 200; ++i) {
    Message message{.type = types[random.below(5)],
                    .to = 2,
                    .from = 1,
                    .term = random.below(3),
                    .log_term = random.below(3),
                    .index = 10 * static_cast<raft::Index>(i) + random.below(3),
                    .commit = random.below(1000),
                    .context = std::string(random.below(30), 'c')};
    for (std::uint64_t entries = random.below(4); entries > 0; --entries) {
      message.entries.push_back({.term = message.term,
                                 .index = message.index + message.entries.size() + 1,
                                 .data = base::SharedBytes(std::string(
                                     random.below(2) == 0 ? 8 : random.below(9000), 'd'))});
    }
    if (message.type == MessageType::kApp) message.context.clear();
    std::string bytes;
    raft::encode(message, bytes);
    ++sent[bytes];
    ASSERT_TRUE(member(1).send(std::move(message)));
  }
  ASSERT_TRUE(until([&] { return member(2).messages.size() == 200; }));
  for (const auto& message : member(2).messages) {
    std::string bytes;
    raft::encode(message, bytes);
    EXPECT_GE(--sent[bytes], 0);
  }
}

TEST_F(TransportTest, WithoutStreamsMessagesArePosted) {
  members[1] = std::make_unique<Member>(world, 1);
  members[2] = std::make_unique<Member>(world, 2);
  member(1).know(2);  // who does not know it, and so opens no stream
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(member(1).send(heartbeat(1, 2)));
  ASSERT_TRUE(until([&] { return member(2).events.size() == 10; }));
  EXPECT_EQ(member(2).asked("/raft"), 10);
  EXPECT_LE(member(2).server->stats().connections_open, 4u + 2)
      << "kept, and the streams asked for";

  // It was told where member 1 is, and can post back.
  ASSERT_TRUE(member(2).send(heartbeat(2, 1)));
  ASSERT_TRUE(until([&] { return member(1).heard("MsgHeartbeat from 2"); }));
  EXPECT_EQ(member(2).transport->active_peers(), 0u) << "a remote is no peer";
  world.run_for(10s);
  EXPECT_LE(member(2).server->stats().connections_open, 3u) << "idle ones are closed";
}

// A connection that the peer closed for being idle, at the moment at which a message leaves.
TEST_F(TransportTest, APostIsSentAgainIfItsKeptConnectionWasGone) {
  members[1] = std::make_unique<Member>(world, 1);
  members[2] = std::make_unique<Member>(world, 2);
  member(1).know(2);
  ASSERT_TRUE(member(1).send(heartbeat(1, 2)));
  ASSERT_TRUE(until([&] { return member(2).events.size() == 1; }));
  world.run_for(100ms);
  world.cut("n2", "n1");  // the news of the reset does not get through
  world.reset_connections("n1", "n2");
  ASSERT_TRUE(member(1).send(heartbeat(1, 2)));
  world.run_for(10ms);
  world.heal_all();
  ASSERT_TRUE(until([&] { return member(2).events.size() == 2; }));
  EXPECT_FALSE(member(1).heard("unreachable 2"));
}

TEST_F(TransportTest, APeerThatIsNotThereIsUnreachable) {
  members[1] = std::make_unique<Member>(world, 1);
  world.host("n2");
  member(1).know(2);
  world.run_for(1s);
  EXPECT_EQ(member(1).take(), "");
  std::vector<Message> batch = {heartbeat(1, 2), append(1, 2, 1)};
  ASSERT_TRUE(member(1).transport->send(std::move(batch)));
  ASSERT_TRUE(until([&] { return member(1).heard("unreachable 2"); }));
  EXPECT_EQ(member(1).transport->active_peers(), 0u);
  EXPECT_GE(member(1).stats(2).sent_failures.value(), 1u);

  // It comes up later.
  members[2] = std::make_unique<Member>(world, 2);
  member(2).know(1);
  ASSERT_TRUE(until([&] { return member(1).transport->active_peers() == 1; }));
}

TEST_F(TransportTest, ATheNextUrlIsTriedWhenOneFails) {
  members[1] = std::make_unique<Member>(world, 1);
  members[2] = std::make_unique<Member>(world, 2);
  member(2).know(1);
  member(1).transport->add_peer(2, {"http://n2:1", "nonsense", "https://n2:2380", url_of(2)});
  ASSERT_TRUE(
      until([&] { return member(2).asked(kMsgApp1) == 1 && member(2).asked(kMessage1) == 1; }));
}

TEST_F(TransportTest, UrlsCanBeReplaced) {
  members[1] = std::make_unique<Member>(world, 1);
  members[2] = std::make_unique<Member>(world, 2);
  member(2).know(1);
  member(1).transport->add_peer(2, {});
  world.run_for(2s);
  EXPECT_EQ(member(2).asked(kMsgApp1), 0);
  ASSERT_TRUE(member(1).send(append(1, 2, 1)));
  member(1).transport->update_peer(2, {url_of(2)});
  ASSERT_TRUE(until([&] { return member(2).asked(kMsgApp1) == 1; }));
}

// What was to be posted has nowhere to go; it is not forgotten in silence.
TEST_F(TransportTest, UrlsCanBeTakenAway) {
  members[1] = std::make_unique<Member>(world, 1);
  members[2] = std::make_unique<Member>(world, 2);
  member(1).know(2);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(member(1).send(heartbeat(1, 2)));
  ASSERT_TRUE(until([&] { return member(2).events.size() == 3; }));  // and connections are kept
  world.cut("n2", "n1");
  world.reset_connections("n1", "n2");
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(member(1).send(heartbeat(1, 2)));
  world.run_for(1ms);
  member(1).transport->update_peer(2, {"nonsense"});
  world.heal_all();
  ASSERT_TRUE(until([&] { return member(1).heard("unreachable 2"); }));
  world.run_for(20s);
  const int asked = member(2).asked(kMsgApp1);
  world.run_for(5s);
  EXPECT_EQ(member(2).asked(kMsgApp1), asked);
}

TEST_F(TransportTest, BrokenStreamsAreOpenedAgain) {
  make(2);
  for (int round = 1; round <= 3; ++round) {
    world.reset_connections("n1", "n2");
    ASSERT_TRUE(until([&] {
      return member(1).asked(kMsgApp2) == 1 + round && member(1).asked(kMessage2) == 1 + round &&
             member(2).asked(kMsgApp1) == 1 + round && member(2).asked(kMessage1) == 1 + round;
    }));
    EXPECT_TRUE(member(1).heard("unreachable 2")) << "what was in flight is lost";
    world.run_for(500ms);
    member(2).take();
    ASSERT_TRUE(member(1).send(append(1, 2, 1)));
    ASSERT_TRUE(until([&] { return member(2).heard("MsgApp from 1 @1"); }));
  }
  EXPECT_GE(member(1).stats(2).became_active.value(), 2u);
}

TEST_F(TransportTest, DialsAreApart) {
  make(2);
  member(2).listener.reset();  // nobody listens
  world.reset_connections("n1", "n2");
  const auto before = member(1).stats(2).sent_failures.value();
  world.run_for(10s);
  member(2).listen();
  ASSERT_TRUE(until([&] { return member(2).asked(kMsgApp1) == 2; }, 1s));
  EXPECT_GE(member(1).stats(2).sent_failures.value(), before);
}

TEST_F(TransportTest, ASilentStreamIsGivenUp) {
  make(2);
  world.run_for(30s);
  EXPECT_EQ(member(1).asked(kMsgApp2), 1) << "link heartbeats keep it";
  world.cut_both("n1", "n2");
  world.run_for(8s);
  EXPECT_EQ(member(1).transport->active_peers(), 0u);
  world.heal_all();
  ASSERT_TRUE(until([&] { return member(1).transport->active_peers() == 1; }));
  ASSERT_TRUE(until([&] { return member(1).asked(kMsgApp2) == 2; }));
  member(2).take();
  ASSERT_TRUE(member(1).send(append(1, 2, 5)));
  ASSERT_TRUE(until([&] { return member(2).heard("MsgApp from 1 @5"); }));
}

TEST_F(TransportTest, AKilledPeerIsHeardOfAgain) {
  make(2);
  member(2).host.kill(env::simulated::Disk::Crash::kKeepAll);
  members.erase(2);
  ASSERT_TRUE(until([&] { return member(1).heard("unreachable 2"); }));
  world.run_for(2s);
  world.host("n2").start();
  members[2] = std::make_unique<Member>(world, 2);
  member(2).know(1);
  ASSERT_TRUE(until([&] { return member(1).transport->active_peers() == 1; }));
  world.run_for(1s);
  ASSERT_TRUE(member(1).send(append(1, 2, 9)));
  ASSERT_TRUE(until([&] { return member(2).heard("MsgApp from 1 @9"); }));
}

TEST_F(TransportTest, WhatDoesNotFitIsDroppedAndReported) {
  make(2, [](Options& options) {
    options.limits.stream_messages_max = 10;
    options.limits.socket_bytes_max = 1000;
  });
  world.cut("n1", "n2");
  for (int i = 1; i <= 400; ++i) {
    ASSERT_TRUE(member(1).send(append(1, 2, static_cast<raft::Index>(2 * i), 2000)))
        << "never waits";
    world.run_for(1ms);
  }
  EXPECT_TRUE(member(1).heard("unreachable 2"));
  const auto failures = member(1).stats(2).sent_failures.value();
  EXPECT_GT(failures, 300u) << "64 KiB of the connection, 1000 and ten messages fit";
  EXPECT_LE(std::ranges::count(member(1).events, "unreachable 2"), 400);
  world.heal_all();
  ASSERT_TRUE(until([&] { return member(2).events.size() == 400 - failures; }));
  world.run_for(1s);
  member(2).take();
  ASSERT_TRUE(member(1).send(append(1, 2, 1000)));
  ASSERT_TRUE(until([&] { return member(2).heard("MsgApp from 1 @1000"); }));
}

TEST_F(TransportTest, BytesThatWaitAreBoundedToo) {
  make(2, [](Options& options) {
    options.limits.stream_bytes_max = 100'000;
    options.limits.socket_bytes_max = 1000;
  });
  world.cut("n1", "n2");
  for (raft::Index i = 1; i <= 20; ++i) ASSERT_TRUE(member(1).send(append(1, 2, 2 * i, 20'000)));
  world.run_for(10ms);
  const auto failures = member(1).stats(2).sent_failures.value();
  EXPECT_GE(failures, 10u);
  EXPECT_LE(failures, 16u);
  world.heal_all();
  ASSERT_TRUE(until([&] { return member(2).events.size() == 20 - failures; }));
}

TEST_F(TransportTest, BatchesThatNobodyLooksAtAreRefused) {
  members[1] = std::make_unique<Member>(world, 1, [](Options& options) {
    options.limits.batches_max = 3;
    options.limits.batched_bytes_max = 1000;
  });
  world.run_for(1ms);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(member(1).send(heartbeat(1, 2)));
  std::vector<Message> batch = {heartbeat(1, 2)};
  ASSERT_FALSE(member(1).transport->send(std::move(batch)));
  EXPECT_EQ(batch.size(), 1u) << "untouched";
  world.run_for(10ms);
  ASSERT_TRUE(member(1).send(append(1, 2, 1, 5000))) << "one always fits";
  batch = {append(1, 2, 1, 1)};
  ASSERT_FALSE(member(1).transport->send(std::move(batch)));
  EXPECT_EQ(batch.size(), 1u);
  world.run_for(10ms);
  ASSERT_TRUE(member(1).send(append(1, 2, 1, 500)));
}

TEST_F(TransportTest, ASlowPeerDelaysNoOther) {
  make(3);
  world.cut("n1", "n2");
  for (raft::Index i = 1; i <= 100; ++i) {
    std::vector<Message> batch = {append(1, 2, 2 * i, 100'000), append(1, 3, 2 * i, 100),
                                  heartbeat(1, 2), heartbeat(1, 3)};
    ASSERT_TRUE(member(1).transport->send(std::move(batch)));
  }
  ASSERT_TRUE(until([&] { return member(3).events.size() == 200; }, 1s));
  EXPECT_TRUE(member(2).events.empty());
  world.heal_all();
  ASSERT_TRUE(until([&] { return member(2).events.size() == 200; }));
}

TEST_F(TransportTest, AHeartbeatOvertakesWhatWaits) {
  make(2);
  members.erase(2);
  world.run_for(1s);
  std::vector<Message> many;
  for (raft::Index i = 1; i <= 200; ++i) {
    many.push_back({.type = MessageType::kProp,
                    .to = 2,
                    .from = 1,
                    .entries = {{.data = base::SharedBytes(std::string(10'000, 'p'))}}});
  }
  many.push_back(heartbeat(1, 2));
  Stranger reader(world, "n2");
  auto fields = Stranger::good(2);
  fields.add("X-Raft-To", "1");
  reader.begin(1, {.target = kMessage2, .headers = fields});
  ASSERT_TRUE(until([&] { return reader.status == 200; }));
  ASSERT_TRUE(member(1).transport->send(std::move(many)));
  ASSERT_TRUE(until([&] { return reader.content.size() > 200 * 10'000; }));
  struct Sink final : MessageSink {
    void on_message(Message message) override { types.push_back(message.type); }
    std::vector<MessageType> types;
  } sink;
  StreamDecoder decoder(StreamKind::kMessage, 1, 2, 1 << 20);
  ASSERT_TRUE(decoder.feed(reader.content, sink).ok());
  ASSERT_EQ(sink.types.size(), 201u);
  EXPECT_EQ(sink.types.front(), MessageType::kHeartbeat);
}

TEST_F(TransportTest, ANewerStreamTakesTheOlderOnesPlace) {
  make(2);
  auto fields = Stranger::good(2);
  fields.add("X-Raft-To", "1");
  Stranger first(world, "n9");
  first.begin(1, {.target = kMessage2, .headers = fields});
  ASSERT_TRUE(until([&] { return first.status == 200; }));
  EXPECT_EQ(first.head.headers.find("X-Server-Version"), "3.7.1");
  EXPECT_EQ(first.head.headers.find("X-Etcd-Cluster-ID"), "c1");
  ASSERT_TRUE(until([&] { return first.done; })) << "member 2 dials again, and is newer";
  EXPECT_EQ(first.said, "200") << "ended in order";
  EXPECT_GE(member(1).asked(kMessage2), 3);
  member(1).take();
  ASSERT_TRUE(member(1).send(heartbeat(1, 2)));
  ASSERT_TRUE(until([&] { return member(2).heard("MsgHeartbeat from 1"); }));
  EXPECT_FALSE(member(1).heard("unreachable 2"));
}

TEST_F(TransportTest, RefusesWhatIsNotInOrder) {
  make(2);
  member(1).removed.insert(5);
  const auto with = [](std::vector<std::pair<std::string, std::string>> changes) {
    http::Headers fields = Stranger::good(2);
    fields.add("X-Raft-To", "1");
    for (auto& [name, value] : changes) fields.set(name, value);
    return fields;
  };
  std::string message, to_other, from_removed, from_removed_to_other, snapshot;
  raft::encode(heartbeat(2, 1), message);
  raft::encode(heartbeat(2, 3), to_other);
  raft::encode(heartbeat(5, 1), from_removed);
  raft::encode(heartbeat(5, 3), from_removed_to_other);
  raft::encode(snapshot_message(2, 1, 7), snapshot);
  const struct {
    std::string what, method, target;
    http::Headers headers;
    std::string body, answer;
  } rows[] = {
      {"another method", "POST", kMessage2, with({}), "", "405 Method Not Allowed"},
      {"another method", "GET", "/raft", with({}), "", "405 Method Not Allowed"},
      {"another method", "PUT", "/raft/snapshot", with({}), "", "405 Method Not Allowed"},
      {"no such path", "GET", "/raft/other", with({}), "", "404 404 page not found"},
      {"a version too old", "GET", kMessage2, with({{"X-Server-Version", "2.3.0"}}), "",
       "412 incompatible version"},
      {"another cluster", "GET", kMessage2, with({{"X-Etcd-Cluster-ID", "c2"}}), "",
       "412 cluster ID mismatch"},
      {"no such stream", "GET", "/raft/stream/msgappv2/2", with({}), "", "404 invalid path"},
      {"no such stream", "GET", "/raft/stream/message", with({}), "", "404 invalid path"},
      {"no id", "GET", "/raft/stream/message/xyz", with({}), "", "404 invalid from"},
      {"no id", "GET", "/raft/stream/message/", with({}), "", "404 invalid from"},
      {"a removed member", "GET", "/raft/stream/message/5", with({}), "", "410 removed member"},
      {"nobody known", "GET", "/raft/stream/message/6", with({}), "", "404 error sender not found"},
      {"for somebody else", "GET", kMessage2, with({{"X-Raft-To", "3"}}), "",
       "412 to field mismatch"},
      {"the cluster comes before the sender", "GET", "/raft/stream/message/5",
       with({{"X-Etcd-Cluster-ID", "c2"}}), "", "412 cluster ID mismatch"},
      {"a message", "POST", "/raft", with({}), message, "204"},
      {"a version too old", "POST", "/raft", with({{"X-Server-Version", ""}}), message,
       "412 incompatible version"},
      {"another cluster", "POST", "/raft", with({{"X-Etcd-Cluster-ID", "c2"}}), message,
       "412 cluster ID mismatch"},
      {"no message", "POST", "/raft", with({}), "\xff\xff", "400 error unmarshalling raft message"},
      {"for somebody else", "POST", "/raft", with({}), to_other,
       "500 error processing raft message failed"},
      {"of a removed member", "POST", "/raft", with({}), from_removed,
       "500 error processing raft message failed"},
      {"the sender comes first", "POST", "/raft", with({}), from_removed_to_other,
       "500 error processing raft message failed"},
      {"a snapshot without its file", "POST", "/raft", with({}), snapshot,
       "500 error processing raft message failed"},
      {"a version too old", "POST", "/raft/snapshot", with({{"X-Min-Cluster-Version", "3.8.0"}}),
       "", "412 incompatible version"},
      {"another cluster", "POST", "/raft/snapshot", with({{"X-Etcd-Cluster-ID", "c2"}}), "",
       "412 cluster ID mismatch"},
      {"nothing", "POST", "/raft/snapshot", with({}), "",
       "400 failed to decode raft message (EOF)"},
      {"half a length", "POST", "/raft/snapshot", with({}), std::string(4, '\0'),
       "400 failed to decode raft message (unexpected EOF)"},
      {"a length too large", "POST", "/raft/snapshot", with({}), std::string(8, '\1'),
       "400 failed to decode raft message (rafthttp: error limit exceeded)"},
  };
  Stranger stranger(world, "n9");
  for (const auto& row : rows) {
    EXPECT_EQ(stranger.ask(1, {.method = row.method,
                               .target = row.target,
                               .headers = row.headers,
                               .body = base::SharedBytes(row.body)}),
              row.answer)
        << row.what << ": " << row.method << " " << row.target;
    const bool bare = row.answer.starts_with("405") || row.answer.starts_with("404 404");
    EXPECT_EQ(stranger.head.headers.contains("X-Etcd-Cluster-ID"), !bare) << row.what;
  }
  EXPECT_EQ(member(1).take(), "MsgHeartbeat from 2");
}

TEST_F(TransportTest, ANoMessageOfAMembersOwnIsTakenFromAPeer) {
  make(2);
  const Message messages[] = {
      {.type = MessageType::kHup, .to = 1, .from = 2},
      {.type = MessageType::kStorageAppendResp, .to = 1, .from = 2},
      {.type = MessageType::kHeartbeat, .to = 1, .from = raft::kNone},
      {.type = MessageType::kStorageAppendResp, .to = 1, .from = raft::kLocalAppendThread},
      {.type = MessageType::kHeartbeat, .to = 1, .from = 1}};
  Stranger stranger(world, "n9");
  for (const auto& message : messages) {
    std::string bytes;
    raft::encode(message, bytes);
    EXPECT_EQ(stranger.ask(1, {.method = "POST",
                               .target = "/raft",
                               .headers = Stranger::good(),
                               .body = base::SharedBytes(bytes)}),
              "204");
    ASSERT_TRUE(member(2).send(message));
  }
  ASSERT_TRUE(member(2).send(snapshot_message(2, 1, 3)));
  world.run_for(1s);
  EXPECT_EQ(member(1).take(), "");
}

TEST_F(TransportTest, WhoHasNoRoomSaysSo) {
  make(2);
  member(2).full = true;
  ASSERT_TRUE(member(1).send(heartbeat(1, 2)));
  world.run_for(1s);
  EXPECT_EQ(member(2).stats(1).received_failures.value(), 1u);
  EXPECT_EQ(member(1).take(), "");
  std::string message;
  raft::encode(heartbeat(1, 2), message);
  Stranger stranger(world, "n9");
  EXPECT_EQ(stranger.ask(2, {.method = "POST",
                             .target = "/raft",
                             .headers = Stranger::good(),
                             .body = base::SharedBytes(message)}),
            "500 error processing raft message failed");
}

TEST_F(TransportTest, ARemovedMemberIsTold) {
  make(2);
  member(1).removed.insert(2);
  member(1).transport->remove_peer(2);
  ASSERT_TRUE(until([&] { return member(2).heard("removed, says 1"); })) << "its streams are 410";
  ASSERT_TRUE(member(2).send(heartbeat(2, 1)));
  world.run_for(1s);
  EXPECT_FALSE(member(1).heard("MsgHeartbeat from 2"));
}

// A new member at the address of an old one, to whom others still write: they must not take that
// for their own removal, at which they would stop for good.
TEST_F(TransportTest, WhoWritesToSomebodyElseIsNotTakenForRemoved) {
  make(2);
  member(1).transport->add_peer(9, {url_of(2)});
  world.run_for(1s);
  ASSERT_TRUE(member(1).send(heartbeat(1, 9)));
  ASSERT_TRUE(until([&] { return member(1).heard("unreachable 9"); }));
  world.run_for(5s);
  EXPECT_EQ(member(2).asked("/raft"), 1);
  EXPECT_FALSE(member(1).heard("removed, says 9"));
  EXPECT_FALSE(member(2).heard("MsgHeartbeat from 1"));
}

TEST_F(TransportTest, ARemovedPeerIsLeftAlone) {
  make(2);
  member(1).transport->remove_peer(2);
  world.run_for(1s);
  EXPECT_EQ(member(1).transport->active_peers(), 0u);
  const int asked = member(2).asked(kMsgApp1);
  ASSERT_TRUE(member(1).send(append(1, 2, 1)));
  world.run_for(5s);
  EXPECT_EQ(member(2).asked(kMsgApp1), asked);
  EXPECT_FALSE(member(1).heard("unreachable 2"));
  member(1).know(2);
  ASSERT_TRUE(until([&] { return member(1).transport->active_peers() == 1; }));
}

TEST_F(TransportTest, OfAnotherCluster) {
  members[1] = std::make_unique<Member>(world, 1);
  members[2] =
      std::make_unique<Member>(world, 2, [](Options& options) { options.cluster_id = 0xc2; });
  member(1).know(2);
  member(2).know(1);
  ASSERT_TRUE(member(1).send(heartbeat(1, 2)));
  ASSERT_TRUE(until([&] { return member(1).heard("unreachable 2"); }));
  world.run_for(2s);
  EXPECT_EQ(member(1).transport->active_peers(), 0u);
  EXPECT_EQ(member(2).take(), "");
}

TEST_F(TransportTest, CutAndMended) {
  make(3);
  member(1).transport->cut_peer(2);
  world.run_for(1ms);
  for (const NodeId to : {2, 3}) ASSERT_TRUE(member(1).send(heartbeat(1, to)));
  for (const NodeId from : {2, 3}) ASSERT_TRUE(member(from).send(heartbeat(from, 1)));
  world.run_for(1s);
  EXPECT_EQ(member(1).take(), "MsgHeartbeat from 3");
  EXPECT_EQ(member(2).take(), "");
  EXPECT_EQ(member(3).take(), "MsgHeartbeat from 1");
  member(1).transport->mend_peer(2);
  ASSERT_TRUE(member(1).send(heartbeat(1, 2)));
  world.run_for(1s);
  EXPECT_EQ(member(2).take(), "MsgHeartbeat from 1");
  member(1).transport->pause();
  for (const NodeId to : {2, 3}) ASSERT_TRUE(member(1).send(heartbeat(1, to)));
  world.run_for(1s);
  EXPECT_EQ(member(2).take() + member(3).take(), "");
  member(1).transport->resume();
  ASSERT_TRUE(member(1).send(heartbeat(1, 3)));
  world.run_for(1s);
  EXPECT_EQ(member(3).take(), "MsgHeartbeat from 1");
}

TEST_F(TransportTest, CountsWhatGoesAndComes) {
  make(2);
  const Message message = append(1, 2, 1, 5000);
  const std::size_t size = raft::encoded_size(message);
  const auto sent = member(1).stats(2).sent_bytes.value();
  const auto received = member(2).stats(1).received_bytes.value();
  ASSERT_TRUE(member(1).send(message));
  ASSERT_TRUE(until([&] { return member(2).events.size() == 1; }, 500ms));
  EXPECT_GE(member(1).stats(2).sent_bytes.value(), sent + size);
  EXPECT_LE(member(1).stats(2).sent_bytes.value(), sent + size + 20) << "and link heartbeats";
  EXPECT_EQ(member(2).stats(1).received_bytes.value(), received + size);
  EXPECT_EQ(member(1).stats(2).became_active.value(), 1u);
  EXPECT_EQ(member(1).stats(2).disconnected.value(), 0u);
  world.cut_both("n1", "n2");
  world.run_for(10s);
  EXPECT_EQ(member(1).stats(2).disconnected.value(), 1u);
}

TEST_F(TransportTest, Probing) {
  make(2);
  Stranger stranger(world, "n9");
  EXPECT_TRUE(
      stranger.ask(1, {.target = "/raft/probing"}).starts_with("200 {\"OK\":true,\"Now\":\""));
  EXPECT_TRUE(member(1).round_trips.empty());
  world.run_for(6s);
  ASSERT_EQ(member(1).round_trips[2].size(), 1u);
  EXPECT_GT(member(1).round_trips[2][0], base::Duration::zero());
  EXPECT_LT(member(1).round_trips[2][0], 10ms);
  world.run_for(26s);
  EXPECT_EQ(member(1).round_trips[2].size(), 1u);
  world.run_for(6s);
  EXPECT_EQ(member(1).round_trips[2].size(), 2u) << "each thirty seconds";
  EXPECT_LE(member(2).server->stats().connections_accepted, 3u) << "over one connection";
  world.cut_both("n1", "n2");
  world.run_for(60s);
  EXPECT_GE(member(1).round_trips[2].size(), 8u) << "each five while it does not answer";
}

TEST_F(TransportTest, StopsForGood) {
  make(2);
  member(1).lane.post([&] { member(1).transport->stop(); });
  world.run_for(1s);
  member(1).take();
  EXPECT_EQ(member(1).transport->active_peers(), 0u);
  auto state = std::make_shared<TestSource::State>();
  ASSERT_TRUE(member(1).send(heartbeat(1, 2)));
  member(1).transport->send_snapshot(snapshot_message(1, 2, 1),
                                     std::make_unique<TestSource>(member(1).lane, state));
  member(1).know(3);
  Stranger stranger(world, "n9");
  EXPECT_EQ(stranger.ask(1, {.target = "/raft/probing"}), "503 the transport has stopped");
  world.run_for(5s);
  EXPECT_TRUE(state->gone);
  EXPECT_EQ(member(1).take(), "");
  EXPECT_EQ(member(2).transport->active_peers(), 0u);
}

TEST_F(TransportTest, RemotesAreBounded) {
  members[1] = std::make_unique<Member>(world, 1);
  Stranger stranger(world, "n9");
  std::string message;
  raft::encode(heartbeat(2, 1), message);
  for (NodeId id = 100; id < 200; ++id) {
    http::Headers fields = Stranger::good(id);
    fields.add("X-PeerURLs", "http://n9:1,nonsense");
    ASSERT_EQ(stranger.ask(1, {.method = "POST",
                               .target = "/raft",
                               .headers = fields,
                               .body = base::SharedBytes(message)}),
              "204");
  }
  ASSERT_TRUE(member(1).send(heartbeat(1, 163)));
  ASSERT_TRUE(until([&] { return member(1).heard("unreachable 163"); }));
  ASSERT_TRUE(member(1).send(heartbeat(1, 164)));
  world.run_for(1s);
  EXPECT_FALSE(member(1).heard("unreachable 164")) << "nobody";
}

TEST_F(TransportTest, APostThatStallsIsAnswered) {
  make(1);
  Stranger stranger(world, "n9");
  stranger.begin(1, {.method = "POST",
                     .target = "/raft",
                     .headers = Stranger::good(),
                     .streamed = true,
                     .timeouts = {.head = 60s}});
  ASSERT_TRUE(until([&] { return stranger.client != nullptr; }));
  stranger.client->write(base::SharedBytes(std::string("\x08")));
  world.run_for(4s);
  EXPECT_FALSE(stranger.done);
  world.run_for(2s);
  EXPECT_EQ(stranger.said, "400 error reading raft message");
}

// Messages, snapshots and changes of peers while connections break, links are cut and members are
// killed: what comes is what was sent, every snapshot is answered for, and in the end all is well.
class RandomWorld {
 public:
  explicit RandomWorld(std::uint64_t seed) : world_(seed, {.reset_one_in = 2000}), random_(seed) {}

  void run() {
    for (NodeId id = 1; id <= 3; ++id) start(id);
    for (int step = 0; step < 400 && !::testing::Test::HasFailure(); ++step) {
      act(1 + random_.below(3));
      world_.run_for(base::Milliseconds(random_.below(200)));
      for (auto& [id, each] : members_) check(*each);
    }
    come_to_rest();
  }

 private:
  void start(NodeId id) {
    members_[id] = std::make_unique<Member>(world_, id, [&](Options& options) {
      options.limits.stream_messages_max = 50;
      options.limits.socket_bytes_max = 20'000;
      options.limits.pipeline_messages_max = 5;
    });
    members_[id]->keep_messages = true;
    know_all(id);
  }
  void know_all(NodeId id) {
    for (NodeId other = 1; other <= 3; ++other) {
      if (other != id) members_[id]->know(other);
    }
  }

  void act(NodeId from) {
    const NodeId to = 1 + (from + random_.below(2)) % 3;
    switch (random_.below(12)) {
      case 0:
        return world_.reset_connections(host_name(from), host_name(to));
      case 1:
        return world_.cut(host_name(from), host_name(to));
      case 2:
        return world_.heal_all();
      case 3:
        if (random_.one_in(4)) restart(from);
        return;
      case 4:
        return send_snapshot(from, to);
      case 5:
        return random_.one_in(2) ? members_[from]->transport->remove_peer(to)
                                 : members_[from]->know(to);
      default:
        send(from, to);
    }
  }

  void restart(NodeId id) {
    world_.host(host_name(id)).kill(env::simulated::Disk::Crash::kKeepAll);
    members_.erase(id);
    snapshots_.erase(id);
    answered_.erase(id);
    world_.host(host_name(id)).start();
    start(id);
  }

  void send_snapshot(NodeId from, NodeId to) {
    auto state = std::make_shared<TestSource::State>();
    state->size = random_.below(300'000);
    if (random_.one_in(3)) state->fails_at = random_.below(100'000);
    const Message message = snapshot_message(from, to, ++index_);
    sent_.insert(bytes_of(message));
    ++snapshots_[from];
    members_[from]->transport->send_snapshot(
        message, std::make_unique<TestSource>(members_[from]->lane, state));
  }

  void send(NodeId from, NodeId to) {
    std::vector<Message> batch;
    for (std::uint64_t count = random_.below(30); count > 0; --count) {
      index_ += 2;  // none goes on from the one before it
      batch.push_back(random_.one_in(2) ? heartbeat(from, to, index_)
                                        : append(from, to, index_, random_.below(3000)));
      sent_.insert(bytes_of(batch.back()));
    }
    ASSERT_TRUE(members_[from]->transport->send(std::move(batch)));
  }

  void check(Member& member) {
    for (const auto& message : std::exchange(member.messages, {})) {
      ASSERT_TRUE(sent_.contains(bytes_of(message))) << raft::describe(message);
    }
    for (const auto& event : std::exchange(member.events, {})) {
      if (event.starts_with("snapshot to ")) ++answered_[member.id];
    }
  }

  void come_to_rest() {
    world_.heal_all();
    world_.set_reset_one_in(0);
    for (NodeId id = 1; id <= 3; ++id) know_all(id);
    EXPECT_TRUE(world_.run_until(
        [&] {
          return std::ranges::all_of(members_, [](const auto& member) {
            return member.second->transport->active_peers() == 2;
          });
        },
        60s));
    world_.run_for(400s);
    for (auto& [id, member] : members_) {
      check(*member);
      EXPECT_EQ(answered_[id], snapshots_[id]) << "of member " << id;
      for (NodeId other = 1; other <= 3; ++other) {
        const auto& stats = member->stats(other);
        EXPECT_EQ(stats.snapshot_sends_started.value(), stats.snapshot_sends_ended.value());
        EXPECT_EQ(stats.snapshot_receives_started.value(), stats.snapshot_receives_ended.value());
      }
      ASSERT_TRUE(member->send(append(id, id % 3 + 1, 1'000'000)));
    }
    world_.run_for(1s);
    for (auto& [id, member] : members_) {
      EXPECT_EQ(std::ranges::count(member->messages, MessageType::kApp, &Message::type), 1);
    }
  }

  static std::string bytes_of(const Message& message) {
    std::string bytes;
    raft::encode(message, bytes);
    return bytes;
  }

  World world_;
  base::Random random_;
  std::map<NodeId, std::unique_ptr<Member>> members_;
  std::set<std::string> sent_;
  std::map<NodeId, std::uint64_t> snapshots_, answered_;
  raft::Index index_ = 0;
};

TEST(TransportInTrouble, WhatComesIsWhatWasSent) {
  for (std::uint64_t seed = 1; seed <= 15 && !HasFailure(); ++seed) {
    SCOPED_TRACE(seed);
    RandomWorld(seed).run();
  }
}

// Whatever comes, nothing is taken for a message that is none, and the member lives.
TEST_F(TransportTest, Garbage) {
  make(1);
  base::Random random(5);
  Stranger stranger(world, "n9");
  for (int round = 0; round < 60; ++round) {
    std::string body;
    if (random.below(2) == 0) raft::encode(snapshot_message(2, 1, 4), body);
    std::string length(8, '\0');
    length[7] = static_cast<char>(body.size());
    const bool snapshot = random.below(2) == 0;
    if (snapshot) body = length + body;
    for (std::uint64_t i = random.below(40); i > 0 && !body.empty(); --i) {
      body[random.below(body.size())] = static_cast<char>(random.below(256));
    }
    const std::string answer = stranger.ask(1, {.method = "POST",
                                                .target = snapshot ? "/raft/snapshot" : "/raft",
                                                .headers = Stranger::good(),
                                                .body = base::SharedBytes(body)});
    EXPECT_NE(answer, "failed") << round;
  }
  EXPECT_TRUE(stranger.ask(1, {.target = "/raft/probing"}).starts_with("200"));
}

}  // namespace
}  // namespace keelson::peer
