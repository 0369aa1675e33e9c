#include "peer/join.h"

#include <gtest/gtest.h>

#include <string>

#include "raft/describe.h"

namespace keelson::peer {
namespace {

using raft::Message;
using raft::MessageType;

raft::Entry entry(raft::Term term, raft::Index index, std::string data = "x") {
  return {.term = term, .index = index, .data = base::SharedBytes(std::move(data))};
}
Message append(raft::Index after, std::vector<raft::Entry> entries, raft::Index commit) {
  return {.type = MessageType::kApp,
          .to = 2,
          .from = 1,
          .term = 5,
          .log_term = 5,
          .index = after,
          .entries = std::move(entries),
          .commit = commit};
}
Message answer(raft::Index index) {
  return {.type = MessageType::kAppResp, .to = 2, .from = 1, .term = 5, .index = index};
}

// The messages as one, or both as they were.
std::string joined(Message last, Message next) {
  const Message last_before = last, next_before = next;
  if (join(last, next)) return describe(last);
  EXPECT_EQ(describe(last), describe(last_before));
  EXPECT_EQ(describe(next), describe(next_before));
  return "";
}

TEST(Join, AppendsThatGoOn) {
  EXPECT_EQ(joined(append(4, {entry(5, 5), entry(5, 6)}, 3), append(6, {entry(5, 7)}, 5)),
            describe(append(4, {entry(5, 5), entry(5, 6), entry(5, 7)}, 5)));
  EXPECT_EQ(joined(append(4, {}, 3), append(4, {entry(5, 5)}, 4)),
            describe(append(4, {entry(5, 5)}, 4)))
      << "a commit that moved, then entries";
  EXPECT_EQ(joined(append(4, {entry(5, 5)}, 3), append(5, {}, 4)),
            describe(append(4, {entry(5, 5)}, 4)))
      << "entries, then a commit that moved";
  EXPECT_EQ(joined(append(4, {}, 4), append(4, {}, 3)), describe(append(4, {}, 4)))
      << "commit never goes back";
}

TEST(Join, AppendsThatDoNot) {
  const Message last = append(4, {entry(5, 5)}, 3);
  EXPECT_EQ(joined(last, append(6, {entry(5, 7)}, 3)), "") << "a gap";
  EXPECT_EQ(joined(last, append(4, {entry(5, 5)}, 3)), "") << "once more: a probe";
  Message other_log = append(5, {}, 3);
  other_log.log_term = 4;
  EXPECT_EQ(joined(last, other_log), "") << "behind another entry";
  Message later = append(5, {}, 3);
  later.term = 6;
  EXPECT_EQ(joined(last, later), "") << "of a later term";
  Message to_other = append(5, {}, 3);
  to_other.to = 3;
  EXPECT_EQ(joined(last, to_other), "") << "to somebody else";
}

TEST(Join, AppendsWithinABound) {
  const std::string half(kJoinedBytesMax / 2, 'x');
  EXPECT_NE(joined(append(4, {entry(5, 5, half)}, 3), append(5, {entry(5, 6, half)}, 3)), "");
  EXPECT_EQ(joined(append(4, {entry(5, 5, half + "x")}, 3), append(5, {entry(5, 6, half)}, 3)), "");
  EXPECT_NE(joined(append(4, {entry(5, 5, half + half + half)}, 3), append(5, {}, 4)), "")
      << "a commit alone takes no room";
}

TEST(Join, AnswersThatSayMoreOfTheSame) {
  EXPECT_EQ(joined(answer(6), answer(7)), describe(answer(7)));
  EXPECT_EQ(joined(answer(6), answer(6)), describe(answer(6)));
  EXPECT_EQ(joined(answer(7), answer(6)), "") << "never takes anything back";
  Message rejects = answer(7);
  rejects.reject = true;
  EXPECT_EQ(joined(answer(6), rejects), "");
  EXPECT_EQ(joined(rejects, answer(8)), "");
  Message later = answer(7);
  later.term = 6;
  EXPECT_EQ(joined(answer(6), later), "");
}

TEST(Join, NothingElse) {
  for (const auto type : {MessageType::kHeartbeat, MessageType::kHeartbeatResp, MessageType::kProp,
                          MessageType::kVote, MessageType::kReadIndex}) {
    const Message message{.type = type, .to = 2, .from = 1, .term = 5};
    EXPECT_EQ(joined(message, message), "");
  }
  EXPECT_EQ(joined(append(4, {}, 3), answer(4)), "");
}

}  // namespace
}  // namespace keelson::peer
