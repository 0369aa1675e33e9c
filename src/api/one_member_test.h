// OneMember: a member of a new cluster on a simulated host, with all its services and endpoints,
// and a client of it. For tests of this directory; time is virtual and passes by itself.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/http_endpoints.h"
#include "api/lane_api.h"
#include "api/peer_endpoints.h"
#include "env/simulated/world.h"
#include "http/grpc_client.h"
#include "http/server.h"
#include "member/member.h"
#include "membership/bootstrap.h"

namespace keelson::api {

class OneMember {
 public:
  explicit OneMember(std::function<void(member::Config&)> adjust = [](member::Config&) {}) {
    member::Config config;
    config.name = "m1";
    config.data_dir = "/data";
    config.initial_cluster = *membership::parse_initial_cluster("m1=http://m1:2380");
    config.advertise_peer_urls = *membership::parse_url_list("http://m1:2380");
    config.advertise_client_urls = {"http://m1:2379"};
    adjust(config);
    start(std::move(config));
  }
  ~OneMember() { stop(); }
  OneMember(const OneMember&) = delete;
  OneMember& operator=(const OneMember&) = delete;

  env::simulated::World& world() { return world_; }
  member::Member& member() { return *member_; }
  env::simulated::Disk& disk() { return server_host().disk(); }
  env::Lane& transfer() { return server_host().lane("transfer"); }

  // A unary call, or any whose answer is one message: what came back.
  struct Answer {
    http::Status status;
    std::string message;
  };
  Answer call(const std::string& path, const std::string& request,
              std::vector<std::pair<std::string, std::string>> metadata = {}) {
    std::optional<Answer> answer;
    std::unique_ptr<http::ClientCall> open;
    client_lane().post([&] {
      open = client_->unary({.path = path, .metadata = std::move(metadata)}, request,
                            [&](http::CallEnd end, std::string message) {
                              answer = {end.status, std::move(message)};
                            });
    });
    EXPECT_TRUE(world_.run_until([&] { return answer.has_value(); }, base::Seconds(60))) << path;
    return answer.value_or(Answer{});
  }

  // A stream, kept open; what came is gathered.
  struct Stream : http::ClientCallHandler {
    void on_message(http::Message message) override {
      messages.push_back(std::move(message).take());
    }
    void on_end(http::CallEnd call_end) override { end = call_end.status; }
    std::vector<std::string> messages;
    std::optional<http::Status> end;
    std::unique_ptr<http::ClientCall> call;
  };
  std::unique_ptr<Stream> open(const std::string& path,
                               std::vector<std::pair<std::string, std::string>> metadata = {}) {
    auto stream = std::make_unique<Stream>();
    on_client([&] {
      stream->call = client_->start({.path = path, .metadata = std::move(metadata)}, *stream);
    });
    return stream;
  }
  // Runs on the client's lane, to its end.
  void on_client(std::function<void()> job) {
    bool done = false;
    client_lane().post([&] {
      job();
      done = true;
    });
    EXPECT_TRUE(world_.run_until([&] { return done; }, base::Seconds(60)));
  }
  bool run_until(const std::function<bool()>& done) {
    return world_.run_until(done, base::Seconds(60));
  }

  enum class Port { kClient = 2379, kPeer = 2380, kMetrics = 2381 };
  // The whole answer to one HTTP/1.1 request, without its Date.
  std::string http(Port port, const std::string& method, const std::string& target,
                   const std::string& fields = "") {
    Raw raw;
    client_lane().post([&] {
      client_host().network().connect(
          client_lane(), fmt::format("m1:{}", static_cast<int>(port)), base::Seconds(5),
          [&](base::Result<std::unique_ptr<env::Stream>> stream) {
            raw.stream = *std::move(stream);
            raw.stream->start(raw);
            raw.stream->write(
                fmt::format("{} {} HTTP/1.1\r\nHost: m1\r\nConnection: close\r\n{}\r\n", method,
                            target, fields));
          });
    });
    EXPECT_TRUE(run_until([&] { return raw.ended; })) << target;
    on_client([&] { raw.stream.reset(); });
    const auto date = raw.bytes.find("Date: ");
    if (date != std::string::npos) raw.bytes.erase(date, raw.bytes.find('\n', date) + 1 - date);
    std::erase(raw.bytes, '\r');
    return raw.bytes;
  }

