#include "peer/transport.h"

#include <atomic>
#include <utility>
#include <variant>

#include "base/containers.h"
#include "env/channel.h"
#include "env/log.h"
#include "membership/member.h"
#include "peer/link.h"
#include "peer/peer.h"
#include "peer/requests.h"
#include "raft/describe.h"

namespace keelson::peer {
namespace {

constexpr std::size_t kRemoteUrlsMax = 16;

struct Batch {
  std::vector<raft::Message> messages;
  std::size_t bytes = 0;
};
struct AddPeer {
  raft::NodeId id = raft::kNone;
  std::vector<std::string> urls;
};
struct UpdatePeer {
  raft::NodeId id = raft::kNone;
  std::vector<std::string> urls;
};
struct AddRemote {
  raft::NodeId id = raft::kNone;
  std::vector<std::string> urls;
};
struct RemovePeer {
  raft::NodeId id = raft::kNone;
};
struct RemoveAllPeers {};
struct SendSnapshot {
  raft::Message message;
  std::unique_ptr<SnapshotSource> source;
};
struct SetCut {
  raft::NodeId id = raft::kNone;  // kNone: all
  bool cut = false;
};
using Command = std::variant<Batch, AddPeer, UpdatePeer, AddRemote, RemovePeer, RemoveAllPeers,
                             SendSnapshot, SetCut>;

std::size_t payload_bytes(const std::vector<raft::Message>& messages) {
  std::size_t bytes = 0;
  for (const auto& message : messages) {
    for (const auto& entry : message.entries) bytes += entry.data.size();
  }
  return bytes;
}

}  // namespace

class Transport::Impl final : public Directory, public std::enable_shared_from_this<Impl> {
 public:
  Impl(env::Lane& lane, Connector& connector, Options options, Handler& handler, Observer* observer)
      : context_(lane, connector, std::move(options), handler, observer),
        commands_(lane, context_.options.limits.batches_max,
                  [this](std::vector<Command> commands) { on_commands(std::move(commands)); }) {}

  bool send(std::vector<raft::Message>&& messages) {
    const std::size_t bytes = payload_bytes(messages);
    const std::size_t before = batched_bytes_.fetch_add(bytes, std::memory_order_relaxed);
    // One batch always finds room where nothing waits, however large it is.
    if (before == 0 || before + bytes <= context_.options.limits.batched_bytes_max) {
      Command command = Batch{std::move(messages), bytes};
      if (commands_.push(std::move(command))) return true;
      messages = std::move(std::get<Batch>(command).messages);
    }
    batched_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    return false;
  }
  // Bounded by the changes of membership, and by raft's one snapshot per member.
  void command(Command command) { commands_.push_always(std::move(command)); }

  void stop() {
    context_.stopped = true;
    peers_.clear();
    remotes_.clear();
  }

  // Directory
  // ------------------------------------------------------------------------------------------

  Context& context() override { return context_; }
  const Context& context() const { return context_; }

  Peer* find_peer(raft::NodeId id) override {
    const auto found = peers_.find(id);
    return found == peers_.end() ? nullptr : found->second.get();
  }
  bool is_cut(raft::NodeId id) const override {
    const auto peer = peers_.find(id);
    if (peer != peers_.end()) return peer->second->cut();
    const auto remote = remotes_.find(id);
    return remote != remotes_.end() && remote->second->cut();
  }
  void note_sender(raft::NodeId id, std::vector<std::string> urls) override {
    if (!context_.stopped && urls.size() <= kRemoteUrlsMax) add_remote(id, urls);
  }
  bool add_post_bytes(std::uint64_t bytes) override {
    if (bytes > context_.options.limits.post_bytes_max - post_bytes_) return false;
    post_bytes_ += bytes;
    return true;
  }
  void remove_post_bytes(std::uint64_t bytes) override { post_bytes_ -= bytes; }

 private:
  void on_commands(std::vector<Command> commands) {
    for (auto& command : commands) {
      std::visit([this](auto& each) { on(each); }, command);
    }
    for (const auto& [id, peer] : peers_) peer->flush();
  }

  void on(Batch& batch) {
    batched_bytes_.fetch_sub(batch.bytes, std::memory_order_relaxed);
    for (auto& message : batch.messages) deliver(std::move(message));
  }

  void deliver(raft::Message message) {
    const raft::NodeId to = message.to;
    if (const auto peer = peers_.find(to); peer != peers_.end()) {
      return peer->second->send(std::move(message));
    }
    if (const auto remote = remotes_.find(to); remote != remotes_.end()) {
      return remote->second->send(std::move(message));
    }
    if (to == raft::kNone || !env::log_wants(env::LogLevel::kDebug)) return;
    env::log_debug("ignored message send request; unknown remote peer target",
                   {{"type", raft::describe(message.type)},
                    {"unknown-target-peer-id", membership::id_text(to)}});
  }

