#include "membership/cluster.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "membership/json.h"

namespace keelson::membership {

namespace {

constexpr std::string_view kVersionKey = "clusterVersion";
constexpr std::string_view kDowngradeKey = "downgrade";
constexpr std::string_view kRemovedValue = "removed";

// raftpb.ConfChangeType.
constexpr std::uint8_t kAddNode = 0;
constexpr std::uint8_t kRemoveNode = 1;
constexpr std::uint8_t kUpdateNode = 2;
constexpr std::uint8_t kAddLearnerNode = 3;

auto place_of(auto& members, MemberId id) {
  return std::lower_bound(members.begin(), members.end(), id,
                          [](const Member& member, MemberId wanted) { return member.id < wanted; });
}

std::size_t quorum(std::size_t voters) { return voters / 2 + 1; }

struct Count {
  std::size_t voters = 0;
  std::size_t started = 0;
};
Count count_voters(const Roster& roster, MemberId but = 0) {
  Count count;
  for (const Member& member : roster.members) {
    if (member.is_learner || member.id == but) continue;
    count.voters++;
    if (member.started()) count.started++;
  }
  return count;
}

// Whether a member other than `id` has one of these peer URLs.
bool has_peer_url(const Roster& roster, MemberId id, const std::vector<std::string>& urls) {
  return std::any_of(roster.members.begin(), roster.members.end(), [&](const Member& member) {
    return member.id != id && std::any_of(urls.begin(), urls.end(), [&](const std::string& url) {
             return std::find(member.peer_urls.begin(), member.peer_urls.end(), url) !=
                    member.peer_urls.end();
           });
  });
}

void put_member(base::Batch& batch, const Member& member) {
  batch.put(base::Bucket::kMembers, id_text(member.id), member_json(member));
}

std::optional<Downgrade> parse_downgrade(std::string_view text) {
  const auto value = json::parse(text);
  if (!value) return std::nullopt;
  json::ObjectReader in(*value);
  Downgrade downgrade;
  in.text("target-version", downgrade.target);
  in.boolean("enabled", downgrade.enabled);
  if (!in.ok() || (downgrade.enabled && !parse_version(downgrade.target))) return std::nullopt;
  return downgrade;
}

}  // namespace

std::string_view describe(Errc errc) {
  switch (errc) {
    case Errc::kIdRemoved:
      return "membership: ID removed";
    case Errc::kIdExists:
      return "membership: ID exists";
    case Errc::kIdNotFound:
      return "membership: ID not found";
    case Errc::kPeerUrlExists:
      return "membership: peerURL exists";
    case Errc::kNotLearner:
      return "membership: can only promote a learner member";
    case Errc::kTooManyLearners:
      return "membership: too many learner members in cluster";
    case Errc::kMalformed:
      return "membership: malformed configuration change";
  }
  CHECK(false);
}

std::string downgrade_json(const Downgrade& downgrade) {
  json::ObjectWriter out;
  out.text("target-version", downgrade.target);
  out.boolean("enabled", downgrade.enabled);
  return std::move(out).finish();
}

// --- Roster
// -------------------------------------------------------------------------------------------------

const Member* Roster::find(MemberId id) const {
  const auto it = place_of(members, id);
  return it != members.end() && it->id == id ? &*it : nullptr;
}

bool Roster::is_removed(MemberId id) const {
  return std::binary_search(removed.begin(), removed.end(), id);
}

std::size_t Roster::voters() const { return count_voters(*this).voters; }
std::size_t Roster::learners() const { return members.size() - voters(); }

bool Roster::may_add_voter() const {
  const Count now = count_voters(*this);
  // A single member gets its second one even though that alone cannot make a quorum: how a cluster
  // is restored.
  if (now.voters == 1 && now.started == 1) return true;
  return now.started >= quorum(now.voters + 1);
}

bool Roster::may_remove_voter(MemberId id) const {
  const Count rest = count_voters(*this, id);
  return rest.started >= quorum(rest.voters);
}

bool Roster::may_promote(MemberId) const {
  const Count now = count_voters(*this);
  return now.started + 1 >= quorum(now.voters + 1);
}

// --- changes
// ------------------------------------------------------------------------------------------------

base::Result<Change, Errc> parse_change(const RawChange& raw) {
  if (raw.type == kRemoveNode) {
    return Change{.kind = Change::Kind::kRemove, .id = raw.node_id, .member = {}};
  }
  if (raw.type != kAddNode && raw.type != kUpdateNode && raw.type != kAddLearnerNode) {
    return base::fail(Errc::kMalformed);
  }
  auto context = parse_config_change(raw.context);
  if (!context || context->member.id != raw.node_id) return base::fail(Errc::kMalformed);
  const auto kind = raw.type == kUpdateNode ? Change::Kind::kUpdate
                    : context->is_promote   ? Change::Kind::kPromote
                                            : Change::Kind::kAdd;
  return Change{.kind = kind,
                .id = raw.node_id,
                .member = std::move(context->member),
                .adds_learner = raw.type == kAddLearnerNode};
}

base::Result<void, Errc> Cluster::check(const Change& change) const {
  if (roster_->is_removed(change.id)) return base::fail(Errc::kIdRemoved);
  const Member* member = roster_->find(change.id);
  if (change.kind == Change::Kind::kAdd) {
    if (member != nullptr) return base::fail(Errc::kIdExists);
    if (has_peer_url(*roster_, change.id, change.member.peer_urls))
      return base::fail(Errc::kPeerUrlExists);
    const bool learner = change.member.is_learner && change.adds_learner;
    if (learner && roster_->learners() >= config_.max_learners)
      return base::fail(Errc::kTooManyLearners);
    return {};
  }
  if (member == nullptr) return base::fail(Errc::kIdNotFound);
  if (change.kind == Change::Kind::kPromote && !member->is_learner)
    return base::fail(Errc::kNotLearner);
  if (change.kind == Change::Kind::kUpdate &&
      has_peer_url(*roster_, change.id, change.member.peer_urls)) {
    return base::fail(Errc::kPeerUrlExists);
  }
  return {};
}

void Cluster::apply(base::Batch& batch, const Change& change) {
  CHECK(check(change).ok());
  Roster& roster = edit();
  const auto it = place_of(roster.members, change.id);
  switch (change.kind) {
    case Change::Kind::kAdd:
      put_member(batch, *roster.members.insert(it, change.member));
      return;
    case Change::Kind::kPromote:
      it->is_learner = false;
      put_member(batch, *it);
      return;
    case Change::Kind::kUpdate:
      it->peer_urls = change.member.peer_urls;
      put_member(batch, *it);
      return;
    case Change::Kind::kRemove:
      roster.members.erase(it);
      roster.removed.insert(
          std::lower_bound(roster.removed.begin(), roster.removed.end(), change.id), change.id);
      batch.erase(base::Bucket::kMembers, id_text(change.id));
      batch.put(base::Bucket::kMembersRemoved, id_text(change.id), std::string(kRemovedValue));
      return;
  }
  CHECK(false);
}

// --- the rest of the state
// ----------------------------------------------------------------------------------

Roster& Cluster::edit() {
  roster_ = std::make_shared<Roster>(*roster_);
  return *roster_;
}

bool Cluster::recover(const StoredCluster& stored) {
  auto roster = std::make_shared<Roster>();
  for (const auto& [key, value] : stored.members) {
    const auto id = parse_id(key);
    auto member = parse_member(value);
    if (!id || *id == 0 || !member) return false;
    member->id = *id;
    roster->members.push_back(std::move(*member));
  }
  // The store orders keys as text, in which "10" comes before "9".
  std::sort(roster->members.begin(), roster->members.end(),
            [](const Member& a, const Member& b) { return a.id < b.id; });
  for (const auto& [key, value] : stored.members_removed) {
    const auto id = parse_id(key);
    if (!id) return false;
    roster->removed.push_back(*id);
  }
  std::sort(roster->removed.begin(), roster->removed.end());
  for (const auto& [key, value] : stored.cluster) {
    if (key == kVersionKey) {
      roster->version = parse_version(value);
      if (!roster->version) return false;
    } else if (key == kDowngradeKey) {
      auto downgrade = parse_downgrade(value);
      if (!downgrade) return false;
      roster->downgrade = std::move(*downgrade);
    }
  }
  roster_ = std::move(roster);
  return true;
}

void Cluster::set_members(base::Batch& batch, std::vector<Member> members) {
  std::sort(members.begin(), members.end(),
            [](const Member& a, const Member& b) { return a.id < b.id; });
  for (const Member& member : members) put_member(batch, member);
  edit().members = std::move(members);
}

bool Cluster::set_attributes(base::Batch& batch, MemberId id, Attributes attributes) {
  if (roster_->find(id) == nullptr) return roster_->is_removed(id);
  Member& member = *place_of(edit().members, id);
  member.name = std::move(attributes.name);
  member.client_urls = std::move(attributes.client_urls);
  put_member(batch, member);
  return true;
}

void Cluster::set_version(base::Batch& batch, Version version) {
  edit().version = version;
  batch.put(base::Bucket::kCluster, std::string(kVersionKey), version.text());
}

void Cluster::set_downgrade(base::Batch& batch, Downgrade downgrade) {
  if (!downgrade.enabled) downgrade.target.clear();
  batch.put(base::Bucket::kCluster, std::string(kDowngradeKey), downgrade_json(downgrade));
  edit().downgrade = std::move(downgrade);
}

// --- conf state
// ---------------------------------------------------------------------------------------------

std::string conf_state_json(const ConfStateView& state) {
  json::ObjectWriter out;
  const auto add = [&](std::string_view name, std::span<const MemberId> ids) {
    if (!ids.empty()) out.numbers(name, {ids.begin(), ids.end()});
  };
  add("voters", state.voters);
  add("learners", state.learners);
  add("voters_outgoing", state.voters_outgoing);
  add("learners_next", state.learners_next);
  out.boolean("auto_leave", state.auto_leave);
  return std::move(out).finish();
}

void save_conf_state(base::Batch& batch, const ConfStateView& state) {
  batch.put(base::Bucket::kMeta, std::string(base::kConfStateKey), conf_state_json(state));
}

}  // namespace keelson::membership
