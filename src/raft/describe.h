// Texts of the core's values, as etcd's raft prints them: for narration, for the scripts, for
// humans. raft.md 16.4.
//
// Ids are hexadecimal in narration, messages and configurations, decimal in `Lead:` and `Vote:`.
// Every type here can be an argument of fmt, which describes it only if the text is wanted.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <vector>

#include "raft/confchange/confchange.h"
#include "raft/log.h"
#include "raft/ready.h"
#include "raft/tracker/progress.h"
#include "raft/types.h"

namespace keelson::raft {

std::string_view describe(EntryType type);
std::string_view describe(MessageType type);
std::string_view describe(Role role);
std::string_view describe(ProgressState state);
std::string_view describe(ConfChangeType type);
std::string_view describe(ConfChangeTransition transition);

// In double quotes, with what is not printable ASCII escaped.
std::string quoted(std::string_view bytes);

std::string describe(const Entry& entry);                 // "1/4 EntryNormal \"foo\""
std::string describe(const std::vector<Entry>& entries);  // one per line
std::string describe(const HardState& state);             // "Term:1 Vote:1 Commit:4"
std::string describe(const SoftState& state);             // "Lead:1 State:StateLeader"
std::string describe(const ConfState& state);
std::string describe(const Snapshot& snapshot);
std::string describe(const Message& message);
std::string describe(const Progress& progress);
std::string describe(const ProgressMap& progress);         // "1: StateReplicate match=..." per line
std::string describe(const Configuration& configuration);  // "voters=(1 2)&&(1) autoleave"
std::string describe(const ConfChangeV2& change);
std::string describe(const Log& log);
// Just the changes: "v1 l2 r3".
std::string describe_changes(const std::vector<ConfChangeSingle>& changes);

// The jobs of a Ready as the messages to local threads that etcd's raft makes of them. Copies.
Message storage_append_message(const AppendJob& job, NodeId node);
Message storage_apply_message(const ApplyJob& job);

struct ReadyStyle {
  NodeId node = kNone;
  bool async = true;  // jobs as messages to local threads; else what follows the sync stands among
                      // the messages
};
std::string describe(const Ready& ready, ReadyStyle style);

}  // namespace keelson::raft

namespace keelson::raft::internal {
template <class T>
struct DescribingFormatter : fmt::formatter<std::string_view> {
  auto format(const T& value, fmt::format_context& context) const {
    return fmt::formatter<std::string_view>::format(describe(value), context);
  }
};
}  // namespace keelson::raft::internal

template <>
struct fmt::formatter<keelson::raft::MessageType>
    : keelson::raft::internal::DescribingFormatter<keelson::raft::MessageType> {};
template <>
struct fmt::formatter<keelson::raft::Role>
    : keelson::raft::internal::DescribingFormatter<keelson::raft::Role> {};
template <>
struct fmt::formatter<keelson::raft::ConfState>
    : keelson::raft::internal::DescribingFormatter<keelson::raft::ConfState> {};
template <>
struct fmt::formatter<keelson::raft::Progress>
    : keelson::raft::internal::DescribingFormatter<keelson::raft::Progress> {};
template <>
struct fmt::formatter<keelson::raft::Configuration>
    : keelson::raft::internal::DescribingFormatter<keelson::raft::Configuration> {};
template <>
struct fmt::formatter<keelson::raft::ConfChangeV2>
    : keelson::raft::internal::DescribingFormatter<keelson::raft::ConfChangeV2> {};
template <>
struct fmt::formatter<keelson::raft::Log>
    : keelson::raft::internal::DescribingFormatter<keelson::raft::Log> {};
