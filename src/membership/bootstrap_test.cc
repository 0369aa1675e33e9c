#include "membership/bootstrap.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "proto/raft.pb.h"

namespace keelson::membership {
namespace {

InitialCluster cluster_of(std::string_view text) { return parse_initial_cluster(text).value(); }
Urls urls_of(std::string_view text) { return parse_url_list(text).value(); }

TEST(InitialCluster, Parses) {
  struct Row {
    const char* why;
    const char* in;
    const char* out;
  };
  for (const Row& row : {
           Row{"one", "m1=http://a:1", "m1=http://a:1"},
           Row{"one name twice is one member", "m2=http://c:1,m1=http://b:1,m1=http://a:1",
               "m1=http://a:1,m1=http://b:1,m2=http://c:1"},
           Row{"empty pieces are skipped", ",m1=http://a:1,,", "m1=http://a:1"},
           Row{"nothing", "", ""},
           Row{"no URL", "m1", "error: URL scheme must be http, https, unix, or unixs: "},
           Row{"a bad URL", "m1=http://a",
               R"(error: URL address does not have the form "host:port": http://a)"},
           Row{"a second equals sign is the URL's", "m1=http://a:1?x=y", "m1=http://a:1?x=y"},
       }) {
    const auto cluster = parse_initial_cluster(row.in);
    EXPECT_EQ(cluster ? to_text(*cluster) : "error: " + cluster.error().text, row.out) << row.why;
  }
}

// What DNS says in these tests.
ResolvedHosts dns() {
  ResolvedHosts resolved;
  resolved.emplace("a:1", "10.0.0.1:1");
  resolved.emplace("alias-of-a:1", "10.0.0.1:1");
  resolved.emplace("b:1", "10.0.0.2:1");
  resolved.emplace("c:1", "10.0.0.3:1");
  resolved.emplace("six:1", "[fd00::6]:1");
  resolved.emplace("gone:1", base::fail(std::string("lookup gone: no such host")));
  return resolved;
}

TEST(Bootstrap, Checks) {
  struct Row {
    const char* why;
    const char* name;
    const char* advertised;
    const char* cluster;
    const char* error;
  };
  for (const Row& row : {
           Row{"fine", "m1", "http://a:1", "m1=http://a:1,m2=http://b:1", ""},
           Row{"fine in another form", "m1", "http://[::1]:1", "m1=http://[0:0::1]:1", ""},
           Row{"fine by DNS", "m1", "http://10.0.0.1:1", "m1=http://a:1", ""},
           Row{"fine by DNS, two names", "m1", "http://alias-of-a:1", "m1=http://a:1", ""},
           Row{"fine by DNS, IPv6", "m1", "http://six:1", "m1=http://[fd00:0::6]:1", ""},
           Row{"fine by DNS, in another order", "m1", "http://a:1,http://b:1",
               "m1=http://10.0.0.2:1,m1=http://10.0.0.1:1", ""},
           Row{"a name that nobody knows is equal to itself", "m1", "http://gone:1",
               "m1=http://gone:1", ""},
           Row{"name missing", "m3", "http://a:1", "m1=http://a:1",
               "couldn't find local name \"m3\" in the initial cluster configuration"},
           Row{"listed, not advertised", "m1", "http://a:1", "m1=http://a:1,m1=http://b:1",
               "--initial-cluster has m1=http://b:1 but missing from "
               "--initial-advertise-peer-urls=http://a:1 "
               "(len([\"http://a:1\"]) != len([\"http://a:1\" \"http://b:1\"]))"},
           Row{"another address", "m1", "http://a:1", "m1=http://b:1",
               "--initial-cluster has m1=http://b:1 but missing from "
               "--initial-advertise-peer-urls=http://a:1 "
               "(resolved urls: \"http://10.0.0.1:1\" != \"http://10.0.0.2:1\")"},
           Row{"a name that nobody knows", "m1", "http://10.0.0.1:1", "m1=http://gone:1",
               "--initial-cluster has m1=http://gone:1 but missing from "
               "--initial-advertise-peer-urls=http://10.0.0.1:1 "
               "(failed to resolve \"http://gone:1\" (lookup gone: no such host))"},
           Row{"another address, which needs no DNS", "m1", "http://10.0.0.1:1",
               "m1=http://10.0.0.2:1",
               "--initial-cluster has m1=http://10.0.0.2:1 but missing from "
               "--initial-advertise-peer-urls=http://10.0.0.1:1 "
               "(resolved urls: \"http://10.0.0.1:1\" != \"http://10.0.0.2:1\")"},
           Row{"localhost is a place of its own", "m1", "http://127.0.0.1:1",
               "m1=http://localhost:1",
               "--initial-cluster has m1=http://localhost:1 but missing from "
               "--initial-advertise-peer-urls=http://127.0.0.1:1 "
               "(resolved urls: \"http://127.0.0.1:1\" != \"http://localhost:1\")"},
           Row{"another scheme at the same address", "m1", "http://a:1", "m1=https://a:1",
               "--initial-cluster has m1=https://a:1 but missing from "
               "--initial-advertise-peer-urls=http://a:1 "
               "(resolved urls: \"http://10.0.0.1:1\" != \"https://10.0.0.1:1\")"},
           Row{"advertised, not listed", "m1", "http://a:1,http://b:1", "m1=http://a:1",
               "--initial-advertise-peer-urls has http://b:1 but missing from "
               "--initial-cluster=m1=http://a:1,m1=http://b:1"},
           Row{"a URL twice", "m1", "http://a:1", "m1=http://a:1,m2=http://a:1",
               "initial cluster m1=http://a:1,m2=http://a:1 has duplicate url"},
       }) {
    const auto advertised = urls_of(row.advertised);
    const auto cluster = cluster_of(row.cluster);
    const auto checked = check_bootstrap({.name = row.name,
                                          .advertised_peer_urls = advertised,
                                          .cluster = cluster,
                                          .resolved = dns()});
    EXPECT_EQ(checked ? "" : checked.error().text, row.error) << row.why;
  }
}

// Only where texts cannot tell: names that are gone would cost half a minute.
TEST(Bootstrap, DnsIsAskedOnlyWhereItMatters) {
  const auto asked = [](const char* advertised, const char* cluster) {
    return to_text(urls_to_resolve("m1", urls_of(advertised), cluster_of(cluster)));
  };
  EXPECT_EQ(asked("http://a:1", "m1=http://a:1"), "");
  EXPECT_EQ(asked("http://a:1", "m2=http://b:1"), "") << "not listed";
  EXPECT_EQ(asked("http://a:1,http://b:1", "m1=http://a:1"), "") << "counts differ";
  EXPECT_EQ(asked("http://10.0.0.1:1", "m1=http://a:1"), "http://a:1");
  EXPECT_EQ(asked("http://127.0.0.1:1", "m1=http://localhost:1"), "");
  EXPECT_EQ(asked("http://[fd00::6]:1", "m1=unix://a:1"), "");
  EXPECT_EQ(asked("http://a:1", "m1=http://b:1"), "http://a:1,http://b:1");
}

TEST(Bootstrap, JoinChecks) {
  const auto good = cluster_of("m1=http://a:1,m2=http://b:1");
  const auto twice = cluster_of("m1=http://a:1,m2=http://a:1");
  EXPECT_TRUE(check_join({.name = "m1", .cluster = good}).ok());
  EXPECT_EQ(check_join({.name = "m1", .cluster = good, .discovery = true}).error().text,
            "discovery URL should not be set when joining existing initial cluster");
  EXPECT_EQ(check_join({.name = "m1", .cluster = twice}).error().text,
            "initial cluster m1=http://a:1,m2=http://a:1 has duplicate url");
  EXPECT_FALSE(check_join({.name = "m9", .cluster = good}).ok());
}

TEST(Bootstrap, FirstMembersAndEntries) {
  const auto members = initial_members(
      cluster_of("m1=http://127.0.0.1:12380,m2=http://127.0.0.1:22380,m3=http://127.0.0.1:32380"),
      "etcd-cluster-1");
  ASSERT_TRUE(members.ok());
  std::vector<std::string> ids;
  for (const Member& member : *members) ids.push_back(id_text(member.id));
  EXPECT_EQ(ids,
            (std::vector<std::string>{"8211f1d0f64f3269", "91bc3c398fb3c146", "fd422379fda50e48"}));

  const auto entries = bootstrap_entries(*members);
  ASSERT_EQ(entries.size(), 3u);
  for (std::size_t i = 0; i < entries.size(); i++) {
    raftpb::ConfChange change;
    ASSERT_TRUE(change.ParseFromString(entries[i].data));
    EXPECT_EQ(change.type(), raftpb::ConfChangeAddNode);
    EXPECT_EQ(change.node_id(), (*members)[i].id);
    EXPECT_EQ(parse_member(change.context()), (*members)[i]);
    // And it is what the cluster takes for a change.
    const auto parsed =
        parse_change({.type = 0, .node_id = change.node_id(), .context = change.context()});
    ASSERT_TRUE(parsed.ok());
    EXPECT_EQ(parsed->kind, Change::Kind::kAdd);
  }
  const auto same = initial_members(cluster_of("m1=http://a:1,m2=http://a:1"), "t");
  EXPECT_TRUE(same.error().text.starts_with("member exists with identical ID "));
}

TEST(Bootstrap, MatchesARunningCluster) {
  const auto listed = cluster_of("mine=http://b:1,other=http://a:1");
  const auto member = [](MemberId id, std::vector<std::string> urls, bool learner = false) {
    return Member{.id = id,
                  .peer_urls = std::move(urls),
                  .is_learner = learner,
                  .name = "theirs",
                  .client_urls = {"http://a:2"}};
  };
  const auto matched =
      match_existing(listed, {member(9, {"http://a:1"}), member(5, {"http://b:1"}, true)}, {});
  ASSERT_TRUE(matched.ok());
  EXPECT_EQ(
      members_json(*matched),
      R"([{"id":5,"peerURLs":["http://b:1"],"isLearner":true,"name":"mine"},{"id":9,"peerURLs":["http://a:1"],"name":"other"}])");
  EXPECT_EQ(match_existing(listed, {member(9, {"http://a:1"})}, {}).error().text,
            "member count is unequal");
  // By DNS, whichever side has the name; who needs it not is not asked about.
  const std::vector<Member> by_ip = {member(9, {"http://10.0.0.1:1"}), member(5, {"http://b:1"})};
  EXPECT_EQ(to_text(urls_to_resolve(listed, by_ip)), "http://a:1");
  const auto resolved = match_existing(listed, by_ip, dns());
  ASSERT_TRUE(resolved.ok());
  EXPECT_EQ(
      members_json(*resolved),
      R"([{"id":5,"peerURLs":["http://b:1"],"name":"mine"},{"id":9,"peerURLs":["http://a:1"],"name":"other"}])");
  const std::pair<const char*, const char*> rows[] = {
      {"http://c:1", R"(resolved urls: "http://10.0.0.3:1" != "http://10.0.0.2:1")"},
      {"http://gone:1", R"(failed to resolve "http://gone:1" (lookup gone: no such host))"},
      {"http://a:1", R"(resolved urls: "http://10.0.0.1:1" != "http://10.0.0.2:1")"},  // one to one
  };
  for (const auto& [url, cause] : rows) {
    EXPECT_EQ(match_existing(listed, {member(9, {"http://a:1"}), member(0xabc, {url})}, dns())
                  .error()
                  .text,
              fmt::format("PeerURLs: no match found for existing member (abc, [{}]), last resolver "
                          "error ({})",
                          url, cause));
  }
}

}  // namespace
}  // namespace keelson::membership
