#include "membership/cluster.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/random.h"
#include "testing/script.h"

namespace keelson::membership {
namespace {

// The buckets, as a store would keep them.
using Buckets = std::map<base::Bucket, std::map<std::string, std::string>>;

void store(const base::Batch& batch, Buckets& buckets) {
  for (const auto& change : batch.changes()) {
    if (change.value) {
      buckets[change.bucket][change.key] = *change.value;
    } else {
      buckets[change.bucket].erase(change.key);
    }
  }
}
bool recover(Cluster& cluster, Buckets& buckets) {
  const auto list = [&](base::Bucket bucket) {
    return Cluster::Stored(buckets[bucket].begin(), buckets[bucket].end());
  };
  const auto members = list(base::Bucket::kMembers), removed = list(base::Bucket::kMembersRemoved),
             rest = list(base::Bucket::kCluster);
  return cluster.recover({.members = members, .members_removed = removed, .cluster = rest});
}

std::string list(const Roster& roster) {
  std::string out;
  for (const Member& member : roster.members) out += member_json(member) + "\n";
  for (const MemberId id : roster.removed) out += "removed " + id_text(id) + "\n";
  if (roster.version) out += "version " + roster.version->text() + "\n";
  if (roster.downgrade.enabled) out += "downgrade to " + roster.downgrade.target + "\n";
  return out;
}

class Story {
 public:
  std::string run(const testing::Directive& d) {
    base::Batch batch;
    std::string said = act(d, batch);
    store(batch, buckets_);
    for (const auto& change : batch.changes()) {
      said += fmt::format("\n{}/{} {}", base::bucket_name(change.bucket), change.key,
                          change.value ? "= " + *change.value : "deleted");
    }
    return said;
  }

 private:
  std::string act(const testing::Directive& d, base::Batch& batch) {
    const auto id = [&] { return parse_id(d.bare(0)).value(); };
    if (d.command == "change") {
      return change({.type = static_cast<std::uint8_t>(d.number("type")),
                     .node_id = id(),
                     .context = d.input},
                    batch);
    }
    if (d.command == "attributes") {
      const bool known = cluster_.set_attributes(
          batch, id(), {.name = d.text("name"), .client_urls = {d.text("url")}});
      return known ? "ok" : "unknown member";
    }
    if (d.command == "version")
      return cluster_.set_version(batch, parse_version(d.bare(0)).value()), "ok";
    if (d.command == "downgrade") {
      return cluster_.set_downgrade(batch, {.enabled = d.has("to"), .target = d.text("to")}), "ok";
    }
    if (d.command == "list") return list(cluster_.roster());
    if (d.command == "v2") return v2_store_json(cluster_.roster());
    if (d.command == "recover") {
      cluster_ = Cluster({.max_learners = 1});
      return recover(cluster_, buckets_) ? "ok" : "damaged";
    }
    ADD_FAILURE() << d.position << ": unknown command " << d.command;
    return "";
  }

  std::string change(const RawChange& raw, base::Batch& batch) {
    const auto change = parse_change(raw);
    if (!change) return std::string("error: ") + std::string(describe(change.error()));
    if (const auto checked = cluster_.check(*change); !checked) {
      return std::string("error: ") + std::string(describe(checked.error()));
    }
    cluster_.apply(batch, *change);
    return "ok";
  }

