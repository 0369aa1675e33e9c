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

constexpr base::Duration kCatchUpLimit = Seconds(60);
constexpr base::Duration kLeasesLimit = Seconds(60);  // the longest, and elections
constexpr base::Duration kRemovedLimit = Seconds(60);
constexpr int kTroublesMax = 12;
constexpr std::uint64_t kNewcomersMax = 2;

std::string peer_url(const std::string& name) { return "http://" + name + ":2380"; }

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
  operator_.reset();
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
    config.snapshot_log_bytes = 64 << 20;
    config.snapshot_catchup_entries = 100'000;
    config.raft_log_bytes_max = 64 << 20;
  }
  config.strict_reconfig_check = random_.one_in(2);
  config.pre_vote = !random_.one_in(3);
  config.request_bytes_max = 200'000;
  config.watch_progress_interval = Milliseconds(100 << random_.below(6));
  random_store(random_, config.store);
  if (random_.one_in(2)) check_for_corruption(config);
  return config;
}

// Whoever is called corrupt is so wrongly.
void ClusterSimulation::check_for_corruption(member::Config& config) {
  config.initial_corrupt_check = random_.one_in(2);
  if (random_.one_in(2)) config.corrupt_check_time = Milliseconds(200 << random_.below(5));
  config.compact_hash_check = random_.one_in(2);
  config.compact_hash_check_time = Milliseconds(200 << random_.below(5));
}

