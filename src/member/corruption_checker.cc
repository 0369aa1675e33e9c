#include "member/corruption_checker.h"

#include <fmt/format.h>

#include <algorithm>

#include "env/log.h"
#include "member/peers.h"
#include "proto/raft_internal.pb.h"

namespace keelson::member {
namespace {

constexpr std::uint32_t kAlarmField = etcdserverpb::InternalRaftRequest::kAlarmFieldNumber;

OwnHash own(const KeysHash& hash) {
  return {.revision = hash.revision, .compact_revision = hash.compact_revision, .hash = hash.hash};
}

std::unique_ptr<PeerHashes> ask_peers(Front& front, std::int64_t revision, PeerHashes::Done done) {
  return std::make_unique<PeerHashes>(
      front.lane(), front.shared().peers->connector(),
      PeerHashes::Whom{.self = front.identity(),
                       .members = front.view()->roster->members,
                       .revision = revision,
                       .patience = front.config().request_timeout()},
      std::move(done));
}

}  // namespace

// hash --> peers --> barrier --> hash --> done, or given up at any of them. Destroyed by its owner
// later than in a call of its own.
class CorruptionChecker::Periodic {
 public:
  // The corrupt member, if any.
  using Done = base::Function<void(std::optional<membership::MemberId>)>;

  Periodic(Front& front, Done done) : front_(front), done_(std::move(done)) {
    first_ = std::make_unique<KeysHasher>(front_, 0, [this](auto hash) {
      if (!hash) return give_up(describe(hash.error()));
      before_ = own(*hash);
      ask();
    });
  }
  ~Periodic() { front_.forget(barrier_); }

 private:
  void ask() {
    asking_ = ask_peers(front_, before_.revision, [this](std::vector<PeerHash> peers) {
      peers_ = std::move(peers);
      barrier_ = front_.barrier([this](auto view) {
        barrier_ = 0;
        if (!view) return give_up("no linearizable read");
        hash_again();
      });
    });
  }
  void hash_again() {
    second_ = std::make_unique<KeysHasher>(front_, 0, [this](auto hash) {
      if (!hash) return give_up(describe(hash.error()));
      done_(corrupt_of(front_.identity().member_id, before_, own(*hash), peers_));
    });
  }
  void give_up(std::string_view why) {
    env::log_warn("failed to check hash KV", {{"error", why}});
    done_(std::nullopt);
  }

  Front& front_;
  Done done_;
  OwnHash before_;
  std::vector<PeerHash> peers_;
  Ticket barrier_ = 0;
  std::unique_ptr<KeysHasher> first_, second_;
  std::unique_ptr<PeerHashes> asking_;
};

// One compaction after the other, newest first, until one is settled.
class CorruptionChecker::OfCompactions {
 public:
  struct Found {
    std::vector<membership::MemberId> corrupt;
    std::int64_t agreed_on = 0;
  };
  using Done = base::Function<void(Found)>;

  // Those above `checked`.
  OfCompactions(Front& front, std::int64_t checked, Done done)
      : front_(front), done_(std::move(done)) {
    env::log_info("starting compact hash check",
                  {{"local-member-id", membership::id_text(front_.identity().member_id)},
                   {"timeout", front_.config().request_timeout()}});
    const auto& known = front_.view()->compaction_hashes->known;
    std::copy_if(known.rbegin(), known.rend(), std::back_inserter(hashes_),
                 [checked](const CompactionHash& one) { return one.revision > checked; });
    ask_next();
  }
  ~OfCompactions() { front_.lane().cancel(timer_); }

 private:
  void ask_next() {
    if (next_ == hashes_.size()) {
      timer_ = front_.lane().after(base::Duration(0), [this] { finish({}); });
      return;
    }
    asking_.push_back(ask_peers(front_, hashes_[next_++].revision,
                                [this](std::vector<PeerHash> peers) { judge(std::move(peers)); }));
  }
  void judge(std::vector<PeerHash> peers) {
    if (peers.empty()) return ask_next();
    const CompactionHash& hash = hashes_[next_ - 1];
    auto verdict = judge_compaction(front_.identity().member_id, hash, peers);
    if (!verdict.settled) return ask_next();
    finish(
        {.corrupt = std::move(verdict.corrupt), .agreed_on = verdict.agreed ? hash.revision : 0});
  }
  void finish(Found found) {
    timer_ = 0;
    env::log_info("finished compaction hash check", {{"number-of-hashes-checked", next_}});
    done_(std::move(found));
  }