  Cluster cluster_{{.max_learners = 1}};
  Buckets buckets_;
};

TEST(Cluster, Script) {
  Story story;
  testing::run_script(KEELSON_TEST_DIR "/testdata/cluster.txt",
                      [&](const testing::Directive& directive) { return story.run(directive); });
}

TEST(Cluster, RefusesDamagedBuckets) {
  struct Row {
    const char* why;
    base::Bucket bucket;
    const char* key;
    const char* value;
    bool fine;
  };
  using base::Bucket;
  for (const Row& row : {
           Row{"a member", Bucket::kMembers, "a", R"({"id":10,"peerURLs":["u"]})", true},
           Row{"a key that is no id", Bucket::kMembers, "x", R"({"id":10,"peerURLs":["u"]})",
               false},
           Row{"id 0", Bucket::kMembers, "0", "{}", false},
           Row{"a value that is no member", Bucket::kMembers, "a", "member", false},
           Row{"a removed member", Bucket::kMembersRemoved, "b", "removed", true},
           Row{"a removed one whose key is no id", Bucket::kMembersRemoved, "", "removed", false},
           Row{"a version", Bucket::kCluster, "clusterVersion", "3.7.0", true},
           Row{"a bad version", Bucket::kCluster, "clusterVersion", "newest", false},
           Row{"a downgrade", Bucket::kCluster, "downgrade",
               R"({"target-version":"3.6.0","enabled":true})", true},
           Row{"none", Bucket::kCluster, "downgrade", R"({"target-version":"","enabled":false})",
               true},
           Row{"a downgrade to nowhere", Bucket::kCluster, "downgrade",
               R"({"target-version":"","enabled":true})", false},
           Row{"no JSON", Bucket::kCluster, "downgrade", "yes", false},
           Row{"a key of a later version", Bucket::kCluster, "later", "?", true},
       }) {
    Buckets buckets{{row.bucket, {{row.key, row.value}}}};
    Cluster cluster({});
    EXPECT_EQ(recover(cluster, buckets), row.fine) << row.why;
  }
}

TEST(Cluster, SnapshotsDoNotChange) {
  Cluster cluster({});
  base::Batch batch;
  cluster.set_members(batch, {{.id = 2, .peer_urls = {"b"}, .name = "", .client_urls = {}},
                              {.id = 1, .peer_urls = {"a"}, .name = "", .client_urls = {}}});
  const auto before = cluster.snapshot();
  ASSERT_TRUE(cluster.set_attributes(batch, 1, {.name = "m1", .client_urls = {"c"}}));
  cluster.apply(batch, {.kind = Change::Kind::kRemove, .id = 2, .member = {}});
  EXPECT_EQ(before->members.size(), 2u);
  EXPECT_FALSE(before->find(1)->started());
  EXPECT_EQ(cluster.roster().members.size(), 1u);
  EXPECT_TRUE(cluster.roster().find(1)->started());
}

// Strict reconfiguration: how many have started against the quorum that will be.
TEST(Roster, StrictReconfiguration) {
  struct Row {
    const char* why;
    const char* members;  // S started, s not, L learner
    bool add, remove_first, promote;
  };
  for (const Row& row : {
           Row{"one may get its second although one of two is no quorum", "S", true, false, false},
           Row{"one that has not started may not", "s", false, false, false},
           Row{"both of two", "SS", true, true, true},
           Row{"one of two: neither add nor lose that one", "Ss", false, false, true},
           Row{"not the first of two", "sS", false, true, true},
           Row{"three", "SSS", true, true, true},
           Row{"two of three", "SSs", false, false, true},
           Row{"two of three, the dead one goes", "sSS", false, true, true},
           Row{"three of four", "SSSs", true, true, true},
           Row{"learners do not count", "SLLL", true, false, false},
       }) {
    Roster roster;
    for (const char* c = row.members; *c != 0; c++) {
      roster.members.push_back({.id = roster.members.size() + 1,
                                .peer_urls = {},
                                .is_learner = *c == 'L',
                                .name = *c == 's' ? "" : "started",
                                .client_urls = {}});
    }
    EXPECT_EQ(roster.may_add_voter(), row.add) << row.why;
    EXPECT_EQ(roster.may_remove_voter(1), row.remove_first) << row.why;
    if (roster.members.size() > 1 && roster.learners() == 0)
      EXPECT_EQ(roster.may_promote(99), row.promote) << row.why;
  }
}

TEST(ConfState, Json) {
  base::Batch batch;
  const std::vector<MemberId> voters{1, 18446744073709551615u}, learners{3};
  save_conf_state(batch, {.voters = voters});
  EXPECT_EQ(batch.changes().back().key, "confState");
  EXPECT_EQ(*batch.changes().back().value,
            R"({"voters":[1,18446744073709551615],"auto_leave":false})");
  EXPECT_EQ(
      conf_state_json({.voters = voters,
                       .learners = learners,
                       .voters_outgoing = learners,
                       .learners_next = voters,
                       .auto_leave = true}),
      R"({"voters":[1,18446744073709551615],"learners":[3],"voters_outgoing":[3],"learners_next":[1,18446744073709551615],"auto_leave":true})");
}

// Random changes, good and bad: what is refused changes nothing, ids that went never return, and
// what was stored gives the same cluster again.
TEST(Cluster, Twin) {
  for (std::uint64_t seed = 1; seed <= 20; seed++) {
    base::Random random(seed);
    Cluster cluster({.max_learners = 2});
    Buckets buckets;
    for (int i = 0; i < 400; i++) {
      const MemberId id = 1 + random.below(30);
      Change change{.kind = static_cast<Change::Kind>(random.below(4)),
                    .id = id,
                    .member = {.id = id,
                               .peer_urls = {fmt::format("u{}", random.below(40))},
                               .is_learner = random.one_in(3),
                               .name = "",
                               .client_urls = {}}};
      change.adds_learner = change.member.is_learner;
      const Member* before = cluster.roster().find(id);
      const bool was_removed = cluster.roster().is_removed(id);
      const std::string listed = list(cluster.roster());
      base::Batch batch;
      const auto checked = cluster.check(change);
      if (!checked) {
        EXPECT_EQ(list(cluster.roster()), listed);
        EXPECT_EQ(checked.error() == Errc::kIdRemoved, was_removed);
        EXPECT_EQ(checked.error() == Errc::kIdExists,
                  !was_removed && before != nullptr && change.kind == Change::Kind::kAdd);
        EXPECT_EQ(checked.error() == Errc::kIdNotFound,
                  !was_removed && before == nullptr && change.kind != Change::Kind::kAdd);
        continue;
      }
      cluster.apply(batch, change);
      store(batch, buckets);
      const Roster& roster = cluster.roster();
      EXPECT_LE(roster.learners(), 2u);
      EXPECT_EQ(roster.find(id) == nullptr, change.kind == Change::Kind::kRemove);
      for (std::size_t m = 1; m < roster.members.size(); m++)
        EXPECT_LT(roster.members[m - 1].id, roster.members[m].id);
      for (const Member& member : roster.members) EXPECT_FALSE(roster.is_removed(member.id));
    }
    Cluster again({.max_learners = 2});
    ASSERT_TRUE(recover(again, buckets));
    EXPECT_EQ(list(again.roster()), list(cluster.roster()));
    EXPECT_TRUE(nlohmann::json::accept(v2_store_json(again.roster())));
  }
}

}  // namespace
}  // namespace keelson::membership
