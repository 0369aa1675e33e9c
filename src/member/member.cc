#include "member/member.h"

#include <atomic>

#include "member/applier.h"
#include "member/compactor.h"
#include "member/corruption_checker.h"
#include "member/handover.h"
#include "member/log_writer.h"
#include "member/peers.h"
#include "member/publisher.h"
#include "member/raft_driver.h"
#include "member/store_keeper.h"

namespace keelson::member {
namespace {

// Requests from Fronts on their way to the raft lane; beyond it: too many requests.
constexpr std::size_t kRequestsMax = 16 * 1024;
// From other members, of either kind; etcd's number.
constexpr std::size_t kMessagesMax = 4096;
constexpr std::size_t kUnbounded = static_cast<std::size_t>(-1);

// Of the entries between the log's snapshot and the store's checkpoint.
std::uint64_t applied_bytes(const Booted& booted) {
  std::uint64_t bytes = 0;
  for (const raft::Entry& entry : booted.entries) {
    if (entry.index <= booted.applied_index) bytes += entry.data.size();
  }
  return bytes;
}

}  // namespace

base::Result<std::unique_ptr<Member>, BootError> Member::make(Config config, env::FileSystem& files,
                                                              env::Clock& clock,
                                                              env::Network& network, Lanes lanes,
                                                              std::uint64_t chance) {
  ASSIGN_OR_RETURN(Booted booted, boot(files, config, clock.wall_now(), chance));
  std::unique_ptr<Member> member(new Member(std::move(lanes)));
  member->shared_.config = std::move(config);
  member->shared_.identity = booted.identity;
  member->shared_.clock = &clock;
  member->shared_.files = &files;
  member->wire(std::move(booted), files, network, chance);
  return member;
}

Member::Member(Lanes lanes) : lanes_(std::move(lanes)) {}

Member::~Member() {
  // One that was never stopped lost its process (simulation): nobody hears of what is outstanding.
  for (const auto& front : shared_.fronts) front->abandon();
  // Views held by the cell tell the applier their end.
  shared_.views.publish(nullptr);
}

void Member::wire(Booted booted, env::FileSystem& files, env::Network& network,
                  std::uint64_t chance) {
  const Paths paths = Paths::of(shared_.config);
  shared_.workers = lanes_.workers;
  shared_.transfer = lanes_.transfer;
  shared_.log_lane = lanes_.log;
  shared_.apply_lane = lanes_.apply;
  shared_.store_lane = lanes_.store;
  const auto space = booted.store->space();
  const raft::Index log_end =
      booted.entries.empty() ? booted.snapshot.index : booted.entries.back().index;
  const raft::Index undecided = booted.undecided->newest();
  applier_ = std::make_unique<Applier>(*lanes_.apply, shared_,
                                       Applier::Start{.state = std::move(booted.state),
                                                      .undecided = std::move(booted.undecided),
                                                      .stored = booted.store->snapshot(),
                                                      .space = {space},
                                                      .applied_index = booted.applied_index,
                                                      .applied_term = booted.applied_term,
                                                      .snapshot_index = booted.snapshot.index,
                                                      .bytes_since_snapshot = applied_bytes(booted),
                                                      .log_end = log_end});
  shared_.applier = applier_.get();
  store_ = std::make_unique<StoreKeeper>(
      *lanes_.store, shared_, std::move(booted.store),
      [this](StoreNote note) { applier_->notes().push_always(std::move(note)); });
  shared_.store_keeper = store_.get();
  log_ = std::make_unique<LogWriter>(*lanes_.log, shared_,
                                     LogWriter::Start{.files = &files,
                                                      .wal = std::move(booted.wal),
                                                      .hard_state = booted.hard_state,
                                                      .wal_directory = paths.wal,
                                                      .snap_directory = paths.snap});
  applier_->publish_first();
  raft_ = std::make_unique<RaftDriver>(*lanes_.raft, shared_,
                                       RaftDriver::Start{.snapshot = std::move(booted.snapshot),
                                                         .hard_state = booted.hard_state,
                                                         .entries = std::move(booted.entries),
                                                         .applied = booted.applied_index,
                                                         .undecided = undecided,
                                                         .seed = chance});
  shared_.to_raft = std::make_unique<env::Channel<FrontRequest>>(
      *lanes_.raft, kRequestsMax,
      [this](std::vector<FrontRequest> requests) { raft_->on_requests(std::move(requests)); });
  shared_.to_raft_events = std::make_unique<env::Channel<RaftEvent>>(
      *lanes_.raft, kUnbounded,
      [this](std::vector<RaftEvent> events) { raft_->on_events(std::move(events)); });
  for (std::size_t i = 0; i < lanes_.io.size(); i++) {
    shared_.fronts.push_back(
        std::make_unique<Front>(*lanes_.io[i], static_cast<std::uint32_t>(i), shared_));
  }
  const auto to_raft = [this](std::vector<raft::Message> messages) {
    raft_->on_messages(std::move(messages));
  };
  from_peers_ = std::make_unique<env::Channel<raft::Message>>(*lanes_.raft, kMessagesMax, to_raft);
  proposals_from_peers_ =
      std::make_unique<env::Channel<raft::Message>>(*lanes_.raft, kMessagesMax, to_raft);
  peers_ = std::make_unique<Peers>(
      *lanes_.io.front(), shared_, network,
      Peers::Inboxes{.messages = from_peers_.get(), .proposals = proposals_from_peers_.get()});
  shared_.peers = peers_.get();
  shared_.active_since = [this](raft::NodeId id) { return peers_->transport().active_since(id); };
  raft_->connect(&log_->inbox(), &applier_->inbox(), peers_.get());
  log_->connect(&applier_->inbox());
  applier_->connect(&store_->inbox(),
                    [this](SnapshotWork work) { log_->save_snapshot(std::move(work)); });
}

void Member::start(base::Job on_ready, base::Job on_removed) {
  shared_.on_removed = std::move(on_removed);
  lanes_.store->post([this] { store_->start(); });
  lanes_.log->post([this] { log_->start(); });
  lanes_.raft->post([this] { raft_->start(); });
  publisher_ = std::make_unique<Publisher>(*shared_.fronts.front(), std::move(on_ready));
  compactor_ = std::make_unique<Compactor>(*shared_.fronts.front());
  corruption_checker_ = std::make_unique<CorruptionChecker>(*shared_.fronts.front());
  lanes_.io.front()->post([this] {
    publisher_->start();
    compactor_->start();
    corruption_checker_->start();
  });
}

void Member::stop(base::Job done) {
  lanes_.io.front()->post([this, done = std::move(done)]() mutable {
    handover_ = std::make_unique<Handover>(
        *shared_.fronts.front(),
        [this, done = std::move(done)]() mutable { stop_lanes(std::move(done)); });
    handover_->begin();
  });
}

void Member::stop_lanes(base::Job done) {
  // One lane after the other, in the order requests flow, so that each has done what the one before
  // gave it.
  auto rest = std::make_shared<std::atomic<std::size_t>>(shared_.fronts.size());
  auto end = std::make_shared<base::Job>(std::move(done));
  for (const auto& front : shared_.fronts) {
    front->lane().post([this, rest, end, front = front.get()] {
      if (front->number() == 0) {
        publisher_->stop();
        compactor_->stop();
        corruption_checker_->stop();
      }
      front->stop();
      if (front->number() == 0) peers_->stop();
      if (rest->fetch_sub(1) != 1) return;
      lanes_.raft->post([this, end] {
        raft_->stop();
        lanes_.log->post([this, end] {
          log_->stop();
          lanes_.apply->post([this, end] {
            applier_->stop();
            lanes_.store->post([this, end] {
              store_->stop();
              (*end)();
            });
          });
        });
      });
    });
  }
}

}  // namespace keelson::member
