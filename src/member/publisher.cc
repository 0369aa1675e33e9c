#include "member/publisher.h"

#include "env/log.h"
#include "proto/raft_internal.pb.h"

namespace keelson::member {
namespace {

constexpr std::uint32_t kVersionSetField = 1300;
constexpr std::uint32_t kAttributesSetField = 1301;
constexpr base::Duration kVersionInterval = base::Seconds(4);
constexpr base::Duration kRetry = base::Milliseconds(500);

}  // namespace

Publisher::Publisher(Front& front, base::Job on_published)
    : front_(front), on_published_(std::move(on_published)) {}

void Publisher::start() { publish(); }

void Publisher::stop() {
  stopped_ = true;
  front_.lane().cancel(timer_);
  front_.forget(ticket_);
}

void Publisher::publish() {
  membershippb::ClusterMemberAttrSetRequest request;
  request.set_member_id(front_.identity().member_id);
  request.mutable_member_attributes()->set_name(front_.config().name);
  for (const std::string& url : front_.config().advertise_client_urls) {
    request.mutable_member_attributes()->add_client_urls(url);
  }
  ticket_ = front_.propose(
      kAttributesSetField, request.SerializeAsString(), [this](base::Result<Reply, Failure> reply) {
        ticket_ = 0;
        if (stopped_) return;
        if (!reply) {
          env::log_warn("failed to publish local member to cluster through raft",
                        {{"local-member-id", membership::id_text(front_.identity().member_id)}});
          timer_ = front_.lane().after(kRetry, [this] { publish(); });
          return;
        }
        env::log_info("published local member to cluster through raft",
                      {{"local-member-id", membership::id_text(front_.identity().member_id)},
                       {"cluster-id", membership::id_text(front_.identity().cluster_id)}});
        on_published_();
        watch_version();
      });
}

void Publisher::watch_version() {
  if (stopped_) return;
  timer_ = front_.lane().after(kVersionInterval, [this] { watch_version(); });
  // The cluster runs at the lowest version of its servers; this member is all of them.
  const auto& version = front_.view()->roster->version;
  const bool leads = front_.progress().leader.load() == front_.identity().member_id;
  if (!leads || ticket_ != 0 || (version && *version >= kClusterVersion)) return;
  membershippb::ClusterVersionSetRequest request;
  request.set_ver(kClusterVersion.text());
  env::log_info(version ? "updating cluster version using v3 API"
                        : "setting up initial cluster version using v3 API",
                {{"cluster-version", kClusterVersion.minor_text()}});
  ticket_ = front_.propose(kVersionSetField, request.SerializeAsString(),
                           [this](base::Result<Reply, Failure> reply) {
                             ticket_ = 0;
                             if (reply)
                               env::log_info("cluster version is updated",
                                             {{"cluster-version", kClusterVersion.minor_text()}});
                           });
}

}  // namespace keelson::member