  Front& front_;
  Done done_;
  std::vector<CompactionHash> hashes_;
  std::size_t next_ = 0;
  std::vector<std::unique_ptr<PeerHashes>> asking_;  // kept: what is over may be on the stack
  env::TimerId timer_ = 0;
};

CorruptionChecker::CorruptionChecker(Front& front) : front_(front) {}
CorruptionChecker::~CorruptionChecker() = default;

void CorruptionChecker::start() {
  if (stopped_) return;
  const Config& config = front_.config();
  if (config.corrupt_check_time > base::Duration(0)) {
    env::log_info("enabled corruption checking",
                  {{"local-member-id", membership::id_text(front_.identity().member_id)},
                   {"interval", config.corrupt_check_time}});
    arm(/*periodic=*/true);
  }
  if (config.compact_hash_check) arm(/*periodic=*/false);
}

void CorruptionChecker::stop() {
  stopped_ = true;
  front_.lane().cancel(periodic_timer_);
  front_.lane().cancel(compaction_timer_);
  periodic_.reset();
  of_compactions_.reset();
}

void CorruptionChecker::arm(bool periodic) {
  const Config& config = front_.config();
  env::TimerId& timer = periodic ? periodic_timer_ : compaction_timer_;
  timer = front_.lane().after(periodic ? config.corrupt_check_time : config.compact_hash_check_time,
                              [this, periodic] {
                                arm(periodic);
                                if (leads()) look(periodic);
                              });
}

// One that takes longer than the time between two goes on.
void CorruptionChecker::look(bool periodic) {
  if (periodic && !periodic_) {
    periodic_ = std::make_unique<Periodic>(front_, [this](auto corrupt) {
      if (corrupt) raise(*corrupt);
      front_.lane().post([this] { periodic_.reset(); });
    });
  }
  if (!periodic && !of_compactions_) {
    of_compactions_ =
        std::make_unique<OfCompactions>(front_, checked_, [this](OfCompactions::Found found) {
          for (const auto corrupt : found.corrupt) raise(corrupt);
          checked_ = std::max(checked_, found.agreed_on);
          front_.lane().post([this] { of_compactions_.reset(); });
        });
  }
}

// If it is lost, the next check finds the same.
void CorruptionChecker::raise(membership::MemberId corrupt) {
  etcdserverpb::AlarmRequest request;
  request.set_action(etcdserverpb::AlarmRequest::ACTIVATE);
  request.set_memberid(corrupt);
  request.set_alarm(etcdserverpb::CORRUPT);
  front_.propose(kAlarmField, request.SerializeAsString(), [](auto) {});
}

InitialCheck::InitialCheck(env::Lane& lane, peer::Connector& connector, Start start, Done done)
    : lane_(lane), connector_(connector), start_(std::move(start)), done_(std::move(done)) {
  lane_.post([this] { begin(); });
}

void InitialCheck::begin() {
  const auto self = start_.identity.member_id;
  const std::string id = membership::id_text(self);
  env::log_info("starting initial corruption check",
                {{"local-member-id", id}, {"timeout", start_.patience}});
  const auto refuse = [&](const HashFailure& failure) {
    finish(
        base::fail(BootError{fmt::format("{} failed to fetch hash ({})", id, describe(failure))}));
  };
  const auto hash = hash_keys(start_.view);
  if (!hash) return refuse(hash.error());
  OwnHash compared = own(*hash);
  if (hash->is_ambiguous) {
    const auto other = hash_keys_as_compaction(start_.view);
    if (!other) return refuse(other.error());
    compared.hash_of_compaction = other->hash;
  }
  peers_ = std::make_unique<PeerHashes>(
      lane_, connector_,
      PeerHashes::Whom{.self = start_.identity,
                       .members = start_.view->roster->members,
                       .revision = hash->revision,
                       .patience = start_.patience},
      [this, self, id, compared](std::vector<PeerHash> peers) {
        if (disagrees(self, compared, peers)) {
          return finish(
              base::fail(BootError{fmt::format("{} found data inconsistency with peers", id)}));
        }
        env::log_info("initial corruption checking passed; no corruption",
                      {{"local-member-id", id}});
        finish({});
      });
}

void InitialCheck::finish(base::Result<void, BootError> result) {
  start_.view.reset();
  std::exchange(done_, {})(std::move(result));
}

}  // namespace keelson::member
