// http_echo: what gRPC through http/ costs above bench/nghttp2_echo, which does nothing but HTTP/2.
//
//   http_echo PORT        listens on 127.0.0.1; a POST to /echo.Echo/N (N of 0, 64, 256, 1024,
//   65536) gets an answer of N bytes, one to /echo.Echo/Same gets its own message. Ends by SIGTERM
//   or SIGINT.
//
// One lane on one thread. Load and CPU are measured as bench/run does:
//   h2load -c10 -m20 -t1 -D5 -d message http://127.0.0.1:PORT/echo.Echo/256 \
//     -H 'content-type: application/grpc' -H 'te: trailers'
#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "env/posix/runtime.h"
#include "http/server.h"

namespace keelson {
namespace {

// Answers with `bytes` bytes, or with what came if that is negative.
class EchoHandler final : public http::CallHandler {
 public:
  EchoHandler(http::Call& call, int bytes) : call_(call), bytes_(bytes) {}
  void on_message(http::Message message) override {
    call_.send(bytes_ < 0 ? std::move(message).take()
                          : std::string(static_cast<std::size_t>(bytes_), 'e'));
    call_.finish({});
  }

 private:
  http::Call& call_;
  const int bytes_;
};

int run(const std::string& port) {
  env::posix::Runtime runtime({{"main", "main"}});
  env::Lane& lane = runtime.lane("main");
  http::Router router;
  const auto add = [&](const std::string& name, int bytes) {
    router.add("echo.Echo", name, http::MethodKind::kUnary,
               [bytes](http::Call& call) { return std::make_unique<EchoHandler>(call, bytes); });
  };
  for (const int bytes : {0, 64, 256, 1024, 65536}) add(fmt::to_string(bytes), bytes);
  add("Same", -1);
  http::Server server(lane, {}, &router, nullptr);
  auto listening = runtime.network().listen(
      "127.0.0.1:" + port, {}, {&lane},
      [&](std::unique_ptr<env::Stream> stream) { server.accept(std::move(stream)); });
  if (!listening) {
    std::fprintf(stderr, "%s\n", listening.error().message().c_str());
    return 1;
  }
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  runtime.start();
  int signal = 0;
  sigwait(&ends, &signal);
  runtime.stop();
  return 0;
}

}  // namespace
}  // namespace keelson

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: http_echo PORT\n");
    return 2;
  }
  return keelson::run(argv[1]);
}
