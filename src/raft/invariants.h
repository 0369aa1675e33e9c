// Invariants: running checks of nodes and of clusters of them, for tests and simulation.
//
// broken_invariant() looks at a state, StepWatcher at the step between two states of one node
// (N1-N5 of node.h, as far as they show), ClusterWatcher at what no node can see alone. All of them
// only use what any caller can see, and answer with the rule that is broken, or nullopt.
//
// A step is what was appended, committed and elected in it, and costs that much to look at; what is
// older is compared again, a few entries with each step, and whole after a restart. So they can
// stay on in a simulation that makes millions of steps. What they remember is bounded: a very old
// entry is no longer compared.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>

#include "base/containers.h"
#include "raft/node.h"

namespace keelson::raft {

// Which invariant the node breaks now; nullopt if none.
std::optional<std::string> broken_invariant(const Node& node);

// Watches one node. A node that was restarted is a new one to watch: pass what it had promised (the
// committed entries) on by keeping the watcher and calling restarted().
class StepWatcher {
 public:
  // Call after every step, each conf change that is applied being one. Which rule the state or the
  // step from the last call breaks; nullopt if none.
  std::optional<std::string> observe(const Node& node);
  // The node lost what was not durable: commit and applied may be behind, the committed entries may
  // not differ.
  void restarted();

 private:
  struct Committed {
    Term term = 0;
    std::uint32_t data_crc = 0;
  };
  struct Seen {
    HardState hard_state;
    Role role = Role::kFollower;
    Index applied = 0;
    Index last_index = 0;
    Term last_term = 0;
    Configuration configuration;
    base::OrderedMap<NodeId, Index> match;  // of a leader
  };
  std::optional<std::string> broken_step(const Node& node) const;
  std::optional<std::string> broken_match(const Node& node) const;
  std::optional<std::string> remember_committed(const Node& node);
  std::optional<std::string> compare_committed(const Log& log, Index lo, Index hi);
  void look(const Node& node);

  std::optional<Seen> before_;
  std::deque<Committed> committed_;  // by index - first_
  Index first_ = 0;
  Index compared_ = 0;  // of the old ones: up to here, in turn
  bool compare_all_ = false;
};

// Watches all nodes of one cluster, each with a StepWatcher, and all together:
//   election safety       one leader in a term at most
//   log matching          two logs that have an entry of the same index and term are equal up to it
//   leader completeness   what is committed in a term is in the log of every leader of a later term
//   state machine safety  nobody commits, and so applies, another entry at an index than anybody
//   else
//   kept word             a term that a node has acknowledged or campaigned in, and its vote there,
//                         outlive it
// (Raft thesis, figure 3.2; of the last 3.8). They hold over time too, so a log is compared with
// all that any node has ever held. Nodes that were not founded alike are no cluster, and nothing of
// this holds for them.
class ClusterWatcher {
 public:
  // Call after every step of `node`. Nodes are told apart by id, and may come at any time.
  std::optional<std::string> observe(const Node& node);
  // Call before a message leaves for another node. It may be told again, and never arrive.
  std::optional<std::string> sent(const Message& message);
  // That node starts anew from what was durable.
  void restarted(NodeId id);

 private:
  struct Written {
    Term previous = 0;  // of the entry before it
    std::uint32_t data_crc = 0;
    EntryType type = EntryType::kNormal;
    friend bool operator==(const Written&, const Written&) = default;
  };
  struct Agreed {
    Term term = 0;
    Term committed_in = 0;  // a term in which it was
  };
  struct Watched {
    StepWatcher watcher;
    Term said = 0;           // the newest term that its messages acknowledge or campaign in
    NodeId vote = kNone;     // its own there, as they have told
    Term led = 0;            // the last term in which it was seen to lead
    Index first = 1;         // of terms
    std::deque<Term> terms;  // of its log, as it was looked at last
    Index committed = 0;     // compared up to here
  };

  std::optional<std::string> broken_word(const Watched& of, const Node& node) const;
  std::optional<std::string> broken_election(Watched& of, const Node& node);
  std::optional<std::string> broken_completeness(const Node& node) const;
  std::optional<std::string> broken_matching(Watched& of, const Node& node);
  std::optional<std::string> broken_commit(Watched& of, const Node& node);

  base::OrderedMap<NodeId, Watched> nodes_;
  base::OrderedMap<Term, NodeId> leaders_;
  base::OrderedMap<std::pair<Index, Term>, Written> written_;
  base::OrderedMap<Index, Agreed> agreed_;
};

}  // namespace keelson::raft
