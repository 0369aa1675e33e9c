#include "api/lease.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <numeric>
#include <span>
#include <vector>

#include "api/encode.h"
#include "api/proposing.h"
#include "api/quota.h"
#include "base/varint.h"

namespace keelson::api {
namespace {

// Beyond these an answer is made by a worker: a job of an io lane stays short.
constexpr std::size_t kKeysHereMax = 1000;
constexpr std::size_t kLeasesHereMax = 2000;
// Requests of one keep-alive stream that wait for their turn; beyond it the client is not read.
constexpr std::size_t kPendingMax = 1024;
constexpr std::size_t kUnsentBytesMax = std::size_t{1} << 20;

class LeaseGrantCall : public Proposing<etcdserverpb::LeaseGrantRequest> {
 public:
  using Proposing::Proposing;

 private:
  void run(std::string_view) override {
    if (!within_quota(context_, apply::kLeaseQuotaCost)) return refuse(RequestErrc::kNoSpace);
    // The id is part of the entry, so that every member grants the same one.
    if (request_.id() == lease::kNoLease) request_.set_id(context_.front.new_lease_id());
    propose_anew(kLeaseGrantField);
  }
  void applied(member::Reply reply) override {
    const lease::Lease& lease = std::get<apply::LeaseGrantAnswer>(reply.answer).lease;
    std::string out = header_only(context_.header(reply));
    base::put_varint_field(out, 2, static_cast<std::uint64_t>(lease.id));
    base::put_varint_field(out, 3, static_cast<std::uint64_t>(lease.ttl.count()));
    answer(std::move(out));
  }
};

class LeaseRevokeCall : public Proposing<etcdserverpb::LeaseRevokeRequest> {
 public:
  using Proposing::Proposing;

 private:
  void run(std::string_view) override { propose_anew(kLeaseRevokeField); }
  void applied(member::Reply reply) override { answer(header_only(context_.header(reply))); }
};

// One renewal at a time, in the order of the requests; each answer carries the revision as of
// before its renewal. api.md 4.1
//
//   on_message -> queued -> asked of the leader's clock -> answered -> the next
class LeaseKeepAliveCall : public http::CallHandler {
 public:
  LeaseKeepAliveCall(Context& context, http::Call& call)
      : context_(context),
        call_(call),
        enrolment_(context.leader_monitor, call,
                   [this] { call_.finish(status_of(RequestErrc::kNoLeader)); }),
        waiting_(context.front) {}

  void on_message(http::Message message) override {
    const std::string_view bytes = message.view();
    if (!request_.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
      return call_.finish(http::unparsable_message(http::MethodKind::kBidiStream));
    }
    pending_.push_back(request_.id());
    if (pending_.size() >= kPendingMax && !std::exchange(paused_, true)) call_.pause_reading();
    next();
  }
  void on_half_close() override {
    half_closed_ = true;
    next();
  }
  void on_drained() override { next(); }

 private:
  void next() {
    if (asking_) return;
    if (pending_.empty()) {
      if (half_closed_) call_.finish({});
      return;
    }
    if (call_.unsent_bytes() > kUnsentBytesMax) return;  // on_drained goes on
    asking_ = true;
    header_ = context_.header();
    const lease::LeaseId id = pending_.front();
    pending_.pop_front();
    if (paused_ && pending_.size() < kPendingMax / 2) {
      paused_ = false;
      call_.resume_reading();
    }
    waiting_ = context_.front.renew(id, [this, id](base::Result<base::Seconds, member::Errc> ttl) {
      waiting_ = 0;
      asking_ = false;
      if (!ttl) return call_.finish(status_of(ttl.error()));
      renewed(id, *ttl);
      next();
    });
  }
  void renewed(lease::LeaseId id, base::Seconds ttl) {
    std::string out = header_only(header_);
    base::put_varint_field(out, 2, static_cast<std::uint64_t>(id));
    base::put_varint_field(out, 3, static_cast<std::uint64_t>(ttl.count()));
    call_.send(std::move(out));
  }

  Context& context_;
  http::Call& call_;
  LeaderMonitor::Enrolment enrolment_;
  Waiting waiting_;
  etcdserverpb::LeaseKeepAliveRequest request_;
  std::deque<lease::LeaseId> pending_;
  Header header_;  // of the renewal under way
  bool asking_ = false;
  bool paused_ = false;
  bool half_closed_ = false;
};

class LeaseTimeToLiveCall : public RequestHandler<etcdserverpb::LeaseTimeToLiveRequest> {
 public:
  using RequestHandler::RequestHandler;

