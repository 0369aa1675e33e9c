// Three members in the simulated world: they find a leader, replicate, read what was answered, and
// survive the loss of any one of them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "env/simulated/world.h"
#include "http/server.h"
#include "member/corruption_checker.h"
#include "member/hash_endpoint.h"
#include "member/lease_endpoints.h"
#include "member/member.h"
#include "member/peers.h"
#include "member/publisher.h"

namespace keelson::member {
namespace {

using base::Milliseconds;
using base::Seconds;
using env::simulated::Disk;

constexpr std::uint32_t kPutField = etcdserverpb::InternalRaftRequest::kPutFieldNumber;
constexpr std::uint32_t kTxnField = etcdserverpb::InternalRaftRequest::kTxnFieldNumber;
constexpr std::uint32_t kCompactionField =
    etcdserverpb::InternalRaftRequest::kCompactionFieldNumber;
constexpr std::uint32_t kLeaseGrantField =
    etcdserverpb::InternalRaftRequest::kLeaseGrantFieldNumber;
constexpr base::Duration kElectionTimeout = Seconds(1);

// What a machine says of its server to the others, as of each question.
struct Said {
  std::string version;
  bool is_etcd = false;  // nothing tells that it is one of ours
};

// What the peer port serves here: the transport, questions about leases and hashes.
class PeerPort final : public http::RequestRouter {
 public:
  PeerPort(Member& member, const Said& said) : member_(member), said_(said) {}
  http::Route route(const http::Request& head) override {
    if (head.path == "/version") {
      return {.handler = http::make_simple_handler([said = said_](const http::Request&) {
                auto response =
                    http::text_response(200, fmt::format(R"({{"etcdserver":"{}"}})", said.version));
                if (!said.is_etcd) {
                  response.headers.add(std::string(kServerField), std::string(kServerMark));
                }
                return response;
              })};
    }
    if (head.path.starts_with("/leases")) return route_leases(member_.front(0), head);
    if (auto hash = route_hash(member_.front(0), head); hash.handler) return hash;
    return member_.shared().peers->transport().route(head);
  }

 private:
  Member& member_;
  const Said& said_;
};

// The events of a lane since it was told that some were lost.
class HeardSince : public BatchListener {
 public:
  void on_batch(const std::shared_ptr<const mvcc::EventBatch>& batch) override {
    events += batch->events.size();
  }
  void on_batches_lost() override { events = 0; }
  std::size_t events = 0;
};

// One member and its host.
class Machine {
 public:
  // `running`: the cluster that it joins.
  Machine(env::simulated::World& world, const std::string& name, const std::string& cluster,
          std::string version, std::optional<RunningCluster> running = std::nullopt)
      : world_(world), host_(world.host(name)), said_{.version = std::move(version)} {
    config_.name = name;
    config_.data_dir = "/data";
    config_.advertise_peer_urls = *membership::parse_url_list("http://" + name + ":2380");
    config_.advertise_client_urls = {"http://" + name + ":2379"};
    config_.initial_cluster = *membership::parse_initial_cluster(cluster);
    config_.store.reserve = false;
    config_.store.segment_bytes = 64 * 1024;
    config_.wal_segment_bytes = 64 * 1024;
    config_.snapshot_catchup_entries = 20;
    config_.lease_checkpoint = true;
    config_.new_cluster = !running;
    config_.running = std::move(running);
    start();
  }
  ~Machine() {
    if (up()) kill(Disk::Crash::kKeepAll);
  }

  void make() {
    auto made = Member::make(config_, host_.disk(), host_.clock(), host_.network(),
                             {.io = {&host_.lane("io0"), &host_.lane("io1")},
                              .raft = &host_.lane("raft"),
                              .log = &host_.lane("log"),
                              .apply = &host_.lane("apply"),
                              .store = &host_.lane("store"),
                              .workers = {&host_.lane("worker0")}},
                             world_.random().next());
    ASSERT_TRUE(made.ok()) << made.error().text;
    member_ = *std::move(made);
  }
  void start() {
    make();
    router_ = std::make_unique<PeerPort>(*member_, said_);
    server_ = std::make_unique<http::Server>(host_.lane("io0"),
                                             http::ServerOptions{.access = {.applies = false}},
                                             nullptr, router_.get());
    auto listener = host_.network().listen(
        host_.name() + ":2380", {}, {&host_.lane("io0")},
        [this](std::unique_ptr<env::Stream> stream) { server_->accept(std::move(stream)); });
    ASSERT_TRUE(listener.ok());
    listener_ = *std::move(listener);
    ready_ = false;
    member_->start([this] { ready_ = true; });
  }
  void kill(Disk::Crash mode) {
    if (host_.is_alive()) host_.kill(mode);
    listener_.reset();
    server_.reset();
    router_.reset();
    member_.reset();
  }
  void stop(base::Job done) { member_->stop(std::move(done)); }
  void start_again() {
    host_.start();
    start();
  }

  // For the next start.
  Config& config() { return config_; }
  // While it is down, with its log from the beginning: every put of this key has had another value
  // here ever since.
  void change_past(const std::string& key) {
    host_.start();
    rewrite_log(key);
    host_.kill(Disk::Crash::kKeepAll);
  }
  void rewrite_log(const std::string& key) {
    Disk& disk = host_.disk();
    const Paths paths = Paths::of(config_);
    auto log = wal::read_log(disk, paths.wal, {});
    ASSERT_TRUE(log.ok());
    for (raft::Entry& entry : log->entries) {
      etcdserverpb::InternalRaftRequest request;
      if (entry.type != raft::EntryType::kNormal || entry.data.empty()) continue;
      ASSERT_TRUE(request.ParseFromString(std::string(entry.data.view())));
      if (!request.has_put() || request.put().key() != key) continue;
      request.mutable_put()->mutable_value()->append("!");
      entry.data = base::SharedBytes(request.SerializeAsString());
    }
    for (const auto& path : {paths.wal, paths.store}) ASSERT_TRUE(disk.remove_all(path).ok());
    auto rewritten =
        wal::Wal::create(disk, {.directory = paths.wal, .segment_bytes = config_.wal_segment_bytes},
                         log->metadata, {});
    ASSERT_TRUE(rewritten.ok());
    (*rewritten)->append(log->hard_state, log->entries);
    ASSERT_TRUE((*rewritten)->flush_and_sync().ok());
  }
  // Starts so far that its data is compared with the others', and ends again. Why it must not
  // serve, or "".
  std::string check_initially() {
    host_.start();
    make();
    env::Lane& lane = host_.lane("check");
    std::unique_ptr<peer::Connector> connector = peer::make_plain_connector(host_.network());
    std::unique_ptr<InitialCheck> check;
    std::optional<std::string> outcome;
    lane.post([&] {
      check =
          std::make_unique<InitialCheck>(lane, *connector,
                                         InitialCheck::Start{.identity = member_->identity(),
                                                             .view = member_->shared().views.load(),
                                                             .patience = config_.request_timeout()},
                                         [&](base::Result<void, BootError> result) {
                                           outcome = result ? "" : result.error().text;
                                         });
    });
    EXPECT_TRUE(world_.run_until([&] { return outcome.has_value(); }, Seconds(60)));
    kill(Disk::Crash::kKeepAll);
    return outcome.value_or("nothing");
  }

