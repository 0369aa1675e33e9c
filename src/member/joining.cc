#include "member/joining.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "env/log.h"
#include "membership/bootstrap.h"
#include "peer/protocol.h"

namespace keelson::member {
namespace {

constexpr base::Duration kNewPatience = base::Seconds(1);
constexpr base::Duration kExistingPatience = base::Seconds(10);
constexpr membership::Version kOldestCluster{3, 0, 0};
// Whose members all write what this one can read. formats.md 5.3
constexpr membership::Version kOldestReadable{3, 6, 0};

// Of one member that may be reached by any of its URLs.
std::vector<std::string> urls_of_others(const Config& config) {
  std::vector<std::string> urls;
  for (const auto& [name, of_member] : config.initial_cluster) {
    if (name == config.name) continue;
    for (std::string& url : membership::to_texts(of_member)) urls.push_back(std::move(url));
  }
  std::sort(urls.begin(), urls.end());
  return urls;
}

}  // namespace

Joining::Joining(env::Lane& lane, peer::Connector& connector, env::Resolver& resolver,
                 const Config& config, Done done)
    : lane_(lane),
      connector_(connector),
      resolver_(resolver),
      config_(config),
      done_(std::move(done)),
      urls_(urls_of_others(config)) {
  lane_.post([this] { begin(); });
}

void Joining::begin() {
  if (!config_.new_cluster) return check();
  const auto urls = membership::urls_to_resolve(config_.name, config_.advertise_peer_urls,
                                                config_.initial_cluster);
  if (urls.empty()) return check();
  lookup_ = std::make_unique<HostLookup>(lane_, resolver_, urls,
                                         [this](membership::ResolvedHosts resolved) {
                                           resolved_hosts_ = std::move(resolved);
                                           check();
                                         });
}

void Joining::check() {
  if (const auto checked = check_first_start(config_, resolved_hosts_); !checked)
    return refuse(checked.error().text);
  ask_next_members();
}

void Joining::ask(std::string url, std::string_view path, base::Duration timeout,
                  OnAnswer on_answer) {
  question_ = peer::ask(
      lane_, connector_,
      {.urls = {std::move(url)}, .request = {.target = std::string(path)}, .timeout = timeout},
      std::move(on_answer));
}

void Joining::ask_next_members() {
  if (next_url_ == urls_.size()) {
    if (config_.new_cluster) return finish(std::nullopt);
    if (doubted_) {
      running_ = *std::exchange(doubted_, std::nullopt);
      return ask_next_version();
    }
    return refuse(
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the "
        "given URLs");
  }
  const std::string url = urls_[next_url_++];
  ask(url, "/members", config_.new_cluster ? kNewPatience : kExistingPatience,
      [this, url](base::Result<peer::Answered> answered) {
        if (answered && answered->status == 200) return on_members(url, *answered);
        if (!config_.new_cluster) {
          env::log_warn("failed to get cluster response",
                        {{"address", url + "/members"},
                         {"error", answered ? fmt::format("status {}", answered->status)
                                            : answered.error().message()}});
        }
        ask_next_members();
      });
}

void Joining::on_members(std::string_view url, const peer::Answered& answered) {
  auto members = membership::parse_members(answered.body);
  const auto id = answered.headers.find(peer::kClusterId);
  const auto cluster_id = id ? membership::parse_id(*id) : std::nullopt;
  if (!members || members->empty() || !cluster_id) {
    env::log_warn("failed to unmarshal cluster response", {{"address", url}});
    return ask_next_members();
  }
  if (config_.new_cluster) return check_new(*members);
  running_.id = *cluster_id;
  match(*std::move(members));
}

void Joining::check_new(const std::vector<membership::Member>& members) {
  const auto own =
      membership::initial_members(config_.initial_cluster, config_.initial_cluster_token);
  if (!own) return refuse(own.error().text);
  // check_first_start has found it.
  const auto self = std::find_if(own->begin(), own->end(),
                                 [&](const auto& one) { return one.name == config_.name; });
  const auto known = std::find_if(members.begin(), members.end(),
                                  [&](const auto& one) { return one.id == self->id; });
  if (known != members.end() && !known->client_urls.empty()) {
    return refuse(
        fmt::format("member {} has already been bootstrapped", membership::id_text(self->id)));
  }
  finish(std::nullopt);
}

void Joining::match(std::vector<membership::Member> members) {
  const auto urls = membership::urls_to_resolve(config_.initial_cluster, members);
  if (urls.empty()) return take_over(members, {});
  lookup_ = std::make_unique<HostLookup>(
      lane_, resolver_, urls,
      [this, members = std::move(members)](const membership::ResolvedHosts& resolved) {
        take_over(members, resolved);
      });
}

void Joining::take_over(const std::vector<membership::Member>& members,
                        const membership::ResolvedHosts& resolved) {
  auto matched = membership::match_existing(config_.initial_cluster, members, resolved);
  if (!matched && doubted_) return ask_next_members();
  if (!matched) {
    return refuse(fmt::format("error validating peerURLs {}: {}", membership::members_json(members),
                              matched.error().text));
  }
  running_.members = *std::move(matched);
  if (!has_run(members)) return ask_next_version();
  // Somebody who lags may still list who was here before and was removed, under an id whose votes
  // this member does not remember. So the others are asked too.
  if (!doubted_) doubted_ = running_;
  ask_next_members();
}

// Whether this member, as it is matched, has been at work under its id before.
bool Joining::has_run(const std::vector<membership::Member>& members) const {
  const auto self = std::ranges::find(running_.members, config_.name, &membership::Member::name);
  if (self == running_.members.end()) return false;
  const auto listed = std::ranges::find(members, self->id, &membership::Member::id);
  return listed != members.end() && listed->started();
}

void Joining::ask_next_version() {
  while (next_member_ < running_.members.size() &&
         running_.members[next_member_].name == config_.name) {
    next_member_++;
  }
  if (next_member_ == running_.members.size()) return ask_downgrade();
  const membership::Member& member = running_.members[next_member_++];
  ask(member.peer_urls.front(), "/version", kNewPatience,
      [this](base::Result<peer::Answered> answered) {
        if (answered) {
          const auto versions = membership::parse_versions(answered->body);
          const auto cluster =
              versions ? membership::parse_version(versions->cluster) : std::nullopt;
          if (cluster) versions_.push_back(*cluster);
        }
        ask_next_version();
      });
}

// Only a cluster of the next version can be on its way down to this one.
void Joining::ask_downgrade() {
  const bool matters = std::any_of(versions_.begin(), versions_.end(), [](const auto& version) {
    return version.minor == kServerVersion.minor + 1;
  });
  if (!matters) return judge_versions();
  ask(urls_.front(), "/downgrade/enabled", kNewPatience,
      [this](base::Result<peer::Answered> answered) {
        downgrading_ = answered && answered->body == "true";
        judge_versions();
      });
}

void Joining::judge_versions() {
  const auto fits = [this](const membership::Version& version) {
    if (version < kOldestCluster || version.major != kServerVersion.major) return false;
    return version.minor <= kServerVersion.minor ||
           (downgrading_ && version.minor == kServerVersion.minor + 1);
  };
  if (versions_.empty() || !std::all_of(versions_.begin(), versions_.end(), fits)) {
    return refuse("incompatible with current running cluster");
  }
  // The oldest of all is what a leader decides while it cannot ask every member, be it only the one
  // that is to join: it says nothing of any.
  const auto oldest = *std::ranges::min_element(versions_);
  if (oldest != kOldestCluster && oldest < kOldestReadable) {
    return refuse(fmt::format(
        "the running cluster is of version {}, and what members of etcd before {} write cannot be "
        "read: bring all of them to {} first",
        oldest.text(), kOldestReadable.text(), kOldestReadable.text()));
  }
  const auto learners =
      static_cast<std::size_t>(std::count_if(running_.members.begin(), running_.members.end(),
                                             [](const auto& one) { return one.is_learner; }));
  if (learners > config_.learners_max) {
    return refuse(std::string(membership::describe(membership::Errc::kTooManyLearners)));
  }
  finish(std::move(running_));
}

void Joining::refuse(std::string why) {
  std::exchange(done_, {})(base::fail(BootError{std::move(why)}));
}

void Joining::finish(std::optional<RunningCluster> running) {
  std::exchange(done_, {})(
      Joined{.running = std::move(running), .resolved_hosts = std::move(resolved_hosts_)});
}

}  // namespace keelson::member
