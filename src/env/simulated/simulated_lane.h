// SimulatedLane: a lane whose work the World picks. Internal to env/simulated.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "env/simulated/world.h"

namespace keelson::env::simulated::internal {

class SimulatedLane final : public Lane {
 public:
  SimulatedLane(World& world, Host& host, std::string name, std::uint64_t number)
      : world_(world), host_(host), name_(std::move(name)), number_(number) {}

  void post(base::Job job) override { post_at(world_.now(), std::move(job)); }
  void at_turn_end(base::Job job) override;
  TimerId at(base::TimePoint due, base::Job job) override;
  void cancel(TimerId timer) override;
  bool is_current() const override { return world_.current_lane_ == this; }
  std::string_view name() const override { return name_; }
  Clock& clock() override { return host_.clock(); }
  bool runs_ahead() const override { return true; }

  // A job that arrives then.
  void post_at(base::TimePoint arrival, base::Job job);
  Host& host() { return host_; }
  // Everything that waits is destroyed.
  void discard();

 private:
  friend class simulated::World;
  struct Hook {
    base::Job job;
    std::size_t jobs_before;  // that have still to run
  };

  bool may_be_touched() const { return is_current() || world_.current_lane_ == nullptr; }
  bool has_ready_hook() const;
  // When there is something to do next, if ever.
  std::optional<base::TimePoint> next() const;

  World& world_;
  Host& host_;
  const std::string name_;
  const std::uint64_t number_;
  base::TimePoint busy_until_{};
  std::multimap<base::TimePoint, base::Job>
      jobs_;  // by arrival; equal ones in the order of posting
  std::map<std::pair<base::TimePoint, TimerId>, base::Job> timers_;
  std::vector<Hook> hooks_;
};

}  // namespace keelson::env::simulated::internal
