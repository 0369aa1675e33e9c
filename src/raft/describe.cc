#include "raft/describe.h"

#include <fmt/ranges.h>

#include <iterator>
#include <span>
#include <utility>

#include "base/check.h"
#include "raft/wire.h"

namespace keelson::raft {
namespace {

std::string target(NodeId id) {
  if (id == kNone) return "None";
  if (id == kLocalAppendThread) return "AppendThread";
  if (id == kLocalApplyThread) return "ApplyThread";
  return fmt::format("{:x}", id);
}

std::string id_set(const IdSet& ids) { return fmt::format("({:x})", fmt::join(ids, " ")); }

std::string with_indent(const Message& message, const std::string& indent) {
  std::string out =
      fmt::format("{}{}->{} {} Term:{} Log:{}/{}", indent, target(message.from), target(message.to),
                  message.type, message.term, message.log_term, message.index);
  if (message.reject) out += fmt::format(" Rejected (Hint: {})", message.reject_hint);
  if (message.commit != 0) out += fmt::format(" Commit:{}", message.commit);
  if (message.vote != kNone) out += fmt::format(" Vote:{}", message.vote);
  if (message.entries.size() == 1) {
    out += fmt::format(" Entries:[{}]", describe(message.entries[0]));
  } else if (message.entries.size() > 1) {
    out += " Entries:[";
    for (const Entry& entry : message.entries) {
      out += fmt::format("\n{}  {}", indent, describe(entry));
    }
    out += fmt::format("\n{}]", indent);
  }
  if (message.snapshot && !message.snapshot->empty()) {
    out += fmt::format("\n{}  Snapshot: {}", indent, describe(*message.snapshot));
  }
  if (!message.responses.empty()) {
    out += " Responses:[";
    for (const Message& response : message.responses) {
      out += "\n" + with_indent(response, indent + "  ");
    }
    out += fmt::format("\n{}]", indent);
  }
  return out;
}

std::string conf_change_text(const Entry& entry) {
  if (entry.type == EntryType::kConfChange) {
    const auto change = decode_conf_change(entry.data);
    return change ? describe_changes(as_v2(*change).changes) : std::string("malformed");
  }
  const auto change = decode_conf_change_v2(entry.data);
  return change ? describe_changes(change->changes) : std::string("malformed");
}

// As Go prints the structs: [{4 [97 98]}].
std::string describe(const std::vector<ReadState>& states) {
  std::string out = "[";
  for (const ReadState& state : states) {
    std::vector<int> bytes;
    for (const char c : state.context) bytes.push_back(static_cast<unsigned char>(c));
    if (out.size() > 1) out += " ";
    out += fmt::format("{{{} [{}]}}", state.index, fmt::join(bytes, " "));
  }
  return out + "]";
}

char change_letter(ConfChangeType type) {
  switch (type) {
    case ConfChangeType::kAddNode:
      return 'v';
    case ConfChangeType::kAddLearnerNode:
      return 'l';
    case ConfChangeType::kRemoveNode:
      return 'r';
    case ConfChangeType::kUpdateNode:
      return 'u';
  }
  return '?';
}

// The messages of a Ready with everything that etcd's raft counts among them.
std::vector<Message> all_messages(const Ready& ready, ReadyStyle style) {
  std::vector<Message> messages = ready.messages;
  if (style.async) {
    if (ready.append) messages.push_back(storage_append_message(*ready.append, style.node));
    if (ready.apply) messages.push_back(storage_apply_message(*ready.apply));
    return messages;
  }
  if (ready.append) {
    for (const Message& response : ready.append->responses) {
      if (response.to != style.node) messages.push_back(response);
    }
  }
  return messages;
}

}  // namespace

std::string_view describe(EntryType type) {
  switch (type) {
    case EntryType::kNormal:
      return "EntryNormal";
    case EntryType::kConfChange:
      return "EntryConfChange";
    case EntryType::kConfChangeV2:
      return "EntryConfChangeV2";
  }
  return "EntryUnknown";
}

std::string_view describe(MessageType type) {
  switch (type) {
    case MessageType::kHup:
      return "MsgHup";
    case MessageType::kBeat:
      return "MsgBeat";
    case MessageType::kProp:
      return "MsgProp";
    case MessageType::kApp:
      return "MsgApp";
    case MessageType::kAppResp:
      return "MsgAppResp";
    case MessageType::kVote:
      return "MsgVote";
    case MessageType::kVoteResp:
      return "MsgVoteResp";
    case MessageType::kSnap:
      return "MsgSnap";
    case MessageType::kHeartbeat:
      return "MsgHeartbeat";
    case MessageType::kHeartbeatResp:
      return "MsgHeartbeatResp";
    case MessageType::kUnreachable:
      return "MsgUnreachable";
    case MessageType::kSnapStatus:
      return "MsgSnapStatus";
    case MessageType::kCheckQuorum:
      return "MsgCheckQuorum";
    case MessageType::kTransferLeader:
      return "MsgTransferLeader";
    case MessageType::kTimeoutNow:
      return "MsgTimeoutNow";
    case MessageType::kReadIndex:
      return "MsgReadIndex";
    case MessageType::kReadIndexResp:
      return "MsgReadIndexResp";
    case MessageType::kPreVote:
      return "MsgPreVote";
    case MessageType::kPreVoteResp:
      return "MsgPreVoteResp";
    case MessageType::kStorageAppend:
      return "MsgStorageAppend";
    case MessageType::kStorageAppendResp:
      return "MsgStorageAppendResp";
    case MessageType::kStorageApply:
      return "MsgStorageApply";
    case MessageType::kStorageApplyResp:
      return "MsgStorageApplyResp";
    case MessageType::kForgetLeader:
      return "MsgForgetLeader";
  }
  return "MsgUnknown";
}

std::string_view describe(Role role) {
  switch (role) {
    case Role::kFollower:
      return "StateFollower";
    case Role::kCandidate:
      return "StateCandidate";
    case Role::kLeader:
      return "StateLeader";
    case Role::kPreCandidate:
      return "StatePreCandidate";
  }
  return "StateUnknown";
}

std::string_view describe(ProgressState state) {
  switch (state) {
    case ProgressState::kProbe:
      return "StateProbe";
    case ProgressState::kReplicate:
      return "StateReplicate";
    case ProgressState::kSnapshot:
      return "StateSnapshot";
  }
  return "StateUnknown";
}

std::string_view describe(ConfChangeType type) {
  switch (type) {
    case ConfChangeType::kAddNode:
      return "ConfChangeAddNode";
    case ConfChangeType::kRemoveNode:
      return "ConfChangeRemoveNode";
    case ConfChangeType::kUpdateNode:
      return "ConfChangeUpdateNode";
    case ConfChangeType::kAddLearnerNode:
      return "ConfChangeAddLearnerNode";
  }
  return "ConfChangeUnknown";
}

std::string_view describe(ConfChangeTransition transition) {
  switch (transition) {
    case ConfChangeTransition::kAuto:
      return "ConfChangeTransitionAuto";
    case ConfChangeTransition::kJointImplicit:
      return "ConfChangeTransitionJointImplicit";
    case ConfChangeTransition::kJointExplicit:
      return "ConfChangeTransitionJointExplicit";
  }
  return "ConfChangeTransitionUnknown";
}

std::string quoted(std::string_view bytes) {
  std::string out = "\"";
  for (const char c : bytes) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        if (c >= ' ' && c <= '~') {
          out += c;
        } else {
          out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
        }
    }
  }
  return out + "\"";
}

