// Members: who belongs to the cluster, in the plainest words, fed with the conf changes of the log.
//
// It stands against membership/, apply/ and the raft core's configuration together: what a member's
// core holds must be a configuration that the log has made, and at the end the newest.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "raft/types.h"

namespace keelson::sim {

struct MemberSets {
  std::set<raft::NodeId> voters, learners;
  friend bool operator==(const MemberSets&, const MemberSets&) = default;
};

class Members {
 public:
  // An entry of type conf change: its data.
  void apply(std::string_view data);

  const MemberSets& now() const { return made_.back(); }
  const std::set<raft::NodeId>& removed() const { return removed_; }
  bool has_made(const MemberSets& sets) const;
  // By its peer URL.
  std::optional<raft::NodeId> find(const std::string& url) const;
  const std::map<raft::NodeId, std::string>& urls() const { return urls_; }

 private:
  bool may(const raft::ConfChange& change, bool promotes, const std::string& url) const;

  std::vector<MemberSets> made_{{}};  // in their order
  std::map<raft::NodeId, std::string> urls_;
  std::set<raft::NodeId> removed_;
};

}  // namespace keelson::sim
