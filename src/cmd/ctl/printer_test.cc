// Every answer in every format, by example; what etcdctl printed for the same.
#include "cmd/ctl/printer.h"

#include <gtest/gtest.h>

#include "cmd/ctl/rows.h"
#include "cmd/ctl/testing_output_test.h"

namespace keelson::cmd::ctl {
namespace {

// Prints with one format; errors show as "exit N: text".
template <class Print>
std::string printed(std::string_view format, bool hex, Print print) {
  TestOutput output;
  const Outcome outcome = print(*make_printer(output, format, hex));
  output.flush();
  std::string all = output.out + output.error;
  if (!outcome) all += "exit " + std::to_string(outcome.error().code) + ": " + outcome.error().text;
  return all;
}

pb::ResponseHeader header() {
  pb::ResponseHeader header;
  header.set_cluster_id(14841639068965178418u);
  header.set_member_id(10276657743932975437u);
  header.set_revision(7);
  header.set_raft_term(2);
  return header;
}

mvccpb::KeyValue key_value(std::string key, std::string value, std::int64_t lease = 0) {
  mvccpb::KeyValue kv;
  kv.set_key(std::move(key));
  kv.set_value(std::move(value));
  kv.set_create_revision(3);
  kv.set_mod_revision(5);
  kv.set_version(2);
  kv.set_lease(lease);
  return kv;
}

constexpr std::string_view kHeaderJson =
    R"({"cluster_id":14841639068965178418,"member_id":10276657743932975437,"revision":7,"raft_term":2})";
constexpr std::string_view kHeaderFields = R"("ClusterID" : 14841639068965178418
"MemberID" : 10276657743932975437
"Revision" : 7
"RaftTerm" : 2
)";

std::string operator+(std::string_view a, const std::string& b) { return std::string(a).append(b); }

TEST(Printer, Get) {
  pb::RangeResponse response;
  *response.mutable_header() = header();
  *response.add_kvs() = key_value("a", "1\n", 255);
  response.set_count(9);
  response.set_more(true);
  const auto print = [&](Printer& printer) { return printer.get(response); };
  EXPECT_EQ(printed("simple", false, print), "a\n1\n\n");
  EXPECT_EQ(printed("simple", true, print), "\\x61\n\\x31\\x0a\n");
  EXPECT_EQ(printed("json", false, print),
            "{\"header\":" + std::string(kHeaderJson) +
                ",\"kvs\":[{\"key\":\"YQ==\",\"create_revision\":3,\"mod_revision\":5,"
                "\"version\":2,\"value\":\"MQo=\",\"lease\":255}],\"more\":true,\"count\":9}\n");
  EXPECT_EQ(printed("fields", false, print), kHeaderFields + std::string(R"("Key" : "a"
"CreateRevision" : 3
"ModRevision" : 5
"Version" : 2
"Value" : "1\n"
"Lease" : 255
"More" : true
"Count" : 9
)"));
  EXPECT_EQ(printed("fields", true, print), R"("ClusterID" : cdf818194e3a8c32
"MemberID" : 8e9e05c52164694d
"Revision" : 7
"RaftTerm" : 2
"Key" : "a"
"CreateRevision" : 3
"ModRevision" : 5
"Version" : 2
"Value" : "1\n"
"Lease" : 00000000000000ff
"More" : true
"Count" : 9
)");
  EXPECT_EQ(printed("protobuf", false, print), response.SerializeAsString());
  EXPECT_EQ(printed("table", false, print), "exit 4: table not supported as output format");
}

TEST(Printer, Txn) {
  pb::TxnResponse response;
  response.set_succeeded(true);
  response.add_responses()->mutable_response_put()->mutable_header()->set_revision(8);
  *response.add_responses()->mutable_response_range()->add_kvs() = key_value("k", "v");
  auto& deleted = *response.add_responses()->mutable_response_delete_range();
  deleted.set_deleted(1);
  *deleted.add_prev_kvs() = key_value("d", "w");
  response.add_responses()->mutable_response_txn()->set_succeeded(true);
  const auto print = [&](Printer& printer) { return printer.txn(response); };
  EXPECT_EQ(printed("simple", false, print), "SUCCESS\n\nOK\n\nk\nv\n\n1\nd\nw\n\n");
  EXPECT_EQ(
      printed("json", false, print),
      "{\"succeeded\":true,\"responses\":[{\"Response\":{\"response_put\":{\"header\":{"
      "\"revision\":8}}}},{\"Response\":{\"response_range\":{\"kvs\":[{\"key\":\"aw==\",\"create_"
      "revision\":3,\"mod_revision\":5,\"version\":2,\"value\":\"dg==\"}]}}},{\"Response\":{"
      "\"response_delete_range\":{\"deleted\":1,\"prev_kvs\":[{\"key\":\"ZA==\",\"create_"
      "revision\":3,\"mod_revision\":5,\"version\":2,\"value\":\"dw==\"}]}}},{\"Response\":{"
      "\"response_txn\":{\"succeeded\":true}}}]}\n");
}

TEST(Printer, Watch) {
  pb::WatchResponse response;
  auto& put = *response.add_events();
  *put.mutable_kv() = key_value("k", "new");
  *put.mutable_prev_kv() = key_value("k", "old");
  auto& deleted = *response.add_events();
  deleted.set_type(mvccpb::Event::DELETE);
  deleted.mutable_kv()->set_key("k");
  const auto print = [&](Printer& printer) { return printer.watch(response); };
  EXPECT_EQ(printed("simple", false, print), "PUT\nk\nold\nk\nnew\nDELETE\nk\n\n");
  EXPECT_EQ(printed("json", false, print),
            "{\"Header\":{},\"Events\":[{\"kv\":{\"key\":\"aw==\",\"create_revision\":3,\"mod_"
            "revision\":5,\"version\":2,\"value\":\"bmV3\"},\"prev_kv\":{\"key\":\"aw==\","
            "\"create_revision\":3,\"mod_revision\":5,\"version\":2,\"value\":\"b2xk\"}},{\"type\":"
            "1,\"kv\":{\"key\":\"aw==\"}}],\"CompactRevision\":0,\"Canceled\":false,\"Created\":"
            "false,\"CancelReason\":\"\"}\n");
  response.Clear();
  response.set_canceled(true);
  response.set_compact_revision(9);
  EXPECT_EQ(printed("json", false, print),
            "{\"Header\":{},\"Events\":null,\"CompactRevision\":9,\"Canceled\":true,\"Created\":"
            "false,\"CancelReason\":\"\"}\n");
}

TEST(Printer, Leases) {
  pb::LeaseTimeToLiveResponse live;
  *live.mutable_header() = header();
  live.set_id(7587817042727751691);
  live.set_ttl(45);
  live.set_grantedttl(60);
  live.add_keys("k1");
  live.add_keys("k2");
  const auto with = [&](bool keys) {
    return [&live, keys](Printer& printer) { return printer.lease_time_to_live(live, keys); };
  };
  EXPECT_EQ(printed("simple", false, with(false)),
            "lease 694d5765fc71500b granted with TTL(60s), remaining(45s)\n");
  EXPECT_EQ(printed("simple", false, with(true)),
            "lease 694d5765fc71500b granted with TTL(60s), remaining(45s), attached keys([k1 "
            "k2])\n");
  EXPECT_EQ(printed("json", false, with(true)),
            "{\"cluster_id\":14841639068965178418,\"member_id\":10276657743932975437,\"revision\":"
            "7,\"raft_term\":2,\"id\":7587817042727751691,\"ttl\":45,\"granted-ttl\":60,\"keys\":["
            "\"azE=\",\"azI=\"]}\n");
  EXPECT_EQ(printed("protobuf", false, with(true)), header().SerializeAsString());
  live.clear_grantedttl();
  live.set_ttl(-1);
  live.clear_keys();
  EXPECT_EQ(printed("simple", false, with(true)), "lease 694d5765fc71500b already expired\n");

  pb::LeaseLeasesResponse list;
  const auto print_list = [&](Printer& printer) { return printer.lease_list(list); };
  EXPECT_EQ(printed("json", false, print_list), "{\"leases\":[]}\n");
  list.add_leases()->set_id(255);
  EXPECT_EQ(printed("simple", false, print_list), "found 1 leases\n00000000000000ff\n");
  EXPECT_EQ(printed("json", false, print_list), "{\"leases\":[{\"id\":255}]}\n");

  EXPECT_EQ(printed("protobuf", false, [](Printer& printer) { return printer.lease_revoke(1, {}); })
                .substr(0, 75),
            "exit 4: marshal unsupported for type *clientv3.LeaseRevokeResponse ()");
}

TEST(Printer, Members) {
  pb::MemberListResponse response;
  auto& member = *response.add_members();
  member.set_id(10276657743932975437u);
  member.set_name("m0");
  member.add_peerurls("http://a:2380");
  member.add_peerurls("http://b:2380");
  member.add_clienturls("http://a:2379");
  auto& learner = *response.add_members();
  learner.set_id(1);
  learner.set_islearner(true);
  const auto print = [&](Printer& printer) { return printer.member_list(response); };
  EXPECT_EQ(printed("simple", false, print),
            "8e9e05c52164694d, started, m0, http://a:2380,http://b:2380, http://a:2379, false\n"
            "1, unstarted, , , , true\n");
  EXPECT_EQ(printed("json", true, print),
            "{\"header\":{\"cluster_id\":\"0\",\"member_id\":\"0\"},\"members\":[{\"ID\":"
            "\"8e9e05c52164694d\",\"name\":\"m0\",\"peerURLs\":[\"http://a:2380\",\"http://"
            "b:2380\"],\"clientURLs\":[\"http://a:2379\"]},{\"ID\":\"1\",\"isLearner\":true}]}\n");
  EXPECT_EQ(
      printed("table", false, print),
      R"(┌──────────────────┬───────────┬──────┬─────────────────────────────┬───────────────┬────────────┐
│        ID        │  STATUS   │ NAME │         PEER ADDRS          │ CLIENT ADDRS  │ IS LEARNER │
├──────────────────┼───────────┼──────┼─────────────────────────────┼───────────────┼────────────┤
│ 8e9e05c52164694d │   started │   m0 │ http://a:2380,http://b:2380 │ http://a:2379 │      false │
│                1 │ unstarted │      │                             │               │       true │
└──────────────────┴───────────┴──────┴─────────────────────────────┴───────────────┴────────────┘
)");
}

TEST(Printer, Endpoints) {
  const std::vector<EndpointHealth> health = {{"a:1", true, "1.5ms", ""},
                                              {"b:1", false, "2s", "context deadline exceeded"}};
  const auto print_health = [&](Printer& printer) { return printer.endpoint_health(health); };
  EXPECT_EQ(printed("simple", false, print_health),
            "a:1 is healthy: successfully committed proposal: took = 1.5ms\n"
            "b:1 is unhealthy: failed to commit proposal: context deadline exceeded\n");
  EXPECT_EQ(printed("json", false, print_health),
            "[{\"endpoint\":\"a:1\",\"health\":true,\"took\":\"1.5ms\"},{\"endpoint\":\"b:1\","
            "\"health\":false,\"took\":\"2s\",\"error\":\"context deadline exceeded\"}]\n");
  EXPECT_EQ(printed("fields", false, print_health),
            "\"Endpoint\" : \"a:1\"\n\"Health\" : true\n\"Took\" : 1.5ms\n\"Error\" : \n\n"
            "\"Endpoint\" : \"b:1\"\n\"Health\" : false\n\"Took\" : 2s\n\"Error\" : context "
            "deadline exceeded\n\n");

  EndpointStatus status{"a:1", {}};
  status.response.mutable_header()->set_member_id(255);
  status.response.set_leader(255);
  status.response.set_version("3.7.1");
  status.response.set_dbsize(25'000);
  status.response.set_dbsizeinuse(16'000);
  status.response.add_errors("NOSPACE");
  status.response.add_errors("other");
  status.response.mutable_downgradeinfo();
  const auto print_status = [&](Printer& printer) { return printer.endpoint_status({status}); };
  EXPECT_EQ(printed("simple", false, print_status),
            "a:1, ff, 3.7.1, , 25 kB, 16 kB, 36%, 0 B, true, false, 0, 0, 0, NOSPACE, other, , "
            "false\n");
  EXPECT_EQ(printed("json", false, print_status),
            "[{\"Endpoint\":\"a:1\",\"Status\":{\"header\":{\"member_id\":255},\"version\":\"3.7."
            "1\",\"dbSize\":25000,\"leader\":255,\"errors\":[\"NOSPACE\",\"other\"],"
            "\"dbSizeInUse\":16000,\"downgradeInfo\":{}}}]\n");
  EXPECT_EQ(printed("json", false, [](Printer& p) { return p.endpoint_status({}); }), "null\n");
  EXPECT_EQ(printed("protobuf", false, print_status),
            "exit 4: protobuf not supported as output format");
}

TEST(Printer, Tables) {
  EXPECT_EQ(table_text({{"a_b", "Cé"}, {}}), "┌─────┬────┐\n│ A B │ Cé │\n└─────┴────┘\n");
  EXPECT_EQ(table_text({{"x", "y"}, {{"long", "é"}}}),
            "┌──────┬───┐\n│  X   │ Y │\n├──────┼───┤\n│ long │ é │\n└──────┴───┘\n");
}

TEST(Printer, UnknownFormat) {
  TestOutput output;
  EXPECT_EQ(make_printer(output, "xml", false), nullptr);
}

}  // namespace
}  // namespace keelson::cmd::ctl