  void say_version(std::string version) { said_.version = std::move(version); }
  void be_etcd(bool is_etcd) { said_.is_etcd = is_etcd; }
  // Revokes of expired leases that it has proposed.
  std::uint64_t revokes() const { return member_->shared().progress.revokes_proposed; }
  std::size_t leases() const { return member_->shared().views.load()->leases.size(); }
  std::int64_t checkpoint_of(lease::LeaseId id) const {
    const auto lease = member_->shared().views.load()->leases.find(id);
    return lease ? lease->remaining_ttl.count() : -1;
  }
  std::string cluster_version() const {
    const auto view = member_->shared().views.load();
    return view->roster->version ? view->roster->version->text() : "none";
  }

  bool up() const { return member_ != nullptr; }
  // Not if it has ended by itself.
  bool alive() const { return host_.is_alive(); }
  // One bit of the record of this key, in its store.
  void damage(const std::string& key) {
    const std::string store = Paths::of(config_).store;
    for (const auto& [path, bytes] : host_.disk().contents()) {
      const auto at = bytes.find(key);
      if (path.starts_with(store) && at != std::string::npos) {
        damaged_ = {path, at};
        return mend();
      }
    }
    FAIL() << key << " is not in the store";
  }
  // The same bit again.
  void mend() { host_.disk().flip_bit(damaged_.first, damaged_.second); }
  bool ready() const { return up() && ready_; }
  bool leads() const { return up() && member_->shared().progress.leader == id(); }
  raft::Term term() const { return member_->shared().progress.term; }
  raft::Index committed() const { return member_->shared().progress.committed; }
  // As if a peer had sent it.
  void hear(raft::Message message) { member_->shared().peers->receive(std::move(message)); }
  raft::NodeId leader() const { return member_->shared().progress.leader; }
  raft::NodeId id() const { return member_->identity().member_id; }
  const std::string& name() const { return host_.name(); }
  Front& front(std::size_t lane = 0) { return member_->front(lane); }

  // Asks for it; whether it was answered is in what comes back.
  struct Answer {
    bool done = false;
    std::string text;
    std::optional<Errc> errc = std::nullopt;  // why a put failed
  };
  std::shared_ptr<Answer> put(const std::string& key, std::size_t lane = 0) {
    etcdserverpb::PutRequest request;
    request.set_key(key);
    request.set_value(name());
    auto answer = std::make_shared<Answer>();
    front(lane).lane().post([this, lane, answer, bytes = request.SerializeAsString()] {
      front(lane).propose(kPutField, bytes, [answer](base::Result<Reply, Failure> reply) {
        if (reply) {
          *answer = {true, fmt::format("{}", reply->revision)};
        } else {
          const auto* errc = std::get_if<Errc>(&reply.error());
          *answer = {true, "failed", errc == nullptr ? std::nullopt : std::optional(*errc)};
        }
      });
    });
    return answer;
  }
  // Puts `then` if the value of `key` is that of put() here.
  std::shared_ptr<Answer> put_if(const std::string& key, const std::string& then) {
    etcdserverpb::TxnRequest request;
    auto* compare = request.add_compare();
    compare->set_key(key);
    compare->set_target(etcdserverpb::Compare::VALUE);
    compare->set_value(name());
    request.add_success()->mutable_request_put()->set_key(then);
    auto answer = std::make_shared<Answer>();
    front().lane().post([this, answer, bytes = request.SerializeAsString()] {
      front().propose(kTxnField, bytes, [answer](base::Result<Reply, Failure> reply) {
        *answer = {true, reply ? fmt::format("{}", reply->revision) : "failed"};
      });
    });
    return answer;
  }
  std::shared_ptr<Answer> compact(std::int64_t revision) {
    etcdserverpb::CompactionRequest request;
    request.set_revision(revision);
    auto answer = std::make_shared<Answer>();
    front().lane().post([this, answer, bytes = request.SerializeAsString()] {
      front().propose(kCompactionField, bytes, [answer](base::Result<Reply, Failure> reply) {
        *answer = {true, reply ? "compacted" : "failed"};
      });
    });
    return answer;
  }
  // It becomes a member, reached at its own name.
  std::shared_ptr<Answer> add(const membership::Member& member) {
    auto answer = std::make_shared<Answer>();
    front().lane().post([this, answer, member] {
      raft::ConfChange change{.type = raft::ConfChangeType::kAddNode,
                              .node_id = member.id,
                              .context = membership::config_change_json({.member = member})};
      front().propose_change(std::move(change), [answer](base::Result<Reply, Failure> reply) {
        *answer = {true, reply ? "added" : "failed"};
      });
    });
    return answer;
  }
  RunningCluster cluster() const {
    return {.id = member_->identity().cluster_id,
            .members = member_->shared().views.load()->roster->members};
  }
  std::vector<raft::NodeId> members() const {
    std::vector<raft::NodeId> ids;
    for (const auto& one : member_->shared().views.load()->roster->members) ids.push_back(one.id);
    return ids;
  }
  // Whose data is called corrupt.
  std::vector<raft::NodeId> corrupt() const {
    std::vector<raft::NodeId> ids;
    for (const auto& alarm : *member_->shared().views.load()->alarms) {
      if (alarm.type == apply::AlarmType::kCorrupt) ids.push_back(alarm.member_id);
    }
    return ids;
  }
  // The revision that a linearizable read sees.
  std::shared_ptr<Answer> read(std::size_t lane = 0) {
    auto answer = std::make_shared<Answer>();
    front(lane).lane().post([this, lane, answer] {
      front(lane).barrier([answer](base::Result<std::shared_ptr<const View>, Errc> view) {
        *answer = {true, view ? fmt::format("{}", (*view)->keys.revision) : "failed"};
      });
    });
    return answer;
  }
  Disk& disk() { return host_.disk(); }
  // A lane does nothing for so long, as if it waited for a CPU.
  void hold_up_raft(base::Duration duration) { hold_up("raft", duration); }
  void hold_up(std::string_view lane, base::Duration duration) {
    host_.lane(lane).post([this, duration] {
      const auto end = host_.clock().now() + duration;
      const auto file = host_.disk().open("/held-up", env::OpenMode::kCreate).value();
      for (std::uint64_t at = 0; host_.clock().now() < end; at++) {
        ASSERT_TRUE(file->write_at(at % 100, "x").ok());
        ASSERT_TRUE(file->sync().ok());
      }
    });
  }
  std::shared_ptr<Answer> grant(lease::LeaseId id, std::int64_t ttl) {
    etcdserverpb::LeaseGrantRequest request;
    request.set_id(id);
    request.set_ttl(ttl);
    auto answer = std::make_shared<Answer>();
    front().lane().post([this, answer, bytes = request.SerializeAsString()] {
      front().propose(kLeaseGrantField, bytes, [answer](base::Result<Reply, Failure> reply) {
        *answer = {true, reply ? "granted" : "failed"};
      });
    });
    return answer;
  }
  // It hands its leadership over, and takes no proposals until that is done or given up.
  void hand_over_to(const Machine& other) {
    front().lane().post([this, to = other.member_->shared().identity.member_id] {
      ASSERT_TRUE(member_->shared().to_raft->push(TransferLeader{to}));
    });
  }
  std::shared_ptr<Answer> renew(lease::LeaseId id, std::size_t lane = 0) {
    auto answer = std::make_shared<Answer>();
    front(lane).lane().post([this, lane, id, answer] {
      front(lane).renew(id, [answer](base::Result<Seconds, Errc> ttl) {
        *answer = {true, ttl ? fmt::format("{}", ttl->count())
                             : fmt::format("error {}", static_cast<int>(ttl.error()))};
      });
    });
    return answer;
  }
  // "19 of 20" seconds left, "none", or what went wrong.
  std::shared_ptr<Answer> time_to_live(lease::LeaseId id) {
    auto answer = std::make_shared<Answer>();
    front().lane().post([this, id, answer] {
      front().time_to_live(
          id, /*keys=*/true, [this, id, answer](base::Result<LeaseTime, Errc> time) {
            if (!time) {
              const bool none = time.error() == Errc::kLeaseNotFound;
              *answer = {true,
                         none ? "none" : fmt::format("error {}", static_cast<int>(time.error()))};
              return;
            }
            const auto lease = front().view()->leases.find(id);
            const auto granted = time->told ? time->told->granted_ttl : lease->ttl;
            *answer = {true,
                       fmt::format("{} of {}",
                                   std::chrono::duration_cast<Seconds>(time->remaining).count(),
                                   granted.count())};
          });
    });
    return answer;
  }
  std::int64_t revision() const { return member_->shared().views.load()->keys.revision; }
  // All of them, with their values.
  std::string keys() const {
    const auto view = member_->shared().views.load();
    etcdserverpb::RangeRequest request;
    request.set_key(std::string(1, '\0'));
    request.set_range_end(std::string(1, '\0'));
    const auto result = mvcc::range(view->keys, request, *view->reader, 1 << 20);
    std::string out;
    if (!result) return "unreadable";
    for (const auto& bytes : result->kvs) out += std::string(bytes.view()) + "\n";
    return out;
  }
  std::int64_t compact_revision() const {
    return member_->shared().views.load()->keys.compact_revision;
  }

