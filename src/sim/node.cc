#include "sim/node.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "env/simulated/resolver.h"
#include "member/corruption_checker.h"
#include "member/joining.h"
#include "peer/connector.h"

namespace keelson::sim {
namespace {

using env::simulated::Disk;

constexpr const char* kOperations[] = {
    "open",           "read",   "status",   "list", "space",         "lock",
    "create",         "write",  "push out", "sync", "truncate",      "preallocate",
    "make directory", "rename", "remove",   "link", "sync directory"};

bool needs_room(Disk::Operation operation) {
  switch (operation) {
    case Disk::Operation::kCreate:
    case Disk::Operation::kWrite:
    case Disk::Operation::kPreallocate:
    case Disk::Operation::kMakeDirectory:
      return true;
    default:
      return false;
  }
}

// Why a process of this thread last ended itself.
std::string& last_stop_reason() {
  static std::string reason;
  return reason;
}

[[noreturn]] void end_process(std::string_view why) {
  last_stop_reason() = why;
  throw env::simulated::ProcessExit{};
}

}  // namespace

Node::Node(env::simulated::World& world, std::string name, Options options, Story& story,
           Events events)
    : world_(world),
      name_(std::move(name)),
      options_(std::move(options)),
      story_(story),
      events_(std::move(events)),
      host_(world.host(name_)),
      id_(options_.id) {
  member::set_stop_handler(end_process);
  host_.disk().on_operation([this](const Disk::Step& step) { return on_disk(step); });
}

Node::~Node() {
  if (host_.is_alive()) host_.kill(Crash::kKeepAll);
  process_.reset();
  host_.disk().on_operation(nullptr);
}

Node::State Node::state() const {
  if (!host_.is_alive()) return State::kDead;
  if (!process_) return State::kDown;
  if (process_->stopped) return State::kStopped;
  return stopping_ ? State::kStopping : State::kUp;
}

int Node::on_disk(const Disk::Step& step) {
  if (options_.tell_disk && step.operation >= Disk::Operation::kCreate) {
    fmt::print(stderr, "{:>14} disk     {} {} {} {}\n", "", step.number,
               kOperations[static_cast<int>(step.operation)], step.path, step.bytes);
  }
  if (!plan_ || step.operation < Disk::Operation::kCreate) return 0;
  if (step.path.find(plan_->path_part) == std::string::npos) return 0;
  const bool is_sync =
      step.operation == Disk::Operation::kSync || step.operation == Disk::Operation::kSyncDirectory;
  if (plan_->at_sync && !is_sync) return 0;
  if (plan_->error_number == ENOSPC && !needs_room(step.operation)) return 0;
  if (plan_->after > 1) {
    plan_->after--;
    return 0;
  }
  if (plan_->in_background && !host_.disk().fail_write_back(step.path)) return 0;
  const auto plan = std::exchange(plan_, nullptr);
  story_.tell(name_, "{} disk operation {} ({} {})",
              plan->in_background       ? "meets an error in the background at"
              : plan->error_number != 0 ? "meets an error at"
                                        : "killed before",
              step.number, kOperations[static_cast<int>(step.operation)], step.path);
  events_.on_plan(*plan, step.path);
  if (plan->error_number != 0) {
    errors_met_++;
    write_back_failed_ = plan->in_background;
    return plan->in_background ? 0 : plan->error_number;
  }
  host_.kill(plan->mode);
  return EIO;
}

void Node::fill_disk(std::uint64_t room) {
  story_.tell(name_, "has room for {} bytes", room);
  host_.disk().set_capacity(host_.disk().used() + room);
  full_ = true;
}

void Node::make_room() {
  if (!std::exchange(full_, false)) return;
  story_.tell(name_, "has room again");
  host_.disk().set_capacity(std::uint64_t{1} << 40);
}

member::Lanes Node::lanes() {
  member::Lanes lanes;
  for (std::size_t i = 0; i < options_.io_lanes; i++) {
    lanes.io.push_back(&host_.lane(fmt::format("io{}", i)));
  }
  lanes.raft = &host_.lane("raft");
  lanes.log = &host_.lane("log");
  lanes.apply = &host_.lane("apply");
  lanes.store = &host_.lane("store");
  lanes.transfer = &host_.lane("transfer");
  for (std::size_t i = 0; i < options_.workers; i++) {
    lanes.workers.push_back(&host_.lane(fmt::format("worker{}", i)));
  }
  return lanes;
}

bool Node::has_log() {
  const auto names = host_.disk().list(member::Paths::of(options_.config).wal);
  return names && std::any_of(names->begin(), names->end(),
                              [](const std::string& name) { return name.ends_with(".wal"); });
}

void Node::set_cluster(membership::InitialCluster cluster) {
  options_.config.initial_cluster = std::move(cluster);
  options_.config.new_cluster = false;
}

void Node::renew() {
  CHECK(state() == State::kDown);
  options_.config.data_dir = fmt::format("/data{}", ++directories_);
  id_ = 0;
  story_.tell(name_, "begins anew in {}", options_.config.data_dir);
}

std::string Node::ask_others() {
  using Asked = base::Result<member::Joining::Joined, member::BootError>;
  std::optional<Asked> asked;
  std::unique_ptr<member::Joining> joining;
  const auto connector = peer::make_plain_connector(host_.network());
  env::simulated::SimulatedResolver resolver;  // all URLs are given in the same words
  env::Lane& lane = host_.lane("io0");
  lane.post([&] {
    joining = std::make_unique<member::Joining>(lane, *connector, resolver, options_.config,
                                                [&](Asked result) { asked = std::move(result); });
  });
  world_.run_until([&] { return asked || !host_.is_alive(); }, base::Seconds(120));
  CHECK(asked || !host_.is_alive());
  if (!asked) return "killed";
  if (!*asked) return asked->error().text;
  options_.config.running = std::move((*asked)->running);
  return "";
}

// As the server does before it serves anybody.
std::string Node::check_initially(member::Member& member) {
  using Checked = base::Result<void, member::BootError>;
  std::optional<Checked> checked;
  std::unique_ptr<member::InitialCheck> check;
  const auto connector = peer::make_plain_connector(host_.network());
  env::Lane& lane = host_.lane("io0");
  lane.post([&] {
    check = std::make_unique<member::InitialCheck>(
        lane, *connector,
        member::InitialCheck::Start{.identity = member.identity(),
                                    .view = member.shared().views.load(),
                                    .patience = options_.config.request_timeout()},
        [&](Checked result) { checked = std::move(result); });
  });
  world_.run_until([&] { return checked || !host_.is_alive(); }, base::Seconds(120));
  CHECK(checked || !host_.is_alive());
  if (!checked) return "killed";
  return *checked ? "" : checked->error().text;
}

std::string Node::start() {
  CHECK(state() == State::kDown);
  lives_++;
  errors_met_ = std::exchange(write_back_failed_, false) ? 1 : 0;
  story_.tell(name_, "starts, life {}", lives_);
  const bool initialized = has_log();
  if (options_.peers && !initialized) {
    const std::string refusal = ask_others();
    if (!refusal.empty()) {
      story_.tell(name_, "does not start: {}", refusal);
      return refusal;
    }
  }
  auto process = std::make_unique<Process>();
  auto made = member::Member::make(options_.config, host_.disk(), host_.clock(), host_.network(),
                                   lanes(), world_.random().next());
  if (!made) {
    story_.tell(name_, "does not start: {}", made.error().text);
    return made.error().text;
  }
  if (!host_.is_alive()) {  // in the very last step of its boot
    made->reset();
    return "killed";
  }
  if (initialized && options_.config.initial_corrupt_check) {
    const std::string refusal = check_initially(**made);
    if (!refusal.empty()) {
      story_.tell(name_, "does not start: {}", refusal);
      made->reset();
      return refusal;
    }
  }
  process->member = *std::move(made);
  process->member->shared().on_apply = events_.on_apply;
  process->member->shared().on_raft = events_.on_raft;
  process->member->shared().on_send = events_.on_send;
  id_ = process->member->identity().member_id;
  events_.on_life(id_);
  process->metrics = std::make_unique<api::GrpcMetrics>();
  for (std::size_t i = 0; i < options_.io_lanes; i++) {
    process->apis.push_back(std::make_unique<api::LaneApi>(process->member->front(i),
                                                           *process->metrics, options_.server));
  }
  if (options_.peers) listen_to_peers(*process);
  process_ = std::move(process);
  process_->member->start([this] { listen(); },
                          [this] {
                            story_.tell(name_, "was removed");
                            if (state() == State::kUp) stop();
                          });
  return "";
}

// From the beginning: the others are needed to get ready.
void Node::listen_to_peers(Process& process) {
  process.peer_endpoints = std::make_unique<api::PeerEndpoints>(process.member->front(0));
  process.peers = std::make_unique<http::Server>(host_.lane("io0"),
                                                 http::ServerOptions{.access = {.applies = false}},
                                                 nullptr, process.peer_endpoints.get());
  auto listener = host_.network().listen(
      name_ + ":2380", {}, {&host_.lane("io0")},
      [this](std::unique_ptr<env::Stream> stream) { process_->peers->accept(std::move(stream)); });
  CHECK(listener.ok());
  process.peer_listener = *std::move(listener);
}

// A job of io0.
void Node::listen() {
  auto listener = host_.network().listen("127.0.0.1:2379", {}, lanes().io,
                                         [this](std::unique_ptr<env::Stream> stream) {
                                           const auto io = lanes().io;
                                           for (std::size_t i = 0; i < io.size(); i++) {
                                             if (io[i] == &stream->lane())
                                               return process_->apis[i]->accept(std::move(stream));
                                           }
                                         });
  CHECK(listener.ok());
  process_->listener = *std::move(listener);
  ready_ = true;
  story_.tell(name_, "is ready");
}

void Node::stop() {
  CHECK(state() == State::kUp);
  stopping_ = true;
  story_.tell(name_, "is asked to stop");
  auto rest = std::make_shared<std::size_t>(process_->apis.size());
  host_.lane("io0").post([this, rest] {
    process_->listener.reset();
    for (std::size_t i = 0; i < process_->apis.size(); i++) {
      host_.lane(fmt::format("io{}", i)).post([this, rest, i] {
        process_->apis[i]->stop(base::Seconds(7), [this, rest] {
          if (--*rest > 0) return;
          process_->member->stop([this] {
            if (!process_->peers) return has_stopped();
            host_.lane("io0").post([this] { stop_peers(); });
          });
        });
      });
    }
  });
}

void Node::stop_peers() {
  process_->peer_listener.reset();
  process_->peers->stop(base::Duration(0), [this] { has_stopped(); });
}

void Node::has_stopped() {
  process_->stopped = true;
  story_.tell(name_, "has stopped");
}

void Node::kill(Crash mode) {
  plan_.reset();
  story_.tell(name_, "killed");
  host_.kill(mode);
}

void Node::kill_at(KillPlan plan) { plan_ = std::make_unique<KillPlan>(std::move(plan)); }

std::string Node::bury(Crash mode) {
  plan_.reset();
  CHECK(state() == State::kDead || state() == State::kStopped || state() == State::kDown);
  host_.kill(mode);
  process_.reset();
  ready_ = stopping_ = false;
  host_.start();
  return std::exchange(last_stop_reason(), {});
}

}  // namespace keelson::sim
