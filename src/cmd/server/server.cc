#include "cmd/server/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <random>

#include "api/http_endpoints.h"
#include "api/peer_endpoints.h"
#include "cmd/server/descriptors.h"
#include "cmd/server/start_log.h"
#include "env/log.h"
#include "member/corruption_checker.h"
#include "member/joining.h"

namespace keelson::cmd {
namespace {

using base::fail;

constexpr base::Duration kPeerPatience = base::Seconds(1);

// Where a URL is bound: "host:port", or "unix:/path". A socket's path is host and path; of peer and
// metrics URLs etcd takes the host alone, and so scripts have it.
std::string bind_address(const membership::Url& url, bool whole_path) {
  if (url.scheme != "unix" && url.scheme != "unixs") return url.host;
  return "unix:" + url.host + (whole_path ? url.path : "");
}

// In Go's words, which scripts look for.
std::string listen_error(const std::string& address, const base::Error& error) {
  std::string why = error.code.message();
  if (!why.empty()) why.front() = static_cast<char>(std::tolower(why.front()));
  const bool is_unix = address.starts_with("unix:");
  return fmt::format("listen {} {}: bind: {}", is_unix ? "unix" : "tcp",
                     is_unix ? address.substr(5) : address, why);
}

// Hosts and origins are looked at on client ports alone.
http::ServerOptions without_policy(http::ServerOptions options) {
  options.access.applies = false;
  return options;
}

}  // namespace

namespace {

// As etcd's peer port: no read takes longer, be it the first of a connection, one within a head, or
// one for the next request. formats.md 6.1
http::ServerOptions for_peers(http::ServerOptions options) {
  constexpr base::Duration kReadTimeout = base::Seconds(5);
  options.http1.head_timeout = kReadTimeout;
  options.http1.each_read = true;
  options.http1.idle_timeout = kReadTimeout;
  return without_policy(std::move(options));
}

// What the others are asked before the member's lanes run, on a runtime of its own: `begin` makes
// what asks.
template <class T, class Asking>
base::Result<T, std::string> ask_others(
    std::function<std::unique_ptr<Asking>(env::posix::Runtime&, env::Lane&, peer::Connector&,
                                          typename Asking::Done)>
        begin) {
  std::promise<base::Result<T, member::BootError>> promise;
  env::posix::Runtime runtime({{.lane = "ask", .thread = "ask"}});
  const auto connector = peer::make_plain_connector(runtime.network());
  env::Lane& lane = runtime.lane("ask");
  std::unique_ptr<Asking> asking;
  runtime.start();
  lane.post([&] {
    asking = begin(runtime, lane, *connector,
                   [&](auto result) { promise.set_value(std::move(result)); });
  });
  auto result = promise.get_future().get();
  runtime.stop();
  if (!result) return fail(result.error().text);
  if constexpr (std::is_void_v<T>) {
    return {};
  } else {
    return *std::move(result);
  }
}

}  // namespace

// What one io lane serves. Touched by its jobs, and by the maker before the lanes run.
class Server::IoLane {
 public:
  IoLane(member::Front& front, api::GrpcMetrics& metrics, const http::ServerOptions& options)
      : lane_(front.lane()),
        clients_(front, metrics, options),
        peer_endpoints_(front),
        peers_(front.lane(), for_peers(options), nullptr, &peer_endpoints_),
        scrape_endpoints_(front, metrics, api::HttpPort::kMetrics),
        scrapers_(front.lane(), without_policy(options), nullptr, &scrape_endpoints_) {}

  env::Lane& lane() { return lane_; }

  void accept(Port port, std::unique_ptr<env::Stream> stream) {
    switch (port) {
      case Port::kPeer:
        return peers_.accept(std::move(stream));
      case Port::kMetrics:
        return scrapers_.accept(std::move(stream));
      case Port::kClient:
        if (!serving_) return early_.push_back(std::move(stream));
        return clients_.accept(std::move(stream));
    }
  }

  void serve_clients() {
    serving_ = true;
    for (auto& stream : std::exchange(early_, {})) clients_.accept(std::move(stream));
  }

  void stop_clients(base::Duration patience, base::Job done) {
    early_.clear();
    clients_.stop(patience, [this, done = std::move(done)]() mutable {
      scrapers_.stop(base::Duration(0), std::move(done));
    });
  }
  void stop_peers(base::Job done) { peers_.stop(kPeerPatience, std::move(done)); }

