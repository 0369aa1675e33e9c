#include "peer/question.h"

#include <gtest/gtest.h>

#include "env/simulated/world.h"
#include "http/server.h"

namespace keelson::peer {
namespace {

using base::Seconds;

// Says what it was asked for; "/silent" never answers, "/long" says more than it was asked to.
class Echo final : public http::RequestRouter {
 public:
  class Silent final : public http::RequestHandler {
   public:
    void on_request(http::Exchange&) override {}
  };
  http::Route route(const http::Request& head) override {
    if (head.path == "/silent") return {.handler = std::make_unique<Silent>()};
    return {.handler = http::make_simple_handler([](const http::Request& request) {
              const std::string body = request.path == "/long"
                                           ? std::string(2000, 'x')
                                           : request.method + " " + request.host;
              return http::Response{.status = request.path == "/gone" ? 410 : 200, .body = body};
            })};
  }
};

class QuestionTest : public ::testing::Test {
 protected:
  QuestionTest()
      : server_(world_.host("n1").lane("io0"), {.access = {.applies = false}}, nullptr, &echo_),
        connector_(make_plain_connector(world_.host("n2").network())) {
    auto listener = world_.host("n1").network().listen(
        "n1:2380", {}, {&world_.host("n1").lane("io0")},
        [this](std::unique_ptr<env::Stream> stream) { server_.accept(std::move(stream)); });
    listener_ = *std::move(listener);
  }
  ~QuestionTest() override {
    for (const char* host : {"n1", "n2"}) {
      world_.host(host).kill(env::simulated::Disk::Crash::kKeepAll);
    }
  }

  // "<status> <body>", or the error; "" if none came.
  std::string ask(Asked asked, bool give_up = false) {
    std::string answer;
    env::Lane& lane = world_.host("n2").lane("ask");
    lane.post([&] {
      question_ = peer::ask(lane, *connector_, std::move(asked), [&](base::Result<Answered> got) {
        answer = got ? std::to_string(got->status) + " " + got->body : got.error().code.message();
        question_.reset();  // which it may
      });
      if (give_up) question_.reset();
    });
    world_.run_until([&] { return !answer.empty(); }, Seconds(10));
    return answer;
  }

  env::simulated::World world_{1};
  Echo echo_;
  http::Server server_;
  std::unique_ptr<env::Listener> listener_;
  std::unique_ptr<Connector> connector_;
  std::unique_ptr<Question> question_;
};

TEST_F(QuestionTest, WhoIsReachedFirstHasAnswered) {
  EXPECT_EQ(ask({.urls = {"http://n1:2380"}}), "200 GET n1:2380");
  EXPECT_EQ(ask({.urls = {"no URL", "http://n1:1", "http://n1:2380"}}), "200 GET n1:2380");
  EXPECT_EQ(ask({.urls = {"http://n1:2380", "http://n1:1"},
                 .request = {.method = "POST", .target = "/gone"}}),
            "410 POST n1:2380");
}

TEST_F(QuestionTest, OfNobodyIsAnError) {
  EXPECT_EQ(ask({}), "Invalid argument");
  EXPECT_EQ(ask({.urls = {"https://n1:2380"}}), "Protocol not supported");
  EXPECT_EQ(ask({.urls = {"http://n1:1"}}), "Connection refused");
}

TEST_F(QuestionTest, TimeAndAnswerAreBounded) {
  const auto at = world_.now();
  EXPECT_EQ(
      ask({.urls = {"http://n1:2380"}, .request = {.target = "/silent"}, .timeout = Seconds(2)}),
      "Connection timed out");
  EXPECT_EQ(std::chrono::duration_cast<Seconds>(world_.now() - at), Seconds(2));
  EXPECT_EQ(
      ask({.urls = {"http://n1:2380"}, .request = {.target = "/long"}, .body_bytes_max = 1999}),
      "Message too long");
}

TEST_F(QuestionTest, WhoHasGoneIsNotAnswered) {
  EXPECT_EQ(ask({.urls = {"http://n1:2380"}}, /*give_up=*/true), "");
}

}  // namespace
}  // namespace keelson::peer
