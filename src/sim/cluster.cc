#include "sim/cluster.h"

#include <fmt/format.h>

#include <algorithm>

#include "membership/bootstrap.h"
#include "sim/ending.h"
#include "sim/random_config.h"

namespace keelson::sim {
namespace {

using base::Milliseconds;
using base::Seconds;

constexpr base::Duration kReadyLimit = Seconds(120);
constexpr base::Duration kClientsLimit = Seconds(600);
constexpr base::Duration kCatchUpLimit = Seconds(60);
constexpr base::Duration kLeasesLimit = Seconds(60);  // the longest, and elections
constexpr int kTroublesMax = 12;

}  // namespace

ClusterSimulation::ClusterSimulation(const RunOptions& options, std::size_t members)
    : options_(options),
      world_(options.seed),
      random_(world_.random().next()),
      story_(&world_.host("clients").clock(), options.keep, options.aloud),
      model_(member::Config().lease_ttl_min()),
      checker_(model_, story_, world_.host("clients").clock()),
      workload_(random_, model_, random_workload()),
      reads_(random_, model_, {.keys = 20, .reads_only = true}) {
  make_nodes(members);
  make_clients();
  make_watchers();
}

ClusterSimulation::~ClusterSimulation() {
  // Clients' calls name their connections, and connections the hosts' lanes.
  world_.host("clients").kill(Node::Crash::kKeepAll);
  clients_.clear();
  readers_.clear();
  watchers_.clear();
  // Members have connections to each other: all hosts go before any object does.
  for (const auto& node : nodes_) {
    if (node->host().is_alive()) node->host().kill(Node::Crash::kKeepAll);
  }
  nodes_.clear();
}

WorkloadOptions ClusterSimulation::random_workload() {
  return {.keys = 4 + random_.below(16),
          .value_bytes_max = random_.one_in(2) ? 2000u : 400u,
          .large_one_in = 1 + random_.below(6)};
}

// One for all; names and URLs are each member's own.
member::Config ClusterSimulation::random_config() {
  member::Config config;
  config.data_dir = "/data";
  random_log(random_, config);
  // A follower that was away is sent a snapshot, or finds all it lacks in the log.
  if (!random_.one_in(4)) {
    config.snapshot_catchup_entries = random_.below(20);
    config.raft_log_bytes_max = 1024 << random_.below(5);
  } else {
    config.snapshot_count = 100'000;
    config.snapshot_catchup_entries = 100'000;
    config.raft_log_bytes_max = 64 << 20;
  }
  config.pre_vote = !random_.one_in(3);
  config.request_bytes_max = 200'000;
  config.watch_progress_interval = Milliseconds(100 << random_.below(6));
  random_store(random_, config.store);
  return config;
}

void ClusterSimulation::make_nodes(std::size_t members) {
  checker_.set_limits({.lag = true, .request_bytes = 200'000});
  std::string cluster;
  for (std::size_t i = 1; i <= members; i++) {
    cluster += fmt::format("{}n{}=http://n{}:2380", i > 1 ? "," : "", i, i);
  }
  const member::Config base = random_config();
  const std::uint64_t cold_one_in = random_.one_in(3) ? 1 + random_.below(6) : 0;
  for (std::size_t i = 1; i <= members; i++) {
    const std::string name = fmt::format("n{}", i);
    Node::Options options{.config = base, .peers = true};
    options.config.name = name;
    options.config.advertise_peer_urls = *membership::parse_url_list("http://" + name + ":2380");
    options.config.advertise_client_urls = {"http://" + name + ":2379"};
    options.config.initial_cluster = *membership::parse_initial_cluster(cluster);
    options.io_lanes = 1 + random_.below(2);
    options.workers = 1 + random_.below(2);
    options.tell_disk = options_.tell_disk;
    Node::Events events{
        .on_apply = [this, name](const raft::Entry& entry) { checker_.on_apply(name, entry); },
        .on_life =
            [this, name](raft::NodeId id) {
              raft_.restarted(id);
              checker_.on_life(name);
            },
        .on_planned_kill =
            [this](const std::string& path) {
              const bool of_snapshot = path.find("store.") != std::string::npos ||
                                       path.find("/snap/") != std::string::npos;
              checker_.saw(of_snapshot ? "a kill at a snapshot" : "a kill at the disk");
            },
        .on_raft =
            [this](const raft::Node& node) {
              const auto broken = raft_.observe(node);
              if (broken) checker_.violate(fmt::format("raft of {:x}: {}", node.id(), *broken));
            }};
    nodes_.push_back(std::make_unique<Node>(world_, name, std::move(options), story_, events));
    nodes_.back()->host().disk().set_cold_one_in(cold_one_in);
  }
}

void ClusterSimulation::make_clients() {
  const std::size_t count = nodes_.size() + random_.below(3);
  for (std::size_t i = 0; i < count; i++) {
    // With writes under way to a leader that is gone, it still has some for the next.
    const bool patient = random_.one_in(2);
    clients_.push_back(std::make_unique<Client>(
        world_, fmt::format("c{}", i), nodes_[i % nodes_.size()]->address(), checker_, workload_,
        Client::Options{.calls = 2 * options_.calls / count,
                        .parallel = patient ? 16 : 1 + random_.below(6),
                        .window_bytes = random_.one_in(2) ? 1024 : 65'535,
                        .think_max = Milliseconds(20 + random_.below(400))}));
  }
  // Others wait long for their writes where there is no leader any more; who only reads, one by one
  // and until the troubles are over, shows what a deposed one still answers.
  for (const auto& node : nodes_) {
    readers_.push_back(std::make_unique<Client>(
        world_, "r" + node->name(), node->address(), checker_, reads_,
        Client::Options{.calls = ~std::uint64_t{0}, .think_max = Milliseconds(50)}));
  }
}

void ClusterSimulation::make_watchers() {
  const std::size_t count = random_.below(4);
  for (std::size_t i = 0; i < count; i++) {
    Watcher::Options options{.key = std::string(1, '\0'), .range_end = std::string(1, '\0')};
    if (random_.one_in(3)) options = {.key = "k01", .range_end = "k05"};
    options.previous = random_.one_in(2);
    options.progress = random_.one_in(2);
    options.pause_one_in = random_.one_in(2) ? 5 + random_.below(30) : 0;
    options.leave_one_in = random_.one_in(2) ? 10 + random_.below(30) : 0;
    const auto& node = nodes_[random_.below(nodes_.size())];
    watchers_.push_back(std::make_unique<Watcher>(world_, fmt::format("w{}", i), node->address(),
                                                  checker_, model_, story_, std::move(options)));
  }
}

// --- nemesis

// The one that leads most often: there it hurts.
std::string ClusterSimulation::any_name() {
  if (random_.one_in(2)) {
    for (const auto& node : nodes_) {
      if (node->state() != Node::State::kUp) continue;
      member::Member& member = *node->member();
      if (member.shared().progress.leader == member.identity().member_id) return node->name();
    }
  }
  return nodes_[random_.below(nodes_.size())]->name();
}

Node::Crash ClusterSimulation::random_crash() {
  constexpr Node::Crash kModes[] = {Node::Crash::kRandom, Node::Crash::kTear,
                                    Node::Crash::kLoseUnsynced, Node::Crash::kKeepAll};
  return kModes[random_.below(std::size(kModes))];
}

KillPlan ClusterSimulation::random_plan() {
  if (random_.one_in(4)) return plan_at_snapshot();
  const bool at_sync = random_.one_in(3);
  return {.path_part = at_sync || random_.one_in(2) ? ".wal" : "",
          .at_sync = at_sync,
          .after = 1 + random_.below(60),
          .mode = random_crash()};
}

// Where one is received, staged and installed.
KillPlan ClusterSimulation::plan_at_snapshot() {
  constexpr const char* kPaths[] = {"member/snap/", ".db", "store.import", "member/store."};
  return {.path_part = kPaths[random_.below(std::size(kPaths))],
          .after = 1 + random_.below(random_.one_in(2) ? 4 : 40),
          .mode = random_crash()};
}

void ClusterSimulation::disturb_links() {
  const std::string a = any_name(), b = any_name();
  switch (random_.below(5)) {
    case 0:
      if (a == b) return;
      story_.tell("nemesis", "cuts {} from {}", a, b);
      return world_.cut(a, b);
    case 1:
      if (a == b) return;
      story_.tell("nemesis", "cuts {} and {} apart", a, b);
      return world_.cut_both(a, b);
    case 2:
      return cut_off(a);
    case 3:
      story_.tell("nemesis", "nobody hears {}", a);
      for (const auto& node : nodes_) {
        if (node->name() != a) world_.cut(a, node->name());
      }
      return;
    default:
      if (a == b) return;
      story_.tell("nemesis", "breaks what is open between {} and {}", a, b);
      world_.reset_connections(a, b);
  }
}

void ClusterSimulation::end_some_lives() {
  const bool all = random_.one_in(8);
  std::size_t left = all ? nodes_.size() : random_.below(nodes_.size() / 2 + 1);
  for (; left > 0; left--) {
    Node& node = *nodes_[all ? left - 1 : random_.below(nodes_.size())];
    if (node.state() != Node::State::kUp || node.doomed()) continue;
    if (random_.one_in(2)) {
      node.kill_at(random_plan());
    } else {
      node.kill(random_crash());
    }
  }
}

void ClusterSimulation::cut_off(const std::string& name) {
  story_.tell("nemesis", "cuts {} off", name);
  for (const auto& node : nodes_) {
    if (node->name() != name) world_.cut_both(name, node->name());
  }
}

void ClusterSimulation::heal() {
  story_.tell("nemesis", "heals all links");
  world_.heal_all();
  if (exile_.troubles > 0 && !exile_.down) cut_off(exile_.node->name());
}

void ClusterSimulation::exile_somebody() {
  if (exile_.troubles > 0) {
    if (--exile_.troubles > 0) return;
    if (random_.one_in(2)) exile_.node->kill_at(plan_at_snapshot());
    return heal();
  }
  if (!random_.one_in(3)) return;
  exile_ = {.node = nodes_[random_.below(nodes_.size())].get(),
            .down = random_.one_in(2),
            .troubles = 1 + random_.below(3)};
  story_.tell("nemesis", "exiles {}", exile_.node->name());
  if (!exile_.down) return cut_off(exile_.node->name());
  if (exile_.node->state() == Node::State::kUp) exile_.node->kill(random_crash());
}

void ClusterSimulation::trouble() {
  exile_somebody();
  if (exile_.troubles > 0 || random_.one_in(2)) heal();
  if (random_.one_in(6)) world_.set_reset_one_in(random_.one_in(2) ? 0 : 50 + random_.below(500));
  // Half of the exiles are not disturbed otherwise, so that the others get on.
  if (exile_.troubles == 0 || random_.one_in(2)) {
    for (auto left = random_.below(3); left > 0; left--) disturb_links();
    if (random_.one_in(2)) end_some_lives();
  }
  world_.run_until([this] { return !going_on() || all_idle(clients_); },
                   random_time(random_, Seconds(6)));
  bury_the_dead();
  if (!going_on()) return;
  for (const auto& node : nodes_) {
    const bool stays_away = exile_.troubles > 0 && exile_.down && exile_.node == node.get();
    if (node->state() == Node::State::kDown && !stays_away && !random_.one_in(3)) start(*node);
  }
}

void ClusterSimulation::bury_the_dead() {
  for (const auto& node : nodes_) {
    if (node->state() != Node::State::kDead) continue;
    const std::string reason = node->bury();
    story_.tell(node->name(), "is down{}{}",
                reason.empty() ? "" : ", having stopped itself: ", reason);
  }
}

void ClusterSimulation::start(Node& node) {
  const std::string refusal = node.start();
  if (!refusal.empty() && node.state() != Node::State::kDead) {
    checker_.violate(fmt::format("{} does not start: {}", node.name(), refusal));
  }
}

void ClusterSimulation::start_all() {
  bury_the_dead();
  for (const auto& node : nodes_) {
    node->spare();
    if (going_on() && node->state() == Node::State::kDown) start(*node);
  }
}

bool ClusterSimulation::all_ready() const {
  return std::all_of(nodes_.begin(), nodes_.end(), [](const auto& node) { return node->ready(); });
}

void ClusterSimulation::wait_for_all() {
  const auto some_dead = [this] {
    return std::any_of(nodes_.begin(), nodes_.end(),
                       [](const auto& node) { return node->state() == Node::State::kDead; });
  };
  for (int attempt = 0; attempt < 5 && going_on(); attempt++) {
    start_all();
    world_.run_until([&] { return !going_on() || all_ready() || some_dead(); }, kReadyLimit);
    if (all_ready() || !going_on()) return;
    if (!some_dead()) break;
  }
  if (going_on()) checker_.violate("not all members get ready");
}

// --- the end of a run

void ClusterSimulation::settle() {
  const bool idle = world_.run_until(
      [this] { return !going_on() || (all_idle(clients_) && all_idle(readers_)); }, kClientsLimit);
  if (!idle) checker_.violate("calls without an end");
}

void ClusterSimulation::let_members_catch_up() {
  const auto behind = [this](const auto& node) {
    return node->member()->shared().progress.applied < model_.last();
  };
  const auto none_behind = [&] {
    return !going_on() || std::none_of(nodes_.begin(), nodes_.end(), behind);
  };
  if (world_.run_until(none_behind, kCatchUpLimit)) return;
  for (const auto& node : nodes_) {
    if (!behind(node)) continue;
    checker_.violate(fmt::format("{} has applied {} of {}", node->name(),
                                 node->member()->shared().progress.applied.load(), model_.last()));
  }
}

// Each member is asked for everything: by its first client.
void ClusterSimulation::look_at_everything() {
  let_members_catch_up();
  let_watchers_catch_up(world_, checker_, watchers_);
  for (std::size_t i = 0; i < nodes_.size(); i++) {
    Client& client = *clients_[i];
    client.ask(Workload::read_all(0));
    client.ask(Workload::hash_at(0));
    ask_for_history(client, model_, random_, 20);
  }
  settle();
}

void ClusterSimulation::power_fails_for_all() {
  story_.tell("nemesis", "power fails for all");
  for (const auto& node : nodes_) {
    if (node->state() == Node::State::kUp) node->kill(random_crash());
  }
  wait_for_all();
}

Verdict ClusterSimulation::run() {
  for (const auto& client : clients_) client->start();
  for (const auto& reader : readers_) reader->start();
  for (const auto& watcher : watchers_) watcher->start();
  wait_for_all();
  for (int i = 0; going_on() && !all_idle(clients_) && i < kTroublesMax; i++) trouble();
  exile_ = {};
  heal();
  for (const auto& reader : readers_) reader->retire();
  world_.set_reset_one_in(0);
  if (going_on()) wait_for_all();
  if (going_on()) settle();
  if (going_on()) look_at_everything();
  if (going_on()) outlive_leases(world_, checker_, model_, kLeasesLimit);
  if (going_on()) power_fails_for_all();
  if (going_on()) look_at_everything();
  if (going_on()) checker_.finish();
  std::uint64_t lives = 0;
  for (const auto& node : nodes_) lives += node->lives();
  return {.violation = checker_.violation(),
          .story = story_.tail(),
          .trace = story_.hash() ^ world_.fingerprint(),
          .lives = lives,
          .entries = model_.last(),
          .revision = model_.revision(),
          .calls = checker_.stats()};
}

}  // namespace keelson::sim