 private:
  struct Raw : env::StreamHandler {
    void on_bytes(std::string_view more) override { bytes += more; }
    void on_end() override { ended = true; }
    void on_drained() override {}
    void on_closed(const base::Error&) override { ended = true; }
    std::string bytes;
    bool ended = false;
    std::unique_ptr<env::Stream> stream;
  };

  env::simulated::Host& server_host() { return world_.host("m1"); }
  env::simulated::Host& client_host() { return world_.host("client"); }
  env::Lane& io() { return server_host().lane("io0"); }
  env::Lane& client_lane() { return client_host().lane("client"); }

  void start(member::Config config) {
    auto& host = server_host();
    auto made = member::Member::make(std::move(config), host.disk(), host.clock(), host.network(),
                                     {.io = {&io()},
                                      .raft = &host.lane("raft"),
                                      .log = &host.lane("log"),
                                      .apply = &host.lane("apply"),
                                      .store = &host.lane("store"),
                                      .workers = {&host.lane("worker0"), &host.lane("worker1")},
                                      .transfer = &transfer()},
                                     1);
    ASSERT_TRUE(made.ok());
    member_ = *std::move(made);
    auto& front = member_->front(0);
    metrics_ = std::make_unique<GrpcMetrics>();
    api_ = std::make_unique<LaneApi>(front, *metrics_, http::ServerOptions{});
    peer_endpoints_ = std::make_unique<PeerEndpoints>(front);
    scrape_endpoints_ = std::make_unique<HttpEndpoints>(front, *metrics_, HttpPort::kMetrics);
    const http::ServerOptions open{.access = {.applies = false}};
    peers_ = std::make_unique<http::Server>(io(), open, nullptr, peer_endpoints_.get());
    scrapes_ = std::make_unique<http::Server>(io(), open, nullptr, scrape_endpoints_.get());
    listen(Port::kClient, [this](auto stream) { api_->accept(std::move(stream)); });
    listen(Port::kPeer, [this](auto stream) { peers_->accept(std::move(stream)); });
    listen(Port::kMetrics, [this](auto stream) { scrapes_->accept(std::move(stream)); });
    bool ready = false;
    member_->start([&] { ready = true; });
    const auto version = [this] { return member_->front(0).view()->roster->version.has_value(); };
    ASSERT_TRUE(run_until([&] { return ready && version(); }));
    connect();
  }
  void listen(Port port, std::function<void(std::unique_ptr<env::Stream>)> accept) {
    auto listener = server_host().network().listen(fmt::format("m1:{}", static_cast<int>(port)), {},
                                                   {&io()}, std::move(accept));
    ASSERT_TRUE(listener.ok());
    listeners_.push_back(*std::move(listener));
  }
  void connect() {
    client_lane().post([this] {
      client_host().network().connect(
          client_lane(), "m1:2379", base::Seconds(5), [this](auto stream) {
            client_ = std::make_unique<http::GrpcClient>(client_lane(), *std::move(stream),
                                                         http::GrpcClientOptions{}, [] {});
          });
    });
    ASSERT_TRUE(run_until([this] { return client_ != nullptr; }));
  }
  void stop() {
    bool stopped = false;
    on_client([this] { client_.reset(); });
    io().post([&] {
      listeners_.clear();
      peers_.reset();
      scrapes_.reset();
      api_->stop(base::Seconds(1), [&] { member_->stop([&] { stopped = true; }); });
    });
    EXPECT_TRUE(run_until([&] { return stopped; }));
    world_.run_until_idle();
    server_host().kill(env::simulated::Disk::Crash::kKeepAll);
    client_host().kill(env::simulated::Disk::Crash::kKeepAll);
    api_.reset();
    member_.reset();
  }

  env::simulated::World world_{1};
  std::unique_ptr<member::Member> member_;
  std::unique_ptr<GrpcMetrics> metrics_;
  std::unique_ptr<LaneApi> api_;
  std::unique_ptr<PeerEndpoints> peer_endpoints_;
  std::unique_ptr<HttpEndpoints> scrape_endpoints_;
  std::unique_ptr<http::Server> peers_, scrapes_;
  std::vector<std::unique_ptr<env::Listener>> listeners_;
  std::unique_ptr<http::GrpcClient> client_;
};

}  // namespace keelson::api
