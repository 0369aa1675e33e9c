#include "peer/kept_connection.h"

#include <gtest/gtest.h>

#include <deque>

#include "env/simulated/world.h"

namespace keelson::peer {
namespace {

using base::Milliseconds;
using base::Seconds;

// Does with each request what it was told to, "ok" if nothing.
class Server {
 public:
  enum class Does { kAnswer, kBreakOff, kTalkTooMuch };
  explicit Server(env::simulated::Host& host, const std::string& address) {
    listener_ = *host.network().listen(address, {}, {&host.lane("io")},
                                       [this](std::unique_ptr<env::Stream> stream) {
                                         connections_.emplace_back(*this, std::move(stream));
                                       });
  }
  std::size_t connections() const { return connections_.size(); }
  std::deque<Does> next;
  int requests = 0;

 private:
  struct Connection final : env::StreamHandler {
    Connection(Server& the_server, std::unique_ptr<env::Stream> the_stream)
        : server(the_server), stream(std::move(the_stream)) {
      stream->start(*this);
    }
    void on_bytes(std::string_view bytes) override {
      read += bytes;
      if (!read.ends_with("\r\n\r\n")) return;
      read.clear();
      server.requests++;
      const Does does = server.next.empty() ? Does::kAnswer : server.next.front();
      if (!server.next.empty()) server.next.pop_front();
      if (does == Does::kBreakOff) return stream.reset();
      const std::string body(does == Does::kAnswer ? 2 : 200, 'x');
      stream->write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
                    "\r\n\r\n" + body);
    }
    void on_end() override {}
    void on_drained() override {}
    void on_closed(const base::Error&) override {}
    Server& server;
    std::unique_ptr<env::Stream> stream;
    std::string read;
  };

  std::unique_ptr<env::Listener> listener_;
  std::deque<Connection> connections_;
};

class KeptConnectionTest : public ::testing::Test {
 protected:
  KeptConnectionTest() : lane_(world_.host("n2").lane("ask")) {
    first_.emplace(world_.host("n1"), "n1:1");
    second_.emplace(world_.host("n1"), "n1:2");
    connection_.emplace(lane_, *connector_, KeptConnection::Options{.body_bytes_max = 100});
  }
  ~KeptConnectionTest() override {
    for (const char* host : {"n1", "n2"}) {
      world_.host(host).kill(env::simulated::Disk::Crash::kKeepAll);
    }
  }

  void begin(const std::string& url, bool may_arrive_twice = true) {
    answer_.clear();
    lane_.post([this, url, may_arrive_twice] {
      connection_->ask({.url = *membership::parse_url(url),
                        .request = {.target = "/a"},
                        .dial_timeout = Seconds(1),
                        .may_arrive_twice = may_arrive_twice},
                       [this](const base::Result<Answered, NoAnswer>& got) {
                         answer_ = got ? got->body
                                       : got.error().error.code.message() +
                                             (got.error().connected ? ", asked" : ", not asked");
                       });
    });
  }
  std::string ask(const std::string& url, bool may_arrive_twice = true) {
    begin(url, may_arrive_twice);
    world_.run_until([this] { return !answer_.empty(); }, Seconds(10));
    return answer_;
  }

  env::simulated::World world_{1};
  env::Lane& lane_;
  std::unique_ptr<Connector> connector_ = make_plain_connector(world_.host("n2").network());
  std::optional<Server> first_, second_;
  std::optional<KeptConnection> connection_;
  std::string answer_;
};

TEST_F(KeptConnectionTest, ServesOneAfterTheOther) {
  for (int i = 0; i < 3; i++) {
    ASSERT_EQ(ask("http://n1:1"), "xx");
    world_.run_for(Milliseconds(2900));
  }
  EXPECT_EQ(first_->connections(), 1u);
  world_.run_for(Milliseconds(200));
  ASSERT_EQ(ask("http://n1:1"), "xx");
  EXPECT_EQ(first_->connections(), 2u) << "it was idle for too long";
}

TEST_F(KeptConnectionTest, AnotherUrlIsAnotherConnection) {
  ASSERT_EQ(ask("http://n1:1"), "xx");
  ASSERT_EQ(ask("http://n1:2"), "xx");
  ASSERT_EQ(ask("http://n1:2"), "xx");
  EXPECT_EQ(second_->connections(), 1u);
  EXPECT_EQ(ask("http://n1:3"), "Connection refused, not asked");
  ASSERT_EQ(ask("http://n1:2"), "xx");
  EXPECT_EQ(second_->connections(), 2u);
}

TEST_F(KeptConnectionTest, WhatACloseMayHaveCrossedIsAskedOnceMore) {
  ASSERT_EQ(ask("http://n1:1"), "xx");
  first_->next = {Server::Does::kBreakOff};
  EXPECT_EQ(ask("http://n1:1"), "xx");
  EXPECT_EQ(first_->requests, 3);
  EXPECT_EQ(first_->connections(), 2u);
  first_->next = {Server::Does::kBreakOff, Server::Does::kBreakOff};
  EXPECT_TRUE(ask("http://n1:1").ends_with(", asked")) << "but not on a new connection";
  EXPECT_EQ(first_->requests, 5);
}

TEST_F(KeptConnectionTest, WhatMustNotArriveTwiceIsNot) {
  ASSERT_EQ(ask("http://n1:1"), "xx");
  first_->next = {Server::Does::kBreakOff};
  EXPECT_TRUE(ask("http://n1:1", /*may_arrive_twice=*/false).ends_with(", asked"));
  EXPECT_EQ(first_->requests, 2);
}

TEST_F(KeptConnectionTest, ATooLongAnswerIsNone) {
  first_->next = {Server::Does::kTalkTooMuch};
  EXPECT_EQ(ask("http://n1:1"), "Message too long, asked");
  EXPECT_EQ(ask("http://n1:1"), "xx");
  EXPECT_EQ(first_->connections(), 2u);
}

TEST_F(KeptConnectionTest, WhatIsDroppedIsNotAnswered) {
  for (const bool is_kept : {false, true}) {
    begin("http://n1:1");
    lane_.post([this] { connection_->drop(); });
    world_.run_for(Seconds(10));
    EXPECT_EQ(answer_, "");
    lane_.post([this] { EXPECT_FALSE(connection_->busy()); });
    EXPECT_EQ(ask("http://n1:1"), "xx") << is_kept;
  }
}

}  // namespace
}  // namespace keelson::peer