  void on(AddPeer& add) {
    if (context_.stopped || add.id == context_.options.member_id || peers_.contains(add.id)) {
      return;
    }
    remotes_.erase(add.id);
    peers_.emplace(add.id, std::make_unique<Peer>(context_, add.id, add.urls));
    log("added remote peer", "remote-peer-id", add.id, add.urls);
  }

  void on(UpdatePeer& update) {
    Peer* const peer = find_peer(update.id);
    if (peer == nullptr) return;
    peer->update(update.urls);
    log("updated remote peer", "updated-remote-peer-id", update.id, update.urls);
  }

  void on(AddRemote& add) {
    if (!context_.stopped) add_remote(add.id, add.urls);
  }

  void add_remote(raft::NodeId id, const std::vector<std::string>& urls) {
    const bool known =
        id == context_.options.member_id || peers_.contains(id) || remotes_.contains(id);
    if (known || remotes_.size() >= context_.options.limits.remotes_max) return;
    remotes_.emplace(id, std::make_unique<Remote>(context_, id, urls));
    log("added new remote peer", "remote-peer-id", id, urls);
  }

  void on(RemovePeer& remove) {
    const bool there = peers_.erase(remove.id) > 0;
    // A removal is heard of again when the log is replayed.
    const std::string_view line =
        there ? "removed remote peer" : "skipped removing already removed peer";
    env::log(there ? env::LogLevel::kInfo : env::LogLevel::kWarn, line,
             {{"local-member-id", membership::id_text(context_.options.member_id)},
              {"removed-remote-peer-id", membership::id_text(remove.id)}});
  }

  void on(RemoveAllPeers&) { peers_.clear(); }

  void on(SendSnapshot& snapshot) {
    const raft::NodeId to = snapshot.message.to;
    if (Peer* const peer = find_peer(to)) {
      return peer->send_snapshot(std::move(snapshot.message), std::move(snapshot.source));
    }
    snapshot.source.reset();
    if (context_.stopped) return;
    context_.handler.on_unreachable(to);
    context_.handler.on_snapshot_sent(to, SnapshotOutcome::kFailed);
  }

  void on(SetCut& set) {
    for (const auto& [id, peer] : peers_) {
      if (set.id == raft::kNone || set.id == id) peer->set_cut(set.cut);
    }
    for (const auto& [id, remote] : remotes_) {
      if (set.id == raft::kNone || set.id == id) remote->set_cut(set.cut);
    }
  }

  void log(std::string_view line, std::string_view key, raft::NodeId id,
           const std::vector<std::string>& urls) const {
    env::log_info(line, {{"local-member-id", membership::id_text(context_.options.member_id)},
                         {key, membership::id_text(id)},
                         {"remote-peer-urls", urls}});
  }

  Context context_;
  base::OrderedMap<raft::NodeId, std::unique_ptr<Peer>> peers_;
  base::OrderedMap<raft::NodeId, std::unique_ptr<Remote>> remotes_;
  std::uint64_t post_bytes_ = 0;
  std::atomic<std::size_t> batched_bytes_{0};
  env::Channel<Command> commands_;
};

Transport::Transport(env::Lane& lane, Connector& connector, Options options, Handler& handler,
                     Observer* observer)
    : impl_(std::make_shared<Impl>(lane, connector, std::move(options), handler, observer)) {}
Transport::~Transport() { impl_->stop(); }

void Transport::add_peer(raft::NodeId id, std::vector<std::string> urls) {
  impl_->command(AddPeer{id, std::move(urls)});
}
void Transport::remove_peer(raft::NodeId id) { impl_->command(RemovePeer{id}); }
void Transport::remove_all_peers() { impl_->command(RemoveAllPeers{}); }
void Transport::update_peer(raft::NodeId id, std::vector<std::string> urls) {
  impl_->command(UpdatePeer{id, std::move(urls)});
}
void Transport::add_remote(raft::NodeId id, std::vector<std::string> urls) {
  impl_->command(AddRemote{id, std::move(urls)});
}
bool Transport::send(std::vector<raft::Message>&& messages) {
  return impl_->send(std::move(messages));
}
void Transport::send_snapshot(raft::Message message, std::unique_ptr<SnapshotSource> source) {
  impl_->command(SendSnapshot{std::move(message), std::move(source)});
}
http::Route Transport::route(const http::Request& head) { return route_request(impl_, head); }
std::optional<base::TimePoint> Transport::active_since(raft::NodeId id) const {
  return impl_->context().active.find(id);
}
std::size_t Transport::active_peers() const { return impl_->context().active.size(); }
Stats Transport::stats() const { return impl_->context().stats.all(); }
void Transport::cut_peer(raft::NodeId id) { impl_->command(SetCut{id, true}); }
void Transport::mend_peer(raft::NodeId id) { impl_->command(SetCut{id, false}); }
void Transport::pause() { impl_->command(SetCut{raft::kNone, true}); }
void Transport::resume() { impl_->command(SetCut{raft::kNone, false}); }
void Transport::stop() { impl_->stop(); }

}  // namespace keelson::peer
