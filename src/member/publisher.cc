#include "member/publisher.h"

#include <algorithm>

#include "env/log.h"
#include "member/peers.h"
#include "proto/raft_internal.pb.h"

namespace keelson::member {
namespace {

constexpr std::uint32_t kVersionSetField =
    etcdserverpb::InternalRaftRequest::kClusterVersionSetFieldNumber;
constexpr std::uint32_t kAttributesSetField =
    etcdserverpb::InternalRaftRequest::kClusterMemberAttrSetFieldNumber;
constexpr base::Duration kVersionInterval = base::Seconds(4);
constexpr base::Duration kVersionPatience = base::Seconds(1);
constexpr membership::Version kOldestClusterVersion{3, 0, 0};
constexpr base::Duration kAgain = base::Seconds(1);
constexpr std::size_t kAttemptsMax = 3;  // at a time

}  // namespace

Publisher::Publisher(Front& front, base::Job on_published)
    : front_(front), on_published_(std::move(on_published)), pace_(front) {}

void Publisher::start() { publish(); }

void Publisher::stop() {
  stopped_ = true;
  front_.lane().cancel(timer_);
  front_.forget(ticket_);
  for (const auto& [attempt, ticket] : attempts_) front_.forget(ticket);
  questions_.clear();
  pace_.stop();
}

void Publisher::publish() {
  membershippb::ClusterMemberAttrSetRequest request;
  request.set_member_id(front_.identity().member_id);
  request.mutable_member_attributes()->set_name(front_.config().name);
  for (const std::string& url : front_.config().advertise_client_urls) {
    request.mutable_member_attributes()->add_client_urls(url);
  }
  const std::uint64_t attempt = ++attempts_made_;
  attempts_[attempt] = front_.propose(
      kAttributesSetField, request.SerializeAsString(),
      [this, attempt](base::Result<Reply, Failure> reply) { on_answer(attempt, reply.ok()); });
  timer_ = front_.lane().after(kAgain, [this] { publish_again(); });
}

void Publisher::on_answer(std::uint64_t attempt, bool heard) {
  attempts_.erase(attempt);
  if (stopped_ || published_) return;
  if (!heard) {
    env::log_warn("failed to publish local member to cluster through raft",
                  {{"local-member-id", membership::id_text(front_.identity().member_id)}});
    return;
  }
  published_ = true;
  front_.lane().cancel(timer_);
  env::log_info("published local member to cluster through raft",
                {{"local-member-id", membership::id_text(front_.identity().member_id)},
                 {"cluster-id", membership::id_text(front_.identity().cluster_id)}});
  on_published_();
  watch_version();
}

// Without a leader an attempt waits for one, and another would only wait beside it.
void Publisher::publish_again() {
  const bool led = front_.progress().leader.load() != raft::kNone;
  if (attempts_.empty() || (led && attempts_.size() < kAttemptsMax)) return publish();
  timer_ = front_.lane().after(kAgain, [this] { publish_again(); });
}

void Publisher::watch_version() {
  if (stopped_) return;
  timer_ = front_.lane().after(kVersionInterval, [this] { watch_version(); });
  const bool leads = front_.progress().leader.load() == front_.identity().member_id;
  if (!leads || ticket_ != 0) return;
  versions_ = {{front_.identity().member_id, kServerVersion}};
  unanswered_ = 0;
  questions_.clear();
  for (const auto& member : front_.view()->roster->members) {
    if (member.id != front_.identity().member_id) ask_version(member);
  }
  if (unanswered_ == 0) decide_version();
}

void Publisher::ask_version(const membership::Member& member) {
  unanswered_++;
  questions_.push_back(front_.shared().peers->ask(
      front_.lane(),
      {.urls = member.peer_urls, .request = {.target = "/version"}, .timeout = kVersionPatience},
      [this, id = member.id](base::Result<peer::Answered> answered) {
        const auto told = answered ? membership::parse_versions(answered->body) : std::nullopt;
        const auto version = told ? membership::parse_version(told->server) : std::nullopt;
        if (version) {
          versions_[id] = *version;
          pace_.heard(id, answered->headers.find(kServerField) == kServerMark);
        } else {
          env::log_warn(
              "failed to get version",
              {{"remote-member-id", membership::id_text(id)},
               {"error", answered ? "no version in the answer" : answered.error().message()}});
        }
        if (--unanswered_ == 0) decide_version();
      }));
}

// The cluster runs at the lowest minor version of its servers. One that nobody knows may be older
// than all: then a new cluster begins at the lowest there is, and an old one stays where it is.
void Publisher::decide_version() {
  if (stopped_) return;
  pace_.decide();
  const auto view = front_.view();
  const auto& current = view->roster->version;
  // Members may have come since they were asked.
  bool all_known = true;
  membership::Version lowest = kServerVersion;
  for (const auto& member : view->roster->members) {
    const auto version = versions_.find(member.id);
    if (version == versions_.end()) {
      all_known = false;
    } else {
      lowest = std::min(lowest, version->second);
    }
  }
  if (current && !all_known) return;
  const membership::Version wanted = all_known ? lowest.without_patch() : kOldestClusterVersion;
  if (stopped_ || ticket_ != 0 || (current && *current >= wanted)) return;
  membershippb::ClusterVersionSetRequest request;
  request.set_ver(wanted.text());
  env::log_info(current ? "updating cluster version using v3 API"
                        : "setting up initial cluster version using v3 API",
                {{"cluster-version", wanted.minor_text()}});
  ticket_ = front_.propose(kVersionSetField, request.SerializeAsString(),
                           [this, wanted](base::Result<Reply, Failure> reply) {
                             ticket_ = 0;
                             if (reply)
                               env::log_info("cluster version is updated",
                                             {{"cluster-version", wanted.minor_text()}});
                           });
}

}  // namespace keelson::member
