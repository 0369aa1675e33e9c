// Runs testdata/*.txt: log entries on a StateMachine, and everything a batch of them gave.
//
//   apply [foreign] [live=N]   entries, one a line; foreign: proposed by another member; live:
//   bytes
//                              the quota is held against
//   compact                    slices of the compaction under way, to its end
//   start [quota=N] [learners=N] [min_ttl=N]     a new one with these options, nothing in it
//   restart                    a new one with the same options, recovered from what was stored
//   leases                     what readers see of them
//
// An entry is an InternalRaftRequest in protobuf's text form, or
//   leader TERM                the first entry of a leader's term
//   add ID URL..  learner ID URL..  promote ID  update ID URL..  remove ID     a conf change
#include "testing/script.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <sstream>

#include "apply/state_machine.h"
#include "mvcc/memory_store_test.h"
#include "mvcc/record.h"
#include "raft/wire.h"

namespace keelson::apply {
namespace {

constexpr std::uint64_t kSelf = 0xABCD, kOther = 0x1234;

std::string_view name_of(Errc errc) {
  switch (errc) {
    case Errc::kCompacted:
      return "kCompacted";
    case Errc::kFutureRevision:
      return "kFutureRevision";
    case Errc::kKeyNotFound:
      return "kKeyNotFound";
    case Errc::kUnreadable:
      return "kUnreadable";
    case Errc::kTooMuchMemory:
      return "kTooMuchMemory";
    case Errc::kLeaseNotFound:
      return "kLeaseNotFound";
    case Errc::kLeaseExists:
      return "kLeaseExists";
    case Errc::kLeaseTtlTooLarge:
      return "kLeaseTtlTooLarge";
    case Errc::kNoSpace:
      return "kNoSpace";
    case Errc::kCorrupt:
      return "kCorrupt";
    case Errc::kMemberIdRemoved:
      return "kMemberIdRemoved";
    case Errc::kMemberIdExists:
      return "kMemberIdExists";
    case Errc::kMemberIdNotFound:
      return "kMemberIdNotFound";
    case Errc::kPeerUrlExists:
      return "kPeerUrlExists";
    case Errc::kNotLearner:
      return "kNotLearner";
    case Errc::kTooManyLearners:
      return "kTooManyLearners";
    case Errc::kUnknownAlarmAction:
      return "kUnknownAlarmAction";
    case Errc::kUnsupported:
      return "kUnsupported";
  }
  CHECK(false);
}

// Text as it is, anything else in hexadecimal.
std::string show_bytes(std::string_view bytes) {
  const bool text =
      std::all_of(bytes.begin(), bytes.end(), [](char c) { return c >= 32 && c < 127; });
  if (bytes.empty()) return "''";
  if (text) return std::string(bytes);
  std::string out = "x";
  for (const unsigned char c : bytes) out += fmt::format("{:02x}", c);
  return out;
}

std::string show_kv(std::string_view encoded) {
  const auto kv = mvcc::decode(encoded);
  if (!kv) return "damaged";
  std::string out = fmt::format("{}={} create={} mod={} version={}", kv->key, kv->value,
                                kv->create_revision, kv->mod_revision, kv->version);
  if (kv->lease != 0) out += fmt::format(" lease={}", kv->lease);
  return out;
}

struct ShowAnswer {
  std::string operator()(const DoneAnswer&) const { return "done"; }
  std::string operator()(const CompactAnswer&) const { return "compacted"; }
  std::string operator()(const LeaseRevokeAnswer&) const { return "revoked"; }
  std::string operator()(const LeaseGrantAnswer& answer) const {
    return fmt::format("granted lease={} ttl={}", answer.lease.id, answer.lease.ttl.count());
  }
  std::string operator()(const AlarmAnswer& answer) const {
    std::string out = "alarms";
    for (const AlarmMember& alarm : answer.alarms) {
      out += fmt::format(" {}:{}", alarm.member_id, static_cast<int>(alarm.type));
    }
    return out;
  }
  std::string operator()(const mvcc::PutResult& result) const {
    return "put" + (result.previous ? " previous " + show_kv(*result.previous) : "");
  }
  std::string operator()(const mvcc::DeleteResult& result) const {
    std::string out = fmt::format("deleted={}", result.deleted);
    for (const auto& kv : result.previous) out += " previous " + show_kv(kv);
    return out;
  }
  std::string operator()(const mvcc::RangeResult& result) const {
    std::string out = fmt::format("range revision={} count={}", result.revision, result.count);
    for (const auto& kv : result.kvs) out += " " + show_kv(kv);
    return out;
  }
  std::string operator()(const mvcc::TxnResult& result) const {
    std::string out = result.succeeded ? "succeeded" : "failed";
    for (const auto& response : result.responses) {
      out += " [" + std::visit(*this, response) + "]";
    }
    return out;
  }
  std::string operator()(const std::unique_ptr<mvcc::TxnResult>& result) const {
    return (*this)(*result);
  }
};

// Compactions are seen through a floor kept by the test, as the store would.
class Script {
 public:
  Script() { start({}); }