std::string describe(const Entry& entry) {
  const std::string text =
      entry.type == EntryType::kNormal ? quoted(entry.data) : conf_change_text(entry);
  return fmt::format("{}/{} {}{}{}", entry.term, entry.index, describe(entry.type),
                     text.empty() ? "" : " ", text);
}

std::string describe(const std::vector<Entry>& entries) {
  std::string out;
  for (const Entry& entry : entries) out += describe(entry) + "\n";
  return out;
}

std::string describe(const HardState& state) {
  std::string out = fmt::format("Term:{}", state.term);
  if (state.vote != kNone) out += fmt::format(" Vote:{}", state.vote);
  return out + fmt::format(" Commit:{}", state.commit);
}

std::string describe(const SoftState& state) {
  return fmt::format("Lead:{} State:{}", state.leader, state.role);
}

std::string describe(const ConfState& state) {
  return fmt::format("Voters:[{}] VotersOutgoing:[{}] Learners:[{}] LearnersNext:[{}] AutoLeave:{}",
                     fmt::join(state.voters, " "), fmt::join(state.voters_outgoing, " "),
                     fmt::join(state.learners, " "), fmt::join(state.learners_next, " "),
                     state.auto_leave);
}

std::string describe(const Snapshot& snapshot) {
  return fmt::format("Index:{} Term:{} ConfState:{}", snapshot.metadata.index,
                     snapshot.metadata.term, describe(snapshot.metadata.conf_state));
}

