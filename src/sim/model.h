// Model: the replicated state in the plainest words, fed with the log. It keeps everything that
// ever was, so the state after each entry can be asked for at any time.
//
// It stands against the server's mvcc, lease and apply together, and shares no code with them but
// the messages, the hash's definition aside. What a member answers to a request in entry i must be
// what expected(i) says; what it answers to a read must be what the model says at some entry
// between question and answer (checker.h).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "http/grpc.h"
#include "mvcc/model_test.h"
#include "proto/raft_internal.pb.h"
#include "raft/types.h"
#include "sim/members.h"

namespace keelson::sim {

// A request or answer stripped to what is compared: the method, and the bytes of the message with
// its headers reduced to their revision.
struct Answer {
  http::StatusCode code = http::StatusCode::kOk;
  std::string message;  // of an OK
  std::int64_t revision = 0;
  friend bool operator==(const Answer&, const Answer&) = default;
};

// One entry of the log as the model has it.
struct LogEntry {
  raft::Term term = 0;
  std::string data;
  std::string method;      // "Put", ...: of a client's request; empty for anything else
  std::string request;     // its bytes
  bool by_server = false;  // a request of the member's own: expiry, attributes, version, alarm
  Answer answer;
  std::int64_t revision = 0;  // after it
  std::int64_t floor = -1;    // compact revision after it
  base::TimePoint applied;    // when it was applied first
  bool claimed = false;       // a client was answered for it
};

class Model {
 public:
  using Index = raft::Index;

  explicit Model(base::Seconds lease_ttl_min) : lease_ttl_min_(lease_ttl_min) {}

  // The next entry of the log.
  void apply(const raft::Entry& entry, base::TimePoint now);

  Index last() const { return log_.size(); }
  // 1 is the first; at(0) is the state before any.
  LogEntry& at(Index index) { return log_[index - 1]; }
  const LogEntry& at(Index index) const { return log_[index - 1]; }
  std::int64_t revision(Index index) const { return index == 0 ? 1 : at(index).revision; }
  std::int64_t floor(Index index) const { return index == 0 ? -1 : at(index).floor; }
  // The first entry after which the revision is this one.
  Index first_with(std::int64_t revision) const { return first_with_.at(revision); }

  // What a range answers at this revision, whatever the floor is.
  etcdserverpb::RangeResponse range(const etcdserverpb::RangeRequest& request,
                                    std::int64_t revision) const;
  // What a txn of ranges alone answers there.
  Answer read_txn(const etcdserverpb::TxnRequest& request, std::int64_t revision) const;

  // CRC of HashKV(at), with the floor as it is after `index`.
  std::uint32_t hash_kv(std::int64_t at, Index index) const { return hash(at, index, false); }
  // What the compaction in this entry hashed while it was done; members keep it and answer it.
  std::uint32_t compaction_hash(Index index) const { return hash(floor(index), index - 1, true); }

  // One life of a lease.
  struct Lease {
    std::int64_t ttl = 0;
    Index granted = 0;
    base::TimePoint granted_at;
    Index revoked = 0;  // 0: it lives
    base::TimePoint revoked_at;
    bool expired = false;  // revoked by the server itself

    bool lives(Index index) const { return granted <= index && (revoked == 0 || revoked > index); }
  };
  // All lives of every id ever granted, in order.
  const std::map<std::int64_t, std::vector<Lease>>& leases() const { return leases_; }
  // The life of it that is on after `index`; nullptr if there is none.
  const Lease* lease(std::int64_t id, Index index) const;
  bool lease_lives(std::int64_t id) const { return lease(id, last() + 1) != nullptr; }
  // The keys that hang on it at this revision.
  std::vector<std::string> keys_of(std::int64_t lease, std::int64_t revision) const;

  using Alarm = std::pair<std::uint64_t, etcdserverpb::AlarmType>;  // whose, and which
  const std::set<Alarm>& alarms() const { return alarms_; }
  bool no_space() const;
  const Members& members() const { return members_; }

  // All changes, in order.
  const std::vector<mvcc::ModelChange>& changes() const { return changes_; }
  std::int64_t revision() const { return revision_; }
  std::int64_t floor() const { return floor_; }

 private:
  using History = std::vector<std::size_t>;  // places in changes_, ascending

  std::uint32_t hash(std::int64_t at, Index index, bool of_compaction) const;
  const mvcc::ModelChange* get(const History& history, std::int64_t revision) const;
  const mvcc::ModelChange* get(std::string_view key, std::int64_t revision) const;
  std::vector<const mvcc::ModelChange*> live(std::string_view key, std::string_view end,
                                             std::int64_t revision) const;
  bool hold(const google::protobuf::RepeatedPtrField<etcdserverpb::Compare>& compares,
            std::int64_t revision) const;
  bool holds(const etcdserverpb::Compare& compare, std::int64_t revision) const;

  void dispatch(LogEntry& entry, const etcdserverpb::InternalRaftRequest& request, Index index,
                base::TimePoint now);
  Answer put(const etcdserverpb::PutRequest& request);
  Answer delete_range(const etcdserverpb::DeleteRangeRequest& request);
  Answer txn(const etcdserverpb::TxnRequest& request);
  std::optional<http::StatusCode> why_not(const etcdserverpb::PutRequest& request) const;
  std::optional<http::StatusCode> why_not(const etcdserverpb::TxnRequest& request) const;
  // The branch it takes.
  const google::protobuf::RepeatedPtrField<etcdserverpb::RequestOp>& branch(
      const etcdserverpb::TxnRequest& request) const;
  Answer alarm(const etcdserverpb::AlarmRequest& request);
  Answer compact(const etcdserverpb::CompactionRequest& request);
  Answer grant(const etcdserverpb::LeaseGrantRequest& request, Index index, base::TimePoint now);
  Answer revoke(const etcdserverpb::LeaseRevokeRequest& request, Index index, bool by_server,
                base::TimePoint now);
  // In the running operation, which has main revision + 1; end_operation() closes it.
  void do_put(const etcdserverpb::PutRequest& request, etcdserverpb::PutResponse& response);
  void do_delete(const etcdserverpb::DeleteRangeRequest& request,
                 etcdserverpb::DeleteRangeResponse& response);
  void do_txn(const etcdserverpb::TxnRequest& request, etcdserverpb::TxnResponse& response);
  void change(mvccpb::KeyValue kv, bool tombstone);
  std::int64_t running() const { return revision_ + 1; }
  void end_operation();

  const base::Seconds lease_ttl_min_;
  std::vector<LogEntry> log_;
  std::vector<mvcc::ModelChange> changes_;
  std::map<std::string, History, std::less<>> keys_;
  std::map<std::int64_t, Index> first_with_{{1, 0}};
  std::map<std::int64_t, std::vector<Lease>> leases_;
  std::set<Alarm> alarms_;
  Members members_;
  std::int64_t revision_ = 1;
  std::int64_t floor_ = -1;
  std::int64_t sub_ = 0;
};

// The message with its header (and those of operations inside) reduced to the revision, and that
// revision.
template <class Message>
Answer answer_of(Message message) {
  Answer answer{.revision = message.header().revision()};
  message.clear_header();
  answer.message = message.SerializeAsString();
  return answer;
}
// Of a TxnResponse, the headers inside too.
Answer answer_of(etcdserverpb::TxnResponse message);

// It goes through the log: not every operation is a range.
bool writes(const etcdserverpb::TxnRequest& request);

}  // namespace keelson::sim
