#include "member/compactor.h"

#include "env/log.h"
#include "proto/raft_internal.pb.h"

namespace keelson::member {
namespace {

constexpr std::uint32_t kCompactionField =
    etcdserverpb::InternalRaftRequest::kCompactionFieldNumber;
constexpr base::Duration kRevisionInterval = base::Seconds(300);
constexpr int kLooks = 10;  // in a period

}  // namespace

CompactionPlan::CompactionPlan(const AutoCompaction& config, base::TimePoint now)
    : config_(config), last_at_(now), wait_(config.period) {}

base::Duration CompactionPlan::interval() const {
  return config_.mode == AutoCompaction::Mode::kRevision ? kRevisionInterval : every() / kLooks;
}

void CompactionPlan::sample(std::int64_t revision) {
  if (config_.mode == AutoCompaction::Mode::kRevision) return;
  samples_.push_back(revision);
  const auto kept = static_cast<std::size_t>(config_.period / interval()) + 1;
  if (samples_.size() > kept) samples_.pop_front();
}

std::optional<std::int64_t> CompactionPlan::due(base::TimePoint now, std::int64_t newest) {
  if (config_.mode == AutoCompaction::Mode::kRevision) {
    const std::int64_t revision = newest - config_.revisions;
    if (revision <= 0 || revision == last_) return std::nullopt;
    return revision;
  }
  if (now - last_at_ < wait_ || samples_.front() == last_) return std::nullopt;
  wait_ = every();
  return samples_.front();
}

void CompactionPlan::succeeded(std::int64_t revision, base::TimePoint now) {
  last_ = revision;
  last_at_ = now;
}

void Compactor::start() {
  const AutoCompaction& config = front_.config().auto_compaction;
  if (!config.enabled() || stopped_) return;
  plan_.emplace(config, front_.lane().clock().now());
  look_again();
}

void Compactor::stop() {
  stopped_ = true;
  front_.lane().cancel(timer_);
  front_.forget(ticket_);
}

void Compactor::look_again() {
  plan_->sample(newest());
  timer_ = front_.lane().after(plan_->interval(), [this] { look(); });
}

void Compactor::look() {
  if (front_.progress().leader.load() != front_.identity().member_id) return look_again();
  const auto revision = plan_->due(front_.lane().clock().now(), newest());
  if (!revision) return look_again();
  compact(*revision);
}

void Compactor::compact(std::int64_t revision) {
  const bool periodic = front_.config().auto_compaction.mode == AutoCompaction::Mode::kPeriodic;
  env::log_info(
      periodic ? "starting auto periodic compaction" : "starting auto revision compaction",
      {{"revision", revision}});
  const auto begun = front_.lane().clock().now();
  etcdserverpb::CompactionRequest request;
  request.set_revision(revision);
  ticket_ = front_.propose(kCompactionField, request.SerializeAsString(),
                           [this, revision, periodic, begun](base::Result<Reply, Failure> reply) {
                             ticket_ = 0;
                             if (stopped_) return;
                             const auto now = front_.lane().clock().now();
                             // Somebody else has compacted as far: as good as done.
                             if (reply || reply.error() == Failure(apply::Errc::kCompacted)) {
                               env::log_info(periodic ? "completed auto periodic compaction"
                                                      : "completed auto revision compaction",
                                             {{"revision", revision}, {"took", now - begun}});
                               plan_->succeeded(revision, now);
                             } else {
                               env::log_warn(periodic ? "failed auto periodic compaction"
                                                      : "failed auto revision compaction",
                                             {{"revision", revision}});
                             }
                             look_again();
                           });
}

}  // namespace keelson::member
