#include "raft/interaction_test.h"

#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include "base/check.h"
#include "raft/describe.h"
#include "raft/invariants.h"
#include "raft/node.h"
#include "raft/sync_adapter.h"
#include "raft/wire.h"

namespace keelson::raft {
namespace {

using testing::Directive;

constexpr int kQuiet = 5;  // prints nothing but errors
constexpr std::array<std::string_view, 6> kLevels = {"DEBUG", "INFO",  "WARN",
                                                     "ERROR", "FATAL", "NONE"};

// A node that says so does on purpose what etcd's does not (Node::on_read_index).
constexpr std::string_view kUnlikeEtcd = "does not answer a read for there being one voter only";

// What a command prints, narration of the nodes in between.
class Output : public base::TraceSink {
 public:
  bool wants(base::TraceLevel) const override { return true; }
  void line(base::TraceLevel level, std::string_view text) override {
    if (text.ends_with(kUnlikeEtcd)) deviates_ = true;
    if (static_cast<int>(level) < level_) return;
    text_ += fmt::format("{} {}\n", kLevels[static_cast<std::size_t>(level)], text);
  }
  void print(std::string_view text) {
    if (level_ != kQuiet) text_ += text;
  }
  // Runs `block` and indents what it printed.
  template <class Block>
  void indented(const Block& block) {
    std::string outer = std::exchange(text_, {});
    block();
    std::istringstream lines(std::exchange(text_, std::move(outer)));
    for (std::string line; std::getline(lines, line);) print("  " + line + "\n");
  }
  std::string take() { return std::exchange(text_, {}); }
  int level() const { return level_; }
  void set_level(int level) { level_ = level; }
  bool deviates() const { return deviates_; }

 private:
  std::string text_;
  int level_ = 0;
  bool deviates_ = false;
};

// Whoever asks for a snapshot gets the newest state.
class ScriptStorage : public MemoryStorage {
 public:
  Result<Snapshot> snapshot() const override { return history.back(); }
  Snapshot received() const { return *MemoryStorage::snapshot(); }
  void adopt_snapshot() {
    if (received().metadata.index > history.back().metadata.index) history.push_back(received());
  }
  std::vector<Snapshot> history;  // the state after each applied entry
};

struct Member {
  ScriptStorage storage;
  Config config;
  std::unique_ptr<Node> node;
  StepWatcher watcher;
  std::deque<AppendJob> append_work;
  std::deque<ApplyJob> apply_work;
};

std::uint64_t number(std::string_view text) {
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  CHECK_MSG(parsed.ec == std::errc(), "not a number: {}", text);
  return value;
}

std::vector<NodeId> ids_of(const Directive& directive) {
  std::vector<NodeId> ids;
  for (const auto& argument : directive.arguments) {
    if (argument.values.empty()) ids.push_back(number(argument.key));
  }
  return ids;
}

bool flag(const Directive& directive, std::string_view key) {
  const std::string value = directive.text(key);
  return value == "true" || value == "True" || value == "TRUE" || value == "t" || value == "T" ||
         value == "1";
}

std::uint64_t size_option(const Directive& directive, std::string_view key,
                          std::uint64_t otherwise) {
  return directive.has(key) ? number(directive.text(key)) : otherwise;
}

std::vector<NodeId> id_list(const Directive& directive, std::string_view key) {
  std::vector<NodeId> ids;
  if (const auto* argument = directive.find(key)) {
    for (const std::string& value : argument->values) ids.push_back(number(value));
  }
  return ids;
}

// "v1 l2 r3 u4"
std::vector<ConfChangeSingle> parse_changes(const std::string& text) {
  std::vector<ConfChangeSingle> changes;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    ConfChangeType type = ConfChangeType::kAddNode;
    if (word[0] == 'l') type = ConfChangeType::kAddLearnerNode;
    if (word[0] == 'r') type = ConfChangeType::kRemoveNode;
    if (word[0] == 'u') type = ConfChangeType::kUpdateNode;
    changes.push_back({.type = type, .node_id = number(std::string_view(word).substr(1))});
  }
  return changes;
}

bool is_local_thread(NodeId id) { return id == kLocalAppendThread || id == kLocalApplyThread; }

bool is_local(const Message& message) {
  return message.from == message.to || is_local_thread(message.from) || is_local_thread(message.to);
}

class Interaction {
 public:
  std::string run(const Directive& directive) {
    const std::string error = dispatch(directive);
    for (auto& member : members_) watch(*member);
    if (!error.empty() && output_.level() == kQuiet) return error;
    output_.print(error);
    const std::string text = output_.take();
    return text.empty() ? "ok" : text;
  }
  // Some node has done what etcd's does not, so that nothing from here on can be the same.
  bool deviates() const { return output_.deviates(); }

