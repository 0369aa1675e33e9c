#include "api/maintenance.h"

#include <fmt/format.h>

#include "api/alarm_text.h"
#include "api/hash.h"
#include "api/proposing.h"
#include "api/snapshot.h"
#include "base/varint.h"
#include "member/keys_hasher.h"
#include "member/store_keeper.h"

namespace keelson::api {
namespace {

// Tells the time since it was made.
auto timer(Context& context) {
  env::Clock& clock = context.front.lane().clock();
  return [&clock, begin = clock.now()] { return clock.now() - begin; };
}

std::string encode(const apply::AlarmMember& alarm) { return apply::encode_alarm(alarm); }

class StatusCall : public RequestHandler<etcdserverpb::StatusRequest> {
 public:
  using RequestHandler::RequestHandler;

 private:
  void run(std::string_view) override {
    const auto& view = *context_.front.view();
    const auto& progress = context_.front.progress();
    const raft::NodeId leader = progress.leader.load(std::memory_order_acquire);
    etcdserverpb::StatusResponse response;
    response.set_version(member::kServerVersion.text());
    response.set_dbsize(static_cast<std::int64_t>(view.space.file_bytes));
    response.set_dbsizeinuse(static_cast<std::int64_t>(view.space.live_bytes));
    response.set_dbsizequota(context_.front.config().effective_quota());
    response.set_leader(leader);
    // Committed is told by another lane than applied: never less.
    response.set_raftindex(
        std::max(progress.committed.load(std::memory_order_acquire), view.applied_index));
    response.set_raftterm(view.applied_term);
    response.set_raftappliedindex(view.applied_index);
    if (leader == raft::kNone) response.add_errors("etcdserver: no leader");
    for (const apply::AlarmMember& alarm : *view.alarms) response.add_errors(alarm_text(alarm));
    describe_member(view, response);
    answer(header_only(context_.header(view)) + response.SerializeAsString());
  }
  void describe_member(const member::View& view, etcdserverpb::StatusResponse& response) {
    const membership::Roster& roster = *view.roster;
    const auto* self = roster.find(context_.front.identity().member_id);
    response.set_islearner(self != nullptr && self->is_learner);
    if (roster.version) response.set_storageversion(roster.version->text());
    auto* downgrade = response.mutable_downgradeinfo();
    downgrade->set_enabled(roster.downgrade.enabled);
    downgrade->set_targetversion(roster.downgrade.target);
  }
};

class AlarmCall : public Proposing<etcdserverpb::AlarmRequest> {
 public:
  using Proposing::Proposing;

 private:
  void run(std::string_view) override {
    // One that etcd could not survive must not get into the log.
    if (!etcdserverpb::AlarmRequest::AlarmAction_IsValid(request_.action())) {
      return refuse(RequestErrc::kUnknownAlarmAction);
    }
    propose_anew(kAlarmField);
  }
  void applied(member::Reply reply) override {
    std::string out = header_only(context_.header(reply));
    for (const auto& alarm : std::get<apply::AlarmAnswer>(reply.answer).alarms) {
      base::put_message_field(out, 2, encode(alarm));
    }
    answer(std::move(out));
  }
};

// The store gives space back in the background, all the time; asking makes it look at once. Nobody
// waits for it, and nothing waits for anybody.
class DefragmentCall : public RequestHandler<etcdserverpb::DefragmentRequest> {
 public:
  using RequestHandler::RequestHandler;

 private:
  void run(std::string_view) override {
    member::Shared& shared = context_.front.shared();
    shared.store_lane->post([&shared] { shared.store_keeper->reclaim(); });
    answer("");
  }
};

class HashCall : public RequestHandler<etcdserverpb::HashRequest> {
 public:
  using RequestHandler::RequestHandler;

 private:
  void run(std::string_view) override {
    hashing_.emplace(context_.front,
                     [this, timer = timer(context_)](base::Result<StateHash, http::Status> hash) {
                       if (!hash) return finish(hash.error());
                       context_.front.shared().metrics.hash_seconds.observe(timer());
                       std::string out = header_only(context_.header(*hash->view));
                       base::put_varint_field(out, 2, hash->hash);
                       answer(std::move(out));
                     });
  }
  std::optional<StateHasher> hashing_;
};

class HashKvCall : public RequestHandler<etcdserverpb::HashKVRequest> {
 public:
  using RequestHandler::RequestHandler;

 private:
  void run(std::string_view) override {
    hashing_.emplace(
        context_.front, request_.revision(),
        [this](base::Result<member::KeysHash, member::HashFailure> hash) {
          if (!hash) {
            return finish(std::visit([](auto errc) { return status_of(errc); }, hash.error()));
          }
          std::string out = header_only(context_.header(*hash->view));
          base::put_varint_field(out, 2, hash->hash);
          base::put_varint_field(out, 3, static_cast<std::uint64_t>(hash->compact_revision));
          base::put_varint_field(out, 4, static_cast<std::uint64_t>(hash->revision));
          answer(std::move(out));
        });
  }
  std::optional<member::KeysHasher> hashing_;
};

// Ends when the other leads; if it never does, with the caller's patience (api.md 9.3).
class MoveLeaderCall : public RequestHandler<etcdserverpb::MoveLeaderRequest> {
 public:
  using RequestHandler::RequestHandler;
  ~MoveLeaderCall() override { context_.front.lane().cancel(timer_); }

 private:
  void run(std::string_view) override {
    auto& front = context_.front;
    const membership::MemberId self = front.identity().member_id;
    if (front.progress().leader != self) return refuse(member::Errc::kNotLeader);
    const auto* target = front.view()->roster->find(request_.targetid());
    if (target == nullptr || target->is_learner) return refuse(RequestErrc::kBadLeaderTransferee);
    if (target->id == self) return done();
    if (!front.transfer_leader(target->id)) return refuse(member::Errc::kTooManyRequests);
    look_later();
  }
  void look_later() {
    timer_ = context_.front.lane().after(context_.front.config().tick, [this] {
      timer_ = 0;
      context_.front.progress().leader == request_.targetid() ? done() : look_later();
    });
  }
  void done() { answer(header_only(context_.header())); }

  env::TimerId timer_ = 0;
};

}  // namespace

void add_maintenance(http::Router& router, Context& context) {
  constexpr std::string_view kService = "etcdserverpb.Maintenance";
  using enum http::MethodKind;
  add_method<AlarmCall>(router, context, kService, "Alarm", kUnary);
  add_method<StatusCall>(router, context, kService, "Status", kUnary, ForLearner::kServed);
  add_method<DefragmentCall>(router, context, kService, "Defragment", kUnary);
  add_method<HashCall>(router, context, kService, "Hash", kUnary);
  add_method<HashKvCall>(router, context, kService, "HashKV", kUnary);
  add_method<SnapshotCall>(router, context, kService, "Snapshot", kServerStream,
                           ForLearner::kServed);
  add_method<MoveLeaderCall>(router, context, kService, "MoveLeader", kUnary);
  add_missing(router, context, kService, "Downgrade", kUnary);
}

}  // namespace keelson::api
