// Bytes: twins against the generated messages, what older members write, and garbage.
#include "raft/wire.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "proto/raft.pb.h"
#include "raft/describe.h"

namespace keelson::raft {
namespace {

// Now and then zero, now and then huge: presence and length are what varies.
std::uint64_t any_number(base::Random& random) {
  return random.one_in(3) ? 0 : random.next() >> random.below(64);
}

Entry any_entry(base::Random& random) {
  return {.type = static_cast<EntryType>(random.below(3)),
          .term = any_number(random),
          .index = any_number(random),
          .data = base::SharedBytes(random.bytes(random.below(200)))};
}

std::vector<NodeId> any_ids(base::Random& random) {
  std::vector<NodeId> ids(random.below(4));
  for (NodeId& id : ids) id = random.next();
  return ids;
}

Snapshot any_snapshot(base::Random& random) {
  return {.data = base::SharedBytes(random.bytes(random.below(50))),
          .metadata = {.conf_state = {.voters = any_ids(random),
                                      .learners = any_ids(random),
                                      .voters_outgoing = any_ids(random),
                                      .learners_next = any_ids(random),
                                      .auto_leave = random.one_in(2)},
                       .index = 1 + random.below(1000),
                       .term = any_number(random)}};
}

Message any_message(base::Random& random) {
  Message message{.type = static_cast<MessageType>(random.below(24)),
                  .to = any_number(random),
                  .from = any_number(random),
                  .term = any_number(random),
                  .log_term = any_number(random),
                  .index = any_number(random),
                  .commit = any_number(random),
                  .reject = random.one_in(2),
                  .reject_hint = any_number(random),
                  .context = random.bytes(random.below(10)),
                  .vote = any_number(random)};
  for (auto left = random.below(4); left > 0; left--) message.entries.push_back(any_entry(random));
  if (random.one_in(3)) message.snapshot = any_snapshot(random);
  return message;
}

void expect_same(const Entry& ours, const raftpb::Entry& theirs) {
  EXPECT_EQ(static_cast<int>(ours.type), static_cast<int>(theirs.type()));
  EXPECT_EQ(ours.term, theirs.term());
  EXPECT_EQ(ours.index, theirs.index());
  EXPECT_EQ(ours.data.view(), theirs.data());
}

void expect_same(const std::vector<NodeId>& ours,
                 const google::protobuf::RepeatedField<std::uint64_t>& theirs) {
  EXPECT_EQ(ours, std::vector<NodeId>(theirs.begin(), theirs.end()));
}

void expect_same(const Snapshot& ours, const raftpb::Snapshot& theirs) {
  EXPECT_EQ(ours.data.view(), theirs.data());
  EXPECT_EQ(ours.metadata.index, theirs.metadata().index());
  EXPECT_EQ(ours.metadata.term, theirs.metadata().term());
  const auto& state = theirs.metadata().conf_state();
  expect_same(ours.metadata.conf_state.voters, state.voters());
  expect_same(ours.metadata.conf_state.learners, state.learners());
  expect_same(ours.metadata.conf_state.voters_outgoing, state.voters_outgoing());
  expect_same(ours.metadata.conf_state.learners_next, state.learners_next());
  EXPECT_EQ(ours.metadata.conf_state.auto_leave, state.auto_leave());
}

void expect_same(const Message& ours, const raftpb::Message& theirs) {
  EXPECT_EQ(static_cast<std::uint32_t>(ours.type), theirs.type());
  EXPECT_EQ(ours.to, theirs.to());
  EXPECT_EQ(ours.from, theirs.from());
  EXPECT_EQ(ours.term, theirs.term());
  EXPECT_EQ(ours.log_term, theirs.logterm());
  EXPECT_EQ(ours.index, theirs.index());
  EXPECT_EQ(ours.commit, theirs.commit());
  EXPECT_EQ(ours.reject, theirs.reject());
  EXPECT_EQ(ours.reject_hint, theirs.rejecthint());
  EXPECT_EQ(ours.context, theirs.context());
  EXPECT_EQ(ours.vote, theirs.vote());
  ASSERT_EQ(static_cast<int>(ours.entries.size()), theirs.entries_size());
  for (int i = 0; i < theirs.entries_size(); i++) {
    expect_same(ours.entries[static_cast<std::size_t>(i)], theirs.entries(i));
  }
  ASSERT_EQ(ours.snapshot.has_value(), theirs.has_snapshot());
  if (ours.snapshot) expect_same(*ours.snapshot, theirs.snapshot());
}

std::string bytes_of(const auto& value) {
  std::string out;
  encode(value, out);
  return out;
}

TEST(Wire, EntriesAgreeWithGeneratedCode) {
  base::Random random(1);
  for (int i = 0; i < 3000; i++) {
    const Entry entry = any_entry(random);
    const std::string bytes = bytes_of(entry);
    ASSERT_EQ(bytes.size(), encoded_size(entry));
    std::string head;
    encode_head(entry, head);
    ASSERT_EQ(head + std::string(entry.data.view()), bytes);
    raftpb::Entry theirs;
    ASSERT_TRUE(theirs.ParseFromString(bytes));
    expect_same(entry, theirs);
    // Written again by generated code: the same bytes, for it keeps what is present.
    ASSERT_EQ(theirs.SerializeAsString(), bytes);
    expect_same(*decode_entry(base::SharedBytes(bytes)), theirs);
  }
}

TEST(Wire, MessagesAgreeWithGeneratedCode) {
  base::Random random(2);
  for (int i = 0; i < 2000; i++) {
    const Message message = any_message(random);
    const std::string bytes = bytes_of(message);
    ASSERT_EQ(bytes.size(), encoded_size(message));
    raftpb::Message theirs;
    ASSERT_TRUE(theirs.ParseFromString(bytes));
    expect_same(message, theirs);
    ASSERT_EQ(theirs.SerializeAsString(), bytes);
    expect_same(*decode_message(base::SharedBytes(bytes)), theirs);
  }
}

TEST(Wire, HardStateHasAllItsFieldsAlways) {
  base::Random random(3);
  for (int i = 0; i < 500; i++) {
    const HardState state{any_number(random), any_number(random), any_number(random)};
    raftpb::HardState theirs;
    theirs.set_term(state.term);
    theirs.set_vote(state.vote);
    theirs.set_commit(state.commit);
    ASSERT_EQ(encode(state), theirs.SerializeAsString());
    ASSERT_EQ(*decode_hard_state(encode(state)), state);
  }
  EXPECT_EQ(encode(HardState{.term = 1}), std::string("\x08\x01\x10\x00\x18\x00", 6));
}

TEST(Wire, TheRestComesBackAsItWent) {
  base::Random random(4);
  for (int i = 0; i < 300; i++) {
    const Snapshot snapshot = any_snapshot(random);
    EXPECT_EQ(describe(*decode_snapshot(base::SharedBytes(encode(snapshot)))), describe(snapshot));
    EXPECT_EQ(*decode_conf_state(encode(snapshot.metadata.conf_state)),
              snapshot.metadata.conf_state);
    const ConfChange change{.id = any_number(random),
                            .type = static_cast<ConfChangeType>(random.below(4)),
                            .node_id = any_number(random),
                            .context = random.bytes(random.below(9))};
    const auto back = decode_conf_change(encode(change));
    EXPECT_EQ(back->id, change.id);
    EXPECT_EQ(describe(as_v2(*back)), describe(as_v2(change)));
    ConfChangeV2 v2{.transition = static_cast<ConfChangeTransition>(random.below(3)),
                    .changes = {{change.type, change.node_id}, {ConfChangeType::kAddNode, 7}},
                    .context = change.context};
    EXPECT_EQ(describe(*decode_conf_change_v2(encode(v2))), describe(v2));
  }
  EXPECT_EQ(encode(ConfChangeV2{}), "");
}

// 3.5 and 3.6 write every scalar, 3.5 an empty snapshot in every message too.
TEST(Wire, ReadsWhatOlderMembersWrite) {
  const std::string entry("\x08\x00\x10\x05\x18\x09\x22\x00", 8);
  const auto decoded = decode_entry(base::SharedBytes(entry));
  EXPECT_EQ(describe(*decoded), "5/9 EntryNormal \"\"");

  raftpb::Message message;
  message.set_type(8);
  message.set_to(1);
  message.set_from(2);
  message.set_term(3);
  message.set_logterm(0);
  message.set_index(0);
  message.set_commit(4);
  message.set_reject(false);
  message.set_rejecthint(0);
  auto* metadata = message.mutable_snapshot()->mutable_metadata();
  metadata->mutable_conf_state()->set_auto_leave(false);
  metadata->set_index(0);
  metadata->set_term(0);
  const auto heartbeat = decode_message(base::SharedBytes(message.SerializeAsString()));
  EXPECT_EQ(describe(*heartbeat), "2->1 MsgHeartbeat Term:3 Log:0/0 Commit:4");
  EXPECT_FALSE(heartbeat->snapshot);
}

// A normal entry as etcd 3.7 writes it has no type; what we decode is a slice, not a copy.
TEST(Wire, EntryByTheByte) {
  const Entry entry{.term = 2, .index = 300, .data = base::SharedBytes(std::string("foo"))};
  const std::string bytes = bytes_of(entry);
  EXPECT_EQ(bytes, std::string("\x10\x02\x18\xac\x02\x22\x03") + "foo");
  const base::SharedBytes shared(bytes);
  EXPECT_EQ(decode_entry(shared)->data.data(), shared.data() + bytes.size() - 3);
}

TEST(Wire, RefusesWhatNobodyWrites) {
  const auto entry = [](std::string bytes) {
    return decode_entry(base::SharedBytes(std::move(bytes))).ok();
  };
  EXPECT_TRUE(entry("")) << "all fields absent";
  EXPECT_FALSE(entry(std::string("\x08\x03", 2))) << "type out of range";
  EXPECT_FALSE(entry("\x10")) << "value missing";
  EXPECT_FALSE(
      entry("\x22\x05"
            "abc"))
      << "length beyond the end";
  EXPECT_FALSE(entry("\x22\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")) << "length beyond anything";
  EXPECT_FALSE(
      entry("\x12\x01"
            "a"))
      << "term as bytes";
  EXPECT_FALSE(entry("\x20\x01")) << "data as a number";
  EXPECT_FALSE(entry("\x0b\x0c")) << "a group";
  EXPECT_FALSE(entry(std::string("\x00\x01", 2))) << "field 0";
  EXPECT_TRUE(
      entry("\x7a\x01"
            "a\x39"
            "12345678\x45"
            "1234"))
      << "unknown fields of all kinds";

  const auto message = [](std::string bytes) {
    return decode_message(base::SharedBytes(std::move(bytes))).ok();
  };
  EXPECT_FALSE(message("\x08\x18")) << "type out of range";
  EXPECT_FALSE(message(std::string("\x72\x00", 2))) << "responses do not travel";
  EXPECT_FALSE(message("\x3a\x02\x08\x03")) << "an entry that is bad";

  // An enumerator from the future must not read as zero, which would add a node.
  EXPECT_FALSE(decode_conf_change("\x10\x09").ok());
  EXPECT_FALSE(decode_conf_change_v2("\x08\x09").ok());
  EXPECT_FALSE(decode_conf_change_v2("\x12\x02\x08\x09").ok());
  EXPECT_TRUE(decode_conf_change("\x78\x01").ok()) << "an unknown field is no harm";
}

// Whatever arrives is a value or an error, and what was cut short is never taken for whole.
TEST(Wire, GarbageIsAnErrorOrAValue) {
  base::Random random(5);
  int refused = 0;
  for (int i = 0; i < 5000; i++) {
    std::string bytes = bytes_of(any_message(random));
    for (auto flips = random.below(4); flips > 0; flips--) {
      bytes[random.below(bytes.size())] = static_cast<char>(random.next());
    }
    bytes.resize(random.below(bytes.size() + 1));
    const auto message = decode_message(base::SharedBytes(bytes));
    if (message) {
      EXPECT_FALSE(bytes_of(*message).empty());
    } else {
      refused++;
    }
    MAYBE(decode_hard_state(bytes).ok());
    MAYBE(decode_snapshot(base::SharedBytes(bytes)).ok());
    MAYBE(decode_conf_change_v2(bytes).ok());
  }
  EXPECT_GT(refused, 1000);
}

}  // namespace
}  // namespace keelson::raft