  std::string run(const testing::Directive& d) {
    if (d.command == "start") {
      return start({.member_id = kSelf,
                    .quota_bytes = d.number("quota", -1),
                    .learners_max = static_cast<std::size_t>(d.number("learners", 1)),
                    .lessor = {.min_ttl = base::Seconds(d.number("min_ttl", 2))},
                    .mvcc = {}});
    }
    if (d.command == "restart") return restart();
    if (d.command == "apply") return apply(d);
    if (d.command == "compact") return compact();
    if (d.command == "leases") return leases();
    return "no such command: " + d.command;
  }

 private:
  std::string start(StateMachine::Options options) {
    if (options.member_id == 0) options = {.member_id = kSelf, .quota_bytes = -1};
    options_ = options;
    store_ = {};
    index_ = 0;
    state_ = std::make_unique<StateMachine>(options_);
    return state_->finish_recovery(0) ? "ok\n" : "damaged\n";
  }

  std::string restart() {
    state_ = std::make_unique<StateMachine>(options_);
    for (const auto& [bucket, values] : store_.buckets()) {
      for (const auto& [key, value] : values) {
        if (!state_->recover_bucket(bucket, key, value)) return "damaged bucket\n";
      }
    }
    std::map<std::string, std::vector<mvcc::Version>> keys;
    std::map<std::string, std::int64_t> lease_of;
    std::int64_t newest = 0;
    for (const auto& [revision, record] : store_.records()) {
      keys[std::string(record.key())].push_back(
          {.mod = revision,
           .create_revision = record.create_revision,
           .version = record.version,
           .bytes = static_cast<std::uint32_t>(record.encoded.size()),
           .tombstone = record.tombstone});
      lease_of[std::string(record.key())] = record.tombstone ? 0 : record.lease;
      newest = revision.main;
    }
    for (const auto& [key, history] : keys) state_->load_key(key, history, lease_of[key]);
    if (!state_->finish_recovery(newest)) return "damaged\n";
    return fmt::format("revision={} compact_revision={}\n", state_->publish_keys().revision,
                       state_->compact_revision());
  }

  raft::Entry entry_of(const std::string& line, std::uint64_t member) {
    raft::Entry entry{.index = ++index_};
    std::istringstream in(line);
    std::string word;
    in >> word;
    if (word == "leader") {
      in >> term_;
    } else if (const auto change = conf_change(word, in, member)) {
      entry.type = raft::EntryType::kConfChange;
      entry.data = base::SharedBytes(raft::encode(*change));
    } else {
      etcdserverpb::InternalRaftRequest request;
      EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(line, &request)) << line;
      request.mutable_header()->set_id(member << 48 | ++request_);
      entry.data = base::SharedBytes(request.SerializeAsString());
    }
    entry.term = term_;
    return entry;
  }

  std::optional<raft::ConfChange> conf_change(const std::string& word, std::istringstream& in,
                                              std::uint64_t member) {
    using enum raft::ConfChangeType;
    static const std::map<std::string, raft::ConfChangeType> kTypes = {{"add", kAddNode},
                                                                       {"learner", kAddLearnerNode},
                                                                       {"promote", kAddNode},
                                                                       {"update", kUpdateNode},
                                                                       {"remove", kRemoveNode}};
    const auto type = kTypes.find(word);
    if (type == kTypes.end()) return std::nullopt;
    raft::ConfChange change{.id = member << 48 | ++request_, .type = type->second};
    in >> change.node_id;
    membership::ConfigChangeContext context;
    context.member.id = change.node_id;
    for (std::string url; in >> url;) context.member.peer_urls.push_back(url);
    context.member.is_learner = word == "learner";
    context.is_promote = word == "promote";
    if (word != "remove") change.context = membership::config_change_json(context);
    return change;
  }

