#include "env/posix/network.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <latch>
#include <set>

#include "base/random.h"
#include "env/posix/runtime.h"
#include "env/posix/socket_address.h"

namespace keelson::env::posix {
namespace {

using base::Milliseconds;
using base::Seconds;

constexpr base::Duration kLong = Seconds(30);

// A stream and what it told. Lives in the lane of the stream. Calls copies of its callbacks, which
// may destroy it.
class Peer : public StreamHandler {
 public:
  explicit Peer(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {
    stream_->start(*this);
  }
  void on_bytes(std::string_view bytes) override {
    received.append(bytes);
    if (const auto call = at_bytes) call();
  }
  void on_end() override {
    ended = true;
    if (const auto call = at_end) call();
  }
  void on_drained() override {
    EXPECT_EQ(stream_->unsent(), 0u);
    if (const auto call = at_drained) call();
  }
  void on_closed(const base::Error& error) override {
    EXPECT_FALSE(closed.has_value()) << "told twice";
    closed = error;
    if (const auto call = at_closed) call();
  }
  Stream& stream() { return *stream_; }

  std::string received;
  bool ended = false;
  std::optional<base::Error> closed;
  std::function<void()> at_bytes, at_end, at_drained, at_closed;

 private:
  std::unique_ptr<Stream> stream_;
};

// Server and client in one process, each with a lane and a thread of its own.
class NetworkTest : public ::testing::Test {
 protected:
  NetworkTest() { runtime_.start(); }
  ~NetworkTest() override {
    runtime_.stop();
    listener_.reset();
    accepted_.clear();
    client_.reset();
  }

  template <class Work>
  static void run_in(Lane& lane, Work work) {
    std::latch done(1);
    lane.post([&] {
      work();
      done.count_down();
    });
    done.wait();
  }

  void listen(const std::string& address = "127.0.0.1:0", ListenOptions options = {}) {
    auto listener =
        network_.listen(address, options, {&server_lane_}, [this](std::unique_ptr<Stream> stream) {
          accepted_.push_back(std::make_unique<Peer>(std::move(stream)));
          if (at_accept_) at_accept_(*accepted_.back());
        });
    ASSERT_TRUE(listener) << listener.error().message();
    listener_ = *std::move(listener);
  }

  base::Result<std::unique_ptr<Stream>> connect(const std::string& address,
                                                base::Duration timeout = kLong) {
    std::optional<base::Result<std::unique_ptr<Stream>>> result;
    std::latch done(1);
    client_lane_.post([&] {
      const auto returned = std::make_shared<bool>(false);
      network_.connect(client_lane_, address, timeout, [&, returned](auto answer) {
        EXPECT_TRUE(client_lane_.is_current());
        EXPECT_TRUE(*returned) << "never from within connect()";
        result = std::move(answer);
        done.count_down();
      });
      *returned = true;
    });
    done.wait();
    return *std::move(result);
  }

  // A connected pair: client_ in its lane, accepted_.back() in its own.
  void connect_pair() {
    std::latch both(1);
    at_accept_ = [&](Peer&) { both.count_down(); };
    auto stream = connect(listener_->address());
    ASSERT_TRUE(stream) << stream.error().message();
    run_in(client_lane_, [&] { client_ = std::make_unique<Peer>(*std::move(stream)); });
    both.wait();
    run_in(server_lane_, [&] { at_accept_ = nullptr; });
  }
  Peer& server() { return *accepted_.back(); }

