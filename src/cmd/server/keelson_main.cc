// keelson: the server. operations.md 1, 8.

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <csignal>
#include <cstdio>
#include <future>
#include <string>
#include <vector>

#include "cmd/server/lanes.h"
#include "cmd/server/server.h"
#include "cmd/server/server_flags.h"

extern char** environ;

#ifdef KEELSON_JEMALLOC
// Read by jemalloc before main. What is free goes back to the kernel within seconds, on a thread of
// its own, so that memory after a burst is what is in use.
extern "C" const char* malloc_conf;
const char* malloc_conf =
    "background_thread:true,dirty_decay_ms:2000,muzzy_decay_ms:0,max_background_threads:1";
#endif

namespace keelson::cmd {
namespace {

int run(ServerConfig config) {
  const unsigned cores = usable_cores();
  env::posix::Runtime runtime(lane_table(cores));
  const member::Lanes lanes = lanes_of(runtime, cores);
  auto made = Server::make(std::move(config), runtime, lanes);
  if (!made) {
    spdlog::critical("discovery failed error=\"{}\"", made.error());
    return 1;
  }
  Server& server = **made;
  std::promise<void> over;
  runtime.on_signals({SIGTERM, SIGINT}, *lanes.io.front(),
                     [&, stopping = false](int signal) mutable {
                       if (std::exchange(stopping, true)) return;  // a second one changes nothing
                       spdlog::info("received signal; shutting down signal={}",
                                    signal == SIGTERM ? "terminated" : "interrupt");
                       server.stop([&] { over.set_value(); });
                     });
  runtime.start();
  server.start([&] { spdlog::info("ready to serve client requests"); });
  over.get_future().wait();
  runtime.stop();
  return 0;
}

int main(const std::vector<std::string>& arguments) {
  const FlagSet flags = server_flags();
  auto values = flags.parse(arguments);
  if (!values) {
    fmt::print(stderr, "{}\n", values.error().text);
    return values.error().code;
  }
  std::vector<std::string> environment;
  for (char** one = environ; *one != nullptr; one++) environment.emplace_back(*one);
  auto notes = flags.read_environment(*values, environment);
  if (!notes) {
    fmt::print(stderr, "{}\n", notes.error().text);
    return notes.error().code;
  }
  auto config = make_server_config(*values);
  if (!config) {
    spdlog::warn("failed to verify flags error=\"{}\"", config.error());
    return 1;
  }
  for (const std::string& warning : config->warnings) spdlog::warn("{}", warning);
  return run(*std::move(config));
}

}  // namespace
}  // namespace keelson::cmd

int main(int argc, char** argv) {
  spdlog::set_default_logger(spdlog::stderr_logger_mt("keelson"));
  return keelson::cmd::main({argv + 1, argv + argc});
}
