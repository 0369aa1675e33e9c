#include "sim/simulation.h"

#include <fmt/format.h>

#include <algorithm>

#include "membership/bootstrap.h"
#include "sim/ending.h"
#include "sim/random_config.h"

namespace keelson::sim {
namespace {

using base::Milliseconds;
using base::Seconds;

constexpr base::Duration kStopLimit = Seconds(60);
constexpr base::Duration kLeasesLimit = Seconds(30);  // the longest, and an election

}  // namespace

Simulation::Simulation(const RunOptions& options)
    : options_(options),
      world_(options.seed),
      random_(world_.random().next()),
      story_(&world_.host("clients").clock(), options.keep, options.aloud),
      model_(member::Config().lease_ttl_min()),
      checker_(model_, story_, world_.host("clients").clock()),
      workload_(random_, model_, random_workload()) {
  Node::Options node;
  node.config = random_config();
  checker_.set_limits(
      {.quota = node.config.quota_bytes > 0 || disk_errors_,
       .held_views = node.config.held_views_age_max < member::Config().held_views_age_max,
       .request_bytes = node.config.request_bytes_max});
  node.io_lanes = 1 + random_.below(2);
  node.workers = 1 + random_.below(2);
  node.tell_disk = options.tell_disk;
  node_ = std::make_unique<Node>(
      world_, "n1", std::move(node), story_,
      Node::Events{.on_apply = [this](const raft::Entry& entry) { checker_.on_apply("n1", entry); },
                   .on_life =
                       [this](raft::NodeId id) {
                         raft_.restarted(id);
                         checker_.on_life("n1");
                       },
                   .on_plan =
                       [this](const KillPlan& plan, const std::string&) {
                         if (plan.error_number != 0) checker_.saw("an error of the disk");
                       },
                   .on_raft = [this](const raft::Node& node) { watch_raft(node); }});
  node_->host().disk().set_cold_one_in(random_.one_in(3) ? 0 : 1 + random_.below(6));
  make_clients();
  make_watchers();
  wall_clock_ = static_cast<WallClock>(random_.below(3));
  first_start_ = world_.now();
}

void Simulation::watch_raft(const raft::Node& node) {
  if (const auto broken = raft_.observe(node)) {
    checker_.violate(fmt::format("raft, member {:x}: {}", node.id(), *broken));
  }
}

Simulation::~Simulation() {
  // Clients' calls name their connections, and connections the hosts' lanes.
  world_.host("clients").kill(Node::Crash::kKeepAll);
  clients_.clear();
  watchers_.clear();
  node_.reset();
}

// Most values are small. Of large ones an answer is made as it is sent, and a slow reader holds its
// View.
WorkloadOptions Simulation::random_workload() {
  large_ = random_.one_in(8);
  if (large_) {
    return {.keys = 12 + random_.below(8),
            .value_bytes_max = 150'000,
            .large_one_in = 1,
            .slow_one_in = 2};
  }
  return {.keys = 4 + random_.below(16),
          .value_bytes_max = random_.one_in(2) ? 2000u : 400u,
          .large_one_in = 1 + random_.below(6)};
}

member::Config Simulation::random_config() {
  member::Config config;
  config.name = "n1";
  config.data_dir = "/data";
  config.advertise_peer_urls = *membership::parse_url_list("http://n1:2380");
  config.initial_cluster = *membership::parse_initial_cluster("n1=http://n1:2380");
  config.advertise_client_urls = {"http://n1:2379"};
  random_log(random_, config);
  if (random_.one_in(5)) config.quota_bytes = 3000 << random_.below(5);
  // Watch responses half a mebibyte above it come in fragments.
  config.request_bytes_max = 200'000;
  if (random_.one_in(4)) config.request_bytes_max = 700 + random_.below(3000);
  if (random_.one_in(2)) {
    config.held_views_age_max = Milliseconds(500 + random_.below(3000));
    config.held_views_bytes_max = 100 << random_.below(8);
  }
  config.watch_progress_interval = Milliseconds(100 << random_.below(6));
  random_store(random_, config.store);
  disk_errors_ = random_.one_in(4) || options_.disk_errors;
  may_fill_ = disk_errors_ && random_.one_in(3);
  return config;
}

void Simulation::make_clients() {
  const std::size_t count = 2 + random_.below(4);
  for (std::size_t i = 0; i < count; i++) {
    clients_.push_back(std::make_unique<Client>(
        world_, fmt::format("c{}", i), node_->address(), checker_, workload_,
        Client::Options{.calls = options_.calls / count,
                        .parallel = random_.one_in(2) ? 1 : 1 + random_.below(6),
                        .window_bytes = random_.one_in(2) ? 1024 : 65'535,
                        .think_max = Milliseconds(1 + random_.below(60))}));
  }
}

void Simulation::make_watchers() {
  const std::size_t count = large_ ? 3 : random_.below(4);
  for (std::size_t i = 0; i < count; i++) {
    Watcher::Options options{.key = std::string(1, '\0'), .range_end = std::string(1, '\0')};
    if (random_.one_in(3)) options = {.key = "k01"};
    if (random_.one_in(3)) options = {.key = "k01", .range_end = "k05"};
    options.previous = random_.one_in(2);
    options.fragment = random_.one_in(2);
    options.progress = random_.one_in(2);
    options.no_put = random_.one_in(8);
    options.no_delete = random_.one_in(8);
    options.window_bytes = random_.one_in(3) ? 1024 : 65'535;
    options.pause_one_in = random_.one_in(2) ? 5 + random_.below(30) : 0;
    options.leave_one_in = random_.one_in(2) ? 10 + random_.below(30) : 0;
    watchers_.push_back(std::make_unique<Watcher>(world_, fmt::format("w{}", i), node_->address(),
                                                  checker_, model_, story_, std::move(options)));
  }
}

Node::Crash Simulation::random_crash() {
  constexpr Node::Crash kModes[] = {Node::Crash::kRandom, Node::Crash::kRandom, Node::Crash::kTear,
                                    Node::Crash::kLoseUnsynced, Node::Crash::kKeepAll};
  return kModes[random_.below(std::size(kModes))];
}

KillPlan Simulation::random_plan() {
  constexpr const char* kParts[] = {"", "", "/wal", "/store", "/snap", ".tmp", "/store/manifest"};
  if (random_.one_in(3)) {  // power fails while the log is synced
    return {.path_part = random_.one_in(4) ? "" : ".wal",
            .at_sync = true,
            .after = 1 + random_.below(40),
            .mode = random_.one_in(2) ? Node::Crash::kTear : Node::Crash::kRandom};
  }
  const bool anything = random_.one_in(2);
  return {.path_part = anything ? "" : kParts[random_.below(std::size(kParts))],
          .after = 1 + random_.below(random_.one_in(3) ? 10 : 150),
          .mode = random_crash()};
}

// A machine may come up with any time of day: without a battery, with the same one each time.
void Simulation::set_wall_clock() {
  if (wall_clock_ == WallClock::kRight) return;
  const auto since_start = world_.now() - first_start_;
  const bool again = wall_clock_ == WallClock::kBeginsAnew;
  node_->host().set_wall_offset(
      (again ? base::Duration(0) : random_time(random_, base::Seconds(20))) - since_start);
}

void Simulation::start_node() {
  for (int attempt = 0; going_on(); attempt++) {
    if (attempt < 6 && random_.one_in(4))
      node_->kill_at(maybe_an_error(random_, random_plan(), disk_errors_));
    set_wall_clock();
    const std::string refusal = node_->start();
    if (!refusal.empty() && node_->state() == Node::State::kDown && node_->disk_is_to_blame()) {
      checker_.saw("a start refused for the disk");
      node_->spare();
      node_->make_room();
      continue;
    }
    if (!refusal.empty() && node_->state() != Node::State::kDead) {
      return checker_.violate("the member does not start: " + refusal);
    }
    world_.run_until([this] { return node_->ready() || node_->state() == Node::State::kDead; },
                     kReadyLimit);
    if (node_->ready()) return;
    if (node_->state() != Node::State::kDead) {
      return checker_.violate("the member does not get ready");
    }
    end_life(Node::Crash::kKeepAll);
    if (attempt >= 6) node_->make_room();  // in the end somebody does
  }
}

void Simulation::end_life(Node::Crash mode_of_stopped) {
  const bool killed = node_->state() == Node::State::kDead;
  const std::string reason = node_->bury(mode_of_stopped);
  story_.tell("n1", "is down{}{}", reason.empty() ? "" : ", having stopped itself: ", reason);
  MAYBE(killed);
}

void Simulation::trouble() {
  const auto dice = random_.below(10);
  const auto is_down = [this] {
    return !going_on() || node_->state() == Node::State::kDead ||
           node_->state() == Node::State::kStopped;
  };
  if (dice < 7) node_->kill_at(maybe_an_error(random_, random_plan(), disk_errors_));
  if (may_fill_ && random_.one_in(4)) node_->fill_disk(random_.below(20'000));
  if (random_.one_in(8)) node_->host().stand_still(random_time(random_, Seconds(10)));
  const auto idle_or_down = [&] { return is_down() || all_idle(clients_); };
  world_.run_until(idle_or_down, random_time(random_, Seconds(8)));
  if (!is_down() && dice >= 8) {
    node_->stop();
    if (!world_.run_until(is_down, kStopLimit)) checker_.violate("the member does not stop");
  }
  if (!going_on()) return;
  if (!is_down()) node_->kill(random_crash());
  end_life(random_crash());
  if (may_fill_ && random_.one_in(2)) node_->make_room();
  world_.run_for(random_time(random_, Seconds(1)));
}

// Lets the clients have their last answers.
void Simulation::settle() {
  node_->spare();
  node_->make_room();
  const bool idle =
      world_.run_until([this] { return !going_on() || all_idle(clients_); }, kClientsLimit);
  if (!idle) checker_.violate("calls without an end");
}

void Simulation::look_at_everything() {
  let_watchers_catch_up(world_, checker_, watchers_);
  Client& client = *clients_.front();
  client.ask(Workload::read_all(0));
  client.ask(Workload::all_leases());
  ask_for_history(client, model_, random_, 10);
  settle();
}

Verdict Simulation::run() {
  for (const auto& client : clients_) client->start();
  for (const auto& watcher : watchers_) watcher->start();
  start_node();
  for (int lives = 0; going_on() && !all_idle(clients_) && lives < 12; lives++) {
    trouble();
    if (going_on()) start_node();
  }
  if (going_on()) settle();
  if (going_on()) look_at_everything();
  if (going_on()) outlive_leases(world_, checker_, model_, kLeasesLimit);
  if (going_on()) {
    node_->stop();
    if (!world_.run_until([this] { return node_->state() == Node::State::kStopped; }, kStopLimit)) {
      checker_.violate("the member does not stop at the end");
    }
  }
  if (going_on()) {
    end_life(Node::Crash::kLoseUnsynced);
    start_node();
  }
  if (going_on()) look_at_everything();
  if (going_on()) checker_.finish();
  return {.violation = checker_.violation(),
          .story = story_.tail(),
          .trace = story_.hash() ^ world_.fingerprint(),
          .lives = node_->lives(),
          .entries = model_.last(),
          .revision = model_.revision(),
          .calls = checker_.stats()};
}

}  // namespace keelson::sim
