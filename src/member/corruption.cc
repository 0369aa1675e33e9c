#include "member/corruption.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/containers.h"
#include "env/log.h"
#include "peer/protocol.h"

namespace keelson::member {
namespace {

using membership::id_text;
using membership::MemberId;

void log_difference(std::string_view what, MemberId self, const OwnHash& own,
                    const PeerHash& peer) {
  env::log_warn(what, {{"local-member-id", id_text(self)},
                       {"local-member-revision", own.revision},
                       {"local-member-compact-revision", own.compact_revision},
                       {"local-member-hash", own.hash},
                       {"remote-peer-id", id_text(peer.id)},
                       {"remote-peer-endpoints", peer.urls},
                       {"remote-peer-revision", peer.told->revision},
                       {"remote-peer-compact-revision", peer.told->compact_revision},
                       {"remote-peer-hash", peer.told->hash}});
}

void log_no_hash(MemberId self, const OwnHash& own, const PeerHash& peer) {
  std::string_view what;
  switch (peer.told.error().why) {
    case NoHash::Why::kFutureRevision:
      what = "cannot fetch hash from slow remote peer";
      break;
    case NoHash::Why::kCompacted:
      what = "cannot fetch hash from remote peer; local member is behind";
      break;
    case NoHash::Why::kOtherCluster:
      what = peer::kClusterIdMismatch;
      break;
    case NoHash::Why::kOther:
      return;  // said when it was asked
  }
  env::log_warn(what, {{"local-member-id", id_text(self)},
                       {"local-member-revision", own.revision},
                       {"local-member-compact-revision", own.compact_revision},
                       {"local-member-hash", own.hash},
                       {"remote-peer-id", id_text(peer.id)},
                       {"remote-peer-endpoints", peer.urls},
                       {"error", peer.told.error().text}});
}

// Whether this peer shows that something is wrong with it.
bool contradicts(const OwnHash& before, const OwnHash& after, const PeerHash& peer) {
  const ToldHash& told = *peer.told;
  if (told.revision > after.revision) {
    env::log_warn("revision from follower must be less than or equal to leader's",
                  {{"leader-revision", after.revision},
                   {"follower-revision", told.revision},
                   {"follower-peer-id", id_text(peer.id)}});
    return true;
  }
  if (told.compact_revision > after.compact_revision) {
    env::log_warn("compact revision from follower must be less than or equal to leader's",
                  {{"leader-compact-revision", after.compact_revision},
                   {"follower-compact-revision", told.compact_revision},
                   {"follower-peer-id", id_text(peer.id)}});
    return true;
  }
  if (after.compact_revision >= before.revision) return false;
  if (told.compact_revision != before.compact_revision || told.hash == before.hash) return false;
  env::log_warn("same compact revision then hashes must match",
                {{"leader-compact-revision", after.compact_revision},
                 {"leader-hash", before.hash},
                 {"follower-compact-revision", told.compact_revision},
                 {"follower-hash", told.hash},
                 {"follower-peer-id", id_text(peer.id)}});
  return true;
}

// Why this peer's hash of a compaction counts for nothing; nullopt if it counts.
std::optional<std::string> skipped(const CompactionHash& own, const PeerHash& peer) {
  if (!peer.told) return "no response";
  if (peer.told->compact_revision == own.compact_revision) return std::nullopt;
  return fmt::format("the peer's CompactRevision {} doesn't match leader's CompactRevision {}",
                     peer.told->compact_revision, own.compact_revision);
}

using ByHash = base::OrderedMap<std::uint32_t, std::vector<MemberId>>;

std::string ids_text(const std::vector<MemberId>& ids) {
  std::string text;
  for (const MemberId id : ids) text += (text.empty() ? "" : ",") + id_text(id);
  return text;
}

// Takes the majority out of `groups`; false if there is none.
bool remove_majority(ByHash& groups, std::size_t members) {
  const auto it = std::find_if(groups.begin(), groups.end(), [members](const auto& group) {
    return group.second.size() >= members / 2 + 1;
  });
  if (it == groups.end()) return false;
  groups.erase(it);
  return true;
}

CompactionVerdict all_agree(const CompactionHash& own, std::size_t checked, std::size_t peers) {
  const bool whole = checked == peers;
  env::log(whole ? env::LogLevel::kInfo : env::LogLevel::kWarn,
           whole ? "successfully checked hash on whole cluster"
                 : "skipped revision in compaction hash check; was not able to check all peers",
           {{"number-of-peers-checked", checked},
            {"number-of-peers", peers},
            {"revision", own.revision},
            {"compactRevision", own.compact_revision}});
  return {.settled = whole, .agreed = whole, .corrupt = {}};
}

}  // namespace

bool disagrees(MemberId self, const OwnHash& own, const std::vector<PeerHash>& peers) {
  bool found = false;
  for (const PeerHash& peer : peers) {
    if (!peer.told) {
      log_no_hash(self, own, peer);
    } else if (peer.told->hash == own.hash || peer.told->hash == own.hash_of_compaction) {
      continue;
    } else if (peer.told->compact_revision == own.compact_revision) {
      log_difference("found different hash values from remote peer", self, own, peer);
      found = true;
    } else {
      log_difference("found different compact revision values from remote peer", self, own, peer);
    }
  }
  return found;
}

std::optional<MemberId> corrupt_of(MemberId self, const OwnHash& before, const OwnHash& after,
                                   const std::vector<PeerHash>& peers) {
  std::optional<MemberId> corrupt;
  if (after.hash != before.hash && after.revision == before.revision &&
      after.compact_revision == before.compact_revision) {
    env::log_warn("found hash mismatch", {{"revision-1", before.revision},
                                          {"compact-revision-1", before.compact_revision},
                                          {"hash-1", before.hash},
                                          {"revision-2", after.revision},
                                          {"compact-revision-2", after.compact_revision},
                                          {"hash-2", after.hash}});
    corrupt = self;
  }
  std::size_t checked = 0;
  for (const PeerHash& peer : peers) {
    if (!peer.told) continue;
    checked++;
    if (contradicts(before, after, peer) && !corrupt) corrupt = peer.id;
  }
  env::log_info("finished peer corruption check", {{"number-of-peers-checked", checked}});
  return corrupt;
}

CompactionVerdict judge_compaction(MemberId self, const CompactionHash& own,
                                   const std::vector<PeerHash>& peers) {
  if (own.is_ambiguous) return {};
  ByHash groups;
  groups[own.hash] = {self};
  std::size_t checked = 0;
  for (const PeerHash& peer : peers) {
    if (const auto why = skipped(own, peer)) {
      env::log_warn("Skipped peer's hash", {{"number-of-peers", peers.size()},
                                            {"leader-id", id_text(self)},
                                            {"peer-id", id_text(peer.id)},
                                            {"reason", *why}});
      continue;
    }
    checked++;
    groups[peer.told->hash].push_back(peer.id);
  }
  if (groups.size() == 1) return all_agree(own, checked, peers.size());

  CompactionVerdict verdict{.settled = true, .agreed = false, .corrupt = {}};
  const bool majority = remove_majority(groups, peers.size() + 1);
  if (!majority) {
    env::log_error(
        "Detected compaction hash mismatch but cannot identify the corrupted members, so "
        "intentionally set the memberID as 0",
        {{"leader-id", id_text(self)},
         {"leader-revision", own.revision},
         {"leader-compact-revision", own.compact_revision},
         {"leader-hash", own.hash}});
    verdict.corrupt = {0};
  }
  for (const auto& [hash, ids] : groups) {
    if (majority) verdict.corrupt.insert(verdict.corrupt.end(), ids.begin(), ids.end());
    env::log_error("Detected compaction hash mismatch",
                   {{"leader-id", id_text(self)},
                    {"leader-revision", own.revision},
                    {"leader-compact-revision", own.compact_revision},
                    {"leader-hash", own.hash},
                    {"peer-hash", hash},
                    {"peer-ids", ids_text(ids)},
                    {"quorum-exist", majority}});
  }
  return verdict;
}

}  // namespace keelson::member
