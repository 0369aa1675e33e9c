// Cluster: who belongs to the cluster, who did, and what all agreed on (version, downgrade).
//
// It is replicated state: every member applies the same conf changes and attributes from the log
// and holds the same cluster. Rules for who may come and go are here; who is in quorum is the raft
// core's business.
//
//   start:   recover(buckets)
//   run:     check(change) then apply(batch, change); set_attributes, set_version, set_downgrade
//   publish: snapshot(), for the View
//
// Invariants   M1  members ascend by id; ids are unique and never among the removed
//              M2  an id once removed never returns
//              M3  a Roster never changes
// Touched by jobs of the apply lane only; a Roster may be read by any lane.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/storage.h"
#include "membership/member.h"
#include "membership/version.h"

namespace keelson::membership {

enum class Errc : std::uint8_t {
  kIdRemoved,        // the id belonged to a member that was removed
  kIdExists,         // add: the id is taken
  kIdNotFound,       // remove, update, promote: there is no such member
  kPeerUrlExists,    // add, update: another member has that peer URL
  kNotLearner,       // promote: it votes already
  kTooManyLearners,  // add of a learner beyond max_learners
  kMalformed,        // no change that can be read; etcd stops there, so it must never be proposed
};
// etcd's words ("membership: ID removed").
std::string_view describe(Errc errc);

struct Downgrade {
  bool enabled = false;
  std::string target;  // "3.6.0"; empty when not enabled
  friend bool operator==(const Downgrade&, const Downgrade&) = default;
};
// {"target-version":"3.6.0","enabled":true}
std::string downgrade_json(const Downgrade& downgrade);

// The cluster as of one applied entry. Immutable, any lane.
struct Roster {
  std::vector<Member> members;     // ascending by id
  std::vector<MemberId> removed;   // ascending
  std::optional<Version> version;  // nullopt until decided
  Downgrade downgrade;

  const Member* find(MemberId id) const;
  bool is_removed(MemberId id) const;
  std::size_t voters() const;
  std::size_t learners() const;

  // Strict reconfiguration, the part that counts started voters, api.md 9.2. The part about live
  // connections is the member's.
  bool may_add_voter() const;
  bool may_remove_voter(MemberId id) const;
  bool may_promote(MemberId id) const;
};

// A conf change with its context read.
struct Change {
  enum class Kind : std::uint8_t { kAdd, kPromote, kUpdate, kRemove };
  Kind kind = Kind::kAdd;
  MemberId id = 0;
  Member member;              // of kAdd; of kUpdate only the peer URLs count
  bool adds_learner = false;  // it came as AddLearnerNode: max_learners counts
};
// raftpb.ConfChangeType by number: 0 AddNode, 1 RemoveNode, 2 UpdateNode, 3 AddLearnerNode.
struct RawChange {
  std::uint8_t type = 0;
  MemberId node_id = 0;
  std::string_view context;
};
// kMalformed: unknown type, unreadable context, or a context about another id.
base::Result<Change, Errc> parse_change(const RawChange& raw);

// raftpb.ConfState as the meta bucket holds it (JSON, formats.md 4.2).
struct ConfStateView {
  std::span<const MemberId> voters;
  std::span<const MemberId> learners;
  std::span<const MemberId> voters_outgoing;
  std::span<const MemberId> learners_next;
  bool auto_leave = false;
};
std::string conf_state_json(const ConfStateView& state);
void save_conf_state(base::Batch& batch, const ConfStateView& state);

class Cluster {
 public:
  struct Config {
    std::size_t max_learners = 1;  // must be equal on all members
  };
  explicit Cluster(Config config) : config_(config), roster_(std::make_shared<Roster>()) {}

  // From the buckets members, members_removed and cluster: each a list of (key, value) in key
  // order. False if something in them cannot be read: the store is damaged. Replaces everything.
  using Stored = std::vector<std::pair<std::string, std::string>>;
  struct StoredCluster {
    const Stored& members;
    const Stored& members_removed;
    const Stored& cluster;
  };
  [[nodiscard]] bool recover(const StoredCluster& stored);
  // The members of a cluster that begins or is restored here, persisted; nothing else is touched.
  void set_members(base::Batch& batch, std::vector<Member> members);

  // Whether the change may be made now. In etcd's order, formats.md 5.4. A refused change still
  // goes to the raft core, with node_id 0.
  base::Result<void, Errc> check(const Change& change) const;
  // Makes a change that check() allows.
  void apply(base::Batch& batch, const Change& change);

  // A member published itself. False for an id that is neither a member nor removed (etcd stops
  // there); nothing happens for a removed one.
  struct Attributes {
    std::string name;
    std::vector<std::string> client_urls;
  };
  bool set_attributes(base::Batch& batch, MemberId id, Attributes attributes);
  // The caller asks can_serve() first and stops the server if it says no.
  void set_version(base::Batch& batch, Version version);
  void set_downgrade(base::Batch& batch, Downgrade downgrade);

  const Roster& roster() const { return *roster_; }
  std::shared_ptr<const Roster> snapshot() const { return roster_; }
  std::size_t max_learners() const { return config_.max_learners; }

 private:
  // A copy to be changed: clusters are small, and changes rare.
  Roster& edit();

  Config config_;
  std::shared_ptr<Roster> roster_;
};

// The dump of a v2 store that etcd's .snap files and snapshot messages carry, formats.md 2.2.
std::string v2_store_json(const Roster& roster);

}  // namespace keelson::membership
