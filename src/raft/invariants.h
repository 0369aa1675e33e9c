// Invariants: running checks of a node, for tests and simulation. N1-N5 of node.h, as far as they
// show.
//
// One check looks at a state, the other at the step between two. Both only use what any caller can
// see, and cost as much as the log is long.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "raft/node.h"

namespace keelson::raft {

// Which invariant the node breaks now; nullopt if none.
std::optional<std::string> broken_invariant(const Node& node);

// Watches one node. A node that was restarted is a new one to watch: pass what it had promised (the
// committed entries) on by keeping the watcher and calling restarted().
class StepWatcher {
 public:
  // Call after every step. Which rule the state or the step from the last call breaks; nullopt if
  // none.
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
  };
  std::optional<std::string> broken_step(const Node& node) const;
  std::optional<std::string> remember_committed(const Node& node);

  std::optional<Seen> before_;
  std::vector<Committed> committed_;  // by index - first_
  Index first_ = 0;
};

}  // namespace keelson::raft
