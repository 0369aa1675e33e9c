#include "api/cluster.h"

#include <fmt/format.h>

#include "api/encode.h"
#include "api/reconfiguration.h"
#include "base/varint.h"
#include "member/peers.h"
#include "membership/urls.h"

namespace keelson::api {
namespace {

constexpr base::Duration kAskAgain = base::Milliseconds(250);

std::string encode(const membership::Member& member) {
  std::string out;
  base::put_varint_field(out, 1, member.id);
  base::put_bytes_field(out, 2, member.name);
  for (const std::string& url : member.peer_urls) base::put_message_field(out, 3, url);
  for (const std::string& url : member.client_urls) base::put_message_field(out, 4, url);
  base::put_varint_field(out, 5, member.is_learner ? 1 : 0);
  return out;
}

class MemberListCall : public RequestHandler<etcdserverpb::MemberListRequest> {
 public:
  using RequestHandler::RequestHandler;

 private:
  void run(std::string_view) override {
    auto& front = context_.front;
    if (!request_.linearizable() || front.view()->linearizable) return list(*front.view());
    waiting_ = front.barrier([this](auto view) {
      waiting_ = 0;
      if (!view) return refuse(view.error());
      list(**view);
    });
  }
  void list(const member::View& view) {
    // The revision is not told by this service: api.md 1.6.
    std::string out = header_only(context_.header(0, view.applied_term));
    for (const auto& member : view.roster->members) base::put_message_field(out, 2, encode(member));
    answer(std::move(out));
  }
};

// What all changes answer with: who there is now, as this member has applied it.
template <class Request>
class ChangeCall : public RequestHandler<Request> {
 public:
  using RequestHandler<Request>::RequestHandler;

 protected:
  void propose(raft::ConfChange change) {
    this->waiting_ = this->context_.front.propose_change(
        std::move(change), [this](base::Result<member::Reply, member::Failure> reply) {
          this->waiting_ = 0;
          if (!reply) return this->refuse(reply.error());
          changed(reply->term);
        });
  }
  virtual void changed(raft::Term term) { answer_members(begin_answer(term), 2); }

  // The revision is not told by this service: api.md 1.6.
  std::string begin_answer(raft::Term term) const {
    return header_only(this->context_.header(0, term));
  }
  void answer_members(std::string out, std::uint32_t field) {
    for (const auto& member : this->context_.front.view()->roster->members) {
      base::put_message_field(out, field, encode(member));
    }
    this->answer(std::move(out));
  }
};

class MemberAddCall : public ChangeCall<etcdserverpb::MemberAddRequest> {
 public:
  using ChangeCall::ChangeCall;

 private:
  void run(std::string_view) override {
    const std::vector<std::string> texts(request_.peerurls().begin(), request_.peerurls().end());
    const auto urls = membership::parse_urls(texts);
    if (!urls) return refuse(RequestErrc::kBadMemberUrls);
    auto& front = context_.front;
    if (const auto refused = may_add(front, request_.islearner())) return refuse(*refused);
    const auto now = std::chrono::duration_cast<base::Seconds>(
        front.lane().clock().wall_now().time_since_epoch());
    member_ = {.peer_urls = membership::to_texts(*urls), .is_learner = request_.islearner()};
    member_.id = membership::added_member_id(member_.peer_urls, now.count());
    propose({.type = member_.is_learner ? raft::ConfChangeType::kAddLearnerNode
                                        : raft::ConfChangeType::kAddNode,
             .node_id = member_.id,
             .context = membership::config_change_json({.member = member_})});
  }
  void changed(raft::Term term) override {
    std::string out = begin_answer(term);
    base::put_message_field(out, 2, encode(member_));
    answer_members(std::move(out), 3);
  }

  membership::Member member_;
};

class MemberRemoveCall : public ChangeCall<etcdserverpb::MemberRemoveRequest> {
 public:
  using ChangeCall::ChangeCall;

 private:
  void run(std::string_view) override {
    const membership::MemberId id = request_.id();
    if (const auto refused = may_remove(context_.front, id)) return refuse(*refused);
    propose({.type = raft::ConfChangeType::kRemoveNode, .node_id = id});
  }
};

class MemberUpdateCall : public ChangeCall<etcdserverpb::MemberUpdateRequest> {
 public:
  using ChangeCall::ChangeCall;

