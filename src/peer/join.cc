#include "peer/join.h"

#include <algorithm>
#include <iterator>

namespace keelson::peer {
namespace {

std::size_t data_bytes(const raft::Message& message) {
  std::size_t bytes = 0;
  for (const raft::Entry& entry : message.entries) bytes += entry.data.size();
  return bytes;
}

// The place behind which an append that follows begins.
bool goes_on(const raft::Message& last, const raft::Message& next) {
  const raft::Term end_term = last.entries.empty() ? last.log_term : last.entries.back().term;
  return next.index == last.index + last.entries.size() && next.log_term == end_term;
}

bool join_appends(raft::Message& last, raft::Message& next) {
  if (!goes_on(last, next)) return false;
  if (!next.entries.empty() && data_bytes(last) + data_bytes(next) > kJoinedBytesMax) return false;
  std::ranges::move(next.entries, std::back_inserter(last.entries));
  last.commit = std::max(last.commit, next.commit);
  return true;
}

bool join_answers(raft::Message& last, const raft::Message& next) {
  if (last.reject || next.reject || next.index < last.index) return false;
  last.index = next.index;
  return true;
}

}  // namespace

bool join(raft::Message& last, raft::Message& next) {
  if (last.type != next.type || last.term != next.term || last.from != next.from ||
      last.to != next.to || !next.context.empty()) {
    return false;
  }
  switch (next.type) {
    case raft::MessageType::kApp:
      return join_appends(last, next);
    case raft::MessageType::kAppResp:
      return join_answers(last, next);
    default:
      return false;
  }
}

}  // namespace keelson::peer
