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
constexpr base::Duration kReadPatience = base::Seconds(2);
// With answers that may lag.
constexpr base::Duration kUnsurePatience = base::Seconds(10);
constexpr base::Duration kAskAgain = base::Milliseconds(500);
constexpr std::string_view kDowngradePath = "/downgrade/enabled";
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

bool can_decide_without(membership::MemberId self, const std::vector<membership::Member>& members) {
  const auto votes = [](const membership::Member& one) { return !one.is_learner; };
  const auto voters = std::ranges::count_if(members, votes);
  const auto others = std::ranges::count_if(
      members, [&](const membership::Member& one) { return votes(one) && one.id != self; });
  return others >= voters / 2 + 1;
}

std::string already_at_work(membership::MemberId id) {
  return fmt::format("member {} has already been bootstrapped", membership::id_text(id));
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

Joining::~Joining() { lane_.cancel(timer_); }

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
  if (next_url_ == urls_.size()) return on_all_asked();
  next_url_++;
  ask_members(Trust::kMayLag);
}

void Joining::on_all_asked() {
  if (config_.new_cluster) return finish(std::nullopt);
  if (!unsure_) {
    return refuse(
        "cannot fetch cluster info from peer urls: could not retrieve cluster information from the "
        "given URLs");
  }
  if (lane_.clock().now() < unsure_since_ + kUnsurePatience) {
    next_url_ = 0;
    timer_ = lane_.after(kAskAgain, [this] {
      timer_ = 0;
      ask_next_members();
    });
    return;
  }
  take_over(*std::exchange(unsure_, std::nullopt));
}

void Joining::ask_members(Trust trust) {
  ask(asked_url(), "/members", config_.new_cluster ? kNewPatience : kExistingPatience,
      [this, trust](base::Result<peer::Answered> answered) {
        if (answered && answered->status == 200) return on_members(trust, *answered);
        if (!config_.new_cluster) {
          env::log_warn("failed to get cluster response",
                        {{"address", asked_url() + "/members"},
                         {"error", answered ? fmt::format("status {}", answered->status)
                                            : answered.error().message()}});
        }
        ask_next_members();
      });
}

void Joining::on_members(Trust trust, const peer::Answered& answered) {
  auto members = membership::parse_members(answered.body);
  const auto id = answered.headers.find(peer::kClusterId);
  const auto cluster_id = id ? membership::parse_id(*id) : std::nullopt;
  if (!members || members->empty() || !cluster_id) {
    env::log_warn("failed to unmarshal cluster response", {{"address", asked_url()}});
    return ask_next_members();
  }
  if (config_.new_cluster) return check_new(*members);
  match(trust, {.id = *cluster_id, .members = *std::move(members)});
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
    return refuse(already_at_work(self->id));
  }
  finish(std::nullopt);
}

void Joining::match(Trust trust, RunningCluster told) {
  const auto urls = membership::urls_to_resolve(config_.initial_cluster, told.members);
  if (urls.empty()) return weigh(trust, told, {});
  lookup_ = std::make_unique<HostLookup>(
      lane_, resolver_, urls,
      [this, trust, told = std::move(told)](const membership::ResolvedHosts& resolved) {
        weigh(trust, told, resolved);
      });
}

void Joining::weigh(Trust trust, const RunningCluster& told,
                    const membership::ResolvedHosts& resolved) {
  auto matched = membership::match_existing(config_.initial_cluster, told.members, resolved);
  if (!matched) {
    if (unsure_ && trust == Trust::kMayLag) return ask_next_members();
    return refuse(fmt::format("error validating peerURLs {}: {}",
                              membership::members_json(told.members), matched.error().text));
  }
  // Both are there: the configuration has this member's name, and the match is one to one.
  const auto self = std::ranges::find(*matched, config_.name, &membership::Member::name);
  const auto listed = std::ranges::find(told.members, self->id, &membership::Member::id);
  Answer answer{.cluster = {.id = told.id, .members = *std::move(matched)},
                .self = listed->id,
                .was_at_work = listed->started()};
  const bool may_read = can_decide_without(answer.self, told.members);
  if (trust == Trust::kHasRead || (!may_read && !answer.was_at_work)) {
    return take_over(std::move(answer));
  }
  if (!unsure_) unsure_since_ = lane_.clock().now();
  if (!unsure_ || unsure_->was_at_work) unsure_ = std::move(answer);
  may_read ? ask_to_read() : ask_next_members();
}

// What is asked for is the read, not whether the cluster goes to an older version.
void Joining::ask_to_read() {
  ask(asked_url(), kDowngradePath, kReadPatience, [this](base::Result<peer::Answered> answered) {
    if (answered && answered->status == 200) return ask_members(Trust::kHasRead);
    ask_next_members();
  });
}

void Joining::take_over(Answer answer) {
  if (answer.was_at_work) return refuse(already_at_work(answer.self));
  running_ = std::move(answer.cluster);
  ask_next_version();
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
  ask(urls_.front(), kDowngradePath, kNewPatience, [this](base::Result<peer::Answered> answered) {
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