 private:
  env::simulated::World& world_;
  env::simulated::Host& host_;
  Config config_;
  std::unique_ptr<Member> member_;
  Said said_;
  std::unique_ptr<PeerPort> router_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<env::Listener> listener_;
  bool ready_ = false;
  std::pair<std::string, std::size_t> damaged_;  // where
};

class ClusterTest : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  // `version`: what each says of its server to the others.
  explicit ClusterTest(const std::string& version = "3.7.1") : world_(GetParam()) {
    set_stop_handler([](std::string_view) { throw env::simulated::ProcessExit{}; });
    const std::string cluster = "n1=http://n1:2380,n2=http://n2:2380,n3=http://n3:2380";
    for (const std::string name : {"n1", "n2", "n3"}) {
      machines_.push_back(std::make_unique<Machine>(world_, name, cluster, version));
    }
    EXPECT_TRUE(world_.run_until([this] { return all_ready(); }, Seconds(20)));
  }
  ~ClusterTest() override {
    machines_.clear();
    set_stop_handler(nullptr);
  }

  bool all_ready() const {
    return std::all_of(machines_.begin(), machines_.end(),
                       [](const auto& machine) { return machine->ready(); });
  }
  // The one that leads as far as a majority knows; nullptr: none does.
  Machine* leader() {
    std::map<raft::NodeId, int> votes;
    for (const auto& machine : machines_) {
      if (machine->up()) votes[machine->leader()]++;
    }
    for (const auto& machine : machines_) {
      if (machine->leads() && votes[machine->id()] >= 2) return machine.get();
    }
    return nullptr;
  }
  Machine& other_than(const Machine& one) {
    for (const auto& machine : machines_) {
      if (machine.get() != &one && machine->up()) return *machine;
    }
    return *machines_.front();
  }
  std::string wait(const std::shared_ptr<Machine::Answer>& answer,
                   base::Duration limit = Seconds(20)) {
    world_.run_until([&] { return answer->done; }, limit);
    return answer->done ? answer->text : "nothing";
  }
  // One that takes long to install a snapshot of revision 302; 200 more revisions are committed.
  Machine& begin_install(HeardSince& heard) {
    EXPECT_EQ(put(*machines_[0], "before"), "2");
    Machine& away = other_than(*leader());
    away.kill(Disk::Crash::kRandom);
    for (int i = 0; i < 300; i++) EXPECT_NE(put(*leader(), fmt::format("k{}", i % 40)), "failed");
    away.start_again();
    away.hold_up("store", Seconds(10));
    away.front().set_listener(&heard);
    world_.run_for(Seconds(2));
    // All at once: few works, of many entries.
    std::vector<std::shared_ptr<Machine::Answer>> answers;
    for (int i = 0; i < 200; i++) {
      answers.push_back(leader()->put(fmt::format("k{}", i % 40)));
      if (i % 50 == 9) answers.push_back(leader()->compact(299 + i / 50));
    }
    for (const auto& answer : answers) EXPECT_NE(wait(answer), "failed");
    EXPECT_LT(away.revision(), 302) << "installed already";
    return away;
  }
  // Of its Views, once that snapshot is installed.
  std::vector<std::int64_t> steps_to(const Machine& machine, std::int64_t revision) {
    std::vector<std::int64_t> steps;
    std::int64_t seen = std::max<std::int64_t>(302, machine.revision());
    EXPECT_TRUE(world_.run_until(
        [&] {
          const std::int64_t now = machine.revision();
          if (now > seen) steps.push_back(now - std::exchange(seen, now));
          return now == revision;
        },
        Seconds(30)));
    return steps;
  }

  // Tried again until it is done, as clients do.
  std::string put(Machine& machine, const std::string& key) {
    for (int i = 0; i < 10; i++) {
      if (const std::string text = wait(machine.put(key)); text != "failed") return text;
    }
    return "failed";
  }

  std::string read(Machine& machine) {
    for (int i = 0; i < 10; i++) {
      if (const std::string text = wait(machine.read()); text != "failed") return text;
    }
    return "failed";
  }