 private:
  std::string dispatch(const Directive& directive);

  // Commands: each returns an error text, or nothing.
  std::string add_nodes(const Directive& directive);
  void add_node(const Config& config, const std::optional<Snapshot>& founded_with);
  std::string propose(const Directive& directive);
  std::string propose_conf_change(const Directive& directive);
  static std::string propose(Node& node, const ConfChange& change);
  static std::string propose(Node& node, const ConfChangeV2& change);
  std::string deliver(const Directive& directive);
  std::string stabilize(const Directive& directive);
  std::string set_log_level(const Directive& directive);
  std::string send_snapshot(const Directive& directive);
  std::string raft_log(const Directive& directive);
  std::string compact(const Directive& directive);
  std::string raft_state(const Directive& directive);
  // The same for each of several nodes, indented under a header if there are several.
  std::string for_each(const Directive& directive, std::string_view header,
                       std::string (Interaction::*work)(Member&));

  std::string process_ready(Member& member);
  std::string process_append(Member& member);
  std::string process_apply(Member& member);
  // All that waits.
  std::string receive_messages(Member& member);
  std::string process_appends(Member& member);
  std::string process_applies(Member& member);
  void restart(Member& member);
  bool deliver_to(NodeId to, std::optional<MessageType> type, bool drop);
  std::vector<Message> take_messages(NodeId to, std::optional<MessageType> type, bool drop);
  bool has_messages(NodeId to) const;
  // What is under way to a node from others arrives otherwise, behind all else.
  enum class Disturbance : std::uint8_t { kTwice, kReversed };
  void disturb(NodeId to, Disturbance how);
  struct Round {
    bool busy = false;
    std::string error;
  };
  // One kind of work of one node, if it has any.
  void stabilize_one(NodeId id, bool has_work, std::string_view header, Round& round,
                     std::string (Interaction::*work)(Member&));
  Round stabilize_round(const std::vector<NodeId>& ids);

  std::string store(Member& member, const AppendJob& job);
  void apply(Member& member, const std::vector<Entry>& entries);
  void watch(Member& member) {
    if (lost_work_) return;
    const auto broken =
        is_a_cluster_ ? cluster_.observe(*member.node) : member.watcher.observe(*member.node);
    EXPECT_FALSE(broken) << "node " << member.node->id() << ": " << *broken;
  }
  static std::string text_of(const Result<>& result) {
    return result ? std::string() : std::string(describe(result.error()));
  }

  Member& member(NodeId id) { return *members_.at(id - 1); }
  Member& first(const Directive& directive) { return member(number(directive.bare(0))); }

