#include "member/peers.h"

#include <fmt/format.h>

#include <utility>

#include "base/random.h"
#include "env/log.h"
#include "member/db_transfer.h"
#include "peer/protocol.h"

namespace keelson::member {

namespace {

peer::Options options_of(const Shared& shared) {
  const Config& config = shared.config;
  return {.member_id = shared.identity.member_id,
          .cluster_id = shared.identity.cluster_id,
          .peer_urls = membership::to_texts(config.advertise_peer_urls),
          .server_version = kServerVersion,
          .dial_timeout = base::Seconds(1) + config.election_timeout(),
          .read_timeout = config.raft_read_timeout,
          .write_timeout = config.raft_write_timeout};
}

}  // namespace

Peers::Peers(env::Lane& lane, Shared& shared, env::Network& network, Inboxes inboxes)
    : lane_(lane),
      shared_(shared),
      inboxes_(inboxes),
      views_(lane, shared.views),
      metrics_(*shared.metrics.registry, shared.identity.member_id),
      connector_(peer::make_plain_connector(network)),
      transport_(std::make_unique<peer::Transport>(lane, *connector_, options_of(shared), *this,
                                                   &metrics_)),
      coming_(std::make_shared<std::atomic<bool>>(false)) {
  metrics_.watch(*transport_);
  shared.metrics.collectables.push_back(&metrics_);
}

Peers::~Peers() = default;

void Peers::send(std::vector<raft::Message> messages) {
  if (transport_->send(std::move(messages))) return;
  for (const raft::Message& message : messages) {
    shared_.to_raft_events->push_always(PeerUnreachable{message.to});
  }
}

void Peers::follow(const membership::Roster& roster) {
  base::OrderedMap<raft::NodeId, std::vector<std::string>> now;
  for (const auto& member : roster.members) {
    if (member.id != shared_.identity.member_id) now.emplace(member.id, member.peer_urls);
  }
  for (const auto& [id, urls] : known_) {
    if (!now.contains(id)) transport_->remove_peer(id);
  }
  for (const auto& [id, urls] : now) {
    const auto known = known_.find(id);
    if (known == known_.end()) {
      transport_->add_peer(id, urls);
    } else if (known->second != urls) {
      transport_->update_peer(id, urls);
    }
  }
  known_ = std::move(now);
}

std::unique_ptr<peer::Question> Peers::ask(
    env::Lane& lane, peer::Asked asked, base::Function<void(base::Result<peer::Answered>)> done) {
  asked.request.headers.set(std::string(peer::kClusterId),
                            membership::id_text(shared_.identity.cluster_id));
  return peer::ask(lane, *connector_, std::move(asked), std::move(done));
}

void Peers::stop() {
  transport_->stop();
  views_.drop();
}

bool Peers::is_removed(raft::NodeId id) const { return views_.get()->roster->is_removed(id); }

bool Peers::receive(raft::Message message) {
  auto* inbox = message.type == raft::MessageType::kProp ? inboxes_.proposals : inboxes_.messages;
  return inbox->push(std::move(message));
}

// Of one that raft will ignore the file is refused at once. Raft is given the message all the same,
// and answers how far this member is: its sender may have no other way to find out.
base::Result<std::unique_ptr<peer::SnapshotSink>> Peers::open_snapshot(
    const raft::Message& message) {
  const raft::Index index = message.snapshot ? message.snapshot->metadata.index : 0;
  const raft::Index applied = shared_.progress.applied.load(std::memory_order_acquire);
  if (index <= applied) {
    receive(message);
    return base::fail(base::make_error(
        std::errc::invalid_argument,
        fmt::format("a snapshot at {}, and entry {} is applied already", index, applied)));
  }
  const auto now = lane_.clock().wall_now();
  const std::uint64_t id = base::Random(shared_.identity.member_id ^
                                        static_cast<std::uint64_t>(now.time_since_epoch().count()))
                               .next();
  return std::make_unique<DbSink>(lane_, shared_.transfer_lane(), *shared_.files,
                                  Paths::of(shared_.config),
                                  DbSink::Wanted{.index = index, .applied = applied},
                                  store_options(shared_.config, now, id, 0), coming_);
}

void Peers::on_unreachable(raft::NodeId id) {
  shared_.to_raft_events->push_always(PeerUnreachable{id});
}

void Peers::on_snapshot_sent(raft::NodeId id, peer::SnapshotOutcome outcome) {
  shared_.to_raft_events->push_always(
      SnapshotSent{id, outcome == peer::SnapshotOutcome::kFinished});
}

void Peers::on_member_removed(raft::NodeId) { shared_.removed(); }

}  // namespace keelson::member
