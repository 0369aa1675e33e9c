// keelson: the server. operations.md 1.1, 8.1.
//
//   arguments -> environment or file -> log -> configuration -> ports -> member -> ready -> signal
//
//   exit 0    --help, --version; as pid 1 after a signal
//        1    a configuration or a start that is refused; durability in doubt
//        2    a flag that is not known, or whose value it refuses
//        else ended by the signal that asked for the end, after the member has closed

#include <fmt/format.h>
#include <google/protobuf/stubs/logging.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <string>
#include <vector>

#include "cmd/server/config_file.h"
#include "cmd/server/data_directory.h"
#include "cmd/server/lanes.h"
#include "cmd/server/server.h"
#include "cmd/server/server_config.h"
#include "cmd/server/server_flags.h"
#include "cmd/server/start_log.h"
#include "cmd/server/version_text.h"
#include "env/log.h"
#include "env/posix/files.h"

extern char** environ;

#ifdef KEELSON_JEMALLOC
// Read by jemalloc before main. What is free goes back to the kernel within seconds, on a thread of
// its own, so that memory after a burst is what is in use.
extern "C" const char* malloc_conf;
const char* malloc_conf =
    "background_thread:true,dirty_decay_ms:2000,muzzy_decay_ms:0,max_background_threads:1";
#endif

#ifdef KEELSON_TRAIN
extern "C" int __llvm_profile_write_file();
#endif

namespace keelson::cmd {
namespace {

constexpr int kRefused = 1;
constexpr int kBadUsage = 2;

// What the process was called with.
struct Call {
  std::vector<std::string> command;    // with the program's name
  std::vector<std::string> arguments;  // without
  std::vector<std::string> environment;
};

int say_help(const FlagSet& flags) {
  fmt::print(stderr, "{}", usage_text());
  fmt::print("{}", flags.help());
  return 0;
}

int refuse_config(const Call& call, std::string_view why) {
  env::log_info("Running: ", {{"args", call.command}});
  env::log_warn("failed to verify flags", {{"error", why}});
  if (why == kUnsetAdvertiseClientUrls) {
    env::log_warn("advertise client URLs are not set", {{"error", why}});
  }
  return kRefused;
}

int refuse_arguments(const Call& call, const FlagSet& flags, const FlagExit& exit) {
  switch (exit.why) {
    case FlagExit::Why::kHelp:
      return say_help(flags);
    case FlagExit::Why::kLeftOver:
      return refuse_config(call, exit.text);
    case FlagExit::Why::kBadFlag:
      fmt::print(stderr, "{}\n{}", exit.text, usage_text());
      return kBadUsage;
  }
  return kBadUsage;
}

// The file to be read instead of flags and environment; empty: none.
std::string config_file_of(const FlagValues& values) {
  if (!values.text("config-file").empty()) return values.text("config-file");
  const char* variable = std::getenv("ETCD_CONFIG_FILE");
  return variable == nullptr ? "" : variable;
}

// "keelson gateway" and "keelson grpc-proxy" of etcd.
bool names_a_proxy(const Call& call) {
  return !call.arguments.empty() &&
         (call.arguments.front() == "gateway" || call.arguments.front() == "grpc-proxy");
}

void notify_init() {
  env::log_info("notifying init daemon");
  if (const int sent = ::sd_notify(0, "READY=1"); sent < 0) {
    env::log_error("failed to notify systemd for readiness",
                   {{"error", std::generic_category().message(-sent)}});
    return;
  }
  env::log_info("successfully notified init daemon");
}

// What was counted for a profile is written by handlers that an end by signal does not run.
void write_counts() {
#ifdef KEELSON_TRAIN
  __llvm_profile_write_file();
#endif
}

// Ends the process the way the signal would have, so that whoever sent it sees that it was heeded.
[[noreturn]] void end_by(int signal) {
  if (::getpid() != 1) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);
  }
  std::_Exit(0);
}

