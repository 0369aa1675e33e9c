#include "sim/members.h"

#include <algorithm>

#include "membership/member.h"
#include "raft/wire.h"

namespace keelson::sim {

using raft::ConfChangeType;

// formats.md 5.4
bool Members::may(const raft::ConfChange& change, bool promotes, const std::string& url) const {
  const raft::NodeId id = change.node_id;
  if (removed_.contains(id)) return false;
  if (change.type == ConfChangeType::kRemoveNode) return urls_.contains(id);
  if (promotes) return now().learners.contains(id);
  if (urls_.contains(id) || find(url)) return false;
  return change.type == ConfChangeType::kAddNode || now().learners.empty();
}

void Members::apply(std::string_view data) {
  const auto change = raft::decode_conf_change(data);
  CHECK(change.ok());
  const auto context = membership::parse_config_change(change->context);
  const std::string url =
      context && !context->member.peer_urls.empty() ? context->member.peer_urls.front() : "";
  if (!may(*change, context && context->is_promote, url)) return;
  const raft::NodeId id = change->node_id;
  MemberSets sets = now();
  sets.voters.erase(id);
  sets.learners.erase(id);
  if (change->type == ConfChangeType::kRemoveNode) {
    urls_.erase(id);
    removed_.insert(id);
  } else {
    (change->type == ConfChangeType::kAddNode ? sets.voters : sets.learners).insert(id);
    if (!url.empty()) urls_[id] = url;
  }
  made_.push_back(std::move(sets));
}

bool Members::has_made(const MemberSets& sets) const {
  return std::find(made_.rbegin(), made_.rend(), sets) != made_.rend();
}

std::optional<raft::NodeId> Members::find(const std::string& url) const {
  for (const auto& [id, own] : urls_) {
    if (own == url) return id;
  }
  return std::nullopt;
}

}  // namespace keelson::sim