  std::string apply(const testing::Directive& d) {
    base::Batch batch;
    batch.set_applied(index_, term_);
    state_->begin(batch, store_, static_cast<std::uint64_t>(d.number("live")));
    std::istringstream in(d.input);
    for (std::string line; std::getline(in, line);) {
      state_->apply(entry_of(line, d.has("foreign") ? kOther : kSelf));
    }
    return finish(batch);
  }

  std::string compact() {
    std::string out;
    while (state_->compacting()) {
      base::Batch batch;
      batch.set_applied(index_, term_);
      state_->begin(batch, store_, 0);
      MAYBE(state_->compact_slice(100));
      out += finish(batch);
    }
    return out.empty() ? "nothing\n" : out;
  }

  std::string finish(const base::Batch& batch) {
    BatchResult result = state_->finish();
    state_->release_keys(state_->publish_keys().index.batch());
    EXPECT_EQ(batch.applied_index(), index_);  // A1
    EXPECT_EQ(batch.applied_term(), term_);
    store_.append(batch);
    store_.collect(result.dead);
    std::string out;
    for (const Outcome& outcome : result.outcomes) out += show(outcome);
    for (const mvcc::Event& event : result.events.events) out += show(event);
    for (const base::BucketChange& change : batch.changes()) out += show(change);
    for (const LeaseChange& change : result.lease_changes) out += show(change);
    for (const AppliedConfChange& change : result.conf_changes) {
      out +=
          fmt::format("raft: conf change at {} of node {}\n", change.index, change.change.node_id);
    }
    if (!result.dead.empty()) out += fmt::format("dead {}\n", fmt::join(result.dead, " "));
    if (result.new_leader_term != 0) {
      out += fmt::format("raft: leader of term {}\n", result.new_leader_term);
    }
    if (result.over_quota) out += "raft: over quota\n";
    if (result.membership_changed) out += "membership changed\n";
    return out.empty() ? "nothing\n" : out;
  }

  static std::string show(const Outcome& outcome) {
    const std::string what = outcome.answer
                                 ? std::visit(ShowAnswer{}, *outcome.answer)
                                 : fmt::format("error {}", name_of(outcome.answer.error()));
    return fmt::format("{} | revision={} term={}\n", what, outcome.revision, outcome.term);
  }
  static std::string show(const mvcc::Event& event) {
    const auto& record = event.record;
    std::string out =
        record.tombstone ? fmt::format("event {} delete {}", record.revision, record.key())
                         : fmt::format("event {} put {}", record.revision, show_kv(record.encoded));
    return out + (event.previous ? fmt::format(" previous {}\n", *event.previous) : "\n");
  }
  static std::string show(const base::BucketChange& change) {
    return fmt::format("bucket {}: {} {}\n", base::bucket_name(change.bucket),
                       show_bytes(change.key),
                       change.value ? "= " + show_bytes(*change.value) : "gone");
  }
  static std::string show(const LeaseChange& change) {
    switch (change.kind) {
      case LeaseChange::Kind::kGranted:
        return fmt::format("clock: lease {} of {} s granted\n", change.lease.id,
                           change.lease.ttl.count());
      case LeaseChange::Kind::kRevoked:
        return fmt::format("clock: lease {} revoked\n", change.lease.id);
      case LeaseChange::Kind::kCheckpointed:
        return fmt::format("clock: lease {} has {} s left\n", change.lease.id,
                           change.lease.remaining_ttl.count());
    }
    CHECK(false);
  }

  std::string leases() {
    std::string out;
    const auto snapshot = state_->leases();
    snapshot.visit([&](const lease::Lease& lease) {
      out += fmt::format("{} ttl={} remaining={} keys={}\n", lease.id, lease.ttl.count(),
                         lease.remaining_ttl.count(),
                         fmt::join(snapshot.keys_of(lease.id).to_vector(), ","));
      return true;
    });
    return out.empty() ? "none\n" : out;
  }

  StateMachine::Options options_;
  mvcc::MemoryStore store_;
  std::unique_ptr<StateMachine> state_;
  raft::Index index_ = 0;
  raft::Term term_ = 1;
  std::uint64_t request_ = 0;
};

TEST(StateMachine, Scripts) {
  testing::run_scripts(std::string(KEELSON_TEST_DIR) + "/testdata", [] {
    return [script = std::make_shared<Script>()](const testing::Directive& d) {
      return script->run(d);
    };
  });
}

}  // namespace
}  // namespace keelson::apply