void ClusterSimulation::make_nodes(std::size_t members) {
  membership::InitialCluster cluster;
  for (std::size_t i = 1; i <= members; i++) {
    const std::string name = fmt::format("n{}", i);
    cluster[name] = *membership::parse_url_list(peer_url(name));
  }
  newcomer_ = {.config = random_config(), .tell_disk = options_.tell_disk, .peers = true};
  disk_errors_ = random_.one_in(4) || options_.disk_errors;
  checker_.set_limits({.quota = disk_errors_, .lag = true, .request_bytes = 200'000});
  cold_one_in_ = random_.one_in(3) ? 1 + random_.below(6) : 0;
  reconfigures_ = !random_.one_in(4) && !options_.same_members;
  for (const membership::Member& member :
       *membership::initial_members(cluster, newcomer_.config.initial_cluster_token)) {
    Node::Options options = newcomer_;
    options.config.initial_cluster = cluster;
    options.id = member.id;
    make_node(member.name, std::move(options));
  }
}

void ClusterSimulation::make_node(const std::string& name, Node::Options options) {
  options.config.name = name;
  options.config.advertise_peer_urls = *membership::parse_url_list(peer_url(name));
  options.config.advertise_client_urls = {"http://" + name + ":2379"};
  options.io_lanes = 1 + random_.below(2);
  options.workers = 1 + random_.below(2);
  Node::Events events{
      .on_apply = [this, name](const raft::Entry& entry) { checker_.on_apply(name, entry); },
      .on_life =
          [this, name](raft::NodeId id) {
            raft_.restarted(id);
            checker_.on_life(name);
          },
      .on_plan = [this](const KillPlan& plan, const std::string& path) { note_plan(plan, path); },
      .on_raft = [this](const raft::Node& node) { watch_raft(node); },
      .on_send = [this](const raft::Message& message) { watch_message(message); }};
  nodes_.push_back(std::make_unique<Node>(world_, name, std::move(options), story_, events));
  nodes_.back()->host().disk().set_cold_one_in(cold_one_in_);
}

void ClusterSimulation::note_plan(const KillPlan& plan, const std::string& path) {
  if (plan.error_number != 0) return checker_.saw("an error of the disk");
  const bool of_snapshot =
      path.find("store.") != std::string::npos || path.find("/snap/") != std::string::npos;
  checker_.saw(of_snapshot ? "a kill at a snapshot" : "a kill at the disk");
}

void ClusterSimulation::watch_message(const raft::Message& message) {
  if (const auto broken = raft_.sent(message)) {
    checker_.violate(fmt::format("raft of {:x}: {}", message.from, *broken));
  }
}

void ClusterSimulation::watch_raft(const raft::Node& node) {
  if (const auto broken = raft_.observe(node)) {
    checker_.violate(fmt::format("raft of {:x}: {}", node.id(), *broken));
  }
  const raft::ConfState conf = node.configuration().conf_state();
  const MemberSets sets{.voters = {conf.voters.begin(), conf.voters.end()},
                        .learners = {conf.learners.begin(), conf.learners.end()}};
  MemberSets& seen = configurations_[node.id()];
  if (sets == seen) return;
  seen = sets;
  if (model_.members().has_made(sets)) return;
  checker_.violate(
      fmt::format("{:x} has a configuration that the log has not made: voters {:x}, "
                  "learners {:x}",
                  node.id(), fmt::join(sets.voters, " "), fmt::join(sets.learners, " ")));
}

void ClusterSimulation::make_clients() {
  const std::size_t count = nodes_.size() + random_.below(3);
  operator_ = std::make_unique<Client>(world_, "op", nodes_.front()->address(), checker_, workload_,
                                       Client::Options{.calls = 0, .parallel = 2});
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

bool ClusterSimulation::is_removed(const Node& node) const {
  return model_.members().removed().contains(node.id());
}

std::optional<raft::NodeId> ClusterSimulation::listed(const Node& node) const {
  return model_.members().find(peer_url(node.name()));
}

// A founder does from the beginning.
bool ClusterSimulation::belongs(const Node& node) const {
  return node.id() == 0 ? listed(node).has_value() : !is_removed(node) || listed(node);
}

std::vector<Node*> ClusterSimulation::members() const {
  std::vector<Node*> members;
  for (const auto& node : nodes_) {
    if (belongs(*node)) members.push_back(node.get());
  }
  return members;
}

bool ClusterSimulation::leads(Node& node) const {
  return node.state() == Node::State::kUp && node.member()->shared().progress.leader == node.id();
}

Node& ClusterSimulation::any_member() {
  const auto all = members();
  Node* any = all[random_.below(all.size())];
  for (Node* node : all) {
    if (!any->ready() && node->ready()) any = node;
  }
  return *any;
}

// The one that leads most often: there it hurts.
Node& ClusterSimulation::any_node() {
  if (random_.one_in(2)) {
    for (const auto& node : nodes_) {
      if (leads(*node)) return *node;
    }
  }
  return *nodes_[random_.below(nodes_.size())];
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

// Long enough for the others to elect another leader, or not.
void ClusterSimulation::hold_somebody() {
  Node& node = any_node();
  const base::Duration duration = random_time(random_, Seconds(random_.one_in(2) ? 1 : 10));
  story_.tell("nemesis", "lets {} stand still for {} ms", node.name(),
              std::chrono::duration_cast<Milliseconds>(duration).count());
  checker_.saw("a member stands still");
  node.host().stand_still(duration);
}

void ClusterSimulation::disturb_links() {
  const std::string a = any_node().name(), b = any_node().name();
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
      node.kill_at(maybe_an_error(random_, random_plan(), disk_errors_));
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

// --- the operator

void ClusterSimulation::ask_operator(const std::string& server, Request request) {
  operator_->move_to(server + ":2379");
  operator_->ask(std::move(request));
}

bool ClusterSimulation::some_listed_is_new() const {
  return std::any_of(nodes_.begin(), nodes_.end(), [this](const auto& node) {
    const auto id = listed(*node);
    return id && *id != node->id();
  });
}

// The next one, or one that was removed and is to begin anew under its old name. Where the cluster
// does not look after its quorum, the operator does: one after the other.
void ClusterSimulation::add_somebody() {
  const bool is_careful = !newcomer_.config.strict_reconfig_check;
  if (is_careful && (some_listed_is_new() || !operator_->idle())) return;
  std::string name;
  for (const auto& node : nodes_) {
    if (is_removed(*node) && !listed(*node)) name = node->name();
  }
  if (name.empty() || random_.one_in(2)) {
    if (newcomers_ == kNewcomersMax) return;
    newcomers_++;
    name = fmt::format("n{}", nodes_.size() + 1);
    make_node(name, newcomer_);
  }
  ask_operator(any_member().name(), Workload::add_member(peer_url(name), random_.one_in(2)));
}

// Two voters stay, even if all that was asked for happens.
void ClusterSimulation::remove_somebody() {
  const auto& voters = model_.members().now().voters;
  const auto stay = std::count_if(voters.begin(), voters.end(),
                                  [this](auto id) { return !asked_to_remove_.contains(id); });
  const Node& node = any_node();
  if (stay <= 2 || node.id() == 0 || is_removed(node)) return;
  asked_to_remove_.insert(node.id());
  ask_operator(any_member().name(), Workload::remove_member(node.id()));
}

void ClusterSimulation::move_leadership() {
  for (const auto& node : nodes_) {
    if (leads(*node)) return ask_operator(node->name(), Workload::move_leader(any_node().id()));
  }
}

// Before that nobody can join, here and in etcd's clusters: members added then, without being asked
// whether a quorum is left, may never be there.
bool ClusterSimulation::has_version() const {
  return std::any_of(nodes_.begin(), nodes_.end(), [](const auto& node) {
    return node->state() == Node::State::kUp &&
           node->member()->shared().views.load()->roster->version;
  });
}

void ClusterSimulation::reconfigure() {
  if (!reconfigures_ || !has_version() || random_.one_in(3)) return;
  const auto& learners = model_.members().now().learners;
  if (!learners.empty() && random_.one_in(2)) {
    return ask_operator(any_member().name(), Workload::promote_member(*learners.begin()));
  }
  switch (random_.below(4)) {
    case 0:
      return move_leadership();
    case 1:
      return remove_somebody();
    default:
      return add_somebody();
  }
}

// Who was removed starts from its old directory, as one does who was down when it happened.
void ClusterSimulation::start_ghost() {
  for (const auto& node : nodes_) {
    if (is_removed(*node) && !listed(*node) && node->state() == Node::State::kDown &&
        node->has_log() && random_.one_in(4)) {
      checker_.saw("a removed member starts again");
      MAYBE(node->start().empty());
    }
  }
}

// --- nemesis

void ClusterSimulation::heal() {
  story_.tell("nemesis", "heals all links");
  world_.heal_all();
  if (exile_.troubles > 0 && !exile_.down) cut_off(exile_.node->name());
}

void ClusterSimulation::exile_somebody() {
  if (exile_.troubles > 0) {
    if (--exile_.troubles > 0) return;
    if (random_.one_in(2))
      exile_.node->kill_at(maybe_an_error(random_, plan_at_snapshot(), disk_errors_));
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
  reconfigure();
  exile_somebody();
  if (exile_.troubles > 0 || random_.one_in(2)) heal();
  if (random_.one_in(6)) world_.set_reset_one_in(random_.one_in(2) ? 0 : 50 + random_.below(500));
  // Half of the exiles are not disturbed otherwise, so that the others get on.
  if (disk_errors_ && random_.one_in(8)) any_node().fill_disk(random_.below(20'000));
  if (exile_.troubles == 0 || random_.one_in(2)) {
    if (random_.one_in(3)) hold_somebody();
    for (auto left = random_.below(3); left > 0; left--) disturb_links();
    if (random_.one_in(2)) end_some_lives();
  }
  world_.run_until([this] { return !going_on() || all_idle(clients_); },
                   random_time(random_, Seconds(6)));
  bury_the_dead();
  if (!going_on()) return;
  for (const auto& node : nodes_) {
    if (disk_errors_ && random_.one_in(2)) node->make_room();
    const bool stays_away = exile_.troubles > 0 && exile_.down && exile_.node == node.get();
    if (going_on() && belongs(*node) && node->state() == Node::State::kDown && !stays_away &&
        !random_.one_in(3)) {
      start(*node);
    }
  }
  start_ghost();
}

// Who was removed before it had heard of anything knows nobody who would tell, and waits for ever,
// as etcd's does: the operator ends it.
void ClusterSimulation::end_who_never_heard() {
  for (const auto& node : nodes_) {
    if (is_removed(*node) && node->state() == Node::State::kUp &&
        node->member()->shared().progress.applied == 0) {
      node->kill(random_crash());
    }
  }
}

void ClusterSimulation::bury_the_dead() {
  end_who_never_heard();
  for (const auto& node : nodes_) {
    if (node->state() != Node::State::kDead && node->state() != Node::State::kStopped) continue;
    const std::string reason = node->bury();
    story_.tell(node->name(), "is down{}{}",
                reason.empty() ? "" : ", having stopped itself: ", reason);
  }
  // Some were down when it happened.
  for (const auto& node : nodes_) {
    if (is_removed(*node)) tell_clients_of_another(*node);
  }
}

void ClusterSimulation::tell_clients_of_another(const Node& node) {
  const std::string other = any_member().address();
  const auto tell = [&](auto& one) {
    if (one.server() == node.address()) one.move_to(other);
  };
  for (const auto& client : clients_) tell(*client);
  for (const auto& reader : readers_) tell(*reader);
  for (const auto& watcher : watchers_) tell(*watcher);
  tell(*operator_);
}

// Who joins is told who is there, as the operator knows it; that may be out of date.
void ClusterSimulation::start(Node& node) {
  if (is_removed(node)) node.renew();
  const bool joins = node.id() == 0;
  if (joins) {
    membership::InitialCluster cluster;
    for (const auto& other : nodes_) {
      if (listed(*other)) {
        cluster[other->name()] = *membership::parse_url_list(peer_url(other->name()));
      }
    }
    node.set_cluster(std::move(cluster));
  }
  const std::string refusal = node.start();
  if (joins && refusal.empty()) checker_.saw("a member joins");
  if (joins || refusal.empty() || node.state() == Node::State::kDead) return;
  if (node.disk_is_to_blame()) return checker_.saw("a start refused for the disk");
  checker_.violate(fmt::format("{} does not start: {}", node.name(), refusal));
}

void ClusterSimulation::start_all() {
  bury_the_dead();
  for (const auto& node : nodes_) {
    node->spare();
    node->make_room();
    if (going_on() && belongs(*node) && node->state() == Node::State::kDown) start(*node);
  }
}

bool ClusterSimulation::all_ready() const {
  const auto all = members();
  return std::all_of(all.begin(), all.end(),
                     [this](const Node* node) { return node->ready() && !is_removed(*node); });
}

// Some may have to begin anew, or to be told again who is there.
void ClusterSimulation::wait_for_all() {
  const auto some_down = [this] {
    const auto all = members();
    return std::any_of(all.begin(), all.end(), [](const Node* node) {
      return node->state() != Node::State::kUp && node->state() != Node::State::kStopping;
    });
  };
  for (int attempt = 0; attempt < 12 && going_on(); attempt++) {
    start_all();
    world_.run_until([&] { return !going_on() || all_ready() || some_down(); }, kReadyLimit);
    if (all_ready() || !going_on()) return;
    if (!some_down()) break;
    world_.run_for(Seconds(1));
  }
  if (going_on()) checker_.violate("not all members get ready");
}

// --- the end of a run

// Whoever is found to be removed meanwhile leaves its clients to others.
void ClusterSimulation::settle() {
  const auto idle = [this] {
    return !going_on() || (all_idle(clients_) && all_idle(readers_) && operator_->idle());
  };
  const auto some_stopped = [this] {
    return std::any_of(nodes_.begin(), nodes_.end(),
                       [](const auto& node) { return node->state() == Node::State::kStopped; });
  };
  do {
    bury_the_dead();
    world_.run_until([&] { return idle() || some_stopped(); }, kClientsLimit);
  } while (!idle() && some_stopped());
  if (!idle()) checker_.violate("calls without an end");
}

// Those that are there ask for it until it is done.
void ClusterSimulation::promote_learners() {
  const auto none_left = [this] { return !going_on() || model_.members().now().learners.empty(); };
  for (int attempt = 0; attempt < 60 && !none_left(); attempt++) {
    if (operator_->idle()) {
      ask_operator(any_member().name(),
                   Workload::promote_member(*model_.members().now().learners.begin()));
    }
    world_.run_until(none_left, Seconds(1));
  }
  if (!none_left()) checker_.violate("a learner is not promoted");
}

void ClusterSimulation::let_removed_stop() {
  end_who_never_heard();
  const auto none_left = [this] {
    return !going_on() || std::none_of(nodes_.begin(), nodes_.end(), [this](const auto& node) {
      return !belongs(*node) &&
             (node->state() == Node::State::kUp || node->state() == Node::State::kStopping);
    });
  };
  if (!world_.run_until(none_left, kRemovedLimit)) {
    checker_.violate("a removed member does not stop");
  }
  bury_the_dead();
}

void ClusterSimulation::let_members_catch_up() {
  const auto all = members();
  const auto behind = [this](Node* node) {
    return node->member()->shared().progress.applied < model_.last();
  };
  const auto none_behind = [&] {
    return !going_on() || std::none_of(all.begin(), all.end(), behind);
  };
  if (world_.run_until(none_behind, kCatchUpLimit)) return;
  for (Node* node : all) {
    if (!behind(node)) continue;
    checker_.violate(fmt::format("{} has applied {} of {}", node->name(),
                                 node->member()->shared().progress.applied.load(), model_.last()));
  }
}

// As its View tells it, and as its core has it.
bool ClusterSimulation::knows_the_members(const Node& node) const {
  MemberSets told;
  for (const auto& member : node.member()->shared().views.load()->roster->members) {
    (member.is_learner ? told.learners : told.voters).insert(member.id);
  }
  const MemberSets& now = model_.members().now();
  return told == now && configurations_.at(node.id()) == now;
}

void ClusterSimulation::let_members_know_each_other() {
  const auto all = members();
  const auto all_know = [&] {
    return !going_on() || std::all_of(all.begin(), all.end(),
                                      [this](Node* node) { return knows_the_members(*node); });
  };
  if (world_.run_until(all_know, kCatchUpLimit)) return;
  for (Node* node : all) {
    if (!knows_the_members(*node)) {
      checker_.violate(node->name() + " has other members than the log");
    }
  }
}

// Each member is asked for everything.
void ClusterSimulation::look_at_everything() {
  let_members_catch_up();
  if (going_on()) let_members_know_each_other();
  let_watchers_catch_up(world_, checker_, watchers_);
  const auto all = members();
  for (std::size_t i = 0; i < all.size(); i++) {
    Client& client = *clients_[i % clients_.size()];
    client.move_to(all[i]->address());
    client.ask(Workload::read_all(0));
    client.ask(Workload::hash_at(0));
    ask_for_history(client, model_, random_, 20);
    if (i + 1 == clients_.size()) settle();
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
  // Whose disk failed in the background may stop only now.
  if (going_on()) start_all();
  if (disk_errors_) world_.run_for(Seconds(2));
  if (going_on()) wait_for_all();
  // What it is still to ask; that may be done only now.
  operator_->move_to(any_member().address());
  if (going_on()) settle();
  if (going_on()) let_removed_stop();
  if (going_on()) wait_for_all();
  if (going_on()) promote_learners();
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
