#include "http/server.h"

#include <utility>
#include <vector>

#include "base/check.h"
#include "base/containers.h"
#include "http/connection.h"

namespace keelson::http {

class Server::Impl final : public ServerContext, public std::enable_shared_from_this<Impl> {
 public:
  using ServerContext::ServerContext;

  void accept(std::unique_ptr<env::Stream> stream, Peer peer) {
    if (stopping_) return;  // closed by its destructor
    const std::uint64_t id = ++last_id_;
    auto connection = std::make_unique<Connection>(*this, id, std::move(stream), std::move(peer));
    connections_.emplace(id, std::move(connection)).first->second->start();
  }

  void want_turn(Connection& connection) override {
    wanting_.push_back(&connection);
    if (turn_scheduled_) return;
    turn_scheduled_ = true;
    auto run = [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->run_turn();
    };
    // What is asked for while a turn ends comes after other jobs: nobody keeps a turn from ending.
    if (in_turn_) {
      lane.post(std::move(run));
    } else {
      lane.at_turn_end(std::move(run));
    }
  }

  void stop(base::Duration patience, base::Job done) {
    CHECK(!stopping_);
    stopping_ = true;
    stopped_ = std::move(done);
    stop_timer_ = lane.after(patience, [this] {
      stop_timer_ = 0;
      break_all();
    });
    for (Connection* connection : all()) connection->begin_shutdown();
    announce_if_stopped();
  }

  // Cancels every call with kServerStopping and drops every connection.
  void break_all() {
    for (Connection* connection : all()) {
      connection->cancel_all(CancelReason::kServerStopping);
      connection->abandon();
    }
  }

  void shut() {
    break_all();
    connections_.clear();
    if (stop_timer_ != 0) lane.cancel(stop_timer_);
  }

 private:
  void run_turn() {
    turn_scheduled_ = false;
    in_turn_ = true;
    std::vector<Connection*> wanting = std::move(wanting_);
    wanting_.clear();
    for (Connection* connection : wanting) connection->on_turn_end();
    for (Connection* connection : wanting) {
      // One that went away during its own turn end has asked for another, and is dropped there.
      if (connection->gone() && !connection->turn_wanted()) connections_.erase(connection->id());
    }
    in_turn_ = false;
    announce_if_stopped();
  }

  void announce_if_stopped() {
    if (!stopping_ || !stopped_ || !connections_.empty()) return;
    if (stop_timer_ != 0) lane.cancel(std::exchange(stop_timer_, 0));
    lane.post(std::exchange(stopped_, nullptr));
  }

  std::vector<Connection*> all() const {
    std::vector<Connection*> result;
    for (const auto& [id, connection] : connections_) result.push_back(connection.get());
    return result;
  }

  base::OrderedMap<std::uint64_t, std::unique_ptr<Connection>> connections_;  // by their ids
  std::uint64_t last_id_ = 0;
  std::vector<Connection*> wanting_;
  bool turn_scheduled_ = false;
  bool in_turn_ = false;
  bool stopping_ = false;
  base::Job stopped_;
  env::TimerId stop_timer_ = 0;
};

Server::Server(env::Lane& lane, const ServerOptions& options, const Router* grpc,
               RequestRouter* http1)
    : impl_(std::make_shared<Impl>(lane, options, grpc, http1)) {}

Server::~Server() { impl_->shut(); }

void Server::accept(std::unique_ptr<env::Stream> stream) {
  Peer peer{.address = stream->peer_address()};
  impl_->accept(std::move(stream), std::move(peer));
}

void Server::accept(std::unique_ptr<env::Stream> stream, Peer peer) {
  impl_->accept(std::move(stream), std::move(peer));
}

void Server::stop(base::Duration patience, base::Job done) {
  impl_->stop(patience, std::move(done));
}

const ServerStats& Server::stats() const { return impl_->stats; }

}  // namespace keelson::http