  env::simulated::World world_;
  std::vector<std::unique_ptr<Machine>> machines_;
};

INSTANTIATE_TEST_SUITE_P(Seeds, ClusterTest, ::testing::Range<std::uint64_t>(1, 9));

// The cluster runs at the lowest minor version of its servers, and goes up once all have.
class ClusterVersionTest : public ClusterTest {
 protected:
  explicit ClusterVersionTest(const std::string& version) : ClusterTest(version) {}
  // Looks are four seconds apart.
  std::string version_after(const std::vector<std::string>& said) {
    for (std::size_t i = 0; i < said.size(); i++) machines_[i]->say_version(said[i]);
    world_.run_for(Seconds(10));
    return machines_.front()->cluster_version();
  }
};
class OldClusterTest : public ClusterVersionTest {
 protected:
  OldClusterTest() : ClusterVersionTest("3.6.5") {}
};
class UnknownClusterTest : public ClusterVersionTest {
 protected:
  UnknownClusterTest() : ClusterVersionTest("not said") {}
};
INSTANTIATE_TEST_SUITE_P(Seeds, OldClusterTest, ::testing::Values(1));
INSTANTIATE_TEST_SUITE_P(Seeds, UnknownClusterTest, ::testing::Values(1));

TEST_P(OldClusterTest, GoesUpWithTheLastOfItsServers) {
  EXPECT_EQ(version_after({}), "3.6.0");
  // The leader's own is known to it whatever it says.
  EXPECT_EQ(version_after({"3.7.1", "3.6.5", "3.6.5"}), "3.6.0");
  EXPECT_EQ(version_after({"3.7.1", "not said", "3.7.1"}),
            leader() == machines_[1].get() ? "3.7.0" : "3.6.0");
  EXPECT_EQ(version_after({"3.7.1", "3.7.1", "3.7.1"}), "3.7.0");
  EXPECT_EQ(version_after({"3.6.5", "3.6.5", "3.6.5"}), "3.7.0") << "never down by itself";
}

TEST_P(UnknownClusterTest, BeginsAtTheLowestThereIs) {
  EXPECT_EQ(version_after({}), "3.0.0");
  EXPECT_EQ(version_after({"3.7.1", "3.7.1", "3.7.1"}), "3.7.0");
}

TEST_P(ClusterTest, WhatOneAnsweredAllOthersRead) {
  ASSERT_NE(leader(), nullptr);
  std::int64_t revision = 1;
  for (int i = 0; i < 12; i++) {
    Machine& writer = *machines_[i % 3];
    EXPECT_EQ(wait(writer.put(fmt::format("k{}", i), i % 2)), fmt::format("{}", ++revision));
    for (const auto& reader : machines_) {
      EXPECT_EQ(wait(reader->read(i % 2)), fmt::format("{}", revision)) << reader->name();
    }
  }
}

TEST_P(ClusterTest, TheLossOfTheLeaderIsOverSoonAndLosesNothing) {
  ASSERT_EQ(put(*machines_[0], "before"), "2");
  Machine& lost = *leader();
  lost.kill(Disk::Crash::kLoseUnsynced);
  const auto at = world_.now();
  ASSERT_TRUE(world_.run_until([this] { return leader() != nullptr; }, Seconds(20)));
  EXPECT_LE(world_.now() - at, 4 * kElectionTimeout);
  Machine& rest = other_than(lost);
  EXPECT_EQ(wait(rest.read()), "2");
  EXPECT_EQ(put(rest, "between"), "3");
  lost.start_again();
  ASSERT_TRUE(world_.run_until([&] { return lost.ready(); }, Seconds(20)));
  EXPECT_EQ(wait(lost.read()), "3");
  EXPECT_EQ(put(lost, "after"), "4");
}

TEST_P(ClusterTest, ALeaderThatIsCutOffAnswersNoRead) {
  Machine& old = *leader();
  for (const auto& machine : machines_) {
    if (machine.get() != &old) world_.cut_both(old.name(), machine->name());
  }
  const auto stale = old.read();
  Machine& other = other_than(old);
  EXPECT_EQ(put(other, "elsewhere"), "2");
  EXPECT_NE(wait(stale), "1") << "read what was overtaken";
  EXPECT_FALSE(old.leads()) << "check quorum";
  world_.heal_all();
  ASSERT_TRUE(world_.run_until([&] { return old.leader() == other.leader(); }, Seconds(20)));
  EXPECT_EQ(put(old, "again"), "3");
}

// A member too far behind gets the state of the leader, and what was written meanwhile.
TEST_P(ClusterTest, WhoeverWasAwayTooLongGetsASnapshot) {
  ASSERT_EQ(put(*machines_[0], "before"), "2");
  Machine& away = other_than(*leader());
  away.kill(Disk::Crash::kRandom);
  for (int i = 0; i < 300; i++) {
    ASSERT_EQ(put(*leader(), fmt::format("k{}", i % 40)), fmt::format("{}", i + 3));
  }
  away.start_again();
  const auto old = away.revision();
  ASSERT_LT(old, 10);
  ASSERT_TRUE(
      world_.run_until([&] { return away.ready() && away.revision() == 302; }, Seconds(30)));
  EXPECT_EQ(read(away), "302");
  EXPECT_EQ(put(away, "after"), "303");
  // It is as good a member as any, and starts as one.
  away.kill(Disk::Crash::kRandom);
  away.start_again();
  ASSERT_TRUE(world_.run_until([&] { return away.ready(); }, Seconds(30)));
  EXPECT_EQ(read(away), "303");
  for (const auto& machine : machines_) {
    if (machine.get() != &away) {
      machine->kill(Disk::Crash::kRandom);
      machine->start_again();
    }
  }
  ASSERT_TRUE(world_.run_until([this] { return leader() != nullptr && all_ready(); }, Seconds(30)));
  EXPECT_EQ(read(away), "303");
}

// Who has a snapshot and is behind yet leaves the cores to others: it goes on by small steps. Of
// each the watchers hear, also of one that begins a compaction.
TEST_P(ClusterTest, WhatWasCommittedSinceASnapshotIsAppliedInSlices) {
  HeardSince heard;
  Machine& away = begin_install(heard);
  const auto steps = steps_to(away, 502);
  EXPECT_GE(steps.size(), 5U);
  EXPECT_LE(*std::ranges::max_element(steps), 32);
  world_.run_for(Seconds(1));
  EXPECT_EQ(heard.events, 200U);
}

TEST_P(ClusterTest, WhoHasNotCaughtUpTwoSecondsAfterASnapshotHurries) {
  HeardSince heard;
  Machine& away = begin_install(heard);
  ASSERT_TRUE(world_.run_until([&] { return away.revision() > 302; }, Seconds(30)));
  away.hold_up("apply", Seconds(2));
  const auto steps = steps_to(away, 502);
  EXPECT_GT(*std::ranges::max_element(steps), 64);
}

// What a member says of itself at its start may be in the very snapshot that it is sent: then no
// entry ever tells it that it was heard. Here the snapshot comes late, because one was lost before.
TEST_P(ClusterTest, WhoIsSentASnapshotIsReadySoon) {
  ASSERT_NE(leader(), nullptr);
  Machine& leads = *leader();
  Machine& away = other_than(leads);
  away.kill(Disk::Crash::kKeepAll);
  for (int i = 0; i < 300; i++) ASSERT_NE(put(leads, "a"), "failed");
  for (int i = 0; i < 5; i++) {
    away.start_again();
    world_.run_until([&] { return away.leader() != raft::kNone; }, Seconds(5));
    world_.run_for(Milliseconds(static_cast<std::int64_t>(world_.random().below(4))));
    away.kill(Disk::Crash::kKeepAll);
  }
  away.start_again();
  const auto at = world_.now();
  ASSERT_TRUE(world_.run_until([&] { return away.ready(); }, Seconds(20)));
  EXPECT_LE(world_.now() - at, 4 * kElectionTimeout);
}

// An answer to a term that is over says nothing of the log. A new leader whose first word it is
// begins again at nothing, so with a snapshot: of what the member has long applied, and it says so.
// Here nothing else would, as the leader has an entry more and its first append is refused.
TEST_P(ClusterTest, WhoIsSentASnapshotOfWhatItHasSaysHowFarItIs) {
  ASSERT_NE(leader(), nullptr);
  for (int i = 0; i < 300; i++) ASSERT_NE(put(*leader(), fmt::format("k{}", i % 40)), "failed");
  Machine& old = *leader();
  Machine& next = other_than(old);
  const auto& third = *std::ranges::find_if(
      machines_, [&](const auto& one) { return one.get() != &old && one.get() != &next; });
  ASSERT_TRUE(world_.run_until([&] { return third->committed() == old.committed(); }, Seconds(10)));
  const raft::Term term = old.term();
  const raft::Index last = old.committed();
  const raft::NodeId old_id = old.id();
  old.kill(Disk::Crash::kKeepAll);
  next.hear({.type = raft::MessageType::kApp,
             .to = next.id(),
             .from = old_id,
             .term = term,
             .log_term = term,
             .index = last,
             .entries = {{.term = term, .index = last + 1}},
             .commit = last});
  ASSERT_TRUE(world_.run_until([&] { return next.leads(); }, Seconds(10)));
  next.hear({.type = raft::MessageType::kAppResp,
             .to = next.id(),
             .from = third->id(),
             .term = next.term()});
  EXPECT_NE(put(next, "after"), "failed");
}

// A member without room for a snapshot stays as it is, and takes one once there is room.
TEST_P(ClusterTest, ASnapshotThatFindsNoRoomIsTakenLater) {
  ASSERT_EQ(put(*machines_[0], "before"), "2");
  Machine& away = other_than(*leader());
  away.kill(Disk::Crash::kRandom);
  for (int i = 0; i < 200; i++) {
    ASSERT_EQ(put(*leader(), fmt::format("k{}", i % 40)), fmt::format("{}", i + 3));
  }
  away.start_again();
  away.disk().set_capacity(std::uint64_t{1} << 40);
  const auto space = away.disk().space("/data").value();
  away.disk().set_capacity(space.total - space.available + 50'000);
  world_.run_for(Seconds(10));
  ASSERT_TRUE(away.up());
  EXPECT_LT(away.revision(), 10);
  away.disk().set_capacity(std::uint64_t{1} << 40);
  ASSERT_TRUE(
      world_.run_until([&] { return away.ready() && away.revision() == 202; }, Seconds(60)));
  EXPECT_EQ(read(away), "202");
}

// Power fails while the snapshot comes, is staged, recorded or installed: whatever was left, a
// start goes on from it.
TEST_P(ClusterTest, ASnapshotThatIsInterruptedIsTakenLater) {
  ASSERT_EQ(put(*machines_[0], "before"), "2");
  Machine& away = other_than(*leader());
  away.kill(Disk::Crash::kRandom);
  for (int i = 0; i < 200; i++) {
    ASSERT_EQ(put(*leader(), fmt::format("k{}", i % 40)), fmt::format("{}", i + 3));
  }
  for (int i = 0; i < 30; i++) {
    away.start_again();
    world_.run_for(Milliseconds(static_cast<std::int64_t>(world_.random().below(1500))));
    away.kill(i % 2 == 0 ? Disk::Crash::kRandom : Disk::Crash::kLoseUnsynced);
  }
  away.start_again();
  ASSERT_TRUE(
      world_.run_until([&] { return away.ready() && away.revision() == 202; }, Seconds(60)));
  EXPECT_EQ(read(away), "202");
}

// Only the leader counts the time of leases; every member answers for it.
TEST_P(ClusterTest, LeasesAreAskedOfTheLeader) {
  Machine* first = leader();
  ASSERT_NE(first, nullptr);
  Machine& follower = other_than(*first);
  ASSERT_EQ(wait(follower.grant(7, 20)), "granted");
  for (Machine* each : {first, &follower}) {
    EXPECT_EQ(wait(each->renew(7)), "20");
    EXPECT_EQ(wait(each->renew(7, 1)), "20");
    EXPECT_EQ(wait(each->time_to_live(7)), "19 of 20");
    EXPECT_EQ(wait(each->renew(8)), "0") << "there is none";
    EXPECT_EQ(wait(each->time_to_live(8)), "none");
  }
  // It lives by renewals through a follower alone.
  for (int i = 0; i < 10; ++i) {
    world_.run_for(Seconds(5));
    ASSERT_EQ(wait(follower.renew(7)), "20");
  }
  first->kill(Disk::Crash::kLoseUnsynced);
  EXPECT_EQ(wait(follower.renew(7)), "20") << "asked until there is another leader";
  EXPECT_EQ(wait(other_than(follower).time_to_live(7)), "19 of 20");
  world_.run_for(Seconds(25));
  EXPECT_EQ(wait(follower.renew(7)), "0") << "nobody renewed it";
}

// Whoever stood still may have been overtaken, and must not answer for what the new leader counts.
TEST_P(ClusterTest, AfterAStandstillALeaderProvesItselfBeforeItRenewsALease) {
  Machine& old = *leader();
  ASSERT_EQ(wait(old.grant(7, 20)), "granted");
  old.hold_up("raft", Seconds(1));
  EXPECT_EQ(wait(old.renew(7)), "20") << "it led on, or asked who leads";
  ASSERT_TRUE(world_.run_until([&] { return leader() != nullptr; }, Seconds(20)));
  Machine& held_up = *leader();
  Machine& other = other_than(held_up);
  for (const auto& machine : machines_) {
    if (machine.get() != &held_up) world_.cut_both(held_up.name(), machine->name());
  }
  held_up.hold_up("raft", Seconds(5));
  world_.run_for(Seconds(5));
  ASSERT_NE(leader(), &held_up);
  ASSERT_TRUE(held_up.leads()) << "as far as it knows";
  const auto answer = held_up.renew(7);
  world_.run_for(Seconds(4));
  EXPECT_FALSE(answer->done) << "renewed by one that does not lead: " << answer->text;
  world_.heal_all();
  EXPECT_EQ(wait(answer), "20");
  EXPECT_EQ(wait(other.time_to_live(7)), "19 of 20");
}

// What a follower says of a request that its leader took with it depends on who leads at last.
// api.md 7.3
TEST_P(ClusterTest, ARequestThatIsLostSaysWhatIsKnownOfIt) {
  Machine& old = *leader();
  Machine& asked = other_than(old);
  world_.run_for(Seconds(1));
  world_.cut(asked.name(), old.name());
  const auto answer = asked.put("lost");
  world_.run_for(Milliseconds(10));
  old.kill(Disk::Crash::kLoseUnsynced);
  world_.heal_all();
  old.start_again();
  ASSERT_EQ(wait(answer), "failed");
  Machine* now = leader();
  ASSERT_NE(now, nullptr);
  const Errc expected = now == &asked ? Errc::kTimeoutLeaderFailure
                        : now == &old ? Errc::kTimeoutConnectionLost
                                      : Errc::kTimeout;
  EXPECT_EQ(answer->errc, expected) << now->name();
  // Without anybody to hand it to.
  for (const auto& machine : machines_) {
    if (machine.get() != &asked) world_.cut_both(asked.name(), machine->name());
  }
  world_.run_for(Seconds(5));
  const auto unheard = asked.put("unheard");
  ASSERT_EQ(wait(unheard), "failed");
  EXPECT_EQ(unheard->errc, Errc::kContextDeadline);
  world_.heal_all();
  world_.run_for(Seconds(10));
  EXPECT_EQ(read(asked), "1") << "neither was made";
}

// Ten thousand a second where all are of our kind; a thousand with a member of etcd, which is as
// many as etcd's leader proposes, and fewer while that member is late with applying.
TEST_P(ClusterTest, LeasesEndAsFastAsTheMembersCanTake) {
  constexpr int kLeases = 6000;
  const auto let_them_end = [&] {
    Machine& by = *leader();
    const std::uint64_t before = by.revokes();
    std::vector<std::shared_ptr<Machine::Answer>> answers;
    for (int i = 1; i <= kLeases; i++) answers.push_back(by.grant(i, 10));
    EXPECT_EQ(wait(answers.back()), "granted");
    EXPECT_TRUE(world_.run_until([&] { return by.revokes() > before; }, Seconds(30)));
  };
  world_.run_for(Seconds(5));  // a look at the others
  let_them_end();
  world_.run_for(Seconds(2));
  EXPECT_EQ(leader()->leases(), 0u) << "all at once where all are of our kind";

  Machine& stranger = other_than(*leader());
  stranger.be_etcd(true);
  world_.run_for(Seconds(5));
  const std::uint64_t before = leader()->revokes();
  let_them_end();
  world_.run_for(Seconds(3));
  const std::uint64_t revoked = leader()->revokes() - before;
  EXPECT_LE(revoked, 3300u);
  EXPECT_GE(revoked, 2500u);
  stranger.hold_up("apply", Seconds(6));
  world_.run_for(Seconds(3));
  const std::uint64_t then = leader()->revokes();
  world_.run_for(Seconds(1));
  EXPECT_LE(leader()->revokes() - then, 600u) << "its applied index lags";
  ASSERT_TRUE(world_.run_until([&] { return leader()->leases() == 0; }, Seconds(60)));
}

// The checkpoints of a leader count at the next one, and so does what put them right.
TEST_P(ClusterTest, ACheckpointIsKnownToTheNextLeader) {
  ASSERT_EQ(wait(leader()->grant(7, 1000)), "granted");
  world_.run_for(Seconds(310));
  Machine& first = *leader();
  EXPECT_EQ(first.checkpoint_of(7), 700);
  EXPECT_EQ(other_than(first).checkpoint_of(7), 700) << "replicated";
  first.kill(Disk::Crash::kLoseUnsynced);
  ASSERT_TRUE(world_.run_until([&] { return leader() != nullptr; }, Seconds(20)));
  Machine& second = *leader();
  const auto left = [&](Machine& machine) {
    int seconds = 0;
    EXPECT_EQ(std::sscanf(wait(machine.time_to_live(7)).c_str(), "%d of 1000", &seconds), 1);
    return seconds;
  };
  EXPECT_LE(left(second), 702) << "not its whole time again";
  EXPECT_GE(left(second), 690);
  // Answered only once the log says so, so that the third leader knows it too.
  EXPECT_EQ(wait(second.renew(7)), "1000");
  EXPECT_EQ(second.checkpoint_of(7), 0);
  first.start_again();
  ASSERT_TRUE(world_.run_until([&] { return all_ready(); }, Seconds(20)));
  second.kill(Disk::Crash::kLoseUnsynced);
  ASSERT_TRUE(world_.run_until([&] { return leader() != nullptr; }, Seconds(20)));
  EXPECT_GE(left(*leader()), 980);
}

// What puts a checkpoint right is dropped while the leader hands over, and then it leads on.
TEST_P(ClusterTest, ARenewalIsAnsweredThoughWhatPutsItsCheckpointRightWasDropped) {
  ASSERT_EQ(wait(leader()->grant(7, 1000)), "granted");
  world_.run_for(Seconds(310));
  Machine& first = *leader();
  ASSERT_EQ(first.checkpoint_of(7), 700);
  // This life of it counts from the checkpoint.
  first.kill(Disk::Crash::kLoseUnsynced);
  first.start_again();
  ASSERT_TRUE(world_.run_until([&] { return leader() != nullptr && all_ready(); }, Seconds(20)));
  Machine& now = *leader();
  Machine& heir = other_than(now);
  world_.cut(now.name(), heir.name());
  now.hand_over_to(heir);
  world_.run_for(Milliseconds(10));
  const auto dropped = now.renew(7);
  world_.run_for(Milliseconds(50));
  ASSERT_FALSE(dropped->done);
  world_.run_for(2 * kElectionTimeout);
  world_.heal_all();
  ASSERT_EQ(leader(), &now) << "it leads on";
  EXPECT_EQ(wait(now.renew(7)), "1000");
  EXPECT_EQ(now.checkpoint_of(7), 0);
}

TEST_P(ClusterTest, WithoutALeaderNobodyAnswersForLeases) {
  Machine* first = leader();
  ASSERT_NE(first, nullptr);
  Machine& follower = other_than(*first);
  for (const auto& machine : machines_) {
    if (machine.get() != &follower) world_.cut_both(follower.name(), machine->name());
  }
  world_.run_for(Seconds(5));
  EXPECT_EQ(wait(follower.renew(7)), fmt::format("error {}", static_cast<int>(Errc::kNoLeader)));
  EXPECT_EQ(wait(follower.time_to_live(7)),
            fmt::format("error {}", static_cast<int>(Errc::kNoLeader)));
  world_.heal_all();
}

TEST_P(ClusterTest, ALeaderThatStopsHandsOnItsLeadership) {
  Machine& old = *leader();
  bool stopped = false;
  old.stop([&stopped] { stopped = true; });
  ASSERT_TRUE(world_.run_until([&] { return stopped; }, Seconds(20)));
  Machine* next = leader();
  ASSERT_NE(next, nullptr) << "nobody leads after it";
  EXPECT_NE(next, &old);
  old.kill(Disk::Crash::kLoseUnsynced);
  const auto at = world_.now();
  EXPECT_EQ(wait(next->put("a")), "2");
  EXPECT_LT(world_.now() - at, kElectionTimeout) << "an election was waited for";
}

// Members that compare their data, one of which has had another past.
class CorruptionTest : public ClusterTest {
 protected:
  // All down, then up again; `changed` with another value for "k1".
  void start_again_with(const std::function<void(Config&)>& configure, Machine* changed) {
    for (int i = 0; i < 10; i++) ASSERT_EQ(put(*leader(), fmt::format("k{}", i)), text(i + 2));
    for (const auto& machine : machines_) machine->kill(Disk::Crash::kKeepAll);
    if (changed != nullptr) changed->change_past("k1");
    for (const auto& machine : machines_) {
      configure(machine->config());
      machine->start_again();
    }
    ASSERT_TRUE(world_.run_until([this] { return all_ready() && leader(); }, Seconds(30)));
  }
  static std::string text(int number) { return fmt::format("{}", number); }
  bool corrupt_is(const std::vector<raft::NodeId>& ids) const {
    return std::all_of(machines_.begin(), machines_.end(), [&](const auto& machine) {
      return !machine->up() || machine->corrupt() == ids;
    });
  }
};
INSTANTIATE_TEST_SUITE_P(Seeds, CorruptionTest, ::testing::Range<std::uint64_t>(1, 5));

void check_often(Config& config) {
  config.corrupt_check_time = Seconds(3);
  config.compact_hash_check = true;
  config.compact_hash_check_time = Seconds(2);
}

TEST_P(CorruptionTest, NobodyIsAccusedWhereAllAreAlike) {
  start_again_with(check_often, nullptr);
  for (int i = 0; i < 40; i++) {
    ASSERT_EQ(put(*machines_[i % 3], fmt::format("k{}", i % 7)), text(i + 12));
    if (i % 5 == 4) ASSERT_EQ(wait(leader()->compact(i + 8)), "compacted");
    world_.run_for(Milliseconds(700));
    if (i == 20) {
      Machine& other = other_than(*leader());
      other.kill(Disk::Crash::kRandom);
      other.start_again();
    }
  }
  world_.run_for(Seconds(30));
  EXPECT_TRUE(corrupt_is({}));
}

// The leader trusts itself; which of two is wrong it cannot tell.
TEST_P(CorruptionTest, ThePeriodicCheckFindsWhoDiffersFromTheLeader) {
  start_again_with([](Config& config) { config.corrupt_check_time = Seconds(3); },
                   machines_[1].get());
  ASSERT_TRUE(world_.run_until([this] { return !machines_[0]->corrupt().empty(); }, Seconds(60)));
  world_.run_for(Seconds(1));
  const raft::NodeId found = machines_[0]->corrupt().front();
  EXPECT_TRUE(corrupt_is({found}));
  if (!machines_[1]->leads()) {
    EXPECT_EQ(found, machines_[1]->id());
  } else {
    EXPECT_NE(found, machines_[1]->id());
  }
  EXPECT_EQ(wait(machines_[0]->put("a")), "failed") << "api.md 7.7";
  EXPECT_EQ(wait(machines_[2]->read()), "11") << "reads are answered";
}

// Three hashes tell who is wrong, be it the leader.
TEST_P(CorruptionTest, TheCheckOfCompactionsFindsTheMinority) {
  Machine& changed = *machines_[GetParam() % 3];
  start_again_with(
      [](Config& config) {
        config.compact_hash_check = true;
        config.compact_hash_check_time = Seconds(2);
      },
      &changed);
  world_.run_for(Seconds(10));
  EXPECT_TRUE(corrupt_is({})) << "nothing has been compacted";
  ASSERT_EQ(wait(leader()->compact(9)), "compacted");
  ASSERT_TRUE(world_.run_until([&] { return corrupt_is({changed.id()}); }, Seconds(30)));
}

TEST_P(CorruptionTest, OneOfTwoThatDifferAccusesNobodyByName) {
  Machine& changed = *machines_[1];
  start_again_with(
      [](Config& config) {
        config.compact_hash_check = true;
        config.compact_hash_check_time = Seconds(60);
      },
      &changed);
  ASSERT_EQ(wait(leader()->compact(9)), "compacted");
  world_.run_for(Seconds(2));
  Machine& away = *machines_[leader() == machines_[0].get() ? 2 : 0];
  away.kill(Disk::Crash::kKeepAll);
  ASSERT_TRUE(world_.run_until([&] { return corrupt_is({0}); }, Seconds(120)));
}

TEST_P(CorruptionTest, WhoDiffersAtItsStartDoesNotServe) {
  start_again_with([](Config&) {}, nullptr);
  Machine& checked = other_than(*leader());
  checked.kill(Disk::Crash::kKeepAll);
  EXPECT_EQ(checked.check_initially(), "");
  checked.change_past("k1");
  EXPECT_EQ(checked.check_initially(), "") << "nothing is applied yet: there is nothing to compare";
  checked.start_again();
  ASSERT_TRUE(world_.run_until([&] { return checked.ready(); }, Seconds(30)));
  world_.run_for(Seconds(5));
  const std::string id = membership::id_text(checked.id());
  checked.kill(Disk::Crash::kKeepAll);
  EXPECT_EQ(checked.check_initially(), id + " found data inconsistency with peers");
  for (const auto& machine : machines_) {
    if (machine.get() != &checked) machine->kill(Disk::Crash::kKeepAll);
  }
  EXPECT_EQ(checked.check_initially(), "") << "nobody is there to differ from";
  checked.start_again();
}

// A member that cannot know what the others have decided must not go on beside them.
TEST_P(ClusterTest, WhoCannotReadWhatDecidesEnds) {
  Machine& damaged = GetParam() % 2 == 0 ? *leader() : other_than(*leader());
  Machine& other = other_than(damaged);
  ASSERT_EQ(put(other, "a-key-to-find"), "2");
  ASSERT_EQ(read(damaged), "2");
  world_.run_for(Seconds(3));  // it is in the store
  damaged.damage("a-key-to-find");
  ASSERT_EQ(put(damaged, "a-key-to-find-not"), "3") << "nothing needs the record";
  const auto decided = other.put_if("a-key-to-find", "b");
  ASSERT_TRUE(world_.run_until([&] { return !damaged.alive(); }, Seconds(20)));
  EXPECT_EQ(wait(decided), "4");
  ASSERT_TRUE(world_.run_until([&] { return leader() != nullptr; }, Seconds(20)));
  EXPECT_EQ(put(other, "c"), "5") << "the others go on";
  // What it cannot read lies behind the newest checkpoint that is whole, so its log has it.
  damaged.kill(Disk::Crash::kKeepAll);
  damaged.start_again();
  ASSERT_TRUE(world_.run_until([&] { return damaged.ready(); }, Seconds(20)));
  EXPECT_EQ(read(damaged), "5");
  EXPECT_EQ(put(damaged, "d"), "6");
}

// Alone, n1 decides that an entry changes nothing for want of a record that n2, which comes later,
// would have.
class LoneTest : public ::testing::TestWithParam<std::uint64_t> {
 protected:
  LoneTest() : world_(GetParam()) {
    set_stop_handler([](std::string_view) { throw env::simulated::ProcessExit{}; });
    machines_.push_back(std::make_unique<Machine>(world_, "n1", "n1=http://n1:2380", "3.7.1"));
    EXPECT_TRUE(world_.run_until([this] { return first().ready(); }, Seconds(20)));
  }
  ~LoneTest() override {
    machines_.clear();
    set_stop_handler(nullptr);
  }
  Machine& first() { return *machines_.front(); }
  Machine& second() { return *machines_.back(); }
  std::string wait(const std::shared_ptr<Machine::Answer>& answer) {
    world_.run_until([&] { return answer->done; }, Seconds(20));
    return answer->done ? answer->text : "nothing";
  }
  void leave_undecided() {
    ASSERT_EQ(wait(first().put("a-key-to-find")), "2");
    world_.run_for(Seconds(3));  // it is in the store
    first().damage("a-key-to-find");
    EXPECT_EQ(wait(first().put_if("a-key-to-find", "b")), "failed");
  }
  void start_first_again() {
    first().start_again();
    ASSERT_TRUE(world_.run_until([&] { return first().ready(); }, Seconds(20)));
  }
  membership::Member newcomer() {
    const std::vector<std::string> urls{"http://n2:2380"};
    return {.id = membership::added_member_id(urls, 1), .peer_urls = urls};
  }
  void start_second() {
    auto running = first().cluster();
    running.members.back().name = "n2";  // as who joins has matched it
    machines_.push_back(std::make_unique<Machine>(
        world_, "n2", "n1=http://n1:2380,n2=http://n2:2380", "3.7.1", std::move(running)));
    EXPECT_TRUE(world_.run_until([this] { return second().ready(); }, Seconds(20)));
  }
  void expect_alike(const std::string& revision) {
    for (const auto& machine : machines_) EXPECT_EQ(wait(machine->read()), revision);
    EXPECT_EQ(second().keys(), first().keys());
  }

  env::simulated::World world_;
  std::vector<std::unique_ptr<Machine>> machines_;
};

INSTANTIATE_TEST_SUITE_P(Seeds, LoneTest, ::testing::Range<std::uint64_t>(1, 5));

TEST_P(LoneTest, WhoComesLaterIsNotGivenWhatCouldNotBeDecided) {
  leave_undecided();
  first().mend();  // or it could send no snapshot
  ASSERT_EQ(wait(first().add(newcomer())), "added");
  start_second();
  expect_alike("2");
}

TEST_P(LoneTest, NorInALaterLife) {
  leave_undecided();
  first().kill(Disk::Crash::kLoseUnsynced);
  start_first_again();
  ASSERT_EQ(wait(first().add(newcomer())), "added");
  start_second();
  expect_alike("2");
}

// The one that is added has not come when the power fails.
TEST_P(LoneTest, NorInOneThatBeginsWithTheOtherAsAMember) {
  leave_undecided();
  const auto added = first().add(newcomer());
  ASSERT_TRUE(world_.run_until([&] { return first().members().size() == 2; }, Seconds(20)));
  world_.run_for(Seconds(3));
  first().kill(Disk::Crash::kLoseUnsynced);
  first().start_again();
  ASSERT_TRUE(world_.run_until([&] { return first().members().size() == 2; }, Seconds(20)));
  start_second();
  expect_alike("2");
}

// Two of three are lost for ever.
TEST_P(ClusterTest, OneThatIsForcedGoesOnAlone) {
  for (int i = 0; i < 10; i++) ASSERT_EQ(put(*leader(), "a"), fmt::format("{}", i + 2));
  Machine& left = *machines_[GetParam() % 3];
  // What comes last may not be known to be committed there.
  ASSERT_EQ(put(*leader(), "last"), "12");
  ASSERT_EQ(read(left), "12");
  const auto id = left.id();
  for (const auto& machine : machines_) machine->kill(Disk::Crash::kRandom);
  left.config().force_new_cluster = true;
  for (int i = 0; i < 10; i++) {
    left.start_again();
    world_.run_for(Milliseconds(static_cast<std::int64_t>(world_.random().below(300))));
    left.kill(i % 2 == 0 ? Disk::Crash::kRandom : Disk::Crash::kLoseUnsynced);
  }
  left.start_again();
  ASSERT_TRUE(world_.run_until([&] { return left.ready(); }, Seconds(20)));
  EXPECT_EQ(left.id(), id);
  EXPECT_EQ(left.members(), std::vector{id});
  const auto found = left.revision();
  EXPECT_GE(found, 11);
  EXPECT_EQ(put(left, "b"), fmt::format("{}", found + 1));
  left.kill(Disk::Crash::kRandom);
  left.config().force_new_cluster = false;
  left.start_again();
  ASSERT_TRUE(world_.run_until([&] { return left.ready(); }, Seconds(20)));
  EXPECT_EQ(left.members(), std::vector{id});
  EXPECT_EQ(put(left, "c"), fmt::format("{}", found + 2));
}

TEST_P(ClusterTest, TheLeaderCompactsByItself) {
  for (int i = 0; i < 10; i++) ASSERT_EQ(put(*leader(), "a"), fmt::format("{}", i + 2));
  for (const auto& machine : machines_) machine->kill(Disk::Crash::kKeepAll);
  for (const auto& machine : machines_) {
    machine->config().auto_compaction = {.mode = AutoCompaction::Mode::kRevision, .revisions = 4};
    machine->start_again();
  }
  world_.run_for(Seconds(310));
  for (const auto& machine : machines_) EXPECT_EQ(machine->compact_revision(), 7);
}

TEST_P(ClusterTest, PowerLossOfAllKeepsWhatWasAnswered) {
  for (int i = 0; i < 20; i++) {
    ASSERT_EQ(put(*machines_[i % 3], fmt::format("k{}", i)), fmt::format("{}", i + 2));
  }
  for (const auto& machine : machines_) machine->kill(Disk::Crash::kRandom);
  for (const auto& machine : machines_) machine->start_again();
  ASSERT_TRUE(world_.run_until([this] { return all_ready(); }, Seconds(30)));
  for (const auto& machine : machines_) EXPECT_EQ(wait(machine->read()), "21");
}

}  // namespace
}  // namespace keelson::member
