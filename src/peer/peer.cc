#include "peer/peer.h"

#include <utility>

#include "env/log.h"
#include "membership/member.h"
#include "raft/describe.h"

namespace keelson::peer {

Peer::Peer(Context& context, raft::NodeId id, const std::vector<std::string>& urls)
    : link_(context, id, usable_urls(id, urls), Link::Kind::kPeer) {
  env::log_info("started remote peer", {{"remote-peer-id", link_.id_text}});
}

Peer::~Peer() {
  for (const auto& snapshot : snapshots_) {
    snapshot->cancel();
    if (!link_.context.stopped) {
      link_.context.handler.on_snapshot_sent(link_.id, SnapshotOutcome::kFailed);
    }
  }
  env::log_info("stopped remote peer", {{"remote-peer-id", link_.id_text}});
}

void Peer::send(raft::Message message) {
  if (link_.cut) return;
  const raft::MessageType type = message.type;
  const raft::NodeId from = message.from;
  if (push(std::move(message))) return;
  drop(type, from);
}

bool Peer::push(raft::Message&& message) {
  const bool snapshot = message.type == raft::MessageType::kSnap;
  if (message.type == raft::MessageType::kApp && msgapp_writer_.attached()) {
    return msgapp_writer_.push(std::move(message));
  }
  if (!snapshot && message_writer_.attached()) return message_writer_.push(std::move(message));
  return pipeline_.push(std::move(message));
}

void Peer::drop(raft::MessageType type, raft::NodeId from) {
  env::log_warn("dropped internal Raft message since sending buffer is full",
                {{"message-type", raft::describe(type)},
                 {"local-member-id", membership::id_text(link_.context.options.member_id)},
                 {"from", membership::id_text(from)},
                 {"remote-peer-id", link_.id_text},
                 {"remote-peer-active", link_.active()}});
  link_.sending_failed();
  if (type == raft::MessageType::kSnap) {
    link_.context.handler.on_snapshot_sent(link_.id, SnapshotOutcome::kFailed);
  }
}

void Peer::flush() {
  msgapp_writer_.flush();
  message_writer_.flush();
}

void Peer::send_snapshot(raft::Message message, std::unique_ptr<SnapshotSource> source) {
  if (link_.cut || link_.picker.empty() || snapshots_.size() >= kSnapshotsMax) {
    return refuse_snapshot();
  }
  // Its last call comes from within it, so it goes in a job of its own.
  const auto done = [this, alive = std::weak_ptr(alive_)] {
    link_.context.lane.post([this, alive] {
      if (alive.expired()) return;
      std::erase_if(snapshots_, [](const auto& each) { return each->finished(); });
    });
  };
  snapshots_.push_back(
      std::make_unique<SnapshotSender>(link_, std::move(message), std::move(source), done));
}

void Peer::refuse_snapshot() {
  link_.stats.snapshot_send_failures.add();
  link_.sending_failed();
  link_.context.handler.on_snapshot_sent(link_.id, SnapshotOutcome::kFailed);
}

void Peer::update(const std::vector<std::string>& urls) {
  link_.picker.update(usable_urls(link_.id, urls));
  msgapp_reader_.on_urls_changed();
  message_reader_.on_urls_changed();
}

Remote::Remote(Context& context, raft::NodeId id, const std::vector<std::string>& urls)
    : link_(context, id, usable_urls(id, urls), Link::Kind::kRemote) {}

void Remote::send(raft::Message message) {
  if (link_.cut) return;
  const bool snapshot = message.type == raft::MessageType::kSnap;
  if (pipeline_.push(std::move(message))) return;
  link_.sending_failed();
  if (snapshot) link_.context.handler.on_snapshot_sent(link_.id, SnapshotOutcome::kFailed);
}

}  // namespace keelson::peer