 private:
  void run(std::string_view) override {
    waiting_ = context_.front.time_to_live(
        request_.id(), request_.keys(), [this](base::Result<member::LeaseTime, member::Errc> time) {
          waiting_ = 0;
          const auto view = context_.front.view();  // one for all of the answer
          if (time && time->told) return answer_told(*view, *time);
          const auto lease = view->leases.find(request_.id());
          const bool gone = time ? !lease : time.error() == member::Errc::kLeaseNotFound;
          if (gone) return answer_gone(*view);
          if (!time) return refuse(time.error());
          answer_found(*view, *lease, std::chrono::duration_cast<base::Seconds>(time->remaining));
        });
  }
  std::string begin(const member::View& view, std::int64_t ttl) {
    std::string out = header_only(context_.header(view));
    base::put_varint_field(out, 2, static_cast<std::uint64_t>(request_.id()));
    base::put_varint_field(out, 3, static_cast<std::uint64_t>(ttl));
    return out;
  }
  // In the words of the leader.
  void answer_told(const member::View& view, const member::LeaseTime& time) {
    std::string out =
        begin(view, std::chrono::duration_cast<base::Seconds>(time.remaining).count());
    base::put_varint_field(out, 4, static_cast<std::uint64_t>(time.told->granted_ttl.count()));
    for (const auto& key : time.told->keys) base::put_message_field(out, 5, key);
    answer(std::move(out));
  }
  // Not an error: api.md 4.
  void answer_gone(const member::View& view) { answer(begin(view, -1)); }
  void answer_found(const member::View& view, const lease::Lease& lease, base::Seconds remaining) {
    std::string out = begin(view, remaining.count());
    base::put_varint_field(out, 4, static_cast<std::uint64_t>(lease.ttl.count()));
    if (!request_.keys()) return answer(std::move(out));
    lease::KeySet keys = view.leases.keys_of(lease.id);
    if (keys.size() <= kKeysHereMax) return answer(with_keys(std::move(out), keys));
    waiting_ = context_.front.on_worker(
        [this, out = std::move(out), keys = std::move(keys)]() mutable -> base::Job {
          return [this, message = with_keys(std::move(out), keys)]() mutable {
            waiting_ = 0;
            answer(std::move(message));
          };
        });
  }
  static std::string with_keys(std::string out, const lease::KeySet& keys) {
    keys.visit([&out](std::string_view key) {
      base::put_message_field(out, 5, key);
      return true;
    });
    return out;
  }
};

// On the leader soonest end first, as etcd has it, elsewhere in any order. The raft lane is asked
// for the ends of a few thousand at a time, and of many a worker gathers and sorts.
class LeaseLeasesCall : public RequestHandler<etcdserverpb::LeaseLeasesRequest> {
 public:
  using RequestHandler::RequestHandler;

 private:
  struct List {
    std::vector<lease::LeaseId> ids;
    std::vector<base::TimePoint> ends;  // of the first of them; at last of all

    void sort() {
      std::vector<std::size_t> order(ids.size());
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
        return std::pair(ends[a], ids[a]) < std::pair(ends[b], ids[b]);
      });
      std::vector<lease::LeaseId> sorted;
      sorted.reserve(ids.size());
      for (const std::size_t i : order) sorted.push_back(ids[i]);
      ids = std::move(sorted);
    }
  };

  void run(std::string_view) override {
    const auto view = context_.front.view();
    header_ = context_.header(*view);
    if (view->leases.size() <= kLeasesHereMax) {
      list_->ids = view->leases.ids();
      return ask();
    }
    waiting_ = context_.front.on_worker([this, list = list_, leases = view->leases]() -> base::Job {
      list->ids = leases.ids();
      return [this] {
        waiting_ = 0;
        ask();
      };
    });
  }

  void ask() {
    const auto rest = std::span(list_->ids).subspan(list_->ends.size());
    if (rest.empty()) return end(true);
    const auto some = rest.first(std::min(rest.size(), kLeasesHereMax));
    waiting_ = context_.front.lease_ends(
        {some.begin(), some.end()}, [this](const std::vector<base::TimePoint>& ends) {
          waiting_ = 0;
          if (ends.empty()) return end(false);
          list_->ends.insert(list_->ends.end(), ends.begin(), ends.end());
          ask();
        });
  }

  void end(bool ends_are_known) {
    const auto make = [list = list_, header = header_, ends_are_known] {
      if (ends_are_known) list->sort();
      return encode(header, list->ids);
    };
    if (list_->ids.size() <= kLeasesHereMax) return answer(make());
    waiting_ = context_.front.on_worker([this, make]() -> base::Job {
      return [this, message = make()]() mutable {
        waiting_ = 0;
        answer(std::move(message));
      };
    });
  }

  static std::string encode(const Header& header, const std::vector<lease::LeaseId>& ids) {
    std::string out = header_only(header);
    for (const lease::LeaseId id : ids) {
      std::string status;
      base::put_varint_field(status, 1, static_cast<std::uint64_t>(id));
      base::put_message_field(out, 2, status);
    }
    return out;
  }

  Header header_;
  std::shared_ptr<List> list_ = std::make_shared<List>();  // a worker's, or ours, by turns
};

}  // namespace

void add_lease(http::Router& router, Context& context) {
  constexpr std::string_view kService = "etcdserverpb.Lease";
  using enum http::MethodKind;
  add_method<LeaseGrantCall>(router, context, kService, "LeaseGrant", kUnary);
  add_method<LeaseRevokeCall>(router, context, kService, "LeaseRevoke", kUnary);
  add_method<LeaseKeepAliveCall>(router, context, kService, "LeaseKeepAlive", kBidiStream);
  add_method<LeaseTimeToLiveCall>(router, context, kService, "LeaseTimeToLive", kUnary);
  add_method<LeaseLeasesCall>(router, context, kService, "LeaseLeases", kUnary);
}

}  // namespace keelson::api