 private:
  env::Lane& lane_;
  api::LaneApi clients_;
  api::PeerEndpoints peer_endpoints_;
  http::Server peers_;
  api::HttpEndpoints scrape_endpoints_;
  http::Server scrapers_;
  bool serving_ = false;
  std::vector<std::unique_ptr<env::Stream>> early_;  // bounded by the listeners' limit
};

base::Result<std::unique_ptr<Server>, std::string> Server::make(ServerConfig config,
                                                                bool initialized, unsigned cores,
                                                                env::posix::Runtime& runtime,
                                                                member::Lanes lanes) {
  std::unique_ptr<Server> server(new Server(std::move(config), runtime, std::move(lanes)));
  RETURN_IF_ERROR(server->bind_peers());
  RETURN_IF_ERROR(server->bind_clients());
  log_configuration(server->config_, initialized, cores);
  RETURN_IF_ERROR(server->bind_metrics());
  RETURN_IF_ERROR(server->boot(initialized));
  return server;
}

Server::Server(ServerConfig config, env::posix::Runtime& runtime, member::Lanes lanes)
    : config_(std::move(config)), runtime_(runtime), lanes_(std::move(lanes)) {}

Server::~Server() = default;

base::Result<void, std::string> Server::bind_peers() {
  env::log_info("configuring peer listeners",
                {{"listen-peer-urls", membership::to_texts(config_.listen_peer_urls)}});
  for (const auto& url : config_.listen_peer_urls) {
    if (auto bound = bind(url, Port::kPeer); !bound) {
      env::log_error("creating peer listener failed", {{"error", bound.error()}});
      return bound;
    }
  }
  return {};
}

base::Result<void, std::string> Server::bind_clients() {
  env::log_info("configuring client listeners",
                {{"listen-client-urls", membership::to_texts(config_.listen_client_urls)}});
  for (const auto& url : config_.listen_client_urls) RETURN_IF_ERROR(bind(url, Port::kClient));
  return {};
}

base::Result<void, std::string> Server::bind_metrics() {
  for (const auto& url : config_.listen_metrics_urls) RETURN_IF_ERROR(bind(url, Port::kMetrics));
  return {};
}

base::Result<void, std::string> Server::bind(const membership::Url& url, Port port) {
  const std::string address = bind_address(url, port == Port::kClient);
  env::ListenOptions options{.reuse_port = config_.reuse_port,
                             .reuse_address = config_.reuse_address};
  if (port != Port::kPeer) {
    const auto connections_max = connections_per_listener(
        {.limit = raise_descriptor_limit(),
         .quota_bytes = config_.member.effective_quota(),
         .segment_bytes = config_.member.store.segment_bytes,
         .listeners = config_.listen_client_urls.size() + config_.listen_metrics_urls.size()});
    if (!connections_max) {
      return fail("file descriptor limit of etcd process is too low; please set higher");
    }
    options.connections_max = *connections_max;
  }
  // All that comes from other members belongs to the lane of the transport.
  const std::vector<env::Lane*> transport_lane{lanes_.io.front()};
  auto listener =
      runtime_.network().listen(address, options, port == Port::kPeer ? transport_lane : lanes_.io,
                                [this, port](std::unique_ptr<env::Stream> stream) {
                                  IoLane& lane = lane_of(*stream);
                                  lane.accept(port, std::move(stream));
                                });
  if (!listener) return fail(listen_error(address, listener.error()));
  auto& listeners = port == Port::kClient ? client_listeners_ : other_listeners_;
  listeners.push_back(*std::move(listener));
  return {};
}

base::Result<void, std::string> Server::boot(bool initialized) {
  env::log_info("bootstrapping cluster");
  member::Config config = config_.member;
  if (!initialized) {
    auto asked = ask_others<member::Joining::Joined, member::Joining>(
        [&config](env::posix::Runtime& runtime, env::Lane& lane, peer::Connector& connector,
                  member::Joining::Done done) {
          return std::make_unique<member::Joining>(lane, connector, runtime.resolver(), config,
                                                   std::move(done));
        });
    if (!asked) {
      env::log_error("bootstrap failed", {{"error", asked.error()}});
      return fail(asked.error());
    }
    config.running = std::move(asked->running);
    config.resolved_hosts = std::move(asked->resolved_hosts);
  }
  auto member = member::Member::make(std::move(config), runtime_.file_system(), runtime_.clock(),
                                     runtime_.network(), lanes_, std::random_device{}());
  if (!member) {
    env::log_error("bootstrap failed", {{"error", member.error().text}});
    return fail(member.error().text);
  }
  member_ = *std::move(member);
  const std::string id = membership::id_text(member_->identity().member_id);
  if (!initialized || !config_.member.force_new_cluster) {  // else said already
    env::log_info(initialized ? "restarting local member" : "starting local member",
                  {{"local-member-id", id},
                   {"cluster-id", membership::id_text(member_->identity().cluster_id)}});
  }
  env::log_info("bootstrap successfully");
  env::log_info("starting etcd server",
                {{"local-member-id", id}, {"local-server-version", member::kServerVersion.text()}});
  if (initialized && config_.member.initial_corrupt_check) RETURN_IF_ERROR(check_initially());
  metrics_ = std::make_unique<api::GrpcMetrics>();
  member_->shared().metrics.collectables.push_back(&process_metrics_);
  for (std::size_t i = 0; i < lanes_.io.size(); i++) {
    io_.push_back(std::make_unique<IoLane>(member_->front(i), *metrics_, config_.http));
  }
  return {};
}

base::Result<void, std::string> Server::check_initially() {
  auto checked = ask_others<void, member::InitialCheck>(
      [this](env::posix::Runtime&, env::Lane& lane, peer::Connector& connector,
             member::InitialCheck::Done done) {
        return std::make_unique<member::InitialCheck>(
            lane, connector,
            member::InitialCheck::Start{.identity = member_->identity(),
                                        .view = member_->shared().views.load(),
                                        .patience = config_.member.request_timeout()},
            std::move(done));
      });
  if (!checked) env::log_error("checkInitialHashKV failed", {{"error", checked.error()}});
  return checked;
}

Server::IoLane& Server::lane_of(env::Stream& stream) {
  const auto it = std::find_if(io_.begin(), io_.end(), [&](const std::unique_ptr<IoLane>& one) {
    return &one->lane() == &stream.lane();
  });
  CHECK(it != io_.end());
  return **it;
}

void Server::start(base::Job on_ready, base::Job on_removed) {
  env::log_info(
      "now serving peer/client/metrics",
      {{"local-member-id", membership::id_text(member_->identity().member_id)},
       {"initial-advertise-peer-urls", membership::to_texts(config_.member.advertise_peer_urls)},
       {"listen-peer-urls", membership::to_texts(config_.listen_peer_urls)},
       {"advertise-client-urls", config_.member.advertise_client_urls},
       {"listen-client-urls", membership::to_texts(config_.listen_client_urls)},
       {"listen-metrics-urls", membership::to_texts(config_.listen_metrics_urls)}});
  for (const auto& url : config_.listen_metrics_urls) {
    env::log_info("serving metrics", {{"address", url.text()}});
  }
  for (const auto& url : config_.listen_peer_urls) {
    env::log_info("serving peer traffic", {{"address", url.host}});
  }
  auto serve = [this, on_ready = std::move(on_ready)]() mutable {
    on_every_lane(
        [](IoLane& lane, base::Job done) {
          lane.serve_clients();
          done();
        },
        [this, on_ready = std::move(on_ready)]() mutable {
          log_ready();
          lanes_.io.front()->post(std::move(on_ready));
        });
  };
  member_->start(std::move(serve), std::move(on_removed));
}

void Server::log_ready() const {
  for (std::size_t i = 0; i < client_listeners_.size(); i++) {
    env::log_info("ready to serve client requests");
  }
  for (const auto& listener : client_listeners_) {
    env::log_info("serving client traffic insecurely; this is strongly discouraged!",
                  {{"traffic", "grpc+http"}, {"address", listener->address()}});
  }
}

void Server::log_closed() const {
  env::log_info("closed etcd server",
                {{"name", config_.member.name},
                 {"data-dir", config_.member.data_dir},
                 {"advertise-peer-urls", membership::to_texts(config_.member.advertise_peer_urls)},
                 {"advertise-client-urls", config_.member.advertise_client_urls}});
}

void Server::stop(base::Job done) {
  env::log_info("closing etcd server",
                {{"name", config_.member.name},
                 {"data-dir", config_.member.data_dir},
                 {"advertise-peer-urls", membership::to_texts(config_.member.advertise_peer_urls)},
                 {"advertise-client-urls", config_.member.advertise_client_urls}});
  client_listeners_.clear();
  on_every_lane(
      [patience = config_.member.request_timeout()](IoLane& lane, base::Job stopped) {
        lane.stop_clients(patience, std::move(stopped));
      },
      [this, done = std::move(done)]() mutable {
        member_->stop([this, done = std::move(done)]() mutable {
          lanes_.io.front()->post([this, done = std::move(done)]() mutable {
            env::log_info("stopping serving peer traffic");
            other_listeners_.clear();
            on_every_lane(
                [](IoLane& lane, base::Job stopped) { lane.stop_peers(std::move(stopped)); },
                std::move(done));
          });
        });
      });
}

void Server::on_every_lane(std::function<void(IoLane&, base::Job)> work, base::Job done) {
  struct Progress {
    std::atomic<std::size_t> left;
    base::Job done;
  };
  auto progress = std::make_shared<Progress>(io_.size(), std::move(done));
  for (const auto& io : io_) {
    io->lane().post([lane = io.get(), work, progress] {
      work(*lane, [progress] {
        if (progress->left.fetch_sub(1) == 1) progress->done();
      });
    });
  }
}

}  // namespace keelson::cmd
