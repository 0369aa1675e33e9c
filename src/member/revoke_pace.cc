#include "member/revoke_pace.h"

#include <algorithm>
#include <utility>

#include "env/log.h"
#include "member/lease_endpoints.h"
#include "member/peers.h"
#include "proto/lease.pb.h"

namespace keelson::member {
namespace {

constexpr base::Duration kLookInterval = base::Seconds(1);
// The member itself gives up after a second.
constexpr base::Duration kPatience = base::Seconds(2);
// An answer that takes longer waited for apply.
constexpr base::Duration kSoon = base::Milliseconds(300);
constexpr std::uint32_t kFaster = 100;

std::string lease_that_cannot_be() {
  leasepb::LeaseInternalRequest request;
  request.mutable_leasetimetoliverequest()->set_id(lease::kNoLease);
  return request.SerializeAsString();
}

}  // namespace

std::atomic<std::uint32_t>& RevokePace::pace() {
  return front_.shared().progress.revokes_per_second;
}

void RevokePace::heard(membership::MemberId id, bool is_ours) {
  if (is_ours) {
    ours_.insert(id);
  } else {
    ours_.erase(id);
  }
}

bool RevokePace::is_ours(const membership::Member& member) const {
  return member.id == front_.identity().member_id || ours_.contains(member.id);
}

void RevokePace::decide() {
  const auto view = front_.view();
  const auto& members = view->roster->members;
  if (std::all_of(members.begin(), members.end(),
                  [this](const auto& member) { return is_ours(member); })) {
    pace() = kRevokesUnlimited;
    return stop();
  }
  if (pace() == kRevokesUnlimited) pace() = kRevokesPerSecond;
  if (timer_ == 0) arm();
}

void RevokePace::stop() {
  front_.lane().cancel(std::exchange(timer_, 0));
  questions_.clear();
  unanswered_ = 0;
}

void RevokePace::arm() {
  timer_ = front_.lane().after(kLookInterval, [this] {
    timer_ = 0;
    look();
  });
}

void RevokePace::look() {
  arm();
  const std::uint64_t revokes = front_.progress().revokes_proposed;
  if (unanswered_ > 0 || std::exchange(revokes_seen_, revokes) == revokes) return;
  questions_.clear();
  somebody_lags_ = false;
  for (const auto& member : front_.view()->roster->members) {
    if (!is_ours(member)) ask(member);
  }
}

void RevokePace::ask(const membership::Member& member) {
  unanswered_++;
  const auto asked_at = front_.lane().clock().now();
  questions_.push_back(front_.shared().peers->ask(
      front_.lane(),
      {.urls = member.peer_urls,
       .request = {.method = "POST",
                   .target = std::string(kLeasesInternalPath),
                   .headers = {{"Content-Type", "application/protobuf"}},
                   .body = base::SharedBytes(lease_that_cannot_be())},
       .timeout = kPatience},
      [this, asked_at](base::Result<peer::Answered> answered) {
        // One that cannot be reached gets the entries later, all the same.
        const bool waited = front_.lane().clock().now() - asked_at > kSoon;
        on_answer(answered && (answered->status == 408 || waited));
      }));
}

void RevokePace::on_answer(bool lags) {
  somebody_lags_ |= lags;
  if (--unanswered_ > 0) return;
  const std::uint32_t now = pace();
  if (now == kRevokesUnlimited) return;
  if (somebody_lags_) {
    pace() = std::max(now / 2, kRevokesPerSecondMin);
    env::log_warn("a member is late with applying; fewer expired leases are revoked",
                  {{"revokes-per-second", pace().load()}});
  } else {
    pace() = std::min(now + kFaster, kRevokesPerSecond);
  }
}

}  // namespace keelson::member