 private:
  void run(std::string_view) override {
    membership::Member member{.id = request_.id()};
    member.peer_urls.assign(request_.peerurls().begin(), request_.peerurls().end());
    propose({.type = raft::ConfChangeType::kUpdateNode,
             .node_id = member.id,
             .context = membership::member_json(member)});
  }
};

// The leader decides; any other member asks it, for as long as a request may take.
class MemberPromoteCall : public ChangeCall<etcdserverpb::MemberPromoteRequest> {
 public:
  using ChangeCall::ChangeCall;
  ~MemberPromoteCall() override { context_.front.lane().cancel(timer_); }

 private:
  void run(std::string_view) override {
    end_ = started() + context_.front.config().request_timeout();
    promotion_.emplace(context_.front, request_.id(), [this](Promotion::Outcome outcome) {
      if (outcome.not_leader) return ask_leader();
      if (outcome.status.code != http::StatusCode::kOk) return finish(outcome.status);
      changed(context_.front.view()->applied_term);
    });
  }

  void ask_leader() {
    timer_ = 0;
    auto& front = context_.front;
    const auto now = front.lane().clock().now();
    if (now >= end_) {
      const bool nobody = front.progress().leader.load() == raft::kNone;
      return refuse(nobody ? member::Errc::kNoLeader : member::Errc::kTimeout);
    }
    const auto* leader = front.view()->roster->find(front.progress().leader.load());
    if (leader == nullptr || leader->id == front.identity().member_id) return ask_again();
    question_ = front.shared().peers->ask(
        front.lane(),
        {.urls = leader->peer_urls,
         .request = {.method = "POST", .target = fmt::format("/members/promote/{}", request_.id())},
         .timeout = end_ - now},
        [this](base::Result<peer::Answered> answered) {
          if (!answered) return ask_again();
          on_answer(*answered);
        });
  }
  void ask_again() {
    timer_ = context_.front.lane().after(kAskAgain, [this] { ask_leader(); });
  }

  void on_answer(const peer::Answered& answered) {
    switch (answered.status) {
      case 200:
        return on_promoted(answered.body);
      case 404:
        return refuse(RequestErrc::kMemberNotFound);
      case 408:
        return refuse(member::Errc::kTimeout);
      case 412:
        return refuse_precondition(answered.body);
      default:
        return ask_again();
    }
  }
  void refuse_precondition(std::string_view why) {
    if (why.find("in sync with leader") != why.npos) return refuse(RequestErrc::kLearnerNotReady);
    if (why.find("can only promote a learner") != why.npos) return refuse(apply::Errc::kNotLearner);
    finish({http::StatusCode::kUnknown, fmt::format("member promote: unknown error({})", why)});
  }
  // What the leader says the members are: this one may not have applied it yet.
  void on_promoted(std::string_view body) {
    const auto members = membership::parse_members(body);
    if (!members) {
      return finish({http::StatusCode::kUnknown, "member promote: the leader's answer is no JSON"});
    }
    std::string out = begin_answer(context_.front.view()->applied_term);
    for (const auto& member : *members) base::put_message_field(out, 2, encode(member));
    answer(std::move(out));
  }

  base::TimePoint end_;
  std::optional<Promotion> promotion_;
  std::unique_ptr<peer::Question> question_;
  env::TimerId timer_ = 0;
};

}  // namespace

void add_cluster(http::Router& router, Context& context) {
  constexpr std::string_view kService = "etcdserverpb.Cluster";
  using enum http::MethodKind;
  add_method<MemberListCall>(router, context, kService, "MemberList", kUnary);
  add_method<MemberAddCall>(router, context, kService, "MemberAdd", kUnary);
  add_method<MemberRemoveCall>(router, context, kService, "MemberRemove", kUnary);
  add_method<MemberUpdateCall>(router, context, kService, "MemberUpdate", kUnary);
  add_method<MemberPromoteCall>(router, context, kService, "MemberPromote", kUnary);
}

}  // namespace keelson::api
