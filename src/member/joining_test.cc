// Joining: what a member without a log asks the others, whose answers are played by the test.
#include "member/joining.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>

#include "env/simulated/resolver.h"
#include "env/simulated/world.h"
#include "http/server.h"
#include "membership/bootstrap.h"

namespace keelson::member {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A peer port that answers as told, and notes what it was asked.
class Port final : public http::RequestRouter {
 public:
  Port(env::simulated::World& world, const std::string& name)
      : server_(world.host(name).lane("io0"), {.access = {.applies = false}}, nullptr, this) {
    auto listener = world.host(name).network().listen(
        name + ":2380", {}, {&world.host(name).lane("io0")},
        [this](std::unique_ptr<env::Stream> stream) { server_.accept(std::move(stream)); });
    EXPECT_TRUE(listener.ok());
    listener_ = *std::move(listener);
  }
  http::Route route(const http::Request& head) override {
    asked.push_back(head.path);
    if (on_asked) on_asked(head.path);
    const auto found = answers.find(head.path);
    if (found == answers.end()) return {};
    return {.handler = http::make_simple_handler([answer = found->second](const http::Request&) {
              return http::Response{.headers = {{"X-Etcd-Cluster-ID", "cafe"}}, .body = answer};
            })};
  }

  std::map<std::string, std::string> answers;
  std::vector<std::string> asked;
  std::function<void(std::string_view path)> on_asked;

 private:
  http::Server server_;
  std::unique_ptr<env::Listener> listener_;
};

class JoiningTest : public ::testing::Test {
 protected:
  JoiningTest() : n1_(world_, "n1"), n2_(world_, "n2") {
    config_.name = "n3";
    config_.new_cluster = false;
    config_.advertise_peer_urls = *membership::parse_url_list("http://n3:2380");
    config_.initial_cluster =
        *membership::parse_initial_cluster("n1=http://n1:2380,n2=http://n2:2380,n3=http://n3:2380");
    for (Port* port : {&n1_, &n2_}) {
      port->answers["/members"] = members("");
      port->answers["/version"] = R"({"etcdserver":"3.7.1","etcdcluster":"3.7.0"})";
      port->answers["/downgrade/enabled"] = "false";
    }
  }
  ~JoiningTest() override {
    for (const char* host : {"n1", "n2", "n3"}) {
      world_.host(host).kill(env::simulated::Disk::Crash::kKeepAll);
    }
  }

  // As the running cluster knows them; `third` is put among the third's fields.
  static std::string members(const std::string& third, int third_id = 3) {
    return R"([{"id":1,"peerURLs":["http://n1:2380"],"name":"n1","clientURLs":["http://n1:2379"]},)"
           R"({"id":2,"peerURLs":["http://n2:2380"],"name":"n2","clientURLs":["http://n2:2379"]},)"
           R"({"id":)" +
           std::to_string(third_id) + R"(,"peerURLs":["http://n3:2380"])" + third + "}]";
  }
  static constexpr const char* kAtWork = R"(,"name":"n3","clientURLs":["http://n3:2379"])";
  static constexpr const char* kRefused = "member 3 has already been bootstrapped";

  // "new", "cluster <id> <ids>", or why not.
  std::string join() {
    std::string outcome;
    env::Lane& lane = world_.host("n3").lane("join");
    const auto connector = peer::make_plain_connector(world_.host("n3").network());
    std::unique_ptr<Joining> joining;
    lane.post([&] {
      joining = std::make_unique<Joining>(
          lane, *connector, resolver_, config_,
          [&](base::Result<Joining::Joined, BootError> result) {
            if (!result) {
              outcome = result.error().text;
            } else if (!result->running) {
              EXPECT_TRUE(check_first_start(config_, result->resolved_hosts)) << "boot looks again";
              outcome = "new";
            } else {
              outcome = fmt::format("cluster {:x}", result->running->id);
              for (const auto& member : result->running->members) {
                outcome += fmt::format(" {}={}", member.name, member.id);
              }
            }
          });
    });
    EXPECT_TRUE(world_.run_until([&] { return !outcome.empty(); }, base::Seconds(60)));
    lane.post([&] { joining.reset(); });
    EXPECT_TRUE(world_.run_until([&] { return joining == nullptr; }, base::Seconds(1)));
    return outcome;
  }

