// Checker: holds every answer a client got against the model.
//
// The log's order is the order of all writes, so nothing has to be searched for: an answer to a
// write must be that of an entry applied between question and answer, an answer to a read that of
// the state after such an entry, and no answer may belong to a state older than what any client had
// been told before it asked. What was never answered is resolved by the log: it is there once, or
// never was.
//
//   C1  an entry of the log, once applied, is never another one in a later life
//   C2  an answered write is an entry of its own, newer than all that was answered before it was
//       asked, and the model gives that answer to it
//   C3  a read shows one state, not older than all that was answered before it was asked
//   C4  every client entry in the log was asked for, as often as it is there
//   C5  a lease is ended by the server only when its time since the last renewal is over
//   C6  who asks for leases is told of those that live, by C3's rule
//   C7  HashKV is the model's
//   C8  in one life a member applies entries in their order, each once; a gap is a snapshot
//   C9  a change of the members that was answered is in the log, and is refused only for reasons
//       that a cluster may have
//
// The first violation is kept; whoever runs the simulation looks at it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "http/grpc.h"
#include "sim/model.h"
#include "sim/story.h"

namespace keelson::sim {

// One call of one client.
struct Operation {
  std::uint64_t id = 0;
  std::string client;
  std::string method;   // "Put"
  std::string request;  // encoded
  raft::Index low = 0;  // the newest entry that anybody had been told of when it was asked
  base::TimePoint asked;
};

class Checker {
 public:
  // What may keep a run's requests from being served.
  struct Limits {
    bool quota = false;
    bool held_views = false;  // a slow reader may lose its View
    bool lag = false;         // one of several members answers; what it has itself may be old
    std::size_t request_bytes = static_cast<std::size_t>(-1);
  };
  Checker(Model& model, Story& story, const env::Clock& clock)
      : model_(model), story_(story), clock_(clock) {}
  void set_limits(Limits limits) { limits_ = limits; }

  // A life of the member begins.
  void on_life(const std::string& member) { applied_.erase(member); }
  // An entry is about to be applied by a member that has applied all before it, or has it in a
  // snapshot.
  void on_apply(const std::string& member, const raft::Entry& entry);

  Operation ask(std::string client, std::string method, std::string request);
  // The end of a call; `message` counts if the status is OK.
  void answer(const Operation& operation, const http::Status& status, std::string_view message);

  // No call is open, and no request under way in a member.
  void finish();

  bool ok() const { return violation_.empty(); }
  const std::string& violation() const { return violation_; }
  void violate(std::string what);

  struct Stats {
    std::uint64_t asked = 0, answered = 0, refused = 0, unknown = 0;
    std::map<std::string, std::uint64_t> seen;  // how often what is rare was met
  };
  void saw(const std::string& what) { stats_.seen[what]++; }
  const Stats& stats() const { return stats_; }

 private:
  void check_write(const Operation& operation, const Answer& answer);
  bool may_lag(const Operation& operation) const;
  void check_answer(const Operation& operation, const http::Status& status,
                    std::string_view message);
  bool lacks_space(const Operation& operation, const http::Status& status);
  bool is_too_large(const Operation& operation, const http::Status& status);
  void check_range(const Operation& operation, http::StatusCode code,
                   etcdserverpb::RangeResponse response);
  void check_read_txn(const Operation& operation, const etcdserverpb::TxnRequest& request,
                      std::string_view message);
  void check_order(const std::string& member, raft::Index index);
  void check_expiry(const LogEntry& entry);
  void check_alarm(const LogEntry& entry);
  void note_rare(const LogEntry& entry);
  void check_renewal(const Operation& operation, std::string_view message);
  void check_time_to_live(const Operation& operation, std::string_view message);
  void check_leases(const Operation& operation, std::string_view message);
  void check_hash(const Operation& operation, http::StatusCode code, std::string_view message);
  void check_reconfiguration(const Operation& operation, const http::Status& status,
                             std::string_view message);
  bool is_compaction_hash(const etcdserverpb::HashKVResponse& response) const;
  // Whether the lease lives after some entry, or all, from operation.low on.
  bool lived(const Operation& operation, std::int64_t lease) const;
  bool lived_throughout(const Operation& operation, std::int64_t lease) const;
  // C3 for the floor: a revision was given, or refused as compacted or not yet written.
  bool check_revision_given(const Operation& operation, std::int64_t at, std::int64_t revision);
  void check_revision_refused(const Operation& operation, std::int64_t asked_for);
  // C3 for the revision of a read's header. False: a violation was noted.
  bool check_read_revision(const Operation& operation, std::int64_t revision);
  void told(raft::Index index) { told_ = std::max(told_, index); }

  Model& model_;
  Story& story_;
  const env::Clock& clock_;
  Limits limits_;
  std::map<std::string, raft::Index> applied_;  // by member: the last of this life
  std::uint64_t last_id_ = 0;
  raft::Index told_ = 0;
  std::map<std::pair<std::string, std::string>, std::vector<raft::Index>>
      unknown_;                                      // by method and request: the `low` of each
  std::map<std::int64_t, base::TimePoint> renewed_;  // by lease: when a renewal was asked for
  Stats stats_;
  std::string violation_;
};

// True if this answer leaves open whether the request has been done.
bool leaves_open(const http::Status& status);

// One line about an encoded request or answer.
std::string describe(std::string_view method, std::string_view request);

}  // namespace keelson::sim