// Runs until a signal has ended it.
int run(ServerConfig config, const DataDirectory& directory) {
  const unsigned cores = usable_cores();
  env::posix::Runtime runtime(lane_table(cores));
  const member::Lanes lanes = lanes_of(runtime, cores);
  env::Lane& lane = *lanes.io.front();
  auto made = Server::make(std::move(config), directory.initialized, cores, runtime, lanes);
  if (!made) {
    env::log_fatal("discovery failed", {{"error", made.error()}});
  }
  Server& server = **made;
  std::promise<int> over;
  bool stopping = false;
  const auto on_signal = [&](int signal) {
    if (std::exchange(stopping, true)) return;  // a second one changes nothing
    env::log_info("received signal; shutting down",
                  {{"signal", signal == SIGTERM ? "terminated" : "interrupt"}});
    server.stop([&over, signal] { over.set_value(signal); });
  };
  const auto on_removed = [&] {
    env::log_error("server error",
                   {{"error", "the member has been permanently removed from the cluster"}});
    env::log_error("data-dir used by this member must be removed");
    if (std::exchange(stopping, true)) return;
    server.stop([&over] { over.set_value(0); });
  };
  runtime.start();
  server.start(
      [&] {
        // Until now a signal simply ended the process, as it does etcd.
        runtime.on_signals({SIGTERM, SIGINT}, lane, on_signal);
        notify_init();
      },
      on_removed);
  const int signal = over.get_future().get();
  runtime.stop();
  server.log_closed();
  write_counts();
  if (signal != 0) end_by(signal);
  std::_Exit(0);
}

int start(ServerConfig config) {
  member::Config& member = config.member;
  if (config.default_data_dir) {
    env::log_warn("'data-dir' was empty; using default", {{"data-dir", member.data_dir}});
  }
  env::posix::Files files;
  auto directory = look_at_data_directory(files, member);
  if (!directory) {
    env::log_fatal("failed to list data directory",
                   {{"dir", member.data_dir}, {"error", directory.error()}});
  }
  for (const std::string& name : directory->foreign) {
    env::log_warn("found invalid file under data directory",
                  {{"filename", name}, {"data-dir", member.data_dir}});
  }
  if (directory->has_proxy) {
    env::log_fatal("v2 http proxy has already been deprecated in 3.6", {{"dir-type", "proxy"}});
  }
  if (directory->has_member) {
    env::log_info("server has already been initialized",
                  {{"data-dir", member.data_dir}, {"dir-type", "member"}});
  } else {
    env::log_info("Initialize and start etcd server",
                  {{"data-dir", member.data_dir}, {"dir-type", "empty"}});
  }
  for (const std::string& why : directory->permissions) {
    env::log_warn("check file permission", {{"error", why}});
  }
  log_warnings(config);
  if (auto completed = complete_server_config(config); !completed) {
    env::log_fatal("discovery failed", {{"error", completed.error()}});
  }
  return run(std::move(config), *directory);
}

int main(const Call& call) {
  if (names_a_proxy(call)) {
    fmt::print(stderr, "keelson {} is not supported yet\n", call.arguments.front());
    return kRefused;
  }
  const FlagSet flags = server_flags();
  auto values = flags.parse(call.arguments);
  if (!values) return refuse_arguments(call, flags, values.error());
  if (values->flag("version")) {
    fmt::print("{}", version_lines());
    return 0;
  }
  const std::string file = config_file_of(*values);
  const auto source = file.empty() ? ConfigSource::kCommandLine : ConfigSource::kFile;
  if (source == ConfigSource::kFile) {
    auto loaded = read_config_file(flags, file);
    if (!loaded && loaded.error().url_list) {
      fmt::print(stderr, "{}\n", loaded.error().text);
      return kRefused;
    }
    if (!loaded) return refuse_config(call, loaded.error().text);
    *values = *std::move(loaded);
  } else {
    const EnvironmentUse use = flags.read_environment(*values, call.environment);
    log_environment(use);
    if (!use.error.empty()) return refuse_config(call, use.error);
  }
  const auto log_options = make_log_options(*values);
  if (!log_options) {
    if (!env::parse_log_level(values->text("log-level"))) {
      fmt::print(stderr, "panic: {}\n", log_options.error());  // as Go does, exit code and all
      return kBadUsage;
    }
    return refuse_config(call, log_options.error());
  }
  if (auto opened = env::open_log(*log_options); !opened)
    return refuse_config(call, opened.error());
  auto config = make_server_config(*values, source);
  if (!config) return refuse_config(call, config.error());
  log_warnings(*config);
  for (const std::string& warning : config->warnings) env::log_warn(warning);
  if (source == ConfigSource::kFile) {
    env::log_info(
        "loaded server configuration, other configuration command line flags and environment "
        "variables will be ignored if provided",
        {{"path", file}});
  }
  env::log_info("Running: ", {{"args", call.command}});
  return start(*std::move(config));
}

}  // namespace
}  // namespace keelson::cmd

int main(int argc, char** argv) {
  keelson::cmd::Call call{.command = {argv, argv + argc}, .arguments = {argv + 1, argv + argc}};
  for (char** variable = environ; *variable != nullptr; variable++) {
    call.environment.emplace_back(*variable);
  }
  // What a client sends must not write into our log: it is told itself.
  google::protobuf::SetLogHandler(nullptr);
  return keelson::cmd::main(call);
}