  Runtime runtime_{{{"server", "server"}, {"client", "client"}, {"second", "second"}}};
  Network& network_ = runtime_.network();
  Lane& server_lane_ = runtime_.lane("server");
  Lane& client_lane_ = runtime_.lane("client");
  std::unique_ptr<Listener> listener_;
  std::vector<std::unique_ptr<Peer>> accepted_;
  std::function<void(Peer&)> at_accept_;
  std::unique_ptr<Peer> client_;
};

TEST_F(NetworkTest, BytesGoBothWays) {
  listen();
  connect_pair();
  std::latch done(1);
  run_in(server_lane_, [&] {
    server().at_bytes = [&] { server().stream().write("echo " + server().received); };
  });
  run_in(client_lane_, [&] {
    client_->at_bytes = [&] {
      if (client_->received.size() == 10) done.count_down();
    };
    EXPECT_EQ(client_->stream().peer_address(), listener_->address());
    client_->stream().write("hello");
    EXPECT_EQ(client_->stream().unsent(), 0u) << "the kernel takes it at once";
  });
  done.wait();
  run_in(client_lane_, [&] { EXPECT_EQ(client_->received, "echo hello"); });
  std::string local;
  run_in(client_lane_, [&] { local = client_->stream().local_address(); });
  run_in(server_lane_, [&] {
    EXPECT_EQ(server().stream().peer_address(), local);
    EXPECT_EQ(server().stream().local_address(), listener_->address());
    EXPECT_EQ(&server().stream().lane(), &server_lane_);
  });
}

TEST_F(NetworkTest, MuchDataInPiecesOfEverySizeArrivesWholeAtASlowReader) {
  listen();
  connect_pair();
  base::Random random(7);
  std::string sent;
  bool drained = false;
  std::latch finished(1), drained_once(1);
  std::vector<std::vector<base::SharedBytes>> batches;
  while (sent.size() < 12'000'000) {
    auto& batch = batches.emplace_back();
    for (std::uint64_t i = random.below(200); i > 0; i--) {
      const auto bytes =
          random.bytes(random.one_in(20) ? random.below(300'000) : random.below(200));
      sent += bytes;
      batch.push_back(base::SharedBytes(bytes));
    }
  }
  run_in(client_lane_, [&] { client_->stream().pause_reading(); });
  run_in(server_lane_, [&] {
    server().at_drained = [&] {
      drained = true;
      drained_once.count_down();
    };
    for (auto& batch : batches) {
      if (batch.size() % 3 == 0 && !batch.empty()) {
        server().stream().write(std::string(batch.front()));
        batch.erase(batch.begin());
      }
      server().stream().write(std::move(batch));
    }
    EXPECT_GT(server().stream().unsent(), 0u) << "nobody reads";
  });
  run_in(client_lane_, [&] {
    EXPECT_TRUE(client_->received.size() < sent.size());
    client_->at_bytes = [&] {  // now and then it stops for a while
      if (client_->received.size() % 7 == 0) {
        client_->stream().pause_reading();
        client_lane_.after(Milliseconds(1), [&] { client_->stream().resume_reading(); });
      }
      if (client_->received.size() >= sent.size()) finished.count_down();
    };
    client_->stream().resume_reading();
  });
  finished.wait();
  drained_once.wait();
  run_in(client_lane_, [&] { EXPECT_TRUE(client_->received == sent); });
  run_in(server_lane_, [&] {
    EXPECT_TRUE(drained);
    EXPECT_EQ(server().stream().unsent(), 0u);
  });
}

TEST_F(NetworkTest, PausedStreamsReadNothing) {
  listen();
  connect_pair();
  run_in(server_lane_, [&] { server().stream().pause_reading(); });
  run_in(client_lane_, [&] { client_->stream().write("x"); });
  std::latch waited(1), came(1);
  server_lane_.post([&] { server_lane_.after(Milliseconds(5), [&] { waited.count_down(); }); });
  waited.wait();
  run_in(server_lane_, [&] {
    EXPECT_EQ(server().received, "");
    server().at_bytes = [&] { came.count_down(); };
    server().stream().resume_reading();
    server().stream().resume_reading();
  });
  came.wait();
}

TEST_F(NetworkTest, TheEndOfOneDirectionLeavesTheOtherOpen) {
  listen();
  connect_pair();
  std::latch ended(1), answered(1), closed(1);
  run_in(server_lane_, [&] { server().at_end = [&] { ended.count_down(); }; });
  run_in(client_lane_, [&] {
    client_->at_closed = [&] { closed.count_down(); };
    client_->stream().write("last words");
    client_->stream().close_gracefully(kLong);
    client_->stream().write("dropped");
  });
  ended.wait();
  run_in(server_lane_, [&] {
    EXPECT_EQ(server().received, "last words");
    EXPECT_FALSE(server().closed.has_value());
    server().stream().write("nobody listens, but this is no error yet");
    server().at_closed = [&] { answered.count_down(); };
    server().stream().close_gracefully(kLong);
  });
  closed.wait();
  answered.wait();
  run_in(client_lane_, [&] {
    EXPECT_FALSE(client_->closed->code) << client_->closed->message();
    EXPECT_EQ(client_->received, "") << "a closing stream hears nothing more";
  });
  run_in(server_lane_, [&] { EXPECT_FALSE(server().closed->code); });
}

TEST_F(NetworkTest, WhatIsSentAtOnceLeavesItsBuffer) {
  listen();
  connect_pair();
  std::latch received(1);
  run_in(client_lane_, [&] {
    client_->at_bytes = [&] {
      if (client_->received.size() == 1000) received.count_down();
    };
  });
  run_in(server_lane_, [&] {
    std::string buffer(1000, 'x');
    const char* const place = buffer.data();
    server().stream().write(std::move(buffer));
    EXPECT_EQ(server().stream().unsent(), 0u);
    EXPECT_EQ(buffer.data(), place);  // NOLINT: what write() promises
    EXPECT_GE(buffer.capacity(), 1000u);
  });
  received.wait();
}

TEST_F(NetworkTest, AGracefulCloseSendsAllThatIsQueuedFirst) {
  listen();
  connect_pair();
  const std::string much(8'000'000, 'x');
  std::latch ended(1), closed(1);
  run_in(client_lane_, [&] {
    client_->stream().pause_reading();
    client_->at_end = [&] {
      ended.count_down();
      client_->stream().close_gracefully(kLong);
    };
  });
  run_in(server_lane_, [&] {
    server().at_closed = [&] { closed.count_down(); };
    server().stream().write(std::string(much));
    server().stream().close_gracefully(kLong);
  });
  run_in(client_lane_, [&] { client_->stream().resume_reading(); });
  ended.wait();
  closed.wait();
  run_in(client_lane_, [&] { EXPECT_EQ(client_->received.size(), much.size()); });
}

TEST_F(NetworkTest, AGracefulCloseGivesUpAfterTheLingerTime) {
  listen();
  connect_pair();
  std::latch closed(1);
  run_in(client_lane_, [&] { client_->stream().pause_reading(); });
  run_in(server_lane_, [&] {
    server().at_closed = [&] { closed.count_down(); };
    server().stream().write(std::string(20'000'000, 'x'));
    server().stream().close_gracefully(Milliseconds(5));
  });
  closed.wait();
  run_in(server_lane_, [&] {
    EXPECT_EQ(server().closed->code, std::errc::timed_out);
    EXPECT_EQ(server().stream().unsent(), 0u);
  });
}

TEST_F(NetworkTest, ABrokenConnectionIsToldOnceAndNeverFromWithinACall) {
  listen();
  connect_pair();
  std::latch closed(1);
  run_in(server_lane_, [&] { server().stream().pause_reading(); });
  run_in(client_lane_, [&] { client_->stream().write("unread bytes make a close a reset"); });
  std::latch waited(1);
  server_lane_.post([&] { server_lane_.after(Milliseconds(2), [&] { waited.count_down(); }); });
  waited.wait();
  run_in(client_lane_, [&] {
    client_->at_closed = [&] { closed.count_down(); };
    client_->stream().pause_reading();
  });
  run_in(server_lane_, [&] { accepted_.clear(); });
  std::function<void()> write_until_closed = [&] {
    if (client_->closed) return;
    client_->stream().write("x");
    client_lane_.post([&] { write_until_closed(); });
  };
  client_lane_.post([&] {
    client_->stream().write(std::string(100, 'x'));
    EXPECT_FALSE(client_->closed.has_value());
    write_until_closed();
  });
  closed.wait();
  run_in(client_lane_, [&] { EXPECT_TRUE(client_->closed->code); });
}

TEST_F(NetworkTest, AStreamMayBeDestroyedInAnyOfItsCalls) {
  listen();
  for (const bool at_end : {false, true}) {
    connect_pair();
    std::latch gone(1), closed(1);
    run_in(server_lane_, [&] {
      const auto destroy = [&] {
        accepted_.clear();
        gone.count_down();
      };
      (at_end ? server().at_end : server().at_bytes) = destroy;
    });
    run_in(client_lane_, [&] {
      client_->at_end = client_->at_closed = [&, told = false]() mutable {
        if (!std::exchange(told, true)) closed.count_down();
      };
      if (at_end) {
        client_->stream().close_gracefully(kLong);
      } else {
        client_->stream().write("x");
      }
    });
    gone.wait();
    closed.wait();
    run_in(client_lane_, [&] { client_.reset(); });
  }
}

TEST_F(NetworkTest, ConnectTellsWhyItFailed) {
  listen();
  const std::string address = listener_->address();
  run_in(server_lane_, [&] { listener_.reset(); });
  const auto code = [&](const std::string& where) { return connect(where).error().code; };
  EXPECT_EQ(code(address), std::errc::connection_refused);
  EXPECT_EQ(connect(address).error().context, "connect " + address);
  EXPECT_EQ(code("127.0.0.1"), std::errc::invalid_argument);
  EXPECT_EQ(code("127.0.0.1:99999"), std::errc::invalid_argument);
  EXPECT_EQ(code("::1:80"), std::errc::invalid_argument);
  EXPECT_EQ(code(":80"), std::errc::invalid_argument);
  EXPECT_EQ(code("unix:/no/such/socket"), std::errc::no_such_file_or_directory);
  EXPECT_EQ(code("unix:" + std::string(200, 'x')), std::errc::filename_too_long);
}

TEST_F(NetworkTest, ConnectGivesUpInTime) {
  // A full backlog answers nobody: the kernel drops what knocks.
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  auto address = *numeric_address({.host = "127.0.0.1", .port = 0});
  ASSERT_EQ(::bind(fd, address.get(), address.length), 0);
  ASSERT_EQ(::listen(fd, 0), 0);
  const std::string text = local_address_of(fd).text();
  std::vector<std::unique_ptr<Stream>> streams;
  std::optional<base::Error> error;
  for (int i = 0; i < 10 && !error; i++) {
    auto stream = connect(text, Milliseconds(50));
    if (stream) {
      streams.push_back(*std::move(stream));
    } else {
      error = stream.error();
    }
  }
  ASSERT_TRUE(error.has_value());
  EXPECT_EQ(error->code, std::errc::timed_out);
  run_in(client_lane_, [&] { streams.clear(); });
  ::close(fd);
}

TEST_F(NetworkTest, NamesAreResolvedToConnect) {
  listen();
  const auto port = listener_->address().substr(listener_->address().rfind(':'));
  auto by_localhost = connect("localhost" + port);
  EXPECT_TRUE(by_localhost);
  char host[256];
  ASSERT_EQ(::gethostname(host, sizeof host), 0);
  // The machine's own name may mean another address, where nobody listens: an answer comes all the
  // same.
  auto by_name = connect(host + port);
  MAYBE(by_name.ok());
  auto unknown = connect("no-such-host.invalid:1");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().context, "resolve no-such-host.invalid:1");
  run_in(client_lane_, [&] {
    if (by_localhost) by_localhost->reset();
    if (by_name) by_name->reset();
  });
}

TEST_F(NetworkTest, UnixSockets) {
  std::string directory = "/tmp/keelson_unix_XXXXXX";
  ASSERT_NE(::mkdtemp(directory.data()), nullptr);
  const std::string path = directory + "/socket";
  {
    // The file of a life that was killed stands in the way.
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const auto address = *unix_address(path);
    ASSERT_EQ(::bind(fd, address.get(), address.length), 0);
    ::close(fd);
  }
  listen("unix:" + path);
  EXPECT_EQ(listener_->address(), "unix:" + path);
  connect_pair();
  std::latch came(1);
  run_in(server_lane_, [&] {
    EXPECT_EQ(server().stream().local_address(), "unix:" + path);
    EXPECT_EQ(server().stream().peer_address(), "@");
    server().at_bytes = [&] { came.count_down(); };
  });
  run_in(client_lane_, [&] { client_->stream().write("x"); });
  came.wait();
  run_in(server_lane_, [&] { listener_.reset(); });
  struct stat status;
  EXPECT_NE(::stat(path.c_str(), &status), 0) << "removed at close";

  // What is no socket is not removed.
  ASSERT_GE(::close(::open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)), 0);
  EXPECT_EQ(network_.listen("unix:" + path, {}, {&server_lane_}, [](auto) {}).error().code,
            std::errc::address_in_use);
  ::unlink(path.c_str());
  ::rmdir(directory.c_str());
}

TEST_F(NetworkTest, ListenRefusesWhatItCannotHave) {
  listen();
  const auto code = [&](const std::string& address) {
    return network_.listen(address, {}, {&server_lane_}, [](auto) {}).error().code;
  };
  EXPECT_EQ(code(listener_->address()), std::errc::address_in_use);
  EXPECT_EQ(code("example.com:80"), std::errc::invalid_argument) << "no names but localhost";
  EXPECT_EQ(code("127.0.0.1"), std::errc::invalid_argument);
  EXPECT_EQ(code("192.0.2.1:0"), std::errc::address_not_available);
  const auto twice = [&] {
    return network_.listen(listener_->address(), {.reuse_port = true}, {&server_lane_},
                           [](auto) {});
  };
  EXPECT_FALSE(twice()) << "both have to agree to share";
  run_in(server_lane_, [&] { listener_.reset(); });
  listen("localhost:0", {.reuse_port = true});
  EXPECT_TRUE(twice());
}

TEST_F(NetworkTest, ConnectionsAreDealtToTheLanesInTurn) {
  Lane& second = runtime_.lane("second");
  std::atomic<int> on_server = 0, on_second = 0;
  std::latch all(6);
  auto listener = *network_.listen("127.0.0.1:0", {}, {&server_lane_, &second},
                                   [&](std::unique_ptr<Stream> stream) {
                                     EXPECT_TRUE(stream->lane().is_current());
                                     (&stream->lane() == &second ? on_second : on_server)++;
                                     all.count_down();
                                   });
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < 6; i++) streams.push_back(*connect(listener->address()));
  all.wait();
  EXPECT_EQ(on_server, 3);
  EXPECT_EQ(on_second, 3);
  run_in(client_lane_, [&] { streams.clear(); });
  run_in(server_lane_, [&] { listener.reset(); });
}

TEST_F(NetworkTest, BeyondTheLimitConnectionsWait) {
  listen("127.0.0.1:0", {.connections_max = 2});
  std::latch two(2), four(4);
  at_accept_ = [&](Peer& peer) {
    if (!two.try_wait()) two.count_down();
    four.count_down();
    // Ends when the client does.
    peer.at_end = [this, &peer] {
      std::erase_if(accepted_, [&](const auto& other) { return other.get() == &peer; });
    };
  };
  std::vector<std::unique_ptr<Stream>> streams;
  for (int i = 0; i < 4; i++) streams.push_back(*connect(listener_->address()));
  two.wait();
  std::latch waited(1);
  server_lane_.post([&] { server_lane_.after(Milliseconds(5), [&] { waited.count_down(); }); });
  waited.wait();
  run_in(server_lane_, [&] { EXPECT_EQ(accepted_.size(), 2u); });
  run_in(client_lane_, [&] { streams.clear(); });
  four.wait();
  run_in(server_lane_, [&] { at_accept_ = nullptr; });
}

TEST_F(NetworkTest, AcceptingSurvivesRunningOutOfDescriptors) {
  listen();
  // The client's socket is the last the process may open; the accepted one has no place.
  std::vector<int> hoard;
  rlimit limit, tight;
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  tight = limit;
  tight.rlim_cur = static_cast<rlim_t>(client + 1);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  for (int fd; (fd = ::dup(client)) >= 0;) hoard.push_back(fd);
  std::latch came(1), waited(1);
  run_in(server_lane_, [&] { at_accept_ = [&](Peer&) { came.count_down(); }; });
  const auto address = *numeric_address(*split_host_port(listener_->address()));
  ASSERT_EQ(::connect(client, address.get(), address.length), 0);
  server_lane_.post([&] { server_lane_.after(Milliseconds(20), [&] { waited.count_down(); }); });
  waited.wait();
  EXPECT_FALSE(came.try_wait());
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  came.wait();
  for (const int fd : hoard) ::close(fd);
  ::close(client);
  run_in(server_lane_, [&] { at_accept_ = nullptr; });
}

TEST_F(NetworkTest, TcpSocketsAreKeptAliveAndNotDelayed) {
  listen();
  std::set<int> before, after;
  const auto sockets = [] {
    std::set<int> found;
    for (int fd = 0; fd < 200; fd++) {
      struct stat status;
      if (::fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode)) found.insert(fd);
    }
    return found;
  };
  before = sockets();
  connect_pair();
  after = sockets();
  int checked = 0;
  for (const int fd : after) {
    if (before.contains(fd)) continue;
    int value = 0;
    socklen_t length = sizeof value;
    ASSERT_EQ(::getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &length), 0);
    EXPECT_EQ(value, 1);
    ASSERT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &value, &length), 0);
    EXPECT_EQ(value, 30);
    ASSERT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &length), 0);
    EXPECT_EQ(value, 1);
    checked++;
  }
  EXPECT_EQ(checked, 2);
}