  Output output_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<Message> messages_;  // in flight
  ClusterWatcher cluster_;
  // Nodes founded unlike each other, or whose conf changes nobody validates, are none.
  bool is_a_cluster_ = true;
  bool lost_work_ = false;                 // of a storage that failed: no promise holds any more
  std::optional<std::string> foundation_;  // what nodes were founded with
};

std::string Interaction::dispatch(const Directive& d) {
  const std::string& command = d.command;
  if (command == "_breakpoint") return {};
  if (command == "add-nodes") return add_nodes(d);
  if (command == "campaign") return text_of(first(d).node->campaign());
  if (command == "propose") return propose(d);
  if (command == "propose-conf-change") return propose_conf_change(d);
  if (command == "process-ready") {
    return for_each(d, "> {} handling Ready\n", &Interaction::process_ready);
  }
  if (command == "process-append-thread") {
    return for_each(d, "> {} processing append thread\n", &Interaction::process_append);
  }
  if (command == "process-apply-thread") {
    return for_each(d, "> {} processing apply thread\n", &Interaction::process_apply);
  }
  if (command == "deliver-msgs") return deliver(d);
  if (command == "stabilize") return stabilize(d);
  if (command == "log-level") return set_log_level(d);
  if (command == "raft-log") return raft_log(d);
  if (command == "raft-state") return raft_state(d);
  if (command == "compact") return compact(d);
  if (command == "send-snapshot") return send_snapshot(d);
  Node* const node = d.bare(0).empty() ? nullptr : first(d).node.get();
  if (command == "tick-election" || command == "tick-heartbeat") {
    const auto& config = node->config();
    for (auto ticks = command == "tick-election" ? config.election_tick : config.heartbeat_tick;
         ticks > 0; ticks--) {
      node->tick();
    }
  } else if (command == "set-randomized-election-timeout") {
    node->set_election_timeout_ticks(static_cast<std::uint32_t>(d.number("timeout")));
  } else if (command == "transfer-leadership") {
    member(number(d.text("from"))).node->transfer_leader(number(d.text("to")));
  } else if (command == "forget-leader") {
    node->forget_leader();
  } else if (command == "report-unreachable") {
    node->report_unreachable(number(d.bare(1)));
  } else if (command == "read-index") {
    node->read_index(d.bare(1));
  } else if (command == "report-snapshot") {
    using enum Node::SnapshotOutcome;
    node->report_snapshot(number(d.bare(1)), flag(d, "failed") ? kFailed : kDelivered);
  } else if (command == "restart") {
    restart(first(d));
  } else if (command == "duplicate-msgs" || command == "reverse-msgs") {
    disturb(node->id(), command == "duplicate-msgs" ? Disturbance::kTwice : Disturbance::kReversed);
  } else if (command == "adopt-snapshot") {
    first(d).storage.adopt_snapshot();
  } else if (command == "status") {
    output_.print(describe(node->status().progress));
  } else {
    return "unknown command";
  }
  return {};
}

std::string Interaction::add_nodes(const Directive& d) {
  Config config{.election_tick = 3,
                .heartbeat_tick = 1,
                .max_size_per_message = size_option(d, "max-size-per-msg", kNoLimit),
                .max_inflight_messages = static_cast<std::uint32_t>(
                    size_option(d, "inflight", std::numeric_limits<std::int32_t>::max())),
                .max_inflight_bytes = size_option(d, "max-inflight-bytes", 0),
                .max_uncommitted_bytes = size_option(d, "max-uncommitted-size", 0),
                .max_committed_bytes_per_ready = size_option(d, "max-committed-size-per-ready", 0),
                .check_quorum = flag(d, "checkquorum"),
                .pre_vote = flag(d, "prevote"),
                .asker_confirms_reads = flag(d, "asker-confirms-reads"),
                .disable_proposal_forwarding = flag(d, "disable-proposal-forwarding"),
                .disable_conf_change_validation = flag(d, "disable-conf-change-validation"),
                .step_down_on_removal = flag(d, "step-down-on-removal"),
                .async_storage_writes = flag(d, "async-storage-writes"),
                .trace = &output_};
  const std::string read_only = d.text("read-only", "safe");
  if (read_only != "safe" && read_only != "lease-based") {
    return "invalid read-only option " + quoted(std::string_view(read_only));
  }
  if (read_only == "lease-based") config.read_only = ReadOnlyMode::kLeaseBased;
  if (config.disable_conf_change_validation) is_a_cluster_ = false;

  std::optional<Snapshot> founded_with;
  if (d.has("voters") || d.has("learners") || d.has("index") || d.has("content")) {
    founded_with = {.data = base::SharedBytes(d.text("content")),
                    .metadata = {.conf_state = {.voters = id_list(d, "voters"),
                                                .learners = id_list(d, "learners")},
                                 .index = size_option(d, "index", 0),
                                 .term = 1}};
    if (founded_with->metadata.index <= 1) {
      return "index must be specified as > 1 due to bootstrap";
    }
    const std::string foundation = describe(*founded_with) + d.text("content");
    if (foundation_ && *foundation_ != foundation) is_a_cluster_ = false;
    foundation_ = foundation;
    config.applied = founded_with->metadata.index;
  }
  for (auto left = number(d.bare(0)); left > 0; left--) add_node(config, founded_with);
  return {};
}

void Interaction::add_node(const Config& config, const std::optional<Snapshot>& founded_with) {
  Member& member = *members_.emplace_back(std::make_unique<Member>());
  if (founded_with) CHECK(member.storage.apply_snapshot(*founded_with).ok());
  member.storage.history = {founded_with.value_or(Snapshot())};
  member.config = config;
  member.config.id = member.config.seed = members_.size();
  member.node = std::make_unique<Node>(member.config, member.storage);
}

// What is durable is the storage, and of the state machine what its commit index covers.
void Interaction::restart(Member& member) {
  const NodeId id = member.node->id();
  std::vector<Snapshot>& history = member.storage.history;
  const Index commit = member.storage.initial_state().hard_state.commit;
  while (history.size() > 1 && history.back().metadata.index > commit) history.pop_back();
  const Snapshot received = member.storage.received();
  const SnapshotMetadata& kept =
      std::max(history.back().metadata, received.metadata,
               [](const auto& a, const auto& b) { return a.index < b.index; });
  member.storage.set_conf_state(kept.conf_state);
  member.append_work.clear();
  member.apply_work.clear();
  std::erase_if(messages_, [id](const Message& m) { return m.to == id && is_local(m); });
  member.config.applied = kept.index;
  member.node.reset();
  member.node = std::make_unique<Node>(member.config, member.storage);
  member.watcher.restarted();
  cluster_.restarted(id);
}

std::string Interaction::propose(const Directive& d) {
  return text_of(first(d).node->propose({Entry{.data = base::SharedBytes(d.bare(1))}}));
}

std::string Interaction::propose_conf_change(const Directive& d) {
  const auto changes = parse_changes(d.input);
  const std::string transition = d.text("transition", "auto");
  if (transition != "auto" && transition != "implicit" && transition != "explicit") {
    return "unknown transition " + transition;
  }
  Node& node = *first(d).node;
  if (flag(d, "v1")) {
    if (changes.size() != 1 || transition != "auto") {
      return "v1 conf change can only have one operation and no transition";
    }
    return propose(node, ConfChange{.type = changes[0].type, .node_id = changes[0].node_id});
  }
  ConfChangeV2 change{.changes = changes, .context = {}};
  if (transition == "implicit") change.transition = ConfChangeTransition::kJointImplicit;
  if (transition == "explicit") change.transition = ConfChangeTransition::kJointExplicit;
  return propose(node, change);
}

// As etcd's driver proposes them, byte for byte, for sizes count: a transition always, an id never.
std::string Interaction::propose(Node& node, const ConfChangeV2& change) {
  std::string bytes = encode(change);
  if (change.transition == ConfChangeTransition::kAuto) bytes.insert(0, "\x08\x00", 2);
  return text_of(node.propose(
      {{.type = EntryType::kConfChangeV2, .data = base::SharedBytes(std::move(bytes))}}));
}

std::string Interaction::propose(Node& node, const ConfChange& change) {
  std::string bytes = encode(change);
  CHECK(bytes.starts_with(std::string_view("\x08\x00", 2)));
  bytes.erase(0, 2);
  return text_of(node.propose(
      {{.type = EntryType::kConfChange, .data = base::SharedBytes(std::move(bytes))}}));
}

std::string Interaction::for_each(const Directive& d, std::string_view header,
                                  std::string (Interaction::*work)(Member&)) {
  const auto ids = ids_of(d);
  for (const NodeId id : ids) {
    std::string error;
    if (ids.size() == 1) {
      error = (this->*work)(member(id));
    } else {
      output_.print(fmt::format(fmt::runtime(header), id));
      output_.indented([&] { error = (this->*work)(member(id)); });
    }
    if (!error.empty()) return error;
  }
  return {};
}

// --- one node's duties

std::string Interaction::process_ready(Member& member) {
  Node& node = *member.node;
  const bool async = node.config().async_storage_writes;
  Ready ready = node.take_ready();
  watch(member);
  output_.print(describe(ready, {.node = node.id(), .async = async}));
  if (!async && ready.append) {
    if (auto error = store(member, *ready.append); !error.empty()) return error;
  }
  if (!async && ready.apply) apply(member, ready.apply->entries);
  messages_.insert(messages_.end(), ready.messages.begin(), ready.messages.end());
  if (async) {
    if (ready.append) member.append_work.push_back(*std::move(ready.append));
    if (ready.apply) member.apply_work.push_back(*std::move(ready.apply));
    return {};
  }
  if (ready.append) {
    for (Message& response : sync_responses(*ready.append, node.id())) {
      messages_.push_back(std::move(response));
    }
  }
  advance(node, std::move(ready));
  return {};
}

std::string Interaction::process_append(Member& member) {
  if (member.append_work.empty()) {
    output_.print("no append work to perform");
    return {};
  }
  const AppendJob job = std::move(member.append_work.front());
  member.append_work.pop_front();
  Message message = storage_append_message(job, member.node->id());
  const auto responses = std::exchange(message.responses, {});
  output_.print("Processing:\n" + describe(message) + "\n");
  if (auto error = store(member, job); !error.empty()) return error;
  output_.print("Responses:\n");
  for (const Message& response : responses) output_.print(describe(response) + "\n");
  messages_.insert(messages_.end(), responses.begin(), responses.end());
  return {};
}

std::string Interaction::process_apply(Member& member) {
  if (member.apply_work.empty()) {
    output_.print("no apply work to perform");
    return {};
  }
  ApplyJob job = std::move(member.apply_work.front());
  member.apply_work.pop_front();
  Message message = storage_apply_message(job);
  message.responses.clear();
  output_.print("Processing:\n" + describe(message) + "\n");
  apply(member, job.entries);
  messages_.push_back(std::move(job).response());
  output_.print("Responses:\n" + describe(messages_.back()) + "\n");
  return {};
}

// Etcd's test storage takes a snapshot or entries, not both at once.
std::string Interaction::store(Member& member, const AppendJob& job) {
  if (job.hard_state) member.storage.set_hard_state(*job.hard_state);
  if (job.snapshot && !job.entries.empty()) {
    lost_work_ = true;
    return "can't apply snapshot and entries at the same time";
  }
  if (job.snapshot) {
    const auto applied = member.storage.apply_snapshot(*job.snapshot);
    if (!applied) return std::string(describe(applied.error()));
  }
  member.storage.append(job.entries);
  return {};
}

// A state machine that appends: its state is all the data so far.
void Interaction::apply(Member& member, const std::vector<Entry>& entries) {
  for (const Entry& entry : entries) {
    Snapshot next = member.storage.history.back();
    std::string update(entry.data.view());
    if (entry.type != EntryType::kNormal) {
      ConfChangeV2 change = entry.type == EntryType::kConfChange
                                ? as_v2(*decode_conf_change(entry.data))
                                : *decode_conf_change_v2(entry.data);
      next.metadata.conf_state = *member.node->apply_conf_change(change);
      watch(member);
      update = change.context;
    }
    next.data = base::SharedBytes(std::string(next.data.view()) + update);
    next.metadata.index = entry.index;
    next.metadata.term = entry.term;
    member.storage.history.push_back(std::move(next));
  }
}

// --- messages

bool Interaction::has_messages(NodeId to) const {
  return std::ranges::any_of(messages_, [to](const Message& m) { return m.to == to; });
}

std::vector<Message> Interaction::take_messages(NodeId to, std::optional<MessageType> type,
                                                bool drop) {
  std::vector<Message> taken, rest;
  for (Message& message : messages_) {
    const bool matches =
        message.to == to && (!type || message.type == *type) && !(drop && is_local(message));
    (matches ? taken : rest).push_back(std::move(message));
  }
  messages_ = std::move(rest);
  return taken;
}

void Interaction::disturb(NodeId to, Disturbance how) {
  auto taken = take_messages(to, std::nullopt, true);
  if (how == Disturbance::kReversed) std::ranges::reverse(taken);
  messages_.insert(messages_.end(), taken.begin(), taken.end());
  if (how == Disturbance::kTwice) messages_.insert(messages_.end(), taken.begin(), taken.end());
}

// False if there was none.
bool Interaction::deliver_to(NodeId to, std::optional<MessageType> type, bool drop) {
  const auto messages = take_messages(to, type, drop);
  for (const Message& message : messages) {
    output_.print((drop ? "dropped: " : "") + describe(message) + "\n");
    if (drop) continue;
    // As it would travel, if it does.
    if (!is_local(message)) {
      std::string bytes;
      encode(message, bytes);
      EXPECT_EQ(bytes.size(), encoded_size(message));
      const auto decoded = decode_message(base::SharedBytes(bytes));
      EXPECT_EQ(describe(*decoded), describe(message));
    }
    const auto stepped = member(to).node->step(message);
    if (!stepped) output_.print(std::string(describe(stepped.error())) + "\n");
    watch(member(to));
  }
  return !messages.empty();
}

std::string Interaction::deliver(const Directive& d) {
  std::optional<MessageType> type;
  for (int i = 0; d.has("type") && i <= static_cast<int>(MessageType::kForgetLeader); i++) {
    if (describe(static_cast<MessageType>(i)) == d.text("type")) type = static_cast<MessageType>(i);
  }
  bool any = false;
  for (const auto& argument : d.arguments) {
    if (argument.values.empty()) any |= deliver_to(number(argument.key), type, false);
    if (argument.key != "drop") continue;
    for (const std::string& id : argument.values) any |= deliver_to(number(id), type, true);
  }
  if (!any) output_.print("no messages\n");
  return {};
}

std::string Interaction::stabilize(const Directive& d) {
  const int level = output_.level();
  if (d.has("log-level")) {
    Directive set{.arguments = {{.key = d.text("log-level"), .values = {}}}};
    if (auto error = set_log_level(set); !error.empty()) return error;
  }
  auto ids = ids_of(d);
  for (NodeId id = 1; ids_of(d).empty() && id <= members_.size(); id++) ids.push_back(id);
  Round round{.busy = true, .error = {}};
  while (round.busy && round.error.empty()) round = stabilize_round(ids);
  // The level stands for this command only, but a quiet one still silences what it printed.
  output_.set_level(level);
  return round.error;
}

void Interaction::stabilize_one(NodeId id, bool has_work, std::string_view header, Round& round,
                                std::string (Interaction::*work)(Member&)) {
  if (!has_work || !round.error.empty()) return;
  output_.print(fmt::format("> {} {}\n", id, header));
  output_.indented([&] { round.error = (this->*work)(member(id)); });
  round.busy = true;
}

Interaction::Round Interaction::stabilize_round(const std::vector<NodeId>& ids) {
  Round round;
  for (const NodeId id : ids) {
    stabilize_one(id, member(id).node->has_ready(), "handling Ready", round,
                  &Interaction::process_ready);
  }
  for (const NodeId id : ids) {
    stabilize_one(id, has_messages(id), "receiving messages", round,
                  &Interaction::receive_messages);
  }
  for (const NodeId id : ids) {
    stabilize_one(id, !member(id).append_work.empty(), "processing append thread", round,
                  &Interaction::process_appends);
  }
  for (const NodeId id : ids) {
    stabilize_one(id, !member(id).apply_work.empty(), "processing apply thread", round,
                  &Interaction::process_applies);
  }
  return round;
}

std::string Interaction::receive_messages(Member& member) {
  MAYBE(deliver_to(member.node->id(), std::nullopt, false));
  return {};
}

std::string Interaction::process_appends(Member& member) {
  std::string error;
  while (!member.append_work.empty() && error.empty()) error = process_append(member);
  return error;
}

std::string Interaction::process_applies(Member& member) {
  while (!member.apply_work.empty()) MAYBE(process_apply(member).empty());
  return {};
}

// --- looks

std::string Interaction::set_log_level(const Directive& d) {
  std::string wanted = d.bare(0);
  for (char& c : wanted) c = static_cast<char>(std::toupper(c));
  const auto it = std::ranges::find(kLevels, wanted);
  if (it == kLevels.end()) {
    return fmt::format("log levels must be either of [{}]", fmt::join(kLevels, " "));
  }
  output_.set_level(static_cast<int>(it - kLevels.begin()));
  return {};
}

std::string Interaction::send_snapshot(const Directive& d) {
  Member& from = first(d);
  const Message message{.type = MessageType::kSnap,
                        .to = number(d.bare(1)),
                        .from = from.node->id(),
                        .term = from.node->term(),
                        .snapshot = from.storage.history.back()};
  output_.print(describe(message));
  messages_.push_back(message);
  return {};
}

std::string Interaction::raft_log(const Directive& d) {
  const ScriptStorage& storage = first(d).storage;
  const Index lo = storage.first_index(), last = storage.last_index();
  if (last < lo) {
    output_.print(fmt::format("log is empty: first index={}, last index={}", lo, last));
    return {};
  }
  std::vector<Entry> entries;
  CHECK(storage.entries(lo, last + 1, kNoLimit, entries).ok());
  output_.print(describe(entries));
  return {};
}

std::string Interaction::compact(const Directive& d) {
  const auto compacted = first(d).storage.compact(number(d.bare(1)));
  return compacted ? raft_log(d) : text_of(compacted);
}

std::string Interaction::raft_state(const Directive&) {
  for (const auto& member : members_) {
    const Node& node = *member->node;
    const bool voter = node.configuration().voters.contains(node.id());
    output_.print(fmt::format("{}: {} ({}) Term:{} Lead:{}\n", node.id(), node.role(),
                              voter ? "Voter" : "Non-Voter", node.term(), node.leader()));
  }
  return {};
}

bool is_narration(std::string_view line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  return std::ranges::any_of(kLevels, [line](std::string_view level) {
    return line.starts_with(level) && line.substr(level.size()).starts_with(' ');
  });
}

// This line has a text of Go's protobuf, which changes with each build on purpose.
bool is_unstable(std::string_view line) {
  return line.contains("attempted to restore snapshot but it is not in the ConfState");
}

std::string without(const std::string& text, bool (*unwanted)(std::string_view)) {
  std::string out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!unwanted(line)) out += line + "\n";
  }
  return out.empty() ? "ok\n" : out;
}

}  // namespace

std::function<std::string(const Directive&)> fresh_interaction() {
  auto interaction = std::make_shared<Interaction>();
  return [interaction](const Directive& directive) { return interaction->run(directive); };
}

void run_script_of_etcd(const std::string& path, Narration narration) {
  auto interaction = std::make_shared<Interaction>();
  const auto handler = [interaction](const Directive& directive) {
    return interaction->deviates() ? std::string() : interaction->run(directive);
  };
  testing::run_script(path, handler, [interaction, narration](const std::string& text) {
    if (interaction->deviates()) return std::string();
    return without(text, narration == Narration::kCompared ? is_unstable : is_narration);
  });
}

}  // namespace keelson::raft
