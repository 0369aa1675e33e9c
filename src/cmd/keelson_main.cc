// keelson: the server.

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <csignal>
#include <cstdio>
#include <future>
#include <random>
#include <string>

#include "api/lane_api.h"
#include "env/posix/runtime.h"
#include "member/member.h"
#include "membership/bootstrap.h"

int main(int argc, char** argv) {
  using namespace keelson;
  spdlog::set_default_logger(spdlog::stderr_logger_mt("keelson"));
  member::Config config;
  std::string listen = "127.0.0.1:2379", peer = "http://localhost:2380", client;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i], value = argv[i + 1];
    if (flag == "--name") config.name = value;
    if (flag == "--data-dir") config.data_dir = value;
    if (flag == "--listen") listen = value;
    if (flag == "--peer") peer = value;
  }
  config.advertise_client_urls = {"http://" + listen};
  config.advertise_peer_urls = *membership::parse_url_list(peer);
  config.initial_cluster = *membership::parse_initial_cluster(config.name + "=" + peer);

  env::posix::Runtime runtime({{"io0", "io0"},
                               {"raft", "io0"},
                               {"log", "log"},
                               {"apply", "apply"},
                               {"store", "store"},
                               {"worker0", "worker0"},
                               {"worker1", "worker1"}});
  auto& io = runtime.lane("io0");
  auto made =
      member::Member::make(config, runtime.file_system(), runtime.clock(),
                           {.io = {&io},
                            .raft = &runtime.lane("raft"),
                            .log = &runtime.lane("log"),
                            .apply = &runtime.lane("apply"),
                            .store = &runtime.lane("store"),
                            .workers = {&runtime.lane("worker0"), &runtime.lane("worker1")}},
                           std::random_device{}());
  if (!made) {
    spdlog::critical("discovery failed error=\"{}\"", made.error().text);
    return 1;
  }
  auto& member = **made;
  api::GrpcMetrics metrics(*member.shared().metrics.registry);
  api::LaneApi lane_api(member.front(0), metrics, {});
  std::unique_ptr<env::Listener> listener;
  std::promise<void> over;
  runtime.on_signals({SIGTERM, SIGINT}, io, [&](int) {
    listener.reset();
    lane_api.stop(base::Seconds(7), [&] { member.stop([&] { over.set_value(); }); });
  });
  runtime.start();
  member.start([&] {
    auto listening = runtime.network().listen(
        listen, {}, {&io}, [&](auto stream) { lane_api.accept(std::move(stream)); });
    if (!listening) {
      spdlog::critical("{}", listening.error().message());
      std::_Exit(1);
    }
    listener = *std::move(listening);
    spdlog::info("ready to serve client requests");
  });
  over.get_future().wait();
  runtime.stop();
  return 0;
}