  // How long `call` takes, in seconds.
  double time_of(const std::function<void()>& call) {
    const auto start = world_.now();
    call();
    return std::chrono::duration<double>(world_.now() - start).count();
  }

  env::simulated::World world_{1};
  env::simulated::SimulatedResolver resolver_;
  Config config_;
  Port n1_, n2_;
};

TEST_F(JoiningTest, WhoJoinsTakesOverIdsAndTheCluster) {
  EXPECT_EQ(join(), "cluster cafe n1=1 n2=2 n3=3");
  EXPECT_THAT(n1_.asked, ElementsAre("/members", "/downgrade/enabled", "/members", "/version"));
  EXPECT_THAT(n2_.asked, ElementsAre("/version"));
}

TEST_F(JoiningTest, TheNextIsAskedWhereOneDoesNotAnswer) {
  n1_.answers.clear();
  EXPECT_EQ(join(), "cluster cafe n1=1 n2=2 n3=3");
  n2_.answers["/members"] = "no JSON";
  EXPECT_EQ(join(),
            "cannot fetch cluster info from peer urls: could not retrieve cluster information from "
            "the given URLs");
}

// Who lags may still list the member that was removed here, under an id whose votes are forgotten.
TEST_F(JoiningTest, WhoLagsIsAskedAgainWhenItHasRead) {
  n1_.answers["/members"] = members(kAtWork);
  n1_.on_asked = [&](std::string_view path) {
    if (path == "/downgrade/enabled") n1_.answers["/members"] = members("", 4);
  };
  EXPECT_EQ(join(), "cluster cafe n1=1 n2=2 n3=4");
  EXPECT_THAT(n2_.asked, ElementsAre("/version"));

  // It may have been new there, and at work since.
  n1_.answers["/members"] = members("");
  EXPECT_EQ(join(), "cluster cafe n1=1 n2=2 n3=4");
}

TEST_F(JoiningTest, WhoCannotReadIsPassedOver) {
  n1_.answers["/members"] = members(kAtWork);
  n1_.answers.erase("/downgrade/enabled");
  n2_.answers["/members"] = members("", 4);
  EXPECT_EQ(join(), "cluster cafe n1=1 n2=2 n3=4");
  EXPECT_THAT(n1_.asked, ElementsAre("/members", "/downgrade/enabled", "/version"));
  n1_.answers["/members"] = members("");
  EXPECT_EQ(join(), "cluster cafe n1=1 n2=2 n3=4") << "new in both, by two ids";
}

TEST_F(JoiningTest, AllAreAskedAgainUntilOneCanRead) {
  n1_.answers["/members"] = members(kAtWork);
  for (Port* port : {&n1_, &n2_}) port->answers.erase("/downgrade/enabled");
  n2_.answers.erase("/members");
  int reads = 0;
  n1_.on_asked = [&](std::string_view path) {
    if (path != "/downgrade/enabled" || ++reads < 5) return;
    n1_.answers["/downgrade/enabled"] = "false";
    n1_.answers["/members"] = members("", 4);
  };
  EXPECT_EQ(join(), "cluster cafe n1=1 n2=2 n3=4");
  EXPECT_EQ(reads, 5);
}

TEST_F(JoiningTest, WhereNobodyCanReadTheBestAnswerIsTakenInTheEnd) {
  for (Port* port : {&n1_, &n2_}) port->answers.erase("/downgrade/enabled");
  const double asked = time_of([&] { EXPECT_EQ(join(), "cluster cafe n1=1 n2=2 n3=3"); });
  EXPECT_GE(asked, 10);
  EXPECT_LE(asked, 11);
  n1_.answers["/members"] = members(kAtWork);
  n2_.answers["/members"] = members("", 4);
  EXPECT_EQ(join(), "cluster cafe n1=1 n2=2 n3=4") << "in which it is new";
  n2_.answers["/members"] = R"([{"id":1,"peerURLs":["http://n1:2380"]}])";
  EXPECT_EQ(join(), kRefused) << "an answer that does not fit is no answer";
  n2_.answers.erase("/members");
  EXPECT_EQ(join(), kRefused);
}

TEST_F(JoiningTest, WhoseDirectoryWasLostDoesNotBeginAnew) {
  n1_.answers["/members"] = members(kAtWork);
  const double asked = time_of([&] { EXPECT_EQ(join(), kRefused); });
  EXPECT_LT(asked, 1) << "it is certain";
}

// Two can decide nothing before the second is there: there is no read to wait for.
TEST_F(JoiningTest, TheSecondVoterDoesNotWaitForARead) {
  config_.initial_cluster =
      *membership::parse_initial_cluster("n1=http://n1:2380,n3=http://n3:2380");
  const auto two = [](const std::string& third) {
    return R"([{"id":1,"peerURLs":["http://n1:2380"],"name":"n1"},)"
           R"({"id":3,"peerURLs":["http://n3:2380"])" +
           third + "}]";
  };
  n1_.answers["/members"] = two("");
  EXPECT_EQ(join(), "cluster cafe n1=1 n3=3");
  EXPECT_THAT(n1_.asked, ElementsAre("/members", "/version"));
  n1_.answers["/members"] = two(kAtWork);
  EXPECT_EQ(join(), kRefused);
  n1_.asked.clear();
  n1_.answers["/members"] = two(R"(,"isLearner":true)");
  EXPECT_EQ(join(), "cluster cafe n1=1 n3=3");
  EXPECT_THAT(n1_.asked, ElementsAre("/members", "/downgrade/enabled", "/members", "/version"));
}

TEST_F(JoiningTest, AFounderMayAdvertiseItsAddressAndListItsName) {
  config_.new_cluster = true;
  n1_.answers.clear();
  n2_.answers.clear();
  config_.advertise_peer_urls = *membership::parse_url_list("http://10.0.0.3:2380");
  resolver_.set("n3", {"10.0.0.3", "10.0.0.4"});
  EXPECT_EQ(join(), "new");
  EXPECT_EQ(resolver_.asked("n3"), 1);
  EXPECT_EQ(resolver_.asked("n1"), 0) << "its own name only";

  resolver_.set("n3", {"fd00::3"});
  config_.advertise_peer_urls = *membership::parse_url_list("http://[fd00:0::3]:2380");
  EXPECT_EQ(join(), "new");

  resolver_.set("n3", {"10.0.0.4"});
  EXPECT_EQ(join(),
            "--initial-cluster has n3=http://n3:2380 but missing from "
            "--initial-advertise-peer-urls=http://[fd00:0::3]:2380 "
            "(resolved urls: \"http://[fd00:0::3]:2380\" != \"http://10.0.0.4:2380\")");
}

TEST_F(JoiningTest, NamesMayComeLateButNotTooLate) {
  config_.new_cluster = true;
  config_.advertise_peer_urls = *membership::parse_url_list("http://10.0.0.3:2380");
  const double never = time_of([&] {
    EXPECT_EQ(join(),
              "--initial-cluster has n3=http://n3:2380 but missing from "
              "--initial-advertise-peer-urls=http://10.0.0.3:2380 (failed to resolve "
              "\"http://n3:2380\" (lookup n3: No such device or address))");
  });
  EXPECT_GE(never, 30);
  EXPECT_LE(never, 31);
  env::Lane& lane = world_.host("n3").lane("dns");
  lane.post(
      [&] { lane.after(base::Milliseconds(4'500), [&] { resolver_.set("n3", {"10.0.0.3"}); }); });
  const double late = time_of([&] { EXPECT_EQ(join(), "new"); });
  EXPECT_GE(late, 4.5);
  EXPECT_LE(late, 6);
}

TEST_F(JoiningTest, WhoJoinsMayListNamesWhereOthersHaveAddresses) {
  for (Port* port : {&n1_, &n2_}) {
    port->answers["/members"] = R"([{"id":1,"peerURLs":["http://n1:2380"],"name":"n1"},)"
                                R"({"id":2,"peerURLs":["http://10.0.0.2:2380"],"name":"n2"},)"
                                R"({"id":3,"peerURLs":["http://10.0.0.3:2380"]}])";
  }
  resolver_.set("n2", {"10.0.0.2"});
  resolver_.set("n3", {"10.0.0.3"});
  EXPECT_EQ(join(), "cluster cafe n1=1 n2=2 n3=3");
  EXPECT_EQ(resolver_.asked("n1"), 0) << "its texts are equal: it may be gone";
  resolver_.set("n3", {});
  const double waited = time_of([&] {
    EXPECT_THAT(join(), HasSubstr("PeerURLs: no match found for existing member (3, "
                                  "[http://10.0.0.3:2380]), last resolver error (failed to "
                                  "resolve \"http://n3:2380\" (lookup n3: "));
  });
  EXPECT_GE(waited, 30);
}

TEST_F(JoiningTest, MembersMustMatchOneToOne) {
  config_.initial_cluster =
      *membership::parse_initial_cluster("n1=http://n1:2380,n3=http://n3:2380");
  EXPECT_THAT(join(), HasSubstr("member count is unequal"));
}

TEST_F(JoiningTest, WhatNeedsNoAnswerIsCheckedFirst) {
  for (const bool is_new : {false, true}) {
    config_.new_cluster = is_new;
    config_.name = "n4";
    EXPECT_EQ(join(), "couldn't find local name \"n4\" in the initial cluster configuration");
  }
  EXPECT_TRUE(n1_.asked.empty());
}

TEST_F(JoiningTest, ThisServerMustFitTheClustersVersion) {
  const std::pair<std::string, std::string> rows[] = {
      {"3.0.0", "cluster cafe n1=1 n2=2 n3=3"},  // not everybody could be asked yet
      {"3.5.0",
       "the running cluster is of version 3.5.0, and what members of etcd before 3.6.0 write "
       "cannot "
       "be read: bring all of them to 3.6.0 first"},
      {"3.6.0", "cluster cafe n1=1 n2=2 n3=3"},
      {"not_decided", "incompatible with current running cluster"},
      {"2.3.0", "incompatible with current running cluster"},
      {"3.8.0", "incompatible with current running cluster"},
      {"4.0.0", "incompatible with current running cluster"},
  };
  for (const auto& [version, expected] : rows) {
    const std::string told = fmt::format(R"({{"etcdcluster":"{}"}})", version);
    n1_.answers["/version"] = n2_.answers["/version"] = told;
    EXPECT_EQ(join(), expected) << version;
  }
  // On its way down to this server's.
  n1_.answers["/version"] = n2_.answers["/version"] = R"({"etcdcluster":"3.8.0"})";
  n1_.answers["/downgrade/enabled"] = "true";
  EXPECT_EQ(join(), "cluster cafe n1=1 n2=2 n3=3");
  // One is enough, but none may differ.
  n1_.answers.erase("/version");
  n2_.answers["/version"] = R"({"etcdcluster":"3.7.0"})";
  EXPECT_EQ(join(), "cluster cafe n1=1 n2=2 n3=3");
}

TEST_F(JoiningTest, LearnersAreBounded) {
  for (Port* port : {&n1_, &n2_}) port->answers["/members"] = members(R"(,"isLearner":true)");
  EXPECT_EQ(join(), "cluster cafe n1=1 n2=2 n3=3");
  config_.learners_max = 0;
  EXPECT_EQ(join(), "membership: too many learner members in cluster");
}

TEST_F(JoiningTest, AFounderThatWasSeenAtWorkDoesNotBeginAnew) {
  config_.new_cluster = true;
  EXPECT_EQ(join(), "new") << "known there, by another id";
  const auto own = *membership::initial_members(config_.initial_cluster, "etcd-cluster");
  const auto self =
      std::find_if(own.begin(), own.end(), [](const auto& one) { return one.name == "n3"; });
  membership::Member seen = *self;
  n1_.answers["/members"] = membership::members_json({seen});
  EXPECT_EQ(join(), "new") << "it has not published itself";
  seen.client_urls = {"http://n3:2379"};
  n1_.answers["/members"] = membership::members_json({seen});
  EXPECT_EQ(join(),
            fmt::format("member {} has already been bootstrapped", membership::id_text(seen.id)));
  n1_.answers.clear();
  n2_.answers.clear();
  EXPECT_EQ(join(), "new") << "nobody is there yet";
}

}  // namespace
}  // namespace keelson::member
