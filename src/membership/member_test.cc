#include "membership/member.h"

#include <gtest/gtest.h>

#include "base/go_text.h"
#include "base/random.h"
#include "membership/json.h"
#include "membership/version.h"

namespace keelson::membership {
namespace {

TEST(Id, Text) {
  EXPECT_EQ(id_text(0x8e9e05c52164694d), "8e9e05c52164694d");
  EXPECT_EQ(id_text(0xabc), "abc");
  struct Row {
    const char* text;
    std::optional<std::uint64_t> id;
  };
  for (const Row& row :
       {Row{"8e9e05c52164694d", 0x8e9e05c52164694d}, Row{"ABC", 0xabc}, Row{"0", 0},
        Row{"ffffffffffffffff", ~0ull}, Row{"", std::nullopt},
        Row{"10000000000000000", std::nullopt}, Row{"0x1", std::nullopt}, Row{"-1", std::nullopt},
        Row{"+1", std::nullopt}, Row{"1g", std::nullopt}, Row{" 1", std::nullopt}}) {
    EXPECT_EQ(parse_id(row.text), row.id) << row.text;
  }
}

// Numbers that etcd gave, operations.md 2.1.
TEST(Id, Derived) {
  const MemberId localhost = bootstrap_member_id({"http://localhost:2380"}, "etcd-cluster");
  EXPECT_EQ(id_text(localhost), "8e9e05c52164694d");
  EXPECT_EQ(id_text(cluster_id({localhost})), "cdf818194e3a8c32");

  std::vector<MemberId> three;
  for (const int port : {32380, 12380, 22380}) {
    three.push_back(
        bootstrap_member_id({fmt::format("http://127.0.0.1:{}", port)}, "etcd-cluster-1"));
  }
  EXPECT_EQ(id_text(three[0]), "fd422379fda50e48");
  EXPECT_EQ(id_text(three[1]), "8211f1d0f64f3269");
  EXPECT_EQ(id_text(three[2]), "91bc3c398fb3c146");
  EXPECT_EQ(id_text(cluster_id(three)), "ef37ad9dc622a7c4") << "in whatever order they come";

  EXPECT_EQ(id_text(cluster_id({bootstrap_member_id({"https://localhost:20001"}, "new")})),
            "34c21a2d427db393");
}

TEST(Id, UrlsInAnyOrder) {
  EXPECT_EQ(bootstrap_member_id({"http://b:1", "http://a:1"}, "t"),
            bootstrap_member_id({"http://a:1", "http://b:1"}, "t"));
  EXPECT_EQ(added_member_id({"http://b:1", "http://a:1"}, 5),
            added_member_id({"http://a:1", "http://b:1"}, 5));
  EXPECT_NE(added_member_id({"http://a:1"}, 5), added_member_id({"http://a:1"}, 6));
  // The seconds stand where a token would.
  EXPECT_EQ(added_member_id({"http://a:1"}, 1700000000),
            bootstrap_member_id({"http://a:1"}, "1700000000"));
}

Member full() {
  return {.id = 10276657743932975437u,
          .peer_urls = {"http://a:2380", "http://b:2380"},
          .is_learner = true,
          .name = "m1",
          .client_urls = {"http://a:2379"}};
}

TEST(MemberJson, AsGoWritesIt) {
  struct Row {
    const char* why;
    std::string json;
    std::string expected;
  };
  const Member learner{
      .id = 7, .peer_urls = {"http://a:1"}, .is_learner = true, .name = "", .client_urls = {}};
  const Member bare{.id = 7, .peer_urls = {}, .name = "", .client_urls = {}};
  for (
      const Row& row : {
          Row{"all fields", member_json(full()),
              R"({"id":10276657743932975437,"peerURLs":["http://a:2380","http://b:2380"],"isLearner":true,"name":"m1","clientURLs":["http://a:2379"]})"},
          Row{"empty ones left out, but peerURLs", member_json(bare),
              R"({"id":7,"peerURLs":null})"},
          Row{"a learner to be added", config_change_json({.member = learner, .is_promote = false}),
              R"({"id":7,"peerURLs":["http://a:1"],"isLearner":true,"isPromote":false})"},
          Row{"a promotion", config_change_json({.member = bare, .is_promote = true}),
              R"({"id":7,"peerURLs":null,"isPromote":true})"},
          Row{"raft attributes", raft_attributes_json(full()),
              R"({"peerURLs":["http://a:2380","http://b:2380"],"isLearner":true})"},
          Row{"attributes", attributes_json(full()),
              R"({"name":"m1","clientURLs":["http://a:2379"]})"},
          Row{"no attributes", attributes_json(bare), "{}"},
          Row{"a list", members_json({bare, learner}),
              R"([{"id":7,"peerURLs":null},{"id":7,"peerURLs":["http://a:1"],"isLearner":true}])"},
          Row{"an empty list", members_json({}), "[]"},
      }) {
    EXPECT_EQ(row.json, row.expected) << row.why;
  }
}

TEST(MemberJson, ReadsWhatItWrites) {
  EXPECT_EQ(parse_member(member_json(full())), full());
  EXPECT_EQ(parse_members(members_json({full(), full()}))->size(), 2u);
  const auto context =
      parse_config_change(config_change_json({.member = full(), .is_promote = true}));
  EXPECT_EQ(context->member, full());
  EXPECT_TRUE(context->is_promote);
}

TEST(MemberJson, ReadsAsGoDoes) {
  struct Row {
    const char* why;
    const char* json;
    std::optional<Member> expected;
  };
  const Member one{.id = 1, .peer_urls = {"u"}, .name = "n", .client_urls = {}};
  for (const Row& row : {
           Row{"names in any case, spaces, unknown fields",
               R"( {"ID":1, "peerurls":["u"], "NAME":"n", "extra":{"x":[1]}} )", one},
           Row{"the exact name wins", R"({"id":1,"Id":2,"peerURLs":["u"],"name":"n"})", one},
           Row{"null is nothing",
               R"({"id":1,"peerURLs":["u"],"name":"n","clientURLs":null,"isLearner":null})", one},
           Row{"an empty object", "{}", Member{}},
           Row{"null", "null", Member{}},
           Row{"an id beyond doubles", R"({"id":18446744073709551615})",
               Member{.id = ~0ull, .peer_urls = {}, .name = "", .client_urls = {}}},
           Row{"an id beyond 64 bits", R"({"id":18446744073709551616})", std::nullopt},
           Row{"a negative id", R"({"id":-1})", std::nullopt},
           Row{"a fraction", R"({"id":1.5})", std::nullopt},
           Row{"an id as text", R"({"id":"1"})", std::nullopt},
           Row{"one URL that is no list", R"({"peerURLs":"u"})", std::nullopt},
           Row{"a number among the URLs", R"({"peerURLs":[1]})", std::nullopt},
           Row{"a list", "[]", std::nullopt},
           Row{"no JSON", "{", std::nullopt},
           Row{"something behind it", "{} {}", std::nullopt},
           Row{"nothing", "", std::nullopt},
       }) {
    EXPECT_EQ(parse_member(row.json), row.expected) << row.why;
  }
  EXPECT_FALSE(parse_members("{}"));
  EXPECT_FALSE(parse_members("[1]"));
  EXPECT_TRUE(parse_members("null"));
}

TEST(Json, QuotesAsGoDoes) {
  struct Row {
    std::string text;
    const char* expected;
  };
  for (const Row& row : {
           Row{"plain", R"("plain")"},
           Row{"a\"b\\c", R"("a\"b\\c")"},
           Row{"<a>&b", R"("\u003ca\u003e\u0026b")"},
           Row{"\b\f\n\r\t", R"("\b\f\n\r\t")"},
           Row{std::string("\x01\x1f\x7f", 3), "\"\\u0001\\u001f\x7f\""},
           Row{"\u00fc\u20ac\U0001F600", "\"\u00fc\u20ac\U0001F600\""},
           Row{"\u2028\u2029", R"("\u2028\u2029")"},
           Row{"\xff", R"("\ufffd")"},
           Row{"\xc3", R"("\ufffd")"},
           Row{"\xc0\x80", R"("\ufffd\ufffd")"},
           Row{"\xed\xa0\x80", R"("\ufffd\ufffd\ufffd")"},
           Row{"\xf4\x90\x80\x80", R"("\ufffd\ufffd\ufffd\ufffd")"},
       }) {
    EXPECT_EQ(base::json_string(row.text), row.expected);
  }
}

// Nesting without end must not end the process.
TEST(Json, SurvivesNoise) {
  EXPECT_FALSE(parse_member(std::string(1'000'000, '[')));
  EXPECT_FALSE(parse_member(std::string(100'000, '[') + std::string(100'000, ']')));
  base::Random random(1);
  const std::string good = member_json(full());
  for (int i = 0; i < 5000; i++) {
    std::string bad = good;
    bad[random.below(bad.size())] = static_cast<char>(random.next());
    MAYBE(parse_member(bad));
    MAYBE(parse_members(bad));
  }
}

TEST(Version, Parses) {
  struct Row {
    const char* text;
    std::optional<Version> version, target;
  };
  const auto no = std::nullopt;
  for (const Row& row : {
           Row{"3.7.1", Version{3, 7, 1}, Version{3, 7, 0}},
           Row{"3.6", no, Version{3, 6, 0}},
           Row{"3.7.0-rc.1", Version{3, 7, 0}, Version{3, 7, 0}},
           Row{"3.7.0+git", Version{3, 7, 0}, Version{3, 7, 0}},
           Row{"3", no, no},
           Row{"", no, no},
           Row{"3.", no, no},
           Row{"3.6.", no, no},
           Row{"v3.6.0", no, no},
           Row{"3.6.0x", no, no},
           Row{"-3.6.0", no, no},
           Row{"3.6.0.0", no, no},
           Row{"99999999999.1.1", no, no},
       }) {
    EXPECT_EQ(parse_version(row.text), row.version) << row.text;
    EXPECT_EQ(parse_downgrade_target(row.text), row.target) << row.text;
  }
  EXPECT_EQ((Version{3, 7, 1}.text()), "3.7.1");
  EXPECT_EQ((Version{3, 7, 1}.minor_text()), "3.7");
}

TEST(Version, Rules) {
  EXPECT_EQ(allowed_downgrade({3, 7, 0}), (Version{3, 6, 0}));
  EXPECT_EQ(allowed_downgrade({3, 0, 0}), std::nullopt);
  EXPECT_TRUE(can_serve({3, 7, 1}, {3, 7, 0}));
  EXPECT_TRUE(can_serve({3, 7, 1}, {3, 6, 0}));
  EXPECT_FALSE(can_serve({3, 7, 1}, {3, 8, 0}));
  EXPECT_TRUE(can_serve({3, 7, 0}, {3, 7, 5})) << "patches do not count";
  EXPECT_FALSE(can_serve({3, 9, 0}, {4, 0, 0}));
}

}  // namespace
}  // namespace keelson::membership