std::string describe(const Message& message) { return with_indent(message, ""); }

std::string describe(const Progress& progress) {
  std::string out =
      fmt::format("{} match={} next={}", describe(progress.state), progress.match, progress.next);
  if (progress.learner) out += " learner";
  if (progress.paused()) out += " paused";
  if (progress.pending_snapshot > 0) {
    out += fmt::format(" pendingSnap={}", progress.pending_snapshot);
  }
  if (!progress.recent_active) out += " inactive";
  if (progress.inflights.count() > 0) {
    out += fmt::format(" inflight={}", progress.inflights.count());
    if (progress.inflights.full()) out += "[full]";
  }
  return out;
}

std::string describe(const ProgressMap& progress) {
  std::string out;
  for (const auto& [id, of] : progress) out += fmt::format("{}: {}\n", id, describe(of));
  return out;
}

std::string describe(const Configuration& configuration) {
  std::string out = "voters=" + id_set(configuration.voters.incoming);
  if (configuration.voters.joint()) out += "&&" + id_set(configuration.voters.outgoing);
  if (!configuration.learners.empty()) out += " learners=" + id_set(configuration.learners);
  if (!configuration.learners_next.empty()) {
    out += " learners_next=" + id_set(configuration.learners_next);
  }
  if (configuration.auto_leave) out += " autoleave";
  return out;
}

std::string describe(const ConfChangeV2& change) {
  std::string out = fmt::format("transition:{}", describe(change.transition));
  for (const ConfChangeSingle& single : change.changes) {
    out += fmt::format(" changes:{{type:{} node_id:{}}}", describe(single.type), single.node_id);
  }
  if (!change.context.empty()) out += " context:" + quoted(change.context);
  return out;
}

std::string describe_changes(const std::vector<ConfChangeSingle>& changes) {
  std::string out;
  for (const ConfChangeSingle& change : changes) {
    if (!out.empty()) out += " ";
    out += fmt::format("{}{}", change_letter(change.type), change.node_id);
  }
  return out;
}

std::string describe(const Log& log) {
  return fmt::format(
      "committed={}, applied={}, applying={}, unstable.offset={}, unstable.offsetInProgress={}, "
      "len(unstable.Entries)={}",
      log.committed(), log.applied(), log.applying(), log.unstable().offset(),
      log.unstable().offset_in_progress(), log.unstable().count());
}

Message storage_append_message(const AppendJob& job, NodeId node) {
  Message message{.type = MessageType::kStorageAppend, .to = kLocalAppendThread, .from = node};
  message.entries = job.entries;
  message.snapshot = job.snapshot;
  message.responses = job.responses;
  if (job.hard_state) {
    message.term = job.hard_state->term;
    message.vote = job.hard_state->vote;
    message.commit = job.hard_state->commit;
  }
  return message;
}

Message storage_apply_message(const ApplyJob& job) {
  Message message{.type = MessageType::kStorageApply, .to = kLocalApplyThread, .from = job.node};
  message.entries = job.entries;
  message.responses.push_back(ApplyJob(job).response());
  return message;
}

std::string describe(const Ready& ready, ReadyStyle style) {
  std::string out;
  if (ready.soft_state) out += describe(*ready.soft_state) + "\n";
  if (ready.append && ready.append->hard_state) {
    out += "HardState " + describe(*ready.append->hard_state) + "\n";
  }
  if (!ready.read_states.empty()) out += "ReadStates " + describe(ready.read_states) + "\n";
  if (ready.append && !ready.append->entries.empty()) {
    out += "Entries:\n" + describe(ready.append->entries);
  }
  if (ready.append && ready.append->snapshot) {
    out += "Snapshot " + describe(*ready.append->snapshot) + "\n";
  }
  if (ready.apply) out += "CommittedEntries:\n" + describe(ready.apply->entries);
  const std::vector<Message> messages = all_messages(ready, style);
  if (!messages.empty()) out += "Messages:\n";
  for (const Message& message : messages) out += describe(message) + "\n";
  if (out.empty()) return "<empty Ready>";
  const bool must_sync = ready.append && ready.append->must_sync;
  return fmt::format("Ready MustSync={}:\n{}", must_sync, out);
}

}  // namespace keelson::raft