TEST(NetworkEndTest, WhatIsStillOpenGoesWithTheRuntime) {
  std::vector<std::unique_ptr<Stream>> streams;
  std::unique_ptr<Listener> listener;
  Runtime runtime({{"io", "io"}});
  Lane& io = runtime.lane("io");
  // Before start(): the lanes belong to this thread.
  listener = *runtime.network().listen(
      "127.0.0.1:0", {}, {&io},
      [&](std::unique_ptr<Stream> stream) { streams.push_back(std::move(stream)); });
  runtime.start();
  std::latch connected(1);
  io.post([&] {
    runtime.network().connect(io, listener->address(), kLong, [&](auto stream) {
      streams.push_back(*std::move(stream));
      connected.count_down();
    });
    runtime.network().connect(io, "192.0.2.1:1", kLong, [](auto) {});  // will not be answered
  });
  connected.wait();
  runtime.stop();
  EXPECT_GE(streams.size(), 1u);
  streams.clear();
  listener.reset();
}

TEST(SocketAddressTest, Texts) {
  struct Row {
    const char* address;
    const char* host;  // nullptr: refused
    int port;
  };
  for (const auto& row : std::vector<Row>{{"127.0.0.1:2379", "127.0.0.1", 2379},
                                          {"[::1]:80", "::1", 80},
                                          {"name.of.host:1", "name.of.host", 1},
                                          {"h:0", "h", 0},
                                          {"h:65536", nullptr, 0},
                                          {"h:-1", nullptr, 0},
                                          {"h:1x", nullptr, 0},
                                          {"h:", nullptr, 0},
                                          {"h", nullptr, 0},
                                          {"", nullptr, 0},
                                          {"[]:1", nullptr, 0},
                                          {"[::1:1", nullptr, 0},
                                          {"::1:1", nullptr, 0}}) {
    SCOPED_TRACE(row.address);
    const auto split = split_host_port(row.address);
    EXPECT_EQ(split.ok(), row.host != nullptr);
    if (!split || row.host == nullptr) continue;
    EXPECT_EQ(split->host, row.host);
    EXPECT_EQ(split->port, row.port);
    if (const auto numeric = numeric_address(*split)) EXPECT_EQ(numeric->text(), row.address);
  }
  EXPECT_EQ(numeric_address({.host = "localhost", .port = 7})->text(), "127.0.0.1:7");
  EXPECT_FALSE(numeric_address({.host = "example.com", .port = 7}).has_value());
  EXPECT_EQ(unix_address("/a/b")->text(), "unix:/a/b");
  EXPECT_EQ(unix_path("unix:a"), "a");
  EXPECT_EQ(unix_path("host:1"), std::nullopt);
}

}  // namespace
}  // namespace keelson::env::posix
